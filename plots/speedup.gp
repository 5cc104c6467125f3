# Drawn by attnbench plot. `gnuplot speedup.gp` draws it again.
set encoding utf8
$curve0 << EOD
# n value low high
1000 1.4070169946991757 1.3722898351424913 1.4471109141038163
2000 1.3343483359811623 1.3217153779108648 1.3825773322637873
4000 1.424878196058379 1.3925146930842878 1.4711900027194615
8000 1.6112727751494684 1.5578297663284042 1.6330495766836475
16000 1.7804518545235877 1.679784093485848 1.8194489030462722
32000 1.7325981743014522 1.6722111671439635 1.7950630425169234
64000 1.7350110685045286 1.6110496201567999 1.7515277832688312
EOD
$curve1 << EOD
# n value low high
1000 6.85043226068042 6.675234219457377 7.064292576727132
2000 8.13692634839065 8.02470800454099 8.356324263417314
4000 8.95173183564905 8.794623038398303 9.297450840261755
8000 11.049146771391388 10.764172011033128 11.27468499173114
16000 12.894105012737791 12.493265740594321 13.189984574445733
32000 12.259773679181933 11.872666262479237 12.656628116645866
64000 12.002237108744003 11.164820786240217 13.478724283493134
EOD
$curve2 << EOD
# n value low high
1000 5.347244083130186 5.193367895302522 5.503502037705273
2000 8.760059605754831 8.634501116224486 8.99932618150719
4000 14.434977687067471 14.065584288010392 14.805481112173664
8000 25.033256023324796 24.202736688719646 25.622147553915276
16000 44.15672874418793 42.510746008796765 45.14615416142543
32000 66.51202474821942 64.05700070731645 68.78968487638207
64000 109.30807118752371 100.99743942710349 111.12846497120404
EOD
$curve3 << EOD
# n value low high
1000 2.8518672214192167 2.7789625406412144 2.91656833748939
2000 4.987948527666789 4.868326517988201 5.148285554564252
4000 9.98518535037437 9.836057330004243 10.318660978900052
8000 20.78259168438526 20.187862822553583 21.084988536704987
16000 45.88763086314614 44.70397822553276 46.8037940371771
32000 88.0669672998267 85.44998644425023 91.55379750642923
64000 178.74586635355647 175.5532140649117 181.71331046656437
EOD
$curve4 << EOD
# n value low high
1000 14.330503733888792 13.939165111148823 14.717051897078065
2000 26.111385680980877 25.53608021223263 26.90045888073202
4000 49.54096082934271 48.257000163009614 51.15960036897282
8000 91.0834843066097 88.21201918535178 92.00653751817975
16000 183.14266089548195 176.8965524247914 189.8140985395135
32000 371.5303109081199 358.8062610288369 384.68527928777905
64000 733.987120237112 720.2773903053203 748.5795294079982
EOD
$guide0 << EOD
892.8571428571428 1.0
71680.0 1.0
EOD
set logscale x
set logscale y
set xrange [892.8571428571428:71680.0]
set yrange [0.7142857142857143:1048.0113411711973]
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
set label 'exact: 100k skipped (memory), so no speed-up there  ·  exact: 32k noisy, 64k with few samples  ·  flash: 16k, 64k noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'fixed: 64k noisy  ·  strided: 64k noisy' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
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
