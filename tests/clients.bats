#!/usr/bin/env bats
# Clients that nobody here wrote.

load helper

needs() {
	command -v "$1" >/dev/null || skip_or_fail "$1 is not installed"
}

make_input() {
	head -c "${1:-3000000}" /dev/urandom >input
}

@test "nc gets back what it sends" {
	needs nc
	start_server
	make_input
	nc -N "$HOST" "$PORT" <input >output
	cmp input output
}

@test "ncat gets back what it sends" {
	needs ncat
	start_server
	make_input
	ncat "$HOST" "$PORT" <input >output
	cmp input output
}

@test "socat gets back what it sends" {
	needs socat
	start_server
	make_input
	socat -t 10 - "TCP:$HOST:$PORT" <input >output
	cmp input output
}

@test "a shell with nothing installed gets back what it sends" {
	start_server
	exec 5<>"/dev/tcp/$HOST/$PORT"
	echo hello >&5
	read -r answer <&5
	exec 5>&-
	[ "$answer" = hello ]
}

@test "20 socats at the same time" {
	needs socat
	start_server --workers 2
	make_input 1000000
	local i pids=()
	for i in {1..20}; do
		socat -t 10 - "TCP:$HOST:$PORT" <input >"output.$i" 3>&- 4>&- &
		pids+=("$!")
	done
	wait "${pids[@]}"
	for i in {1..20}; do
		cmp input "output.$i"
	done
}

# Its commands are valid RESP replies to themselves.
@test "redis-benchmark" {
	needs redis-benchmark
	start_server --workers 2
	run -0 timeout 240 redis-benchmark -h "$HOST" -p "$PORT" -c 50 \
		-n 20000 -t set,get,incr,ping_mbulk --csv
	[[ $output == *'"SET","'[1-9]* ]]
	[[ $output == *'"GET","'[1-9]* ]]
	[[ $output != *rror* ]]
}

@test "redis-benchmark with pipelining" {
	needs redis-benchmark
	start_server --workers 2
	run -0 timeout 240 redis-benchmark -h "$HOST" -p "$PORT" -c 20 -P 32 \
		-n 100000 -t set --csv
	[[ $output == *'"SET","'[1-9]* ]]
	[[ $output != *rror* ]]
}
