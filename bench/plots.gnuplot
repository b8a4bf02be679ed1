# Draws *.svg from the plot-*.tsv in the working directory, those that are not
# empty.
set datafile separator "\t"
set terminal svg size 800,480 font "sans-serif,13" background "white"
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror out

columns(file) = int(system("head -n 1 ".file." | awk -F '\t' '{ print NF }'"))
head(file, i) = system("head -n 1 ".file." | cut -f ".i)
is_this(name) = name eq "this"

# The lines in which that column is known: else the line has a gap.
known(file, i) = sprintf("< awk -F '\t' 'NR > 1 && $%d != \"?\"' %s", i, file)

set title "CPU time of an echo: 64 bytes, 50 connections, one worker"
set ylabel "us"
set yrange [0:*]
set style fill solid
set boxwidth 0.7
unset key
if (columns("plot-peers.tsv") > 1) {
	set output "peers.svg"
	file = known("plot-peers.tsv", 2)
	plot file using 0:($2/1000): \
		(is_this(strcol(1)) ? 0xcc3311 : 0x4477aa):xtic(1) \
		with boxes lc rgb variable, \
		file using 0:($2/1000):(sprintf("%.2f", $2/1000)) \
		with labels offset 0,0.7
}

set key outside right top
set logscale xy
set yrange [*:*]
set xrange [*:*] noextend
set xlabel "connections"
set format x "%.0f"
set style data linespoints

set title "CPU time of an echo: 64 bytes, one worker"
file = "plot-connections.tsv"
if (columns(file) > 1) {
	set output "connections.svg"
	plot for [i=2:columns(file)] known(file, i) using 1:(column(i)/1000) \
		lw (is_this(head(file, i)) ? 4 : 1.5) title head(file, i)
}

unset logscale y
set yrange [0:*]

set key title "workers"
set title "CPU time of an echo: 64 bytes"
file = "plot-growth-cpu.tsv"
if (columns(file) > 1) {
	set output "growth-cpu.svg"
	plot for [i=2:columns(file)] known(file, i) using 1:(column(i)/1000) \
		lw 2 title head(file, i)
}

set title "user memory of all processes"
set ylabel "KiB"
file = "plot-growth-memory.tsv"
if (columns(file) > 1) {
	set output "growth-memory.svg"
	plot for [i=2:columns(file)] known(file, i) using 1:(column(i)/1024) \
		lw 2 title head(file, i)
}

set key title ""
set title "the longest in ten reloads: 10,000 requests a second"
set ylabel "ms"
set logscale y
set yrange [*:*]
file = "plot-move.tsv"
if (columns(file) > 1) {
	set output "move.svg"
	plot for [i=2:columns(file)] known(file, i) \
		using 1:(column(i)/1000000) lw 2 title head(file, i), \
		5 lw 1 dt 2 lc rgb "#888888" title "wanted"
}
