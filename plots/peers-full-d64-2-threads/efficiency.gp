# Drawn by attnbench. `gnuplot efficiency.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1024.0 85.40781828749829 84.39812614421139 86.05885961350106
4096.0 89.35605995096564 85.93629285200225 90.79561156738777
16384.0 89.21097261260319 87.93401817197015 90.94073646290232
EOD
$curve1 << EOD
# x value low high
1024.0 67.05890838277458 65.40815027242537 67.94744017405094
4096.0 72.28824481265875 70.25221955343179 74.11328254841206
16384.0 65.13454051857259 62.51589971507048 66.23966075883561
EOD
$curve2 << EOD
# x value low high
1024.0 66.75787004821382 64.37882966573372 68.67972938714732
4096.0 73.90327747243298 71.81259600000669 74.49699142338628
16384.0 64.60011807045356 63.09837352490836 67.42401500828873
EOD
$curve3 << EOD
# x value low high
1024.0 33.515586481698854 32.86981951724948 33.82143132116071
4096.0 33.163036661179405 24.921562409578993 34.32562006993341
16384.0 33.20965570658135 31.523336329180477 33.661864226640304
EOD
$curve4 << EOD
# x value low high
1024.0 6.805773095906966 5.533079269182384 9.064901457010533
4096.0 7.670244134316528 3.0816730306878997 11.047786317518943
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
set label 'useful work only: masked-out pairs do not count  ·  torch.sdpa.math: 16Ki skipped (memory)  ·  flash: 4Ki noisy' at screen 0.02, screen 0.08 left font ',11.5' textcolor rgb '#606060'
set label 'onnxruntime.mha: 4Ki, 16Ki noisy  ·  openvino.sdpa: 1Ki, 16Ki noisy  ·  torch.sdpa.flash: 4Ki, 16Ki noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
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
