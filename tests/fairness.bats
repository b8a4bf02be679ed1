#!/usr/bin/env bats
# What one connection's calls may take before another's have their turn, where
# they move no bytes that it would be measured by. The service is
# tests/services/greedy.c, which counts.

load helper

MOST=1100 # calls of one connection in a row

start_greedy() {
	start_server --workers 1 --listen "127.0.0.1:0=$TEST_PROGRAMS/greedy.so"
}

# say WORD: on a connection of its own; sets ANSWER, and CONN to that.
say() {
	exec {CONN}<>"/dev/tcp/$HOST/$PORT"
	ask "$1"
}

# ask WORD: on CONN.
ask() {
	echo "$1" >&"$CONN"
	read -r -t "$PATIENCE" -u "$CONN" ANSWER
}

# start_two: two connections that have calls without an end, so that neither has
# them in a row for want of another.
start_two() {
	start_greedy
	say more
	say more
	say anew
}

@test "calls that answer nothing leave the others their turn" {
	start_two
	for _ in {1..10}; do
		ask longest
		((ANSWER <= MOST))
	done
}

@test "calls that take a byte each leave the others their turn" {
	local asks
	start_two
	asks=$CONN
	say bytes
	printf '%060000d.' 0 >&"$CONN"
	read -r -t "$PATIENCE" -u "$CONN" ANSWER
	[ "$ANSWER" = "done" ]
	CONN=$asks
	ask longest
	((ANSWER <= MOST))
}
