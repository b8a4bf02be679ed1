#!/usr/bin/env bats
# At its limits the server waits: no spin, and nobody in the queue is lost.

load helper

used_less_than() { # TICKS PID BEFORE
	(($(cpu_ticks "$2") - $3 < $1))
}

has_answered() { # CLIENT
	stream_says answered "$1"
}

@test "past --max-connections the queue holds the rest, without a busy loop" {
	start_server --workers 1 --max-connections 10
	local worker ticks
	worker=$(worker_pid 0)
	start_stream --connections 10 --bytes 100 --hold
	wait_until stream_says answered
	start_stream --connections 25 --bytes 100
	wait_until stream_says connected

	ticks=$(cpu_ticks "$worker")
	holds_for 2 not has_answered 1
	used_less_than 5 "$worker" "$ticks"
	not stream_is_over 1
	ask_status 1
	log_has 'slot 0: .* serving, 10 connections, 10 accepted'

	end_stream 0
	await_stream 1
	[ "$(summary connections)" -eq 25 ]
}

@test "at --max-connections nothing wakes the worker up" {
	start_server --workers 1 --max-connections 10 --write-timeout 0
	local worker before
	worker=$(worker_pid 0)
	start_stream --connections 10 --bytes 100 --hold
	wait_until stream_says answered
	start_stream --connections 5 --bytes 100 --hold
	wait_until stream_says connected 1
	wait_until is_settled "$worker"
	before=$(wake_ups "$worker")
	holds_for 2 has_slept "$worker" "$before"
	not stream_says answered 1
	end_stream 0
	wait_until stream_says answered 1
	end_stream 1
}

has_slept() {
	[ "$(wake_ups "$1")" = "$2" ]
}

# is_settled PID: it has not woken up for a second.
is_settled() {
	local before
	before=$(wake_ups "$1")
	holds_for 1 has_slept "$1" "$before" >/dev/null
}

@test "one place that becomes free serves one that waits" {
	start_server --workers 1 --max-connections 1
	stream --connections 20 --bytes 1000
	[ "$(summary connections)" -eq 20 ]
}

@test "more connections than descriptors: no spin, nobody lost" {
	LAUNCHER=(prlimit --nofile=100:100)
	start_server --workers 1
	local worker ticks
	worker=$(worker_pid 0)
	start_stream --connections 60 --bytes 100 --hold
	wait_until stream_says answered
	start_stream --connections 100 --bytes 100 --hold
	wait_until stream_says connected
	wait_until log_has 'warning .*1 of 1 workers full, worker 0 with [0-9]+ connections: new clients wait in the queue; raise LimitNOFILE'

	ticks=$(cpu_ticks "$worker")
	holds_for 3 not stream_is_over 1
	used_less_than 10 "$worker" "$ticks"
	[ "$(log_count 'workers full')" -eq 1 ]
	[ "$(worker_pid 0)" = "$worker" ]

	end_stream 0
	start_stream --connections 60 --bytes 100
	end_stream 1
	[ "$(summary refused)" -eq 0 ]
	await_stream 2
}

# Where the master itself cannot make a slot it tries again, and says what lacks.
@test "a slot that cannot be made is tried again" {
	if [[ $PREFORKD == *sanitize* ]]; then
		skip "AddressSanitizer needs all of the address space"
	fi
	expect_error 'cannot start worker 0'
	LAUNCHER=(prlimit --as=500000000:unlimited)
	launch --listen 127.0.0.1:0 --workers 1
	wait_until log_has_times 3 'cannot start worker 0: .*memory.*max-connections.*trying again in [1-9][0-9]* ms'
	prlimit --pid "$MASTER" --as=unlimited:unlimited
	wait_until log_has 'ready: '
	read_address
	stream --connections 10
}

