#!/usr/bin/env bats
# A worker dies between two things that belong together: in the midst of a
# system call, or before the store that would have told of it.

load helper

# kill_at PID CALL: that process is killed at its next CALL, which then has no
# effect.
kill_at() {
	start_client strace -p "$1" -e "trace=$2" \
		-e "inject=$2:error=EINTR:signal=KILL:when=1"
	wait_until is_traced "$1"
}

connect() {
	exec 5<>"/dev/tcp/$HOST/$PORT"
}

# The connection's last answer is unread: so it ends with an RST.
reset() {
	wait_until has_unread_answer
	exec 5>&-
	wait_until not has_established
}

has_unread_answer() {
	(($(ss -Htn state established "dport = :$PORT" | awk '{ print $1 }')))
}

has_established() {
	[[ -n $(ss -Htn state established "sport = :$PORT") ]]
}

# --- the end of a connection ---------------------------------------------------

@test "killed at shutdown: the client's end of stream is not late" {
	start_server --listen 127.0.0.1:0=daytime --workers 1
	kill_at "$(worker_pid 0)" shutdown
	connect
	# A connection that was not shut down ends after five seconds.
	timeout 4 cat <&5 >answer
	[ -s answer ]
	wait_until log_has 'its standby takes over'
}

@test "killed while it closes a connection that has failed: it is closed" {
	ulimit -S -c 0
	expect_error 'the service failed on its input'
	expect_error 'hangs: aborting it'
	export ASAN_OPTIONS=handle_abort=0:detect_leaks=0
	PREFORKD=$TEST_PROGRAMS/preforkd-crash start_server --workers 1 \
		--hang-timeout 1s
	kill_at "$(standby_pid 0)" setsockopt
	"$TEST_PROGRAMS/provoke" "$HOST" "$PORT" 1 'crash loop' >provoked
	cat provoked
	grep -q ' reset$' provoked
	[ "$(log_count 'its standby takes over')" -eq 2 ]
}

@test "killed after a timer's call that has ended a connection: it is closed" {
	start_server --workers 1 --listen "127.0.0.1:0=$TEST_PROGRAMS/probe-1.so"
	connect
	kill_at "$(worker_pid 0)" shutdown
	echo farewell 100 >&5
	[ "$(timeout "$PATIENCE" cat <&5)" = bye ]
	wait_until log_has 'its standby takes over'
}

# --- who sends and goes ----------------------------------------------------------

# store_in_spite_of CALL: the worker is killed at that call, for a reading whose
# device resets its connection before anybody takes over.
store_in_spite_of() {
	local worker
	start_server --workers 1 \
		--listen "127.0.0.1:0=$EXAMPLES/gateway.so:60,$PWD/readings"
	worker=$(worker_pid 0)
	connect
	printf '\0\2\1ab' >&5 # HELLO
	wait_until has_unread_answer
	kill_at "$worker" "$1"
	stop_process "$MASTER" # nobody takes over yet
	printf '\0\7\3\0\0\0\1xyz' >&5 # DATA, number 1
	wait_until not is_alive "$worker"
	reset
	kill -CONT "$MASTER"
	wait_until grep -q 'ab 1 78797a' readings
	[ "$(wc -l <readings)" -eq 1 ]
	connect # it serves on
	printf '\0\2\1ab' >&5
	wait_until has_unread_answer
}

@test "killed before it has read a request whose client resets: it is served" {
	store_in_spite_of recvfrom
}

@test "killed while it serves a request whose client resets: it is served" {
	store_in_spite_of write
}
