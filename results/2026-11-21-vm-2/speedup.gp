# Drawn by attnbench. `gnuplot speedup.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1000.0 1.443974711184271 1.418493658146162 1.4728468868539837
2000.0 1.3482517615062855 1.3233351551325219 1.3763303904277346
4000.0 1.474526494455952 1.4371321903338943 1.5101892153136582
8000.0 1.5281891991584917 1.4871215361181749 1.5807540890586194
16000.0 1.731290649910424 1.618906450864351 1.7908601476163917
32000.0 1.7002573954992164 1.6615646111758084 1.8231553051176088
64000.0 1.6866823966252957 1.5363530315121023 1.811520346782492
EOD
$curve1 << EOD
# x value low high
1000.0 6.992923817103005 6.845972586889769 7.202628573007729
2000.0 8.177775562563394 7.994615287928032 8.345169327020281
4000.0 9.284995033177063 8.985487153814931 9.544720023917858
8000.0 10.516540104716766 10.187577127018619 10.874211939262366
16000.0 12.658476245660832 11.200292923207892 13.008967839437593
32000.0 12.02192774514922 11.592987464689353 13.57848474673838
64000.0 13.432812977027417 12.869142426692937 13.620840163224504
EOD
$curve2 << EOD
# x value low high
1000.0 5.249959999046786 5.139743039325908 5.414218719975903
2000.0 8.73741260834311 8.531137451474077 9.002992471729414
4000.0 15.545590243712358 14.973294868111312 15.850577480255382
8000.0 23.7191048654994 22.766664598883263 24.454506482073903
16000.0 46.07704985055373 43.38139669701062 46.88604771198442
32000.0 68.75179062168158 66.2005046262331 73.66214388696787
64000.0 113.45600623262673 78.57783111572486 115.14609204035956
EOD
$curve3 << EOD
# x value low high
1000.0 2.8827035153382177 2.8379961184965445 2.9660461922762513
2000.0 4.967812415602625 4.837185744023433 5.127231579440802
4000.0 10.4130269863843 10.031754417960629 10.687708833104866
8000.0 20.992676115287942 20.17831390513329 21.345786634649897
16000.0 47.33328090857862 45.30082971136531 48.8525289096787
32000.0 92.615433644645 89.3026234599567 99.31900531062749
64000.0 192.468625877799 132.3009021800664 196.07796188058728
EOD
$curve4 << EOD
# x value low high
1000.0 14.607773533611665 14.313640381484067 15.00896434895696
2000.0 27.402759051155577 26.727521365058557 27.942590936781492
4000.0 58.59158939883585 56.42180281421816 59.711385888620576
8000.0 111.69720161616203 107.62654678074274 114.11497178999348
16000.0 259.5736175178738 245.65641813432367 268.1052496404498
32000.0 499.70475723315246 481.4368649719303 535.2617488420794
64000.0 1063.907968209606 1025.2644106951443 1077.9238410871383
EOD
$guide0 << EOD
892.8571428571428 1.0
71680.0 1.0
EOD
set logscale x
set logscale y
set xrange [892.8571428571428:71680.0]
set yrange [0.7142857142857143:1509.0933775219935]
set xtics ('1k' 1000.0, '2k' 2000.0, '4k' 4000.0, '8k' 8000.0, '16k' 16000.0, '32k' 32000.0, '64k' 64000.0)
set ytics ('1×' 1.0, '2×' 2.0, '5×' 5.0, '10×' 10.0, '20×' 20.0, '50×' 50.0, '100×' 100.0, '200×' 200.0, '500×' 500.0, '1000×' 1000.0)
set lmargin at screen 0.13
set rmargin at screen 0.77
set tmargin at screen 0.865
set bmargin at screen 0.195
set border 3 linecolor rgb '#404040'
set tics nomirror out textcolor rgb '#303030'
set grid xtics ytics linecolor rgb '#e4e4e4' linetype 1 linewidth 0.8
set key at screen 0.78, screen 0.875 left top Left reverse samplen 2.2 spacing 1.25 font ',12' textcolor rgb '#202020'
set xlabel 'sequence length n' textcolor rgb '#303030' offset 0,0.2
set ylabel 'time of exact / time of strategy' textcolor rgb '#303030'
set label '{/:Bold Times faster than exact attention}' at screen 0.02, screen 0.955 left font ',19.0' textcolor rgb '#000000'
set label 'AMD EPYC · avx512 · batch 1 · 4 heads · d = 64 · fp32 · not causal · 2 threads' at screen 0.02, screen 0.905 left font ',13.0' textcolor rgb '#505050'
set label 'exact: 100k skipped (memory), so no speed-up there  ·  exact: 8k, 16k, 32k noisy, 64k with few samples  ·  flash: 16k, 64k noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'fixed: 16k, 32k, 64k noisy  ·  strided: 64k noisy  ·  window(512): 64k noisy' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set label 'as fast as exact' at 71680.0,1.0 right offset 0,0.6 font ',13' textcolor rgb '#707070' front
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'speedup.svg'
plot $guide0 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#0072B2' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 1 pointtype 5 pointsize 0.8 title 'flash', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold restricted softmax}', \
     $curve1 using 1:2:3:4 with yerrorbars linecolor rgb '#D55E00' linewidth 1 pointtype -1 notitle, \
     $curve1 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 1 pointtype 9 pointsize 0.8 title 'fixed', \
     $curve2 using 1:2:3:4 with yerrorbars linecolor rgb '#009E73' linewidth 1 pointtype -1 notitle, \
     $curve2 using 1:2 with linespoints linecolor rgb '#009E73' linewidth 1.8 dashtype 1 pointtype 11 pointsize 0.8 title 'strided', \
     $curve3 using 1:2:3:4 with yerrorbars linecolor rgb '#CC79A7' linewidth 1 pointtype -1 notitle, \
     $curve3 using 1:2 with linespoints linecolor rgb '#CC79A7' linewidth 1.8 dashtype 1 pointtype 13 pointsize 0.8 title 'window(512)', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold different operator}', \
     $curve4 using 1:2:3:4 with yerrorbars linecolor rgb '#E69F00' linewidth 1 pointtype -1 notitle, \
     $curve4 using 1:2 with linespoints linecolor rgb '#E69F00' linewidth 1.8 dashtype 1 pointtype 15 pointsize 0.8 title 'linear(elu)'
set terminal pngcairo enhanced size 1800,1200 font 'sans-serif,14' fontscale 1.5 linewidth 2 pointscale 2 background '#ffffff'
set output 'speedup.png'
replot
set output
