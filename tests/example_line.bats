#!/usr/bin/env bats
# examples/line.c: a running sum for each connection, whatever happens to the
# process that keeps it.

load helper

SERVICE=$EXAMPLES/line.so

serve() {
	start_server --listen "127.0.0.1:0=$SERVICE" "$@"
}

# connect, say LINE..., hear: a conversation on descriptor 5.
connect() {
	exec 5<>"/dev/tcp/$HOST/$PORT"
}

say() {
	printf '%s\n' "$@" >&5
}

hear() {
	local line
	read -r -t "$PATIENCE" line <&5 && echo "$line"
}

@test "each line is answered with the sum so far" {
	serve
	run -0 nc -N "$HOST" "$PORT" < <(printf '1\n20\r\n-3\n')
	[ "$output" = $'1\n21\n18' ]
}

@test "quit ends the conversation, and what is behind it is not answered" {
	serve
	run -0 nc "$HOST" "$PORT" < <(printf '5\nquit\n6\n')
	[ "$output" = 5 ]
}

@test "what is no number is an error, and changes nothing" {
	serve
	run -0 nc -N "$HOST" "$PORT" < <(printf '5\nx\n\n1 2\n1\n')
	[ "$output" = $'5\nerror\nerror\nerror\n6' ]
}

@test "a line that does not end is not waited for" {
	expect_error 'longer than the service.s limit'
	serve
	connect
	head -c 1000 /dev/zero | tr '\0' 1 >&5
	wait_until log_has 'closing it'
	is_at_end 5
}

@test "a line that comes byte by byte" {
	serve
	connect
	local byte
	for byte in 1 2 3 $'\n'; do
		printf %s "$byte" >&5
	done
	[ "$(hear)" = 123 ]
}

@test "each connection has a sum of its own, on many workers" {
	serve --workers 4
	local i clients=()
	for i in {1..50}; do
		seq "$i" $((i + 99)) | nc -N "$HOST" "$PORT" >"output.$i" &
		clients+=("$!")
	done
	wait "${clients[@]}"
	for i in {1..50}; do
		[ "$(tail -n 1 "output.$i")" -eq $((100 * i + 4950)) ]
	done
}

@test "a sum outlives its worker, and a reload" {
	serve --workers 1
	connect
	say 40
	[ "$(hear)" = 40 ]
	kill_workers 1
	say 1
	[ "$(hear)" = 41 ]
	reload
	say 1
	[ "$(hear)" = 42 ]
}

# Half of a line is with the worker that dies.
@test "a line outlives the worker that has read its beginning" {
	serve --workers 1
	connect
	printf 12 >&5
	kill_workers 1
	say 3
	[ "$(hear)" = 123 ]
}

@test "200,000 lines while workers are killed: each is added once" {
	serve --workers 1
	seq 200000 | nc -N "$HOST" "$PORT" >output &
	local client=$!
	kill_workers 10
	wait "$client"
	seq 200000 | awk '{ printf "%.0f\n", sum += $1 }' | cmp output -
}
