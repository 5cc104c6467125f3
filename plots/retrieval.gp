# Drawn by attnbench. `gnuplot retrieval.gp` draws it again.
set encoding utf8
$curve0 << EOD
# n value low high
1 100.0 98.52161435741286 100.0
2 100.0 98.52161435741286 100.0
4 100.0 98.52161435741286 100.0
8 100.0 98.52161435741286 100.0
16 100.0 98.52161435741286 100.0
32 100.0 98.52161435741286 100.0
64 100.0 98.52161435741286 100.0
128 100.0 98.52161435741286 100.0
256 100.0 98.52161435741286 100.0
512 100.0 98.52161435741286 100.0
1024 100.0 98.52161435741286 100.0
2048 100.0 98.52161435741286 100.0
EOD
$curve1 << EOD
# n value low high
1 100.0 98.52161435741286 100.0
2 100.0 98.52161435741286 100.0
4 100.0 98.52161435741286 100.0
8 100.0 98.52161435741286 100.0
16 100.0 98.52161435741286 100.0
32 100.0 98.52161435741286 100.0
64 100.0 98.52161435741286 100.0
128 100.0 98.52161435741286 100.0
256 100.0 98.52161435741286 100.0
512 0.390625 0.0689882166961793 2.179097538058252
1024 0.390625 0.0689882166961793 2.179097538058252
2048 0.390625 0.0689882166961793 2.179097538058252
EOD
$curve2 << EOD
# n value low high
1 100.0 98.52161435741286 100.0
2 100.0 98.52161435741286 100.0
4 100.0 98.52161435741286 100.0
8 100.0 98.52161435741286 100.0
16 100.0 98.52161435741286 100.0
32 100.0 98.52161435741286 100.0
64 100.0 98.52161435741286 100.0
128 1.953125 0.8370729784579389 4.489813224965643
256 0.0 0.0 1.478385642587143
512 1.171875 0.39932871230077593 3.3881572667882303
1024 0.390625 0.0689882166961793 2.179097538058252
2048 2.34375 1.0784867555857605 5.01809956000511
EOD
$curve3 << EOD
# n value low high
1 100.0 98.52161435741286 100.0
2 100.0 98.52161435741286 100.0
4 100.0 98.52161435741286 100.0
8 100.0 98.52161435741286 100.0
16 95.3125 91.98669811156822 97.2985148998372
32 77.734375 72.24930899424281 82.39939896963463
64 42.1875 36.297114591343 48.30888316531124
128 14.0625 10.333688392273098 18.853901288336413
256 12.109375 8.66351706741643 16.675572052356642
512 16.40625 12.37276012495921 21.433030228654026
1024 10.15625 7.025498422463896 14.465090136472735
2048 14.453125 10.671067600593547 19.28622219218325
EOD
$curve4 << EOD
# n value low high
1 0.0 0.0 1.478385642587143
2 0.390625 0.0689882166961793 2.179097538058252
4 1.171875 0.39932871230077593 3.3881572667882303
8 0.390625 0.0689882166961793 2.179097538058252
16 0.390625 0.0689882166961793 2.179097538058252
32 0.390625 0.0689882166961793 2.179097538058252
64 0.0 0.0 1.478385642587143
128 0.390625 0.0689882166961793 2.179097538058252
256 0.390625 0.0689882166961793 2.179097538058252
512 0.0 0.0 1.478385642587143
1024 0.0 0.0 1.478385642587143
2048 0.390625 0.0689882166961793 2.179097538058252
EOD
set logscale x
set xrange [0.8928571428571428:2293.76]
set yrange [0.0:100.0]
set xtics ('1' 1.0, '2' 2.0, '4' 4.0, '8' 8.0, '16' 16.0, '32' 32.0, '64' 64.0, '128' 128.0, '256' 256.0, '512' 512.0, '1Ki' 1024.0, '2Ki' 2048.0)
set format y '%g%%'
set ytics 0,20
set mytics 2
set lmargin at screen 0.13
set rmargin at screen 0.77
set tmargin at screen 0.865
set bmargin at screen 0.165
set border 3 linecolor rgb '#404040'
set tics nomirror out textcolor rgb '#303030'
set grid xtics ytics linecolor rgb '#e4e4e4' linetype 1 linewidth 0.8
set key at screen 0.78, screen 0.875 left top Left reverse samplen 2.2 spacing 1.25 font ',12' textcolor rgb '#202020'
set xlabel 'distance from the query, D to 2D - 1 positions' textcolor rgb '#303030' offset 0,0.2
set ylabel 'needles found (95% interval)' textcolor rgb '#303030'
set label '{/:Bold Needles found against their distance}' at screen 0.02, screen 0.955 left font ',19.0' textcolor rgb '#000000'
set label 'h2 n8000 d64 causal' at screen 0.02, screen 0.905 left font ',13.0' textcolor rgb '#505050'
set label '256 needles a point  ·  full attention puts 0.90 of its mass on the needle  ·  guessing finds 0.39%' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'retrieval.svg'
plot NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'flash', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold restricted softmax}', \
     $curve1 using 1:2:3:4 with yerrorbars linecolor rgb '#0072B2' linewidth 1 pointtype -1 notitle, \
     $curve1 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 1 pointtype 5 pointsize 0.8 title 'window(512)', \
     $curve2 using 1:2:3:4 with yerrorbars linecolor rgb '#D55E00' linewidth 1 pointtype -1 notitle, \
     $curve2 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 1 pointtype 9 pointsize 0.8 title 'strided(128)', \
     $curve3 using 1:2:3:4 with yerrorbars linecolor rgb '#009E73' linewidth 1 pointtype -1 notitle, \
     $curve3 using 1:2 with linespoints linecolor rgb '#009E73' linewidth 1.8 dashtype 1 pointtype 11 pointsize 0.8 title 'fixed(128, 16)', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold different operator}', \
     $curve4 using 1:2:3:4 with yerrorbars linecolor rgb '#CC79A7' linewidth 1 pointtype -1 notitle, \
     $curve4 using 1:2 with linespoints linecolor rgb '#CC79A7' linewidth 1.8 dashtype 1 pointtype 13 pointsize 0.8 title 'linear(elu)'
set terminal pngcairo enhanced size 1800,1200 font 'sans-serif,14' fontscale 1.5 linewidth 2 pointscale 2 background '#ffffff'
set output 'retrieval.png'
replot
set output
