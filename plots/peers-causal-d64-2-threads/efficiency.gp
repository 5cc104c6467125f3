# Drawn by attnbench. `gnuplot efficiency.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1024.0 81.70592986260563 79.82314138129333 82.64093992639368
4096.0 88.2966484963964 83.8898648629517 88.80550979273812
16384.0 88.74956553202561 86.5082893280611 89.56083369353574
EOD
$curve1 << EOD
# x value low high
1024.0 32.87541607938982 30.648056589567254 33.18653344592429
4096.0 43.50273391949394 41.15215064760534 44.73694608217455
16384.0 54.45656732455581 49.242699270875924 55.38052495161814
EOD
$curve2 << EOD
# x value low high
1024.0 34.570901014549264 31.270865298060947 35.07768527710819
4096.0 33.205543137856 30.117295141057948 34.01317056857248
16384.0 30.90626077995138 30.358657589223725 32.40265832341736
EOD
$curve3 << EOD
# x value low high
1024.0 22.96280961134525 22.336528300082033 23.079337963253714
4096.0 30.947583586951524 28.32881966323116 31.25769366909927
16384.0 32.78793824179872 31.761060772520757 33.20874396308653
EOD
$curve4 << EOD
# x value low high
1024.0 9.375811161637225 6.740307467853196 9.840340365595441
4096.0 4.44769211491781 1.522703911096354 5.063474150065911
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
set label 'useful work only: masked-out pairs do not count  ·  torch.sdpa.math: 16Ki skipped (memory)  ·  flash: 4Ki noisy' at screen 0.02, screen 0.08 left font ',11.5' textcolor rgb '#606060'
set label 'onnxruntime.gqa: 1Ki, 4Ki, 16Ki noisy  ·  openvino.sdpa: 1Ki, 4Ki, 16Ki noisy  ·  torch.sdpa.flash: 4Ki, 16Ki noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'torch.sdpa.math: 1Ki, 4Ki noisy' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
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
