# Drawn by attnbench. `gnuplot scaling.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1000.0 0.003084278 0.003076717 0.003127583
2000.0 0.011238995 0.011130703 0.011375317
4000.0 0.049469084 0.048570314 0.049898775
8000.0 0.2125627905 0.20772537 0.215568431
16000.0 0.955548371 0.915498828 0.967691313
32000.0 3.742801624 3.673163002 3.95048435
64000.0 15.619675467 15.351437811 15.684482837
EOD
$predicted0 << EOD
# n value low high
64000 15.619675467 15.351437811 15.684482837
100000 38.13397330810547 32.5617759408027 44.659723809507064
EOD
$curve1 << EOD
# x value low high
1000.0 0.002135964 0.002123495 0.002169003
2000.0 0.0083359765 0.008264961 0.008411099
4000.0 0.033549132 0.033041406 0.033796692
8000.0 0.139094551 0.13637063 0.139682847
16000.0 0.551928338 0.540350018 0.565504466
32000.0 2.201314715 2.166839182 2.210665163
64000.0 9.2605907895 8.658187508 9.992129085
100000.0 21.371125063999997 21.324324758 21.41792537
EOD
$curve2 << EOD
# x value low high
1000.0 0.000441057 0.000434228 0.00044942
2000.0 0.001374334 0.001363102 0.001392275
4000.0 0.005327852500000001 0.005227893 0.005405418
8000.0 0.020212236 0.019823821 0.020390066
16000.0 0.07548684 0.074386479 0.081738829
32000.0 0.311331236 0.290937054 0.316843524
64000.0 1.16280004 1.151506269 1.192887397
100000.0 2.801926151 2.786758896 2.82891637
EOD
$curve3 << EOD
# x value low high
1000.0 0.000587486 0.000577661 0.000598613
2000.0 0.001286307 0.001263504 0.001304715
4000.0 0.003182194 0.003148073 0.003243796
8000.0 0.00896167 0.00881508 0.009124102
16000.0 0.0207380545 0.020639217 0.021103489
32000.0 0.054439333 0.053629777 0.055485423
64000.0 0.137671649 0.136213766 0.195366016
100000.0 0.24568235249999998 0.24333989 0.247851647
EOD
$curve4 << EOD
# x value low high
1000.0 0.0010699255 0.001054462 0.001084116
2000.0 0.002262363 0.002218608 0.00230107
4000.0 0.004750692 0.0046688 0.004841657
8000.0 0.010125569 0.010098875 0.010294486
16000.0 0.020187664 0.019808418 0.020209317
32000.0 0.040412288500000004 0.039775714 0.041131636
64000.0 0.081154398 0.079991054 0.116034264
100000.0 0.1261568245 0.124645802 0.128672424
EOD
$curve5 << EOD
# x value low high
1000.0 0.0002111395 0.000208381 0.00021495
2000.0 0.000410141 0.000407096 0.000416451
4000.0 0.0008443035 0.000835666 0.000860843
8000.0 0.001903027 0.001889046 0.001930057
16000.0 0.003681223 0.003609371 0.003726745
32000.0 0.007490026 0.007380472 0.007629584
64000.0 0.014681416 0.014550641 0.01497315
100000.0 0.022489085 0.022463486 0.022679308
EOD
$guide0 << EOD
892.8571428571428 0.004864027207666513
112000.00000000001 76.53640978830003
EOD
$guide1 << EOD
892.8571428571428 0.00011443666294642853
112000.00000000001 0.014354935
EOD
set logscale x
set logscale y
set xrange [892.8571428571428:112000.00000000001]
set yrange [8.33524e-05:111.64930952376766]
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
set label 'exact: 100k skipped (memory)  ·  exact: 8k, 16k, 32k noisy, 64k with few samples  ·  flash: 16k, 64k noisy, 100k with few samples' at screen 0.02, screen 0.11 left font ',11.5' textcolor rgb '#606060'
set label 'fixed: 16k, 32k, 64k noisy  ·  strided: 64k noisy  ·  window(512): 64k noisy' at screen 0.02, screen 0.08 left font ',11.5' textcolor rgb '#606060'
set label 'bars over fewer than 6 samples span all of them (2: 50.0% sure, not 95%)' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'predicted times were not measured; their bars are 95% prediction intervals' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set label 'n²' at 112000.00000000001,76.53640978830003 right offset -3,-0.4 font ',13' textcolor rgb '#707070' front
set label 'n' at 112000.00000000001,0.014354935 right offset 0,-0.9 font ',13' textcolor rgb '#707070' front
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'scaling.svg'
plot $guide0 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     $guide1 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'exact  n^{2.07}', \
     $curve1 using 1:2:3:4 with yerrorbars linecolor rgb '#0072B2' linewidth 1 pointtype -1 notitle, \
     $curve1 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 1 pointtype 5 pointsize 0.8 title 'flash  n^{2.01}', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold restricted softmax}', \
     $curve2 using 1:2:3:4 with yerrorbars linecolor rgb '#D55E00' linewidth 1 pointtype -1 notitle, \
     $curve2 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 1 pointtype 9 pointsize 0.8 title 'fixed  n^{1.92}', \
     $curve3 using 1:2:3:4 with yerrorbars linecolor rgb '#009E73' linewidth 1 pointtype -1 notitle, \
     $curve3 using 1:2 with linespoints linecolor rgb '#009E73' linewidth 1.8 dashtype 1 pointtype 11 pointsize 0.8 title 'strided  n^{1.33}', \
     $curve4 using 1:2:3:4 with yerrorbars linecolor rgb '#CC79A7' linewidth 1 pointtype -1 notitle, \
     $curve4 using 1:2 with linespoints linecolor rgb '#CC79A7' linewidth 1.8 dashtype 1 pointtype 13 pointsize 0.8 title 'window(512)  n^{1.03}', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold different operator}', \
     $curve5 using 1:2:3:4 with yerrorbars linecolor rgb '#E69F00' linewidth 1 pointtype -1 notitle, \
     $curve5 using 1:2 with linespoints linecolor rgb '#E69F00' linewidth 1.8 dashtype 1 pointtype 15 pointsize 0.8 title 'linear(elu)  n^{1.02}', \
     $predicted0 using 1:2 with lines linecolor rgb '#000000' linewidth 1.2 dashtype (2,4) notitle, \
     $predicted0 every ::1 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype 6 pointsize 1.1 notitle, \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold not measured}', \
     NaN with linespoints linecolor rgb '#606060' linewidth 1.2 dashtype (2,4) pointtype 6 pointsize 1.1 title 'predicted'
set terminal pngcairo enhanced size 1800,1200 font 'sans-serif,14' fontscale 1.5 linewidth 2 pointscale 2 background '#ffffff'
set output 'scaling.png'
replot
set output
