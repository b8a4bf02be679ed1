#!/usr/bin/env bats
# How many workers there are, on which processors, and how that is changed.

load helper

@test "--workers N" {
	start_server --workers 5
	has_workers 5
	log_has ' starting on 127.0.0.1:[0-9]+; 5 workers$'
	log_has ' ready: 5 workers listening$'
}

@test "by default one worker for each processor it may run on" {
	LAUNCHER=(taskset --cpu-list 0)
	start_server
	has_workers 1
	LAUNCHER=()
	start_server --workers auto
	has_workers "$(nproc)"
}

@test "64 workers" {
	start_server --workers 64
	has_workers 64
	stream --connections 500 --bytes 10K
}

# Slot memory has an entry for each descriptor below the limit.
@test "of many small workers none has a descriptor beyond its limit" {
	start_server --workers 64 --max-connections 1
	local pid limit
	for pid in $(worker_pids); do
		limit=$(awk '/^Max open files/ { print $4 }' "/proc/$pid/limits")
		[ "$(highest_fd "$pid")" -lt "$limit" ]
	done
}

highest_fd() {
	find "/proc/$1/fd" -type l -printf '%f\n' | sort -n | tail -n 1
}

@test "every worker gets its share of the connections" {
	start_server --workers 4
	start_stream --connections 400 --bytes 100 --hold
	wait_until stream_says answered
	ask_status 4
	local n shares=0
	for n in 0 1 2 3; do
		log_has "slot $n: .* [1-9][0-9]+ accepted"
		shares=$((shares + $(share "$n")))
	done
	[ "$shares" -eq 400 ]
	end_stream
}

# share N: the connections of worker N, as its status line tells.
share() {
	grep " slot $1: " "$LOG" | tail -n 1 |
		sed 's/.* serving, \([0-9]*\) connections.*/\1/'
}

@test "TTIN adds a worker, TTOU removes it" {
	start_server --workers 2
	kill -TTIN "$MASTER"
	wait_until has_workers 3
	log_has 'adding worker 2 \(TTIN\)'
	stream --connections 200 --bytes 10K
	kill -TTOU "$MASTER"
	wait_until has_workers 2
	log_has 'removing worker 2 \(TTOU\)'
	stream --connections 200 --bytes 10K
}

@test "TTOU leaves one worker" {
	start_server --workers 2
	kill -TTOU "$MASTER"
	wait_until has_workers 1
	kill -TTOU "$MASTER"
	wait_until log_has 'TTOU: this is the last worker'
	stream --connections 50
	holds_for 1 has_workers 1
}

@test "TTIN and TTOU under load: 0 refused, 0 reset, streams go on" {
	start_server --workers 2
	start_stream --connections 30 --bytes 100G --interval 5 --message 1-3000
	start_stream --connections 20 --rounds 0 --bytes 200
	wait_until stream_says answered 0
	# The kernel keeps one pending signal of a kind: each is waited for.
	local i
	for i in 1 2 3; do
		kill -TTIN "$MASTER"
		wait_until log_has_times "$i" 'adding worker 2'
		kill -TTIN "$MASTER"
		wait_until log_has_times "$i" 'adding worker 3'
		stream --connections 20 --rounds 1000 --bytes 100
		kill -TTOU "$MASTER"
		wait_until log_has_times "$i" 'removing worker 3'
		kill -TTOU "$MASTER"
		wait_until log_has_times "$i" 'removing worker 2'
	done
	stream --connections 20 --rounds 1000 --bytes 100
	end_stream 1
	end_stream 0
	[ "$(summary connections)" -eq 30 ]
	wait_until has_workers 2
}

@test "connections of a removed worker do not notice" {
	start_server --workers 4
	start_stream --connections 40 --bytes 100G --interval 20 --message 1-100
	wait_until stream_says answered
	kill -TTOU "$MASTER"
	wait_until log_has 'removing worker 3'
	stream --connections 100 --bytes 1000
	end_stream
	[ "$(summary connections)" -eq 40 ]
	wait_until has_workers 3
}

@test "no new connection comes to a removed worker" {
	start_server --workers 2
	local worker
	worker=$(worker_pid 1)
	stop_process "$worker"
	kill -TTOU "$MASTER"
	wait_until log_has 'removing worker 1'
	ask_status 1
	stream --connections 20 --rounds 200 --bytes 100 --seconds 10
	kill -CONT "$worker"
	wait_until has_workers 1
}

@test "what waits in the queue of a removed worker is served" {
	start_server --workers 2
	local worker
	worker=$(worker_pid 1)
	stop_process "$worker"
	start_stream --connections 100 --bytes 1000
	wait_until stream_says connected
	kill -TTOU "$MASTER"
	wait_until log_has 'removing worker 1'
	kill -CONT "$worker"
	await_stream
	[ "$(summary connections)" -eq 100 ]
}

@test "--pin-cpus gives each worker one processor" {
	(($(nproc) > 1)) || skip_or_fail "needs two processors"
	start_server --workers 2 --pin-cpus
	local first second
	first=$(cpus "$(worker_pid 0)")
	second=$(cpus "$(worker_pid 1)")
	[[ $first =~ ^[0-9]+$ ]]
	[[ $second =~ ^[0-9]+$ ]]
	[ "$first" != "$second" ]
	[ "$(cpus "$MASTER")" = "$(cpus $$)" ]
}

@test "without --pin-cpus workers go where the system puts them" {
	start_server --workers 2
	[ "$(cpus "$(worker_pid 1)")" = "$(cpus $$)" ]
}

@test "--pin-cpus with more workers than processors" {
	start_server --workers 5 --pin-cpus
	local pid
	for pid in $(worker_pids); do
		[[ $(cpus "$pid") =~ ^[0-9]+$ ]]
	done
	stream --connections 50
}

@test "pin-cpus goes on and off by a reload" {
	(($(nproc) > 1)) || skip_or_fail "needs two processors"
	printf '%s\n' 'listen = 127.0.0.1:0' 'workers = 2' 'pin-cpus = yes' >conf
	start_server --config conf
	local pinned
	for pinned in no yes no; do
		printf '%s\n' 'listen = 127.0.0.1:0' 'workers = 2' \
			"pin-cpus = $pinned" >conf
		reload
		if [[ $pinned == yes ]]; then
			wait_until is_pinned 0
			wait_until is_pinned 1
		else
			wait_until is_free 0
			wait_until is_free 1
		fi
	done
}

# is_pinned N: worker N is there and has one processor.
is_pinned() {
	local pid
	pid=$(worker_pid "$1") && [[ $(cpus "$pid") =~ ^[0-9]+$ ]]
}

# is_free N: it has all that the server has.
is_free() {
	local pid
	pid=$(worker_pid "$1") && [[ $(cpus "$pid") == "$(cpus "$MASTER")" ]]
}

cpus() {
	awk '/^Cpus_allowed_list/ { print $2 }' "/proc/$1/status"
}

@test "CPUs are counted and chosen where a kernel may have more than 1024" {
	run -0 "$TEST_PROGRAMS/forbid" sched_getaffinity EINVAL:1:129 \
		"$PREFORKD" --check
	[[ $output == *"workers = $(nproc)"* ]]
	LAUNCHER=("$TEST_PROGRAMS/forbid" sched_getaffinity EINVAL:1:129)
	start_server --workers 1 --pin-cpus
	[ "$(grep Cpus_allowed_list "/proc/$(worker_pid 0)/status" |
		cut -f 2)" = "$(grep Cpus_allowed_list /proc/self/status |
		cut -f 2 | grep -o '^[0-9]*')" ]
}