@test "the master says how many descriptors it needs" {
	expect_error 'cannot start worker 0'
	LAUNCHER=(prlimit --nofile=8:8)
	launch --listen 127.0.0.1:0 --workers 1
	wait_until log_has 'warning .*the master needs [0-9]+ open files'
	wait_until log_has_times 3 'cannot start worker 0: .*LimitNOFILE.*trying again in [1-9][0-9]* ms'
}

@test "with no descriptors left the waiting ones are served later" {
	LAUNCHER=(prlimit --nofile=100:100)
	start_server --workers 2
	stream --connections 500 --bytes 1000
	[ "$(summary connections)" -eq 500 ]
	stream --connections 300 --rounds 3000 --bytes 100
	[ "$(summary connections)" -eq 3000 ]
}

# A service is loaded by somebody who needs descriptors for it.
@test "a reload works where connections have all the descriptors that they may" {
	LAUNCHER=(prlimit --nofile=100:100)
	cp "$TEST_PROGRAMS/probe-1.so" probe.so
	start_server --workers 1 --listen 127.0.0.1:0=./probe.so
	local conn line fd fds=()
	exec {conn}<>"/dev/tcp/$HOST/$PORT"
	echo 'add 1' >&"$conn"
	read -r -t "$PATIENCE" -u "$conn" line
	for _ in {1..120}; do
		exec {fd}<>"/dev/tcp/$HOST/$PORT"
		fds+=("$fd")
	done
	wait_until log_has '1 of 1 workers full, .*; raise LimitNOFILE'
	cp "$TEST_PROGRAMS/probe-2.so" probe.new
	mv probe.new probe.so
	reload
	# Which one the new worker has no room for is not said.
	echo 'add 2' >&"$conn"
	read -r -t "$PATIENCE" -u "$conn" line
	[[ $line == 'v'[12]' 3' ]]
	for fd in "${fds[@]}"; do
		exec {fd}>&-
	done
	wait_until hears_from "$conn" 'v2 3'
	wait_until has_no_old_worker
}

# hears_from FD LINE: it answers so when nothing is added.
hears_from() {
	local line
	echo 'add 0' >&"$1"
	read -r -t "$PATIENCE" -u "$1" line
	[[ $line == "$2" ]]
}

has_no_old_worker() {
	[[ -z $(titled leaving) ]]
}

@test "with few descriptors connections move to other slots, too" {
	LAUNCHER=(prlimit --nofile=100:100)
	start_server --workers 2
	start_stream --connections 20 --bytes 100G --interval 5 --message 1-100
	wait_until stream_says answered
	kill -TTOU "$MASTER"
	wait_until has_workers 1
	end_stream
	[ "$(summary connections)" -eq 20 ]
}

# are_full N: both slots serve so many connections.
are_full() {
	ask_status 2
	local n
	for n in 0 1; do
		[[ $(grep " slot $n: " "$LOG" | tail -n 1) == *" $1 connections, "* ]] ||
			return
	done
}

is_retiring() {
	ask_status 2
	log_has "slot $1: .* retiring"
}

# The first that is on offer has nowhere to go.
@test "connections that no other slot can take are served where they are" {
	start_server --workers 2 --max-connections 2 --drain-timeout 1h
	start_stream --connections 40 --bytes 100 --hold --allow-cut
	wait_until are_full 2
	kill -TTOU "$MASTER"
	wait_until is_retiring 1
	kill -TERM "$MASTER"
	server_ends_with 0
	await_stream
	[ "$(summary wrong)" -eq 0 ]
	not log_has 'killing it|was killed'
}

@test "connections go to a slot as soon as that has room for them" {
	start_server --workers 2 --max-connections 2
	start_stream --connections 40 --bytes 100 --hold --allow-cut
	wait_until are_full 2
	kill -TTOU "$MASTER"
	wait_until is_retiring 1
	holds_for 1 has_workers 2
	end_stream
	wait_until has_workers 1
	stream --connections 10
	not log_has 'killing it|was killed'
}

