# Drawn by attnbench. `gnuplot memory.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1000.0 4001024.0 4001024.0 4001024.0
2000.0 16002048.0 16002048.0 16002048.0
4000.0 64002048.0 64002048.0 64002048.0
8000.0 256002048.0 256002048.0 256002048.0
16000.0 1024002048.0 1024002048.0 1024002048.0
32000.0 4096002048.0 4096002048.0 4096002048.0
64000.0 16384002048.0 16384002048.0 16384002048.0
EOD
$curve1 << EOD
# x value low high
1000.0 4542464.0 4542464.0 4542464.0
2000.0 16134144.0 16134144.0 16134144.0
4000.0 64008192.0 64008192.0 64008192.0
8000.0 256008192.0 256008192.0 256008192.0
16000.0 1024008192.0 1024008192.0 1024008192.0
32000.0 4096008192.0 4096008192.0 4096008192.0
64000.0 16384012288.0 16384012288.0 16384012288.0
EOD
$curve2 << EOD
# x value low high
1000.0 1044704.0 1044704.0 1044704.0
2000.0 1052704.0 1052704.0 1052704.0
4000.0 1068704.0 1068704.0 1068704.0
8000.0 1100704.0 1100704.0 1100704.0
16000.0 1164704.0 1164704.0 1164704.0
32000.0 1292704.0 1292704.0 1292704.0
64000.0 1548704.0 1548704.0 1548704.0
100000.0 1836704.0 1836704.0 1836704.0
EOD
$curve3 << EOD
# x value low high
1000.0 1171456.0 1171456.0 1171456.0
2000.0 1003520.0 1003520.0 1003520.0
4000.0 1032192.0 1032192.0 1032192.0
8000.0 1073152.0 1073152.0 1073152.0
16000.0 1130496.0 1130496.0 1130496.0
32000.0 1265664.0 1265664.0 1265664.0
64000.0 1531904.0 1531904.0 1531904.0
100000.0 1851392.0 1851392.0 1851392.0
EOD
$curve4 << EOD
# x value low high
1000.0 1088416.0 1088416.0 1088416.0
2000.0 1112416.0 1112416.0 1112416.0
4000.0 1160416.0 1160416.0 1160416.0
8000.0 1256416.0 1256416.0 1256416.0
16000.0 1448416.0 1448416.0 1448416.0
32000.0 1832416.0 1832416.0 1832416.0
64000.0 2600416.0 2600416.0 2600416.0
100000.0 3464416.0 3464416.0 3464416.0
EOD
$curve5 << EOD
# x value low high
1000.0 1056768.0 1056768.0 1056768.0
2000.0 1085440.0 1085440.0 1085440.0
4000.0 1134592.0 1134592.0 1134592.0
8000.0 1236992.0 1236992.0 1236992.0
16000.0 1417216.0 1417216.0 1417216.0
32000.0 1810432.0 1810432.0 1810432.0
64000.0 2605056.0 2605056.0 2605056.0
100000.0 3485696.0 3485696.0 3485696.0
EOD
$curve6 << EOD
# x value low high
1000.0 1092576.0 1092576.0 1092576.0
2000.0 1132576.0 1132576.0 1132576.0
4000.0 1214624.0 1214624.0 1214624.0
8000.0 1374624.0 1374624.0 1374624.0
16000.0 1698720.0 1698720.0 1698720.0
32000.0 2338720.0 2338720.0 2338720.0
64000.0 3626912.0 3626912.0 3626912.0
100000.0 5066912.0 5066912.0 5066912.0
EOD
$curve7 << EOD
# x value low high
1000.0 1073152.0 1073152.0 1073152.0
2000.0 1089536.0 1089536.0 1089536.0
4000.0 1191936.0 1191936.0 1191936.0
8000.0 1368064.0 1368064.0 1368064.0
16000.0 1712128.0 1712128.0 1712128.0
32000.0 2342912.0 2342912.0 2342912.0
64000.0 3678208.0 3678208.0 3678208.0
100000.0 5140480.0 5140480.0 5140480.0
EOD
$curve8 << EOD
# x value low high
1000.0 1044704.0 1044704.0 1044704.0
2000.0 1052704.0 1052704.0 1052704.0
4000.0 1068704.0 1068704.0 1068704.0
8000.0 1100704.0 1100704.0 1100704.0
16000.0 1164704.0 1164704.0 1164704.0
32000.0 1292704.0 1292704.0 1292704.0
64000.0 1548704.0 1548704.0 1548704.0
100000.0 1836704.0 1836704.0 1836704.0
EOD
$curve9 << EOD
# x value low high
1000.0 1028096.0 1028096.0 1028096.0
2000.0 1024000.0 1024000.0 1024000.0
4000.0 1040384.0 1040384.0 1040384.0
8000.0 1060864.0 1060864.0 1060864.0
16000.0 1146880.0 1146880.0 1146880.0
32000.0 1277952.0 1277952.0 1277952.0
64000.0 1556480.0 1556480.0 1556480.0
100000.0 1863680.0 1863680.0 1863680.0
EOD
$curve10 << EOD
# x value low high
1000.0 435808.0 435808.0 435808.0
2000.0 435808.0 435808.0 435808.0
4000.0 535136.0 535136.0 535136.0
8000.0 733792.0 733792.0 733792.0
16000.0 1131104.0 1131104.0 1131104.0
32000.0 1925728.0 1925728.0 1925728.0
64000.0 3514976.0 3514976.0 3514976.0
100000.0 5203552.0 5203552.0 5203552.0
EOD
$curve11 << EOD
# x value low high
1000.0 446464.0 446464.0 446464.0
2000.0 438272.0 438272.0 438272.0
4000.0 536576.0 536576.0 536576.0
8000.0 733184.0 733184.0 733184.0
16000.0 1130496.0 1130496.0 1130496.0
32000.0 1933312.0 1933312.0 1933312.0
64000.0 3514368.0 3514368.0 3514368.0
100000.0 5197824.0 5197824.0 5197824.0
EOD
$guide0 << EOD
892.8571428571428 5793959.183673468
75071.37984402713 40960030719.99999
EOD
$guide1 << EOD
15185.74141505654 174323.2
112000.00000000001 1285692.8
EOD
set logscale x
set logscale y
set xrange [892.8571428571428:112000.00000000001]
set yrange [174323.2:40960030720.0]
set xtics ('1k' 1000.0, '2k' 2000.0, '4k' 4000.0, '8k' 8000.0, '16k' 16000.0, '32k' 32000.0, '64k' 64000.0, '100k' 100000.0)
set ytics ('256 KiB' 262144.0, '1 MiB' 1048576.0, '4 MiB' 4194304.0, '16 MiB' 16777216.0, '64 MiB' 67108864.0, '256 MiB' 268435456.0, '1 GiB' 1073741824.0, '4 GiB' 4294967296.0, '16 GiB' 17179869184.0)
set lmargin at screen 0.13
set rmargin at screen 0.77
set tmargin at screen 0.865
set bmargin at screen 0.165
set border 3 linecolor rgb '#404040'
set tics nomirror out textcolor rgb '#303030'
set grid xtics ytics linecolor rgb '#e4e4e4' linetype 1 linewidth 0.8
set key at screen 0.78, screen 0.875 left top Left reverse samplen 2.2 spacing 1.25 font ',12' textcolor rgb '#202020'
set xlabel 'sequence length n' textcolor rgb '#303030' offset 0,0.2
set ylabel 'bytes' textcolor rgb '#303030'
set label '{/:Bold Memory beyond inputs and output}' at screen 0.02, screen 0.955 left font ',19.0' textcolor rgb '#000000'
set label 'AMD EPYC · avx512 · batch 1 · 4 heads · d = 64 · fp32 · not causal · 2 threads' at screen 0.02, screen 0.905 left font ',13.0' textcolor rgb '#505050'
set label 'workspace that the plan allocates (solid), growth of the resident set as measured (dashed)  ·  exact: 100k skipped (memory)' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set label 'n²' at 75071.37984402713,40960030719.99999 right offset -3,-0.4 font ',13' textcolor rgb '#707070' front
set label 'n' at 112000.00000000001,1285692.8 right offset 0,-0.9 font ',13' textcolor rgb '#707070' front
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'memory.svg'
plot $guide0 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     $guide1 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'exact', \
     $curve1 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 2 pointtype 6 pointsize 0.8 notitle, \
     $curve2 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 1 pointtype 5 pointsize 0.8 title 'flash', \
     $curve3 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 2 pointtype 4 pointsize 0.8 notitle, \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold restricted softmax}', \
     $curve4 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 1 pointtype 9 pointsize 0.8 title 'fixed', \
     $curve5 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 2 pointtype 8 pointsize 0.8 notitle, \
     $curve6 using 1:2 with linespoints linecolor rgb '#009E73' linewidth 1.8 dashtype 1 pointtype 11 pointsize 0.8 title 'strided', \
     $curve7 using 1:2 with linespoints linecolor rgb '#009E73' linewidth 1.8 dashtype 2 pointtype 10 pointsize 0.8 notitle, \
     $curve8 using 1:2 with linespoints linecolor rgb '#CC79A7' linewidth 1.8 dashtype 1 pointtype 13 pointsize 0.8 title 'window(512)', \
     $curve9 using 1:2 with linespoints linecolor rgb '#CC79A7' linewidth 1.8 dashtype 2 pointtype 12 pointsize 0.8 notitle, \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold different operator}', \
     $curve10 using 1:2 with linespoints linecolor rgb '#E69F00' linewidth 1.8 dashtype 1 pointtype 15 pointsize 0.8 title 'linear(elu)', \
     $curve11 using 1:2 with linespoints linecolor rgb '#E69F00' linewidth 1.8 dashtype 2 pointtype 14 pointsize 0.8 notitle
set terminal pngcairo enhanced size 1800,1200 font 'sans-serif,14' fontscale 1.5 linewidth 2 pointscale 2 background '#ffffff'
set output 'memory.png'
replot
set output
