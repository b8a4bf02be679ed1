# Draws bench/results/*.svg from the plot-*.tsv beside them, those that are not
# empty.
set datafile separator "\t"
set datafile missing "?"
set terminal svg size 800,480 font "sans-serif,13" background "white"
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror out
set key outside right top

columns(file) = int(system("head -n 1 ".file." | awk -F '\t' '{ print NF }'"))

set output "peers.svg"
set title "CPU time of an echo: 64 bytes, 50 connections, one worker"
set ylabel "us"
set yrange [0:*]
set style fill solid
set boxwidth 0.7
unset key
if (columns("plot-peers.tsv") > 1) {
	plot "plot-peers.tsv" using 0:($2/1000):xtic(1) skip 1 with boxes \
		lc rgb "#4477aa", \
		"" using 0:($2/1000):(sprintf("%.2f", $2/1000)) skip 1 \
		with labels offset 0,0.7
}

set key
set logscale x
set xlabel "connections"
set format x "%.0f"

set output "connections.svg"
set title "CPU time of an echo: 64 bytes, one worker"
n = columns("plot-connections.tsv")
if (n > 1) {
	plot for [i=2:n] "plot-connections.tsv" using 1:(column(i)/1000) \
		with linespoints lw 2 title columnheader(i)
}

set output "growth-cpu.svg"
set title "CPU time of an echo, by workers"
n = columns("plot-growth-cpu.tsv")
if (n > 1) {
	plot for [i=2:n] "plot-growth-cpu.tsv" using 1:(column(i)/1000) \
		with linespoints lw 2 title columnheader(i)." workers"
}

set output "growth-memory.svg"
set title "user memory, all processes, above that without a connection"
set ylabel "KiB"
set logscale y
set yrange [*:*]
n = columns("plot-growth-memory.tsv")
if (n > 1) {
	plot for [i=2:n] "plot-growth-memory.tsv" \
		using 1:(column(i)*$1/1024) \
		with linespoints lw 2 title columnheader(i)." workers"
}
