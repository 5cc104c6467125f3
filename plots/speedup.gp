# Drawn by attnbench. `gnuplot speedup.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1000.0 0.7071572477282867 0.6860879546060565 0.7306918590682951
2000.0 0.730266818340274 0.7043270702266743 0.7470459053250081
4000.0 0.6430052460677214 0.634034505027081 0.657752531061352
8000.0 0.5999366500356845 0.45177822107102233 0.6348962043451719
16000.0 0.5829103198998812 0.5682372280403145 0.6077902700689707
32000.0 0.5596364967622662 0.5466959607134205 0.5654479237040203
64000.0 0.592322349156328 0.524994755322812 0.6495851307147216
EOD
$curve1 << EOD
# x value low high
1000.0 4.71106992063243 4.527899280158742 4.861304862340556
2000.0 5.210648768987279 5.02729814497658 5.319863202691373
4000.0 5.983286701200482 5.859795572117194 6.069347859425097
8000.0 6.918744757070321 6.7315944523657585 7.130880805153634
16000.0 7.1784888900659185 6.65474342235649 7.492653004781885
32000.0 7.658921058601022 6.964566450339825 7.798538679042704
64000.0 7.7090699350466885 6.794956197307606 8.379425845387631
100000.0 7.342971779576218 7.154415879363852 7.542562329313074
EOD
$curve2 << EOD
# x value low high
1000.0 3.0525338654187544 2.9427639854236016 3.1438063769671865
2000.0 5.135624995307366 4.970724524286908 5.277154025282768
4000.0 8.301627166766192 8.094834396858934 8.461167289305934
8000.0 14.83401417295576 14.422127191477065 15.180715373289486
16000.0 24.168104659254354 23.563194753650002 25.383066880981563
32000.0 43.17522803563594 41.54534306728585 43.65526399514227
64000.0 61.523340505788845 59.13562422074292 67.62453413703642
100000.0 84.60846832353207 78.76398524531491 86.47368376930662
EOD
$curve3 << EOD
# x value low high
1000.0 1.9968260924001502 1.9325549408091987 2.071756081587646
2000.0 3.623349712302493 3.5226058306961883 3.7267420032340204
4000.0 6.856913195178684 6.710265747244743 7.02212149427339
8000.0 13.461261272083256 13.17822290000986 13.740924390111024
16000.0 26.99228009019945 26.25663436667869 28.139133581319026
32000.0 54.7075542026583 53.16599975589135 55.97079201725172
64000.0 109.02246493743367 93.41521856615512 119.838283557737
100000.0 167.46205673658142 163.0545565192584 171.49737876466315
EOD
$curve4 << EOD
# x value low high
1000.0 9.91661873746716 9.603629549416707 10.192598806056733
2000.0 19.079891884612792 18.41664572187713 19.62197513563449
4000.0 36.69345495454292 35.959502101831994 37.79132625586583
8000.0 73.58599194831812 71.49667745472725 75.9039435280751
16000.0 142.61446026053207 138.9173022411461 149.21221557532735
32000.0 305.4948106525456 297.0196918090292 309.18986458011653
64000.0 610.1194290931365 589.0830360836404 665.6073787539124
100000.0 915.0753994390705 891.4805620331157 940.6296722251411
EOD
$guide0 << EOD
892.8571428571428 1.0
112000.00000000001 1.0
EOD
set logscale x
set logscale y
set xrange [892.8571428571428:112000.00000000001]
set yrange [0.32269872933644456:1316.8815411151975]
set xtics ('1k' 1000.0, '2k' 2000.0, '4k' 4000.0, '8k' 8000.0, '16k' 16000.0, '32k' 32000.0, '64k' 64000.0, '100k' 100000.0)
set ytics ('0.5×' 0.5, '1×' 1.0, '2×' 2.0, '5×' 5.0, '10×' 10.0, '20×' 20.0, '50×' 50.0, '100×' 100.0, '200×' 200.0, '500×' 500.0, '1000×' 1000.0)
set lmargin at screen 0.13
set rmargin at screen 0.77
set tmargin at screen 0.865
set bmargin at screen 0.195
set border 3 linecolor rgb '#404040'
set tics nomirror out textcolor rgb '#303030'
set grid xtics ytics linecolor rgb '#e4e4e4' linetype 1 linewidth 0.8
set key at screen 0.78, screen 0.875 left top Left reverse samplen 2.2 spacing 1.25 font ',12' textcolor rgb '#202020'
set xlabel 'sequence length n' textcolor rgb '#303030' offset 0,0.2
set ylabel 'time of flash / time of strategy' textcolor rgb '#303030'
set label '{/:Bold Times faster than flash}' at screen 0.02, screen 0.955 left font ',19.0' textcolor rgb '#000000'
set label 'AMD EPYC · avx512 · batch 1 · 4 heads · d = 64 · fp32 · not causal · 2 threads' at screen 0.02, screen 0.905 left font ',13.0' textcolor rgb '#505050'
set label 'full: 8k noisy, 64k with few samples  ·  flash: 16k, 64k noisy, 100k with few samples  ·  fixed: 16k, 32k, 64k noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'strided: 32k, 100k noisy  ·  window(512): 64k noisy' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set label 'as fast as flash' at 112000.00000000001,1.0 right offset 0,0.6 font ',13' textcolor rgb '#707070' front
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'speedup.svg'
plot $guide0 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'full', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold restricted softmax}', \
     $curve1 using 1:2:3:4 with yerrorbars linecolor rgb '#D55E00' linewidth 1 pointtype -1 notitle, \
     $curve1 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 1 pointtype 9 pointsize 0.8 title 'fixed', \
     $curve2 using 1:2:3:4 with yerrorbars linecolor rgb '#009E73' linewidth 1 pointtype -1 notitle, \
     $curve2 using 1:2 with linespoints linecolor rgb '#009E73' linewidth 1.8 dashtype 1 pointtype 11 pointsize 0.8 title 'strided', \
     $curve3 using 1:2:3:4 with yerrorbars linecolor rgb '#CC79A7' linewidth 1 pointtype -1 notitle, \
     $curve3 using 1:2 with linespoints linecolor rgb '#CC79A7' linewidth 1.8 dashtype 1 pointtype 13 pointsize 0.8 title 'window(512)', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold different operator}', \
     $curve4 using 1:2:3:4 with yerrorbars linecolor rgb '#E69F00' linewidth 1 pointtype -1 notitle, \
     $curve4 using 1:2 with linespoints linecolor rgb '#E69F00' linewidth 1.8 dashtype 1 pointtype 15 pointsize 0.8 title 'linear(elu)'
set terminal pngcairo enhanced size 1800,1200 font 'sans-serif,14' fontscale 1.5 linewidth 2 pointscale 2 background '#ffffff'
set output 'speedup.png'
replot
set output
