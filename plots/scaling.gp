# Drawn by attnbench plot. `gnuplot scaling.gp` draws it again.
set encoding utf8
$curve0 << EOD
# n value low high
1000 0.0031509625 0.003121453 0.003205889
2000 0.011580974 0.011521956 0.01180645
4000 0.0485814515 0.048254153 0.049527251
8000 0.2161604635 0.212900414 0.217493702
16000 0.9488883155000001 0.931540783 0.963830437
32000 3.837237871 3.758835015 3.926461488
64000 14.919702612 14.85529261 14.964209594
EOD
$curve1 << EOD
# n value low high
1000 0.0022394629999999997 0.002215372 0.002274631
2000 0.0086791235 0.00853945 0.008717426
4000 0.034095161 0.033664755 0.034652527
8000 0.134155102 0.133182547 0.136664749
16000 0.532948034 0.529737568 0.554559831
32000 2.2147304135 2.187366903 2.247823175
64000 8.599197367 8.543518257 9.220878379
100000 21.074119310500002 20.991273859 21.156964762
EOD
$curve2 << EOD
# n value low high
1000 0.0004599655 0.000453816 0.000467617
2000 0.0014232615 0.001412876 0.00143581
4000 0.005427045 0.005326971 0.005486779
8000 0.019563543500000002 0.019290446 0.019778615
16000 0.073590863 0.073072901 0.074563433
32000 0.312994185 0.310229664 0.316595694
64000 1.2430768095 1.110209637 1.330544654
100000 2.7128298785 2.676663715 2.722984536
EOD
$curve3 << EOD
# n value low high
1000 0.0005892685 0.000582518 0.000601046
2000 0.00132202 0.001311926 0.001334409
4000 0.003365537 0.003345197 0.003430654
8000 0.008634932 0.008488504 0.008796543
16000 0.021489099 0.021349115 0.021913066
32000 0.057692392999999995 0.057079219 0.058679535
64000 0.136492232 0.134656855 0.147085834
100000 0.248146465 0.245551848 0.249620102
EOD
$curve4 << EOD
# n value low high
1000 0.001104877 0.001099199 0.001123244
2000 0.002321791 0.002293278 0.002366718
4000 0.004865353 0.004799775 0.004905843
8000 0.010401035 0.010315097 0.010545961
16000 0.0206785205 0.020592998 0.020837984
32000 0.043571818 0.042886932 0.043988714
64000 0.083468798 0.082350652 0.084619884
100000 0.131046052 0.12886404 0.132088417
EOD
$curve5 << EOD
# n value low high
1000 0.000219878 0.000217835 0.000223934
2000 0.000443522 0.000438894 0.000451203
4000 0.000980632 0.000968093 0.000999941
8000 0.0023732125 0.002363894 0.002413508
16000 0.005181143 0.00507776 0.00526602
32000 0.010328196 0.010206945 0.010475946
64000 0.020326927 0.01999014 0.020624405
100000 0.0324965985 0.0321256 0.032905663
EOD
$guide0 << EOD
892.8571428571428 0.004779722714793926
93924.15826720242 52.89241190500001
EOD
$guide1 << EOD
892.8571428571428 0.00012269977678571427
112000.00000000001 0.015391460000000001
EOD
set logscale x
set logscale y
set xrange [892.8571428571428:112000.00000000001]
set yrange [8.7134e-05:52.892411905]
set xtics ('1k' 1000.0, '2k' 2000.0, '4k' 4000.0, '8k' 8000.0, '16k' 16000.0, '32k' 32000.0, '64k' 64000.0, '100k' 100000.0)
set format y '%.0s %cs'
set ytics 10
set mytics 10
set lmargin at screen 0.13
set rmargin at screen 0.77
set tmargin at screen 0.865
set bmargin at screen 0.195
set border 3 linecolor rgb '#404040'
set tics nomirror out textcolor rgb '#303030'
set grid xtics ytics linecolor rgb '#e4e4e4' linetype 1 linewidth 0.8
set key at screen 0.78, screen 0.875 left top Left reverse samplen 2.2 spacing 1.25 font ',12' textcolor rgb '#202020'
set xlabel 'sequence length n' textcolor rgb '#303030' offset 0,0.2
set ylabel 'time (median, 95% interval)' textcolor rgb '#303030'
set label '{/:Bold Attention time against sequence length}' at screen 0.02, screen 0.955 left font ',19.0' textcolor rgb '#000000'
set label 'AMD EPYC · avx512 · batch 1 · 4 heads · d = 64 · fp32 · not causal · 2 threads' at screen 0.02, screen 0.905 left font ',13.0' textcolor rgb '#505050'
set label 'exact: 100k skipped (memory)  ·  exact: 32k noisy, 64k with few samples  ·  flash: 16k, 64k noisy, 100k with few samples' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'fixed: 64k noisy  ·  strided: 64k noisy  ·  bars over fewer than 6 samples span all of them (2: 50.0% sure, not 95%)' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set label 'n²' at 93924.15826720242,52.89241190500001 right offset -3,-0.4 font ',13' textcolor rgb '#707070' front
set label 'n' at 112000.00000000001,0.015391460000000001 right offset 0,-0.9 font ',13' textcolor rgb '#707070' front
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'scaling.svg'
plot $guide0 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     $guide1 using 1:2 with lines linecolor rgb '#a0a0a0' linewidth 1.2 dashtype 2 notitle, \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'exact  n^{2.06}', \
     $curve1 using 1:2:3:4 with yerrorbars linecolor rgb '#0072B2' linewidth 1 pointtype -1 notitle, \
     $curve1 using 1:2 with linespoints linecolor rgb '#0072B2' linewidth 1.8 dashtype 1 pointtype 5 pointsize 0.8 title 'flash  n^{1.99}', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold restricted softmax}', \
     $curve2 using 1:2:3:4 with yerrorbars linecolor rgb '#D55E00' linewidth 1 pointtype -1 notitle, \
     $curve2 using 1:2 with linespoints linecolor rgb '#D55E00' linewidth 1.8 dashtype 1 pointtype 9 pointsize 0.8 title 'fixed  n^{1.91}', \
     $curve3 using 1:2:3:4 with yerrorbars linecolor rgb '#009E73' linewidth 1 pointtype -1 notitle, \
     $curve3 using 1:2 with linespoints linecolor rgb '#009E73' linewidth 1.8 dashtype 1 pointtype 11 pointsize 0.8 title 'strided  n^{1.33}', \
     $curve4 using 1:2:3:4 with yerrorbars linecolor rgb '#CC79A7' linewidth 1 pointtype -1 notitle, \
     $curve4 using 1:2 with linespoints linecolor rgb '#CC79A7' linewidth 1.8 dashtype 1 pointtype 13 pointsize 0.8 title 'window(512)  n^{1.04}', \
     NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold different operator}', \
     $curve5 using 1:2:3:4 with yerrorbars linecolor rgb '#E69F00' linewidth 1 pointtype -1 notitle, \
     $curve5 using 1:2 with linespoints linecolor rgb '#E69F00' linewidth 1.8 dashtype 1 pointtype 15 pointsize 0.8 title 'linear(elu)  n^{1.10}'
set terminal pngcairo enhanced size 1800,1200 font 'sans-serif,14' fontscale 1.5 linewidth 2 pointscale 2 background '#ffffff'
set output 'scaling.png'
replot
set output
