#!/usr/bin/env bats
# A server with nothing to do does nothing, and idle connections own nothing.

load helper

# A short hang-timeout lets the master look for the last time soon.

# server_wake_ups: of the master and all workers.
server_wake_ups() {
	# shellcheck disable=SC2046 # one word for each pid
	wake_ups "$MASTER" $(worker_pids)
}

sleeps_on() {
	[ "$(server_wake_ups)" = "$1" ]
}

# sleeps_for_good: whatever was to be looked at later has been, so that nobody
# waits for a time.
sleeps_for_good() {
	local pid
	for pid in "$MASTER" $(worker_pids); do
		waits_for_ever "$pid" || return
	done
}

# waits_for_ever PID: the fourth argument of its epoll_wait is -1 (proc(5)).
waits_for_ever() {
	local call
	read -ra call <"/proc/$1/syscall"
	[[ ${call[4]:-} == 0x*ffffffff ]]
}

@test "an idle server makes no wake-ups" {
	start_server --workers 4 --hang-timeout 2s
	wait_until sleeps_for_good
	local before
	before=$(server_wake_ups)
	holds_for 3 sleeps_on "$before"
	stream --connections 50 --bytes 1000
	[ "$(server_wake_ups)" != "$before" ]
}

@test "no wake-ups after connections have come and gone" {
	start_server --workers 2 --idle-timeout 10s --hang-timeout 2s
	stream --connections 100 --bytes 100K
	wait_until sleeps_for_good
	local before
	before=$(server_wake_ups)
	holds_for 3 sleeps_on "$before"
}

@test "no wake-ups after a kill and a reload" {
	start_server --workers 2 --hang-timeout 2s
	kill -KILL "$(worker_pid 0)"
	wait_until log_has 'takes over'
	wait_until has_pairs 2
	reload
	wait_until has_pairs 2
	wait_until sleeps_for_good
	local before
	before=$(server_wake_ups)
	holds_for 3 sleeps_on "$before"
}

@test "no wake-ups with idle connections that nothing can time out" {
	start_server --workers 2 --write-timeout 1s --hang-timeout 2s
	start_stream --connections 100 --bytes 1000 --hold
	wait_until stream_says answered
	wait_until sleeps_for_good
	local before
	before=$(server_wake_ups)
	holds_for 3 sleeps_on "$before"
	end_stream
}

@test "idle connections own no buffer" {
	start_server --workers 1
	local worker before
	worker=$(worker_pid 0)
	stream --connections 100 --bytes 300K
	before=$(memory_kb "$worker")
	start_stream --connections 2000 --bytes 300K --hold
	wait_until stream_says answered
	echo "2000 connections cost $(($(memory_kb "$worker") - before)) KiB"
	wait_until costs_at_most 1024
	end_stream
}

costs_at_most() {
	(($(memory_kb "$worker") - before <= $1))
}

# --- calls for nothing ----------------------------------------------------------

# trace_worker: what the worker asks of the kernel goes to the file "calls".
trace_worker() {
	local worker
	worker=$(worker_pid 0)
	start_client strace -qq -o calls -p "$worker"
	wait_until is_traced "$worker"
}

# A connection is accepted, its bytes come, its end comes: three wake-ups, each
# with something to do.
has_no_idle_calls() {
	wait_until no_sockets_left
	grep -E 'accept4|recvfrom|epoll_wait' calls | tail -n 20
	not grep 'recvfrom.* EAGAIN' calls
	(($(grep -c "epoll_wait.*= [1-9]" calls) < 4 * $1))
}

no_sockets_left() {
	(($(sockets established) + $(sockets close-wait) == 0))
}

@test "a connection with one message makes no call for nothing" {
	start_server --workers 1
	trace_worker
	stream --connections 1 --rounds 20 --bytes 10
	has_no_idle_calls 20
}

@test "a connection that the service finishes makes no call for nothing" {
	local i
	mkdir site
	echo hello >site/index.html
	start_server --workers 1 --listen "127.0.0.1:0=$EXAMPLES/http.so:site"
	trace_worker
	for ((i = 0; i < 20; i++)); do
		exec 5<>"/dev/tcp/$HOST/$PORT"
		printf 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >&5
		timeout "$PATIENCE" cat <&5 >answer
		exec 5>&-
	done
	has_no_idle_calls 20
}
