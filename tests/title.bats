#!/usr/bin/env bats
# What ps shows.

load helper

@test "ps shows the master and each worker by name" {
	start_server --workers 3
	run -0 ps -o args= -p "$MASTER"
	[ "$output" = "preforkd: master" ]
	local pids
	pids=$(worker_pids)
	run -0 ps -o args= -p "${pids//$'\n'/,}"
	[ "$(sort <<<"$output")" = "$(printf 'preforkd: worker %d\n' 0 1 2)" ]
}

@test "a worker's successor has its name" {
	start_server --workers 2
	local pid
	pid=$(worker_pid 1)
	kill -KILL "$pid"
	wait_until was_replaced 1 "$pid"
	[ "$(process_title "$(worker_pid 1)")" = "preforkd: worker 1" ]
}

@test "the title has room however short the command line is" {
	mkdir bin
	ln -s "$PREFORKD" bin/p
	PATH=$PWD/bin:$PATH PREFORKD=p
	LAUNCHER=(env -i "PATH=$PATH")
	start_server --workers 1 -l 127.0.0.1:0
	wait_until worker_pid 0
	[ "$(process_title "$(worker_pid 0)")" = "preforkd: worker 0" ]
}