@test "the log says that connections cannot go, how many and why, and they go later" {
	start_server --workers 2
	start_conversing 20 50
	prlimit --pid "$MASTER" --fsize=200000:unlimited
	reload
	wait_until log_has 'warning .*: worker 0 cannot give [0-9]+ connections? to other workers: .*: raise LimitFSIZE= or ulimit -f; they stay where they are, served by the code of before the reload'
	prlimit --pid "$MASTER" --fsize=unlimited:unlimited
	wait_until not first_titled leaving
	end_conversing 20
	[ "$(log_count 'worker 0 cannot give')" -eq 1 ]
}

@test "the same where nobody has room for them" {
	start_server --workers 2 --max-connections 2
	start_stream --connections 40 --bytes 100 --hold --allow-cut
	wait_until are_full 2
	kill -TTOU "$MASTER"
	wait_until log_has 'warning .*: worker 1 cannot give 2 connections to other workers: no other worker has room: raise max-connections; they stay where they are, served$'
}

@test "--backlog is the listener's queue" {
	start_server --workers 1 --backlog 77
	[ "$(ss -Hltn "sport = :$PORT" | awk '{ print $3 }')" -eq 77 ]
}

# Which slot the kernel's dice would choose does not matter.
@test "what a full slot cannot take goes to others that have room" {
	start_server --workers 4 --max-connections 15
	start_stream --connections 57 --bytes 100 --hold # 4 times 14, and 1
	wait_until stream_says answered 0
	wait_until log_has 'warning master: [1-3] of 4 workers full, worker [0-3] with 15 connections: new clients go to the others; raise max-connections or workers'
	start_stream --connections 3 --bytes 100 --hold
	wait_until stream_says answered 1
	wait_until log_has 'warning master: 4 of 4 workers full, worker [0-3] with 15 connections: new clients wait in the queue; raise max-connections or workers'
	start_stream --connections 30 --bytes 100 --hold
	wait_until stream_says connected 2
	not stream_says answered 2
	end_stream 0
	wait_until stream_says answered 2
	end_stream 2
	end_stream 1
	(($(log_count 'workers full') <= 3))
	stream --connections 50 --bytes 100
}

@test "a full slot is steered away from, and to again when it has room" {
	start_server --workers 2 --max-connections 10 --hang-timeout 20s
	local worker
	worker=$(worker_pid 1)
	stop_process "$worker"
	start_stream --connections 10 --bytes 100 --hold
	wait_until log_has 'worker 1 .* steering away from it'
	# So all of these come to the other.
	start_stream --connections 10 --bytes 100 --hold
	wait_until log_has '1 of [12] workers full'
	kill -CONT "$worker"
	wait_until stream_says answered 0
	wait_until stream_says answered 1
	end_stream 0
	end_stream 1
	start_stream --connections 20 --bytes 100 --hold
	wait_until stream_says answered 2
	end_stream 2
}

# The old worker may write no file: no parcel, so no batch is ever sent.
@test "connections that cannot be given are served meanwhile, and go later" {
	allow_error 'cannot give'
	cp "$TEST_PROGRAMS/probe-1.so" probe.so
	start_server --workers 1 --listen 127.0.0.1:0=./probe.so
	local conn line pid
	exec {conn}<>"/dev/tcp/$HOST/$PORT"
	echo 'add 1' >&"$conn"
	read -r -t "$PATIENCE" -u "$conn" line
	for pid in $(worker_pids) $(standby_pids); do
		prlimit --pid "$pid" --fsize=0:
	done
	cp "$TEST_PROGRAMS/probe-2.so" probe.new
	mv probe.new probe.so
	kill -HUP "$MASTER"
	wait_until titled_leaving
	for _ in {1..20}; do
		hears_from "$conn" 'v1 1'
	done
	pid=$(titled leaving)
	prlimit --pid "$pid" --fsize=unlimited:
	wait_until hears_from "$conn" 'v2 1'
	wait_until log_has ' reloaded: '
}

titled_leaving() {
	[[ -n $(titled leaving) ]]
}
