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
1000.0 4616192.0 4616192.0 4616192.0
2000.0 16142336.0 16142336.0 16142336.0
4000.0 64016384.0 64016384.0 64016384.0
8000.0 256016384.0 256016384.0 256016384.0
16000.0 1024012288.0 1024012288.0 1024012288.0
32000.0 4096012288.0 4096012288.0 4096012288.0
64000.0 16384012288.0 16384012288.0 16384012288.0
EOD
$curve2 << EOD
# x value low high
1000.0 1045472.0 1045472.0 1045472.0
2000.0 1053472.0 1053472.0 1053472.0
4000.0 1069472.0 1069472.0 1069472.0
8000.0 1101472.0 1101472.0 1101472.0
16000.0 1165472.0 1165472.0 1165472.0
32000.0 1293472.0 1293472.0 1293472.0
64000.0 1549472.0 1549472.0 1549472.0
100000.0 1837472.0 1837472.0 1837472.0
EOD
$curve3 << EOD
# x value low high
1000.0 1294336.0 1294336.0 1294336.0
2000.0 1019904.0 1019904.0 1019904.0
4000.0 1036288.0 1036288.0 1036288.0
8000.0 1073152.0 1073152.0 1073152.0
16000.0 1142784.0 1142784.0 1142784.0
32000.0 1286144.0 1286144.0 1286144.0
64000.0 1564672.0 1564672.0 1564672.0
100000.0 1892352.0 1892352.0 1892352.0
EOD
$curve4 << EOD
# x value low high
1000.0 1089184.0 1089184.0 1089184.0
2000.0 1113184.0 1113184.0 1113184.0
4000.0 1161184.0 1161184.0 1161184.0
8000.0 1257184.0 1257184.0 1257184.0
16000.0 1449184.0 1449184.0 1449184.0
32000.0 1833184.0 1833184.0 1833184.0
64000.0 2601184.0 2601184.0 2601184.0
100000.0 3465184.0 3465184.0 3465184.0
EOD
$curve5 << EOD
# x value low high
1000.0 1081344.0 1081344.0 1081344.0
2000.0 1093632.0 1093632.0 1093632.0
4000.0 1138688.0 1138688.0 1138688.0
8000.0 1236992.0 1236992.0 1236992.0
16000.0 1437696.0 1437696.0 1437696.0
32000.0 1839104.0 1839104.0 1839104.0
64000.0 2633728.0 2633728.0 2633728.0
100000.0 3510272.0 3510272.0 3510272.0
EOD
$curve6 << EOD
# x value low high
1000.0 1093344.0 1093344.0 1093344.0
2000.0 1133344.0 1133344.0 1133344.0
4000.0 1215392.0 1215392.0 1215392.0
8000.0 1375392.0 1375392.0 1375392.0
16000.0 1699488.0 1699488.0 1699488.0
32000.0 2339488.0 2339488.0 2339488.0
64000.0 3627680.0 3627680.0 3627680.0
100000.0 5067680.0 5067680.0 5067680.0
EOD
$curve7 << EOD
# x value low high
1000.0 1093632.0 1093632.0 1093632.0
2000.0 1118208.0 1118208.0 1118208.0
4000.0 1212416.0 1212416.0 1212416.0
8000.0 1368064.0 1368064.0 1368064.0
16000.0 1708032.0 1708032.0 1708032.0
32000.0 2351104.0 2351104.0 2351104.0
64000.0 3698688.0 3698688.0 3698688.0
100000.0 5148672.0 5148672.0 5148672.0
EOD
$curve8 << EOD
# x value low high
1000.0 1045472.0 1045472.0 1045472.0
2000.0 1053472.0 1053472.0 1053472.0
4000.0 1069472.0 1069472.0 1069472.0
8000.0 1101472.0 1101472.0 1101472.0
16000.0 1165472.0 1165472.0 1165472.0
32000.0 1293472.0 1293472.0 1293472.0
64000.0 1549472.0 1549472.0 1549472.0
100000.0 1837472.0 1837472.0 1837472.0
EOD
$curve9 << EOD
# x value low high
1000.0 1040384.0 1040384.0 1040384.0
2000.0 1019904.0 1019904.0 1019904.0
4000.0 1048576.0 1048576.0 1048576.0
8000.0 1069056.0 1069056.0 1069056.0
16000.0 1134592.0 1134592.0 1134592.0
32000.0 1290240.0 1290240.0 1290240.0
64000.0 1572864.0 1572864.0 1572864.0
100000.0 1875968.0 1875968.0 1875968.0
EOD
$curve10 << EOD
# x value low high
1000.0 436576.0 436576.0 436576.0
2000.0 436576.0 436576.0 436576.0
4000.0 535904.0 535904.0 535904.0
8000.0 734560.0 734560.0 734560.0
16000.0 1131872.0 1131872.0 1131872.0
32000.0 1926496.0 1926496.0 1926496.0
64000.0 3515744.0 3515744.0 3515744.0
100000.0 5204320.0 5204320.0 5204320.0
EOD
$curve11 << EOD
# x value low high
1000.0 454656.0 454656.0 454656.0
2000.0 446464.0 446464.0 446464.0
4000.0 540672.0 540672.0 540672.0
8000.0 737280.0 737280.0 737280.0
16000.0 1134592.0 1134592.0 1134592.0
32000.0 1929216.0 1929216.0 1929216.0
64000.0 3510272.0 3510272.0 3510272.0
100000.0 5222400.0 5222400.0 5222400.0
EOD
$guide0 << EOD
892.8571428571428 5887999.999999999
74469.46151784477 40960030720.0
EOD
$guide1 << EOD
15206.144093624283 174630.4
112000.00000000001 1286230.4000000001
EOD
set logscale x
set logscale y
set xrange [892.8571428571428:112000.00000000001]
set yrange [174630.4:40960030720.0]
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
set label 'workspace that the plan allocates (solid), growth of the resident set as measured (dashed)  ·  full: 100k skipped (memory)' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set label 'n²' at 74469.46151784477,40960030720.0 right offset -3,-0.4 font ',13' textcolor rgb '#707070' front
set label 'n' at 112000.00000000001,1286230.4000000001 right offset 0,-0.9 font ',13' textcolor rgb '#707070' front
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'memory.svg'
plot $guide0 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     $guide1 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'full', \
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
