# Drawn by attnbench plot. `gnuplot efficiency.gp` draws it again.
set encoding utf8
$curve0 << EOD
# n value low high
1000 61.94726873816481 60.88592611016153 62.532903994191045
2000 67.69338956108446 66.40060174555354 68.04013003337198
4000 63.769306418171105 62.55153283074439 64.20184117505944
8000 56.706110719243384 56.35850171125401 57.574426212031554
16000 50.90607347293148 50.116884103390476 51.85406714120126
32000 50.553720558448404 49.404954471013895 51.60818452331819
64000 51.56918052919874 51.41580199121782 51.792775655072475
EOD
$curve1 << EOD
# n value low high
1000 87.16085988979486 85.81326851316966 88.10868818933326
2000 89.03195738360508 88.64077005976824 90.4881875974501
4000 90.99855299407963 89.53489351873752 92.1619751903787
8000 91.36901238652831 89.69115493238105 92.03622736208798
16000 90.48945143975904 86.96297955009665 91.03786130297266
32000 87.38850974726826 86.10196410476824 88.48172204776027
64000 89.47309901186803 83.44073154597085 90.0562056866669
100000 88.09589240967136 87.75093064109655 88.44357707287944
EOD
$curve2 << EOD
# n value low high
1000 64.43566787927851 63.38132316388473 65.3088128094344
2000 76.16405326298808 75.49840486774734 76.7239054900503
4000 78.8663624843169 78.0077524880626 80.34796851507163
8000 82.70514650266317 81.80581558813516 83.87601464884348
16000 86.64324994328838 85.51311654938546 87.25740252807664
32000 79.54998405789163 78.64504444890771 80.25887049590068
64000 79.54288808072882 74.31386781086412 89.06238627237565
100000 87.9670145180539 87.63896458169968 89.15559469412835
EOD
$curve3 << EOD
# n value low high
1000 30.562188544696642 29.96332227558385 30.916357950227415
2000 36.85432240219795 36.512157293718595 37.13788072052367
4000 43.147916144581686 42.32892861171281 43.410270981794795
8000 44.67637489550828 43.855575903991046 45.44704923614587
16000 53.051221526428094 52.024803441578854 53.3990730506789
32000 52.90489884692764 52.01490120707664 53.47323017685641
64000 66.84867738484566 62.03401737862469 67.75982687628867
100000 69.31406870231469 68.90487178491149 70.04647394568389
EOD
$curve4 << EOD
# n value low high
1000 79.00617357147189 77.71428472987805 79.41428625492486
2000 81.2435615582725 79.70132902776888 82.25368665898469
4000 79.04466595853835 78.39227685341183 80.12463139529925
8000 74.60264250646345 73.57742891351619 75.22417828957052
16000 74.29634741643 73.7277916676474 74.60489935102065
32000 71.08688596066216 70.41317137083678 72.22211318974102
64000 73.75035074393638 72.74712322549124 74.75172301823154
100000 74.03808388706247 73.45381836958761 75.29174617716741
EOD
$curve5 << EOD
# n value low high
1000 57.70281178717141 56.657670787552036 58.243986733719
2000 57.58043513283162 56.60022152109748 58.18760281749977
4000 51.33688155987572 50.34555922581837 52.00181060892295
8000 42.180602869808304 41.47636303180472 42.346879338991066
16000 37.82589940381607 37.216226659751726 38.596033273487876
32000 38.15142401818017 37.61334632107424 38.60463487741654
64000 38.43848492553159 37.88406390738939 39.086083292657335
100000 37.57343325930298 37.10634169243499 38.007345384805745
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
set label 'useful work only: masked-out pairs do not count  ·  exact: 100k skipped (memory)  ·  exact: 32k noisy, 64k with few samples' at screen 0.02, screen 0.08 left font ',11.5' textcolor rgb '#606060'
set label 'flash: 16k, 64k noisy, 100k with few samples  ·  fixed: 64k noisy  ·  strided: 64k noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'bars over fewer than 6 samples span all of them (2: 50.0% sure, not 95%)' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
set terminal svg enhanced size 900,600 dynamic font 'sans-serif,14' background '#ffffff'
set output 'efficiency.svg'
plot NaN with points pointtype -1 linecolor rgb '#ffffff' title '{/:Bold exact}', \
     $curve0 using 1:2:3:4 with yerrorbars linecolor rgb '#000000' linewidth 1 pointtype -1 notitle, \
     $curve0 using 1:2 with linespoints linecolor rgb '#000000' linewidth 1.8 dashtype 1 pointtype 7 pointsize 0.8 title 'exact', \
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
