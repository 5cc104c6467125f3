# Drawn by attnbench. `gnuplot efficiency.gp` draws it again.
set encoding utf8
$curve0 << EOD
# x value low high
1000.0 60.44636955950406 59.6094197379408 60.59491588347193
2000.0 66.77827734272611 65.97800528666693 67.42797154532936
4000.0 61.60590344908301 61.07539939845371 62.745890681673934
8000.0 58.724350652432946 57.90556524012388 60.09189847625085
16000.0 52.2225156557281 51.56720856535475 54.50704931361527
32000.0 52.87016684624386 50.090705038047425 53.87251973994279
64000.0 50.76453310469406 50.55477700919615 51.65154834949285
EOD
$curve1 << EOD
# x value low high
1000.0 87.28302902682259 85.95350389660507 87.79554828819852
2000.0 90.71583841229292 89.90562317512506 91.49530133084369
4000.0 90.5318046914555 89.8686612817568 91.92294861156513
8000.0 89.74191839464393 89.36395637025954 91.53445903257644
16000.0 90.41235306956278 88.24181375139304 92.34965874351647
32000.0 90.02236259816853 89.64159511044596 91.45466498510733
64000.0 86.28445206128649 79.96744189737456 92.28779133017177
100000.0 90.25453833520787 90.05732315497883 90.45261916824299
EOD
$curve2 << EOD
# x value low high
1000.0 64.18229082003403 62.98795924127041 65.1916703718133
2000.0 75.3352788170538 74.36450060351355 75.95604369867907
4000.0 78.9099935360369 77.77766795018591 80.41878560558872
8000.0 80.88417196057658 80.17874843228839 82.46896359343422
16000.0 87.25958655700245 80.5853292673742 88.55037282910776
32000.0 81.67477035238929 80.25383281567564 87.40002984915601
64000.0 88.46795234524032 86.23658761461752 89.33563046521594
100000.0 88.17977092607168 87.33846244700041 88.65969944568529
EOD
$curve3 << EOD
# x value low high
1000.0 29.279152079180193 28.734912102458946 29.777139080514793
2000.0 36.177434347351294 35.66701313546514 36.830344061465894
4000.0 44.891235969234806 44.03871937504183 45.37779834009033
8000.0 43.44334429288717 42.669943326942 44.16578354924041
16000.0 56.84547341666379 55.86111973205354 57.117696170018206
32000.0 57.19226426462647 56.113994468889615 58.055596974158604
64000.0 68.97946727084248 48.60884815462692 69.71774795741581
100000.0 71.24330992517453 70.61976062762848 71.92911931662118
EOD
$curve4 << EOD
# x value low high
1000.0 77.92552980642095 76.90552619913353 79.0682940123967
2000.0 79.63531984785439 78.29574985417713 81.20587373567182
4000.0 79.63501549989874 78.13883367930545 81.03183495871423
8000.0 77.78480000312145 76.50846866786806 77.99040582072818
16000.0 78.64493408636898 78.56067103295791 80.15064628774311
32000.0 78.18390728610584 76.81655593041233 79.43517034800084
64000.0 78.93473726503795 55.20697820802588 80.08271880043387
100000.0 79.32622030362336 77.77535964576643 80.28785480551161
EOD
$curve5 << EOD
# x value low high
1000.0 57.39414703452516 56.376699268649105 58.1539176210697
2000.0 59.47204392590388 58.5709328776114 59.91688340787957
4000.0 58.6558017407862 57.52883941096331 59.262072053968794
8000.0 53.29468328114936 52.54830362029506 53.68912204386544
16000.0 55.06957342510465 54.396901395905545 56.16584726055704
32000.0 53.664556336581434 52.68294080508973 54.46114045815223
64000.0 55.39613059493867 54.316802947584314 55.89400755984716
100000.0 56.455863473960065 55.98233916194812 56.52019959921996
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
set label 'useful work only: masked-out pairs do not count  ·  exact: 100k skipped (memory)' at screen 0.02, screen 0.08 left font ',11.5' textcolor rgb '#606060'
set label 'exact: 8k, 16k, 32k noisy, 64k with few samples  ·  flash: 16k, 64k noisy, 100k with few samples  ·  fixed: 16k, 32k, 64k noisy' at screen 0.02, screen 0.05 left font ',11.5' textcolor rgb '#606060'
set label 'strided: 64k noisy  ·  window(512): 64k noisy  ·  bars over fewer than 6 samples span all of them (2: 50.0% sure, not 95%)' at screen 0.02, screen 0.02 left font ',11.5' textcolor rgb '#606060'
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
