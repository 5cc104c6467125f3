# Drawn by attnbench. `gnuplot scaling.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1000.0 0.00360851 0.003558745 0.003645244
2000.0 0.0135813565 0.013420186 0.013836637
4000.0 0.060515231 0.059748848 0.061037309
8000.0 0.257768101 0.247490418 0.339013613
16000.0 1.047200983 1.036873578 1.064954074
32000.0 4.357865118 4.331078848 4.402971057
64000.0 16.51027594 16.291986512 18.200457641
EOD
$predicted0 << EOD
# n value low high
64000 16.51027594 16.291986512 18.200457641
100000 40.30829086914063 35.59589655638048 45.6445396793921
EOD
$curve1 << EOD
# x value low high
1000.0 0.002551784 0.002500958 0.002600346
2000.0 0.009918014 0.009745518 0.010025495
4000.0 0.038911611 0.03869976 0.039299956
8000.0 0.154644531 0.153158967 0.157130727
16000.0 0.61042426 0.605146551 0.630201672
32000.0 2.438820368 2.407086492 2.448999542
64000.0 9.77940543 9.555144806 10.583032188
100000.0 23.2879258745 23.046999447 23.528852302
EOD
$curve2 << EOD
# x value low high
1000.0 0.000541657 0.000534907 0.000552344
2000.0 0.0019034125 0.00188454 0.00193852
4000.0 0.006503384 0.006475153 0.006604285
8000.0 0.02235153 0.022035248 0.022752257
16000.0 0.085035203 0.084109283 0.090934618
32000.0 0.318428712 0.314033134 0.345619
64000.0 1.268558401 1.262978202 1.406211391
100000.0 3.171457902 3.119477344 3.221367032
EOD
$curve3 << EOD
# x value low high
1000.0 0.000835956 0.000827133 0.000849867
2000.0 0.0019312185 0.001899792 0.001960583
4000.0 0.004687227 0.004644744 0.004780797
8000.0 0.0104249955 0.01035068 0.010619721
16000.0 0.025257432 0.024827641 0.025681855
32000.0 0.056486566 0.056098608 0.05793878
64000.0 0.158954396 0.156496933 0.16158018
100000.0 0.27524344 0.272092633 0.292608346
EOD
$curve4 << EOD
# x value low high
1000.0 0.00127792 0.001255141 0.00129412
2000.0 0.00273725 0.00269015 0.002766565
4000.0 0.0056748 0.005596593 0.005767247
8000.0 0.011488116 0.011435237 0.011622126
16000.0 0.022614772 0.022395916 0.023047377
32000.0 0.044579225 0.043754956 0.045274922
64000.0 0.0897008285 0.088310946 0.102286811
100000.0 0.139063895 0.137196571 0.141345326
EOD
$curve5 << EOD
# x value low high
1000.0 0.000257324 0.000255121 0.000260418
2000.0 0.0005198150000000001 0.000510932 0.000529169
4000.0 0.001060451 0.00103992 0.001076204
8000.0 0.0021015484999999997 0.002070126 0.002142183
16000.0 0.004280241 0.004223526 0.004356164
32000.0 0.007983181 0.007920698 0.008104131
64000.0 0.016028674 0.015899812 0.01622037
100000.0 0.025449188 0.025013938 0.025852498
EOD
$guide0 << EOD
892.8571428571428 0.005428224048848055
112000.00000000001 85.41415631280003
EOD
$guide1 << EOD
892.8571428571428 0.0001392156284877232
112000.00000000001 0.017463208437500002
EOD
set logscale x
set logscale y
set xrange [892.8571428571428:112000.00000000001]
set yrange [0.00010204840000000001:114.11134919848026]
set xtics ('1k' 1000.0, '2k' 2000.0, '4k' 4000.0, '8k' 8000.0, '16k' 16000.0, '32k' 32000.0, '64k' 64000.0, '100k' 100000.0)
set format y '%.0s %cs'
set ytics 10
set mytics 10
set lmargin at screen 0.13
set rmargin at screen 0.77
set tmargin at screen 0.865
set bmargin at screen 0.255
set border 3 linecolor rgb '#404040'
set tics nomirror out textcolor rgb '#303030'
set grid xtics ytics linecolor rgb '#e4e4e4' linetype 1 linewidth 0.8
set key at screen 0.78, screen 0.875 left top Left reverse samplen 2.2 spacing 1.25 font ',12' textcolor rgb '#202020'
set xlabel 'sequence length n' textcolor rgb '#303030' offset 0,0.2
set ylabel 'time (median, 95% interval)' textcolor rgb '#303030'
set label '{/:Bold Attention time against sequence length}' at screen 0.02, screen 0.955 left font ',19.0' textcolor rgb '#000000'
set label 'AMD EPYC · avx512 · batch 1 · 4 heads · d = 64 · fp32 · not causal · 2 threads' at screen 0.02, screen 0.905 left font ',13.0' textcolor rgb '#505050'
set label 'full: 100k skipped (memory)  ·  full: 8k noisy, 64k with few samples  ·  flash: 16k, 64k noisy, 100k with few samples' at screen 0.02, screen 0.11 left font ',11.5' textcolor rgb '#606060'
set label 'fixed: 16k, 32k, 64k noisy  ·  strided: 32k, 100k noisy  ·  window(512): 64k noisy' at screen 0.02, screen 0.08 left font ',11.5' textcolor rgb '#606060'
set label 'bars over fewer than 6 samples span all of them (2: 50.0% sure, not 95%)' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'predicted times were not measured; their bars are 95% prediction intervals' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set label 'n²' at 112000.00000000001,85.41415631280003 right offset -3,-0.4 font ',13' textcolor rgb '#707070' front
set label 'n' at 112000.00000000001,0.017463208437500002 right offset 0,-0.9 font ',13' textcolor rgb '#707070' front
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'scaling.svg'
plot $guide0 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     $guide1 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'full  n^{2.04}', \
     $curve1 using 1:2:3:4 with yerrorbars linecolor rgb '#0072B2' linewidth 1 pointtype -1 notitle, \
     $curve1 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 1 pointtype 5 pointsize 0.8 title 'flash  n^{1.98}', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold restricted softmax}', \
     $curve2 using 1:2:3:4 with yerrorbars linecolor rgb '#D55E00' linewidth 1 pointtype -1 notitle, \
     $curve2 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 1 pointtype 9 pointsize 0.8 title 'fixed  n^{1.88}', \
     $curve3 using 1:2:3:4 with yerrorbars linecolor rgb '#009E73' linewidth 1 pointtype -1 notitle, \
     $curve3 using 1:2 with linespoints linecolor rgb '#009E73' linewidth 1.8 dashtype 1 pointtype 11 pointsize 0.8 title 'strided  n^{1.26}', \
     $curve4 using 1:2:3:4 with yerrorbars linecolor rgb '#CC79A7' linewidth 1 pointtype -1 notitle, \
     $curve4 using 1:2 with linespoints linecolor rgb '#CC79A7' linewidth 1.8 dashtype 1 pointtype 13 pointsize 0.8 title 'window(512)  n^{1.01}', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold different operator}', \
     $curve5 using 1:2:3:4 with yerrorbars linecolor rgb '#E69F00' linewidth 1 pointtype -1 notitle, \
     $curve5 using 1:2 with linespoints linecolor rgb '#E69F00' linewidth 1.8 dashtype 1 pointtype 15 pointsize 0.8 title 'linear(elu)  n^{0.99}', \
     $predicted0 using 1:2 with lines linecolor rgb '#000000' linewidth 1.2 dashtype (2,4) notitle, \
     $predicted0 every ::1 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype 6 pointsize 1.1 notitle, \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold not measured}', \
     NaN with linespoints linecolor rgb '#606060' linewidth 1.2 dashtype (2,4) pointtype 6 pointsize 1.1 title 'predicted'
set terminal pngcairo enhanced size 1800,1200 font 'sans-serif,14' fontscale 1.5 linewidth 2 pointscale 2 background '#ffffff'
set output 'scaling.png'
replot
set output
