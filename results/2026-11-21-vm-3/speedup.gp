# Drawn by attnbench. `gnuplot speedup.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1000.0 1.4141126364927439 1.3685659523771068 1.457539071027982
2000.0 1.3693625054370766 1.3386058244505632 1.4197949252158788
4000.0 1.5551972648986443 1.5203286232686877 1.5772012281213112
8000.0 1.6668426573714399 1.5750606054282432 2.213475447376189
16000.0 1.715529757942451 1.6453043907506486 1.759828379159018
32000.0 1.7868741688317735 1.7685094560952759 1.8291702735374746
64000.0 1.6882699115175144 1.5394441047314709 1.9047809332592547
EOD
$curve1 << EOD
# x value low high
1000.0 6.6619835061671875 6.442986617035761 6.814724802629242
2000.0 7.13526705325304 6.9229030394321445 7.342182707716472
4000.0 9.305191112811423 9.046982073002605 9.426388689193908
8000.0 11.532458896549812 10.877620536723015 15.385060018385088
16000.0 12.314911307967359 11.402407584755016 12.661552161846393
32000.0 13.685528200735869 12.531367916694395 14.020721319808247
64000.0 13.014990817123602 11.585730720339471 14.41074565830076
EOD
$curve2 << EOD
# x value low high
1000.0 4.316626712410701 4.187414030665974 4.4070832623048535
2000.0 7.03253231055937 6.844997635907278 7.283237849196123
4000.0 12.910667863963063 12.497675178427363 13.14115675697089
8000.0 24.72596760353518 23.30479473048303 32.75278658020536
16000.0 41.461102736018454 40.3737805544031 42.89388887168137
32000.0 77.14869971029927 74.75267597971514 78.48628003390031
64000.0 103.86800463197004 100.82911475900077 116.29913310186085
EOD
$curve3 << EOD
# x value low high
1000.0 2.8237370101414796 2.7499343183012392 2.90425059813997
2000.0 4.961679240113252 4.850847892603283 5.143444417597531
4000.0 10.663852646789316 10.360029317280846 10.906154690898552
8000.0 22.437804510330505 21.294762937521067 29.646400245137027
16000.0 46.30605972945471 44.98878887606169 47.55126220334101
32000.0 97.75551544469425 95.66176277454436 100.62793931274895
64000.0 184.05934723334244 159.2774899590916 206.09514975640732
EOD
$curve4 << EOD
# x value low high
1000.0 14.023215867933033 13.665510832584538 14.288294573947264
2000.0 26.127288554581916 25.360869589866375 27.08117127132378
4000.0 57.065560784986765 55.51814340032187 58.69423513347181
8000.0 122.65627036444796 115.53187472778934 163.76472398298463
16000.0 244.65935048984392 238.02445867510957 252.14810421434603
32000.0 545.8807858671876 534.4285337934443 555.8816984311231
64000.0 1030.046274570186 1004.415220614573 1144.6964052782512
EOD
$guide0 << EOD
892.8571428571428 1.0
71680.0 1.0
EOD
set logscale x
set logscale y
set xrange [892.8571428571428:71680.0]
set yrange [0.7142857142857143:1602.5749673895516]
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
set label 'exact: 100k skipped (memory), so no speed-up there  ·  exact: 8k noisy, 64k with few samples  ·  flash: 16k, 64k noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'fixed: 16k, 32k, 64k noisy  ·  strided: 32k noisy  ·  window(512): 64k noisy' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
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
