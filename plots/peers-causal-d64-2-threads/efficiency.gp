# Drawn by attnbench. `gnuplot efficiency.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1024.0 79.35426654315049 77.32841919857157 80.14126704302161
4096.0 87.12978906120534 86.47374512309713 87.93980491416215
16384.0 88.7265761648409 85.26483747517521 89.61589538058412
EOD
$curve1 << EOD
# x value low high
1024.0 30.91177136842623 29.842827311107715 31.192209007472286
4096.0 45.81820841933619 44.25652394272589 46.58086305909839
16384.0 50.25931855070195 46.119366412737136 52.089546799430245
EOD
$curve2 << EOD
# x value low high
1024.0 31.788572532768587 27.159617975520195 32.62067599621515
4096.0 33.28832727006281 31.799786053163544 33.89002532004429
16384.0 28.667264875087085 26.677928887561137 29.927146566407142
EOD
$curve3 << EOD
# x value low high
1024.0 21.75817006089944 21.546366699334026 22.3193405013392
4096.0 29.300772663834508 27.933684819308315 30.339063349916618
16384.0 31.469470308250607 30.15927822990325 32.391565960980934
EOD
$curve4 << EOD
# x value low high
1024.0 9.519418409834392 9.305151443126721 9.643353145412611
4096.0 3.5344640281430184 2.792510852548882 5.181197564554128
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
set label 'AMD EPYC · batch 1 · 8 heads · d = 64 · fp32 · causal · 2 threads' at screen 0.02, screen 0.905 left font ',13.0' textcolor rgb '#505050'
set label 'useful work only: masked-out pairs do not count  ·  torch.sdpa.math: 16Ki skipped (memory)  ·  flash: 16Ki noisy' at screen 0.02, screen 0.08 left font ',11.5' textcolor rgb '#606060'
set label 'onnxruntime.gqa: 1Ki, 4Ki, 16Ki noisy  ·  openvino.sdpa: 1Ki, 4Ki, 16Ki noisy  ·  torch.sdpa.flash: 4Ki, 16Ki noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'torch.sdpa.math: 4Ki noisy' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'efficiency.svg'
plot NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'flash', \
     $curve1 using 1:2:3:4 with yerrorbars linecolor rgb '#0072B2' linewidth 1 pointtype -1 notitle, \
     $curve1 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 1 pointtype 5 pointsize 0.8 title 'onnxruntime.gqa', \
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
