# Drawn by attnbench. `gnuplot efficiency.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1000.0 60.37181639512888 59.76343508966382 61.21604756170687
2000.0 63.89204207217041 62.71325907409041 64.6593572469968
4000.0 57.47461412617766 56.98300936696775 58.2118261172417
8000.0 53.75416297901558 40.87183517301811 55.98644433961622
16000.0 52.48800768463876 51.613017485921425 53.010795538918885
32000.0 50.401202949887214 49.884871237424576 50.712917485207655
64000.0 52.07841784907284 47.2421664425561 52.7761945158437
EOD
$curve1 << EOD
# x value low high
1000.0 85.38584041804306 83.79124216750986 87.12110375516725
2000.0 87.49136680943838 86.55339221605965 89.03996697714221
4000.0 89.3843626901365 88.50110545878233 89.87367235562972
8000.0 89.58642029391243 88.1689419684348 90.45536295841542
16000.0 90.00173722080021 87.17724227447215 90.7866759728445
32000.0 90.06060762920124 89.68627411876918 91.2479235667416
64000.0 88.09791521020162 81.40816498273749 90.16558596132755
100000.0 89.41836239263105 88.50275264135024 90.35311516397114
EOD
$curve2 << EOD
# x value low high
1000.0 61.078955608776624 59.8971725196311 61.84971192783627
2000.0 62.890493455668214 61.75151733006988 63.52030276602623
4000.0 74.13270052317668 73.00009288805963 74.45591146019544
8000.0 81.82913310975967 80.38790716792565 83.00366411019229
16000.0 85.28209413585134 79.7493885893624 86.22092506848772
32000.0 88.47902473357507 81.51826689194881 89.71748148374833
64000.0 87.04112441571459 78.52073330989036 87.42569700347129
100000.0 84.43320714940994 83.12507061294066 85.84013681658561
EOD
$curve3 << EOD
# x value low high
1000.0 24.04798139105412 23.654353365573716 24.304500402885676
2000.0 27.859814007530776 27.442545517278568 28.3206731146897
4000.0 34.9492006418744 34.26517312427427 35.268862369381615
8000.0 41.61752105562375 40.85441319277905 41.916325277762695
16000.0 51.386249263853394 50.537030775885434 52.275796017705716
32000.0 61.07266087550936 59.54189731540908 61.49501765427187
64000.0 64.16084673519157 63.118190855097126 65.16836109267999
100000.0 68.92037937422866 64.83028445493399 69.71847086013442
EOD
$curve4 << EOD
# x value low high
1000.0 76.24926544872008 75.29476501578553 77.63307971154505
2000.0 76.0993211164787 75.29295958203814 77.43169218299401
4000.0 76.45957105004373 75.23395023566499 77.52801995692525
8000.0 76.10289439784694 75.22538292720418 76.45481058050794
16000.0 77.2667582060023 75.81644193210668 78.02181969283467
32000.0 78.53083779022909 77.3241285162043 80.01022529400157
64000.0 76.6799630891423 67.24480068545184 77.88679127551734
100000.0 77.17423533162194 75.92857905228479 78.22462092629097
EOD
$curve5 << EOD
# x value low high
1000.0 55.03802362525653 54.384122416059995 55.51328346684715
2000.0 54.25308913573524 53.294069624434194 55.196326573971135
4000.0 53.55302128836695 52.7691357570405 54.61031134920958
8000.0 53.570441823995964 52.55427835042849 54.38358904702224
16000.0 52.14441852853457 51.23560042895385 52.84463221180439
32000.0 55.78748997302671 54.954890288712924 56.2275736292884
64000.0 54.41110118307985 53.768058487235564 54.85208270667611
100000.0 53.83623487256179 52.99636663675522 54.773001455587725
EOD
set logscale x
set xrange [892.8571428571428:112000.00000000001]
set yrange [0.0:100.0]
set xtics ('1k' 1000.0, '2k' 2000.0, '4k' 4000.0, '8k' 8000.0, '16k' 16000.0, '32k' 32000.0, '64k' 64000.0, '100k' 100000.0)
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
set label 'AMD EPYC · avx512 · batch 1 · 4 heads · d = 64 · fp32 · not causal · 2 threads' at screen 0.02, screen 0.905 left font ',13.0' textcolor rgb '#505050'
set label 'useful work only: masked-out pairs do not count  ·  full: 100k skipped (memory)  ·  full: 8k noisy, 64k with few samples' at screen 0.02, screen 0.08 left font ',11.5' textcolor rgb '#606060'
set label 'flash: 16k, 64k noisy, 100k with few samples  ·  fixed: 16k, 32k, 64k noisy  ·  strided: 32k, 100k noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'window(512): 64k noisy  ·  bars over fewer than 6 samples span all of them (2: 50.0% sure, not 95%)' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'efficiency.svg'
plot NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'full', \
     $curve1 using 1:2:3:4 with yerrorbars linecolor rgb '#0072B2' linewidth 1 pointtype -1 notitle, \
     $curve1 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 1 pointtype 5 pointsize 0.8 title 'flash', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold restricted softmax}', \
     $curve2 using 1:2:3:4 with yerrorbars linecolor rgb '#D55E00' linewidth 1 pointtype -1 notitle, \
     $curve2 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 1 pointtype 9 pointsize 0.8 title 'fixed', \
     $curve3 using 1:2:3:4 with yerrorbars linecolor rgb '#009E73' linewidth 1 pointtype -1 notitle, \
     $curve3 using 1:2 with linespoints linecolor rgb '#009E73' linewidth 1.8 dashtype 1 pointtype 11 pointsize 0.8 title 'strided', \
     $curve4 using 1:2:3:4 with yerrorbars linecolor rgb '#CC79A7' linewidth 1 pointtype -1 notitle, \
     $curve4 using 1:2 with linespoints linecolor rgb '#CC79A7' linewidth 1.8 dashtype 1 pointtype 13 pointsize 0.8 title 'window(512)', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold different operator}', \
     $curve5 using 1:2:3:4 with yerrorbars linecolor rgb '#E69F00' linewidth 1 pointtype -1 notitle, \
     $curve5 using 1:2 with linespoints linecolor rgb '#E69F00' linewidth 1.8 dashtype 1 pointtype 15 pointsize 0.8 title 'linear(elu)'
set terminal pngcairo enhanced size 1800,1200 font 'sans-serif,14' fontscale 1.5 linewidth 2 pointscale 2 background '#ffffff'
set output 'efficiency.png'
replot
set output
