# Drawn by attnbench plot. `gnuplot efficiency.gp` draws it again.
set encoding utf8
$curve0 << EOD
# n value low high
1024 85.39648271927294 84.29022985665657 86.43106868632245
4096 89.46135929570656 86.38258282261107 90.14727600800472
16384 88.96862148433114 88.84188959470421 90.24749570390122
EOD
$curve1 << EOD
# n value low high
1024 67.75797355076338 66.79254648320288 68.74250104465388
4096 73.79003227246938 71.79758055251611 74.12145599391366
16384 66.2911427599981 63.626478603891684 69.52209601121501
EOD
$curve2 << EOD
# n value low high
1024 68.65593597384034 67.82921772882374 69.23548701440815
4096 74.14040493604658 71.75034669576449 74.87060422527244
16384 67.81032016949834 66.33775309099397 69.29276114149403
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
set label 'AMD EPYC · batch 1 · 8 heads · d = 64 · fp32 · not causal · 2 threads' at screen 0.02, screen 0.905 left font ',13.0' textcolor rgb '#505050'
set label 'useful work only: masked-out pairs do not count  ·  flash: 4Ki noisy  ·  onnxruntime.mha: 16Ki noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'openvino.sdpa: 4Ki, 16Ki noisy' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'efficiency.svg'
plot NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'flash', \
     $curve1 using 1:2:3:4 with yerrorbars linecolor rgb '#0072B2' linewidth 1 pointtype -1 notitle, \
     $curve1 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 1 pointtype 5 pointsize 0.8 title 'onnxruntime.mha', \
     $curve2 using 1:2:3:4 with yerrorbars linecolor rgb '#D55E00' linewidth 1 pointtype -1 notitle, \
     $curve2 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 1 pointtype 9 pointsize 0.8 title 'openvino.sdpa'
set terminal pngcairo enhanced size 1800,1200 font 'sans-serif,14' fontscale 1.5 linewidth 2 pointscale 2 background '#ffffff'
set output 'efficiency.png'
replot
set output
