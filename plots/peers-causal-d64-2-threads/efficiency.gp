# Drawn by attnbench plot. `gnuplot efficiency.gp` draws it again.
set encoding utf8
$curve0 << EOD
# n value low high
1024 81.49047577497598 80.8515282997293 81.67495256978789
4096 88.01955596406208 85.47078596102475 88.59456122524807
16384 87.01863465901192 82.49989356442083 90.41641405333067
EOD
$curve1 << EOD
# n value low high
1024 32.12371715666494 31.894843018582318 32.2797897797712
4096 47.410531924216144 44.13778459978082 48.76462729243849
16384 50.17313025043424 45.38840494016119 53.530217363674915
EOD
$curve2 << EOD
# n value low high
1024 33.50464474828876 33.25174209125471 33.79278638010184
4096 33.44190508236303 32.816012758951594 34.00744890111822
16384 29.56683388700645 28.923870245817305 30.61466555108722
EOD
set logscale x
set xrange [914.2857142857142:18350.08]
set yrange [0.0:100.0]
set xtics ('1Ki' 1024.0, '4Ki' 4096.0, '16Ki' 16384.0)
set format y '%g%%'
set ytics 0,20
set mytics 2
set lmargin at screen 0.13
set rmargin at screen 0.77
set tmargin at screen 0.865
set bmargin at screen 0.195
set border 3 linecolor rgb '#404040'
set tics nomirror out textcolor rgb '#303030'
set grid xtics ytics linecolor rgb '#e4e4e4' linetype 1 linewidth 0.8
set key at screen 0.78, screen 0.875 left top Left reverse samplen 2.2 spacing 1.25 font ',12' textcolor rgb '#202020'
set xlabel 'sequence length n' textcolor rgb '#303030' offset 0,0.2
set ylabel 'percent of the FMA peak of the same run' textcolor rgb '#303030'
set label '{/:Bold Share of the machine’s peak}' at screen 0.02, screen 0.955 left font ',19.0' textcolor rgb '#000000'
set label 'AMD EPYC · batch 1 · 8 heads · d = 64 · fp32 · causal · 2 threads' at screen 0.02, screen 0.905 left font ',13.0' textcolor rgb '#505050'
set label 'useful work only: masked-out pairs do not count  ·  flash: 16Ki noisy  ·  onnxruntime.gqa: 4Ki, 16Ki noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'openvino.sdpa: 16Ki noisy' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'efficiency.svg'
plot NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'flash', \
     $curve1 using 1:2:3:4 with yerrorbars linecolor rgb '#0072B2' linewidth 1 pointtype -1 notitle, \
     $curve1 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 1 pointtype 5 pointsize 0.8 title 'onnxruntime.gqa', \
     $curve2 using 1:2:3:4 with yerrorbars linecolor rgb '#D55E00' linewidth 1 pointtype -1 notitle, \
     $curve2 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 1 pointtype 9 pointsize 0.8 title 'openvino.sdpa'
set terminal pngcairo enhanced size 1800,1200 font 'sans-serif,14' fontscale 1.5 linewidth 2 pointscale 2 background '#ffffff'
set output 'efficiency.png'
replot
set output
