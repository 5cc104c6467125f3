# Drawn by attnbench. `gnuplot efficiency.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1024.0 87.5101285276948 86.6158968626718 87.98568584786746
4096.0 90.89515162507749 89.62968308885631 91.33283842285313
16384.0 90.01322436074413 86.19770395980579 94.05787853895828
EOD
$curve1 << EOD
# x value low high
1024.0 68.72123768786017 67.44633033022193 70.55243675815592
4096.0 72.1344154277971 48.15391906391598 73.90736689404916
16384.0 73.12111386339174 67.64869398116315 75.52225671119763
EOD
$curve2 << EOD
# x value low high
1024.0 69.10099946112219 68.00405723348275 70.19535770875478
4096.0 66.92877891980818 64.77768779957047 68.19602318671521
16384.0 67.42126057177396 65.5386253859571 69.66986149122198
EOD
$curve3 << EOD
# x value low high
1024.0 33.89811559206273 33.59637384827517 34.23367246618443
4096.0 33.96799081644717 32.58928977887595 34.26977340307425
16384.0 33.5016172918671 33.03369505711764 34.48085074237244
EOD
$curve4 << EOD
# x value low high
1024.0 10.52041327499357 9.009853092720327 11.113108864598313
4096.0 9.755893887949087 3.329555638036784 11.10925201295394
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
set bmargin at screen 0.225
set border 3 linecolor rgb '#404040'
set tics nomirror out textcolor rgb '#303030'
set grid xtics ytics linecolor rgb '#e4e4e4' linetype 1 linewidth 0.8
set key at screen 0.78, screen 0.875 left top Left reverse samplen 2.2 spacing 1.25 font ',12' textcolor rgb '#202020'
set xlabel 'sequence length n' textcolor rgb '#303030' offset 0,0.2
set ylabel 'percent of the FMA peak of the same run' textcolor rgb '#303030'
set label '{/:Bold Share of the machine’s peak}' at screen 0.02, screen 0.955 left font ',19.0' textcolor rgb '#000000'
set label 'AMD EPYC · batch 1 · 8 heads · d = 64 · fp32 · not causal · 2 threads' at screen 0.02, screen 0.905 left font ',13.0' textcolor rgb '#505050'
set label 'useful work only: masked-out pairs do not count  ·  torch.sdpa.math: 16Ki skipped (memory)  ·  flash: 16Ki noisy' at screen 0.02, screen 0.08 left font ',11.5' textcolor rgb '#606060'
set label 'onnxruntime.mha: 1Ki, 4Ki, 16Ki noisy  ·  openvino.sdpa: 4Ki, 16Ki noisy  ·  torch.sdpa.flash: 4Ki, 16Ki noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'torch.sdpa.math: 1Ki, 4Ki noisy' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'efficiency.svg'
plot NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'flash', \
     $curve1 using 1:2:3:4 with yerrorbars linecolor rgb '#0072B2' linewidth 1 pointtype -1 notitle, \
     $curve1 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 1 pointtype 5 pointsize 0.8 title 'onnxruntime.mha', \
     $curve2 using 1:2:3:4 with yerrorbars linecolor rgb '#D55E00' linewidth 1 pointtype -1 notitle, \
     $curve2 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 1 pointtype 9 pointsize 0.8 title 'openvino.sdpa', \
     $curve3 using 1:2:3:4 with yerrorbars linecolor rgb '#009E73' linewidth 1 pointtype -1 notitle, \
     $curve3 using 1:2 with linespoints linecolor rgb '#009E73' linewidth 1.8 dashtype 1 pointtype 11 pointsize 0.8 title 'torch.sdpa.flash', \
     $curve4 using 1:2:3:4 with yerrorbars linecolor rgb '#CC79A7' linewidth 1 pointtype -1 notitle, \
     $curve4 using 1:2 with linespoints linecolor rgb '#CC79A7' linewidth 1.8 dashtype 1 pointtype 13 pointsize 0.8 title 'torch.sdpa.math'
set terminal pngcairo enhanced size 1800,1200 font 'sans-serif,14' fontscale 1.5 linewidth 2 pointscale 2 background '#ffffff'
set output 'efficiency.png'
replot
set output
