#!/usr/bin/env bats
# The timers that services set: all of them come, however many there are.

load helper

# start_ticking MS OPTIONS...: each connection has a timer of so many ms.
start_ticking() {
	local ms=$1
	shift
	start_server --listen "127.0.0.1:0=$TEST_PROGRAMS/tick.so:$ms" \
		--workers 1 "$@"
}

# have_ticked N: so many connections have had their third tick.
have_ticked() {
	ask_status 1
	[[ $(counted 'third ticks') == "$1" ]]
}

# counted NAME: what the log says of that counter last.
counted() {
	grep "counter $1: " "$LOG" | tail -n 1 | sed 's/.*: //'
}

@test "each of thousands of timers comes, not only the first connections'" {
	start_ticking 20
	start_stream --connections 2500 --bytes 1 --hold
	wait_until stream_says answered
	wait_until have_ticked 2500
	grep 'counter ticks' "$LOG" | tail -n 3
	none_was_early
	end_stream
}

# A timer may come late where there is much to do, and never before its time.
none_was_early() {
	[ -z "$(counted 'ticks too early')" ]
}

@test "timers over kills: none is lost" {
	start_ticking 300
	start_stream --connections 1000 --bytes 1 --hold
	wait_until stream_says answered
	kill_workers 20
	wait_until have_ticked 1000
	none_was_early
	end_stream
}

@test "a client that never stops sending cannot hold its timer off" {
	start_ticking 100
	start_stream --connections 2 --bytes 100G
	wait_until have_ticked 2
	end_stream
}
