#!/usr/bin/env bats
# Whose a descriptor is: a slot's processes share their table, and what a
# service has opened stays its own. The service is tests/services/owner.c, which
# says so; tests/hold.c stops or kills a process at a system call.

load helper

# own WORDS: what start_owner serves.
own() {
	echo "$TEST_PROGRAMS/owner.so:$1"
}

start_owner() {
	local words=$1
	shift
	start_server --listen "127.0.0.1:0=$(own "$words")" "$@"
}

# dial: a connection, CONN.
dial() {
	exec {CONN}<>"/dev/tcp/$HOST/$PORT"
}

# is_mine: the service of CONN still has what it opened.
is_mine() {
	local line
	echo own >&"$CONN"
	read -r -t "$PATIENCE" -u "$CONN" line
	[[ $line == mine ]]
}

# hold ROLE CALL entry|exit COUNT: from now on; await_held waits until it is so,
# kill_held kills it.
hold() {
	local line
	# shellcheck disable=SC2034 # its pid is a variable, too
	coproc HOLD { exec "$TEST_PROGRAMS/hold" "$MASTER" "$@"; }
	start_holding=$HOLD_PID
	CLIENTS+=("$start_holding")
	exec {HELD}<&"${HOLD[0]}" {HOLDER}>&"${HOLD[1]}"
	[[ ${5:-} == later ]] || await_word traced
}

await_word() {
	local line
	read -r -t "$PATIENCE" -u "$HELD" line
	[[ $line == "$1" ]]
}

kill_held() {
	eval "exec ${HOLD[1]}>&-"
	exec {HOLDER}>&-
}

@test "a service's own listener stays open where a worker dies reading an order" {
	start_owner listener --workers 2
	local i connections=()
	for i in {1..8}; do
		dial
		connections+=("$CONN")
	done
	for CONN in "${connections[@]}"; do
		is_mine
	done
	# Worker 1 is to go, and worker 0 is brought its connections.
	hold 'worker 0' recvmsg exit 1
	kill -TTOU "$MASTER"
	await_word held
	kill_held
	wait_until has_pairs 1
	for CONN in "${connections[@]}"; do
		is_mine
	done
}

@test "a connection is found behind all that a service has opened" {
	start_owner many=1000,memory --workers 1
	hold 'worker 0' accept4 exit 1
	dial
	await_word held
	kill_held
	is_mine
}

@test "a number that was closed is not closed again when it is another's" {
	start_owner file=one --workers 1
	dial
	is_mine
	local conn=$CONN other
	dial
	is_mine
	other=$CONN
	# The worker has closed the second connection and not noted it yet, when
	# the next service opens its file.
	hold 'worker 0' close exit 1
	exec {other}>&-
	await_word held
	kill -HUP "$MASTER"
	wait_until log_has 'candidate 0.* started'
	kill_held
	wait_until log_has ' reloaded: '
	CONN=$conn
	is_mine
	dial
	is_mine
	CONN=$conn
	is_mine
}
