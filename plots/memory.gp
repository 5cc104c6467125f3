# Drawn by attnbench plot. `gnuplot memory.gp` draws it again.
set encoding utf8
$curve0 << EOD
# n value low high
1000 4001024.0 4001024.0 4001024.0
2000 16002048.0 16002048.0 16002048.0
4000 64002048.0 64002048.0 64002048.0
8000 256002048.0 256002048.0 256002048.0
16000 1024002048.0 1024002048.0 1024002048.0
32000 4096002048.0 4096002048.0 4096002048.0
64000 16384002048.0 16384002048.0 16384002048.0
EOD
$curve1 << EOD
# n value low high
1000 4550656.0 4550656.0 4550656.0
2000 16134144.0 16134144.0 16134144.0
4000 64004096.0 64004096.0 64004096.0
8000 256004096.0 256004096.0 256004096.0
16000 1024004096.0 1024004096.0 1024004096.0
32000 4096004096.0 4096004096.0 4096004096.0
64000 16384004096.0 16384004096.0 16384004096.0
EOD
$curve2 << EOD
# n value low high
1000 1010912.0 1010912.0 1010912.0
2000 1018912.0 1018912.0 1018912.0
4000 1034912.0 1034912.0 1034912.0
8000 1066912.0 1066912.0 1066912.0
16000 1130912.0 1130912.0 1130912.0
32000 1258912.0 1258912.0 1258912.0
64000 1514912.0 1514912.0 1514912.0
100000 1802912.0 1802912.0 1802912.0
EOD
$curve3 << EOD
# n value low high
1000 1073152.0 1073152.0 1073152.0
2000 978944.0 978944.0 978944.0
4000 978944.0 978944.0 978944.0
16000 847872.0 847872.0 847872.0
EOD
$curve4 << EOD
# n value low high
1000 1054624.0 1054624.0 1054624.0
2000 1078624.0 1078624.0 1078624.0
4000 1126624.0 1126624.0 1126624.0
8000 1222624.0 1222624.0 1222624.0
16000 1414624.0 1414624.0 1414624.0
32000 1798624.0 1798624.0 1798624.0
64000 2566624.0 2566624.0 2566624.0
100000 3430624.0 3430624.0 3430624.0
EOD
$curve5 << EOD
# n value low high
1000 1036288.0 1036288.0 1036288.0
2000 987136.0 987136.0 987136.0
4000 1073152.0 1073152.0 1073152.0
16000 1404928.0 1404928.0 1404928.0
EOD
$curve6 << EOD
# n value low high
1000 1058784.0 1058784.0 1058784.0
2000 1098784.0 1098784.0 1098784.0
4000 1180832.0 1180832.0 1180832.0
8000 1340832.0 1340832.0 1340832.0
16000 1664928.0 1664928.0 1664928.0
32000 2304928.0 2304928.0 2304928.0
64000 3593120.0 3593120.0 3593120.0
100000 5033120.0 5033120.0 5033120.0
EOD
$curve7 << EOD
# n value low high
1000 1064960.0 1064960.0 1064960.0
2000 999424.0 999424.0 999424.0
4000 1044480.0 1044480.0 1044480.0
16000 1617920.0 1617920.0 1617920.0
EOD
$curve8 << EOD
# n value low high
1000 1010912.0 1010912.0 1010912.0
2000 1018912.0 1018912.0 1018912.0
4000 1034912.0 1034912.0 1034912.0
8000 1066912.0 1066912.0 1066912.0
16000 1130912.0 1130912.0 1130912.0
32000 1258912.0 1258912.0 1258912.0
64000 1514912.0 1514912.0 1514912.0
100000 1802912.0 1802912.0 1802912.0
EOD
$curve9 << EOD
# n value low high
1000 1019904.0 1019904.0 1019904.0
2000 978944.0 978944.0 978944.0
4000 978944.0 978944.0 978944.0
16000 1110016.0 1110016.0 1110016.0
EOD
$curve10 << EOD
# n value low high
1000 425856.0 425856.0 425856.0
2000 425856.0 425856.0 425856.0
4000 525184.0 525184.0 525184.0
8000 723840.0 723840.0 723840.0
16000 1121152.0 1121152.0 1121152.0
32000 1915776.0 1915776.0 1915776.0
64000 3505024.0 3505024.0 3505024.0
100000 5193600.0 5193600.0 5193600.0
EOD
$curve11 << EOD
# n value low high
1000 434176.0 434176.0 434176.0
2000 413696.0 413696.0 413696.0
4000 520192.0 520192.0 520192.0
8000 561152.0 561152.0 561152.0
16000 1105920.0 1105920.0 1105920.0
32000 1646592.0 1646592.0 1646592.0
64000 3203072.0 3203072.0 3203072.0
100000 2572288.0 2572288.0 2572288.0
EOD
$guide0 << EOD
892.8571428571428 5804408.163265305
75003.75965674163 40960010240.0
EOD
$guide1 << EOD
14685.433343391138 165478.4
112000.00000000001 1262038.4
EOD
set logscale x
set logscale y
set xrange [892.8571428571428:112000.00000000001]
set yrange [165478.4:40960010240.0]
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
set label 'n²' at 75003.75965674163,40960010240.0 right offset -3,-0.4 font ',13' textcolor rgb '#707070' front
set label 'n' at 112000.00000000001,1262038.4 right offset 0,-0.9 font ',13' textcolor rgb '#707070' front
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
