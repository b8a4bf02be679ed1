#!/usr/bin/env bats
# Descriptors and memory are the same before and after.

load helper

@test "a worker has the same descriptors before and after its connections" {
	start_server --workers 1
	local worker before
	worker=$(worker_pid 0)
	before=$(fd_count "$worker")
	stream --connections 300 --bytes 10K
	stream --connections 50 --rounds 3000 --bytes 100
	stream --connections 50 --rounds 3000 --bytes 20K --reset-at-random
	stream --connections 50 --rounds 1000 --bytes 100 --half-close
	wait_until has_fds "$worker" "$before"
	[ "$(worker_pid 0)" = "$worker" ]
}

@test "connections given up by either side leave no descriptor" {
	start_server --workers 1 --idle-timeout 1s --write-timeout 1s
	local worker before
	worker=$(worker_pid 0)
	before=$(fd_count "$worker")
	start_stream --connections 20 --bytes 100G --never-read --allow-cut
	start_stream --connections 20 --bytes 10 --hold --allow-cut
	await_stream 0
	await_stream 1
	start_stream --connections 50 --bytes 100G
	wait_until stream_says answered
	kill -KILL "${CLIENTS[CLIENT]}"
	wait_until has_fds "$worker" "$before"
}

@test "too many connections leave no descriptor" {
	LAUNCHER=(prlimit --nofile=100:100)
	start_server --workers 1
	local worker before
	worker=$(worker_pid 0)
	before=$(fd_count "$worker")
	stream --connections 300 --rounds 1000 --bytes 1000
	wait_until has_fds "$worker" "$before"
}

@test "kills leave no descriptor in the master and in the next worker" {
	start_server --workers 2
	local master_fds worker_fds n pid
	master_fds=$(fd_count "$MASTER")
	worker_fds=$(fd_count "$(worker_pid 0)")
	for n in 0 1 0 1 0 1; do
		pid=$(worker_pid "$n")
		kill -KILL "$pid"
		wait_until was_replaced "$n" "$pid"
	done
	stream --connections 50
	wait_until has_fds "$MASTER" "$master_fds"
	wait_until has_fds "$(worker_pid 0)" "$worker_fds"
}

@test "reloads leave no descriptor in the master and in the new workers" {
	start_server --workers 2
	local master_fds worker_fds i
	reload
	wait_until has_workers 2
	master_fds=$(fd_count "$MASTER")
	worker_fds=$(fd_count "$(worker_pid 0)")
	for i in {1..20}; do
		reload
	done
	wait_until has_workers 2
	wait_until has_fds "$MASTER" "$master_fds"
	wait_until has_fds "$(worker_pid 0)" "$worker_fds"
}

@test "failed reloads leave no descriptor" {
	expect_error 'reload failed: cannot listen'
	expect_error 'reload failed: conf:'
	expect_error 'master: conf:'
	local busy i fds
	busy=$(free_port)
	start_client nc -lk 127.0.0.1 "$busy"
	wait_until not refuses "$busy"
	printf '%s\n' 'listen = 127.0.0.1:0' 'workers = 2' >conf
	start_server --config conf
	fds=$(fd_count "$MASTER")
	echo "listen = 127.0.0.1:$busy" >>conf
	for i in {1..5}; do
		reload
	done
	echo 'nonsense' >>conf
	for i in {1..5}; do
		reload
	done
	wait_until has_workers 2
	wait_until has_fds "$MASTER" "$fds"
}

@test "workers that come and go leave no descriptor in the master" {
	start_server --workers 2
	local fds i
	fds=$(fd_count "$MASTER")
	for i in 1 2 3 4 5; do
		kill -TTIN "$MASTER"
		wait_until has_workers 3
		kill -TTOU "$MASTER"
		wait_until has_workers 2
	done
	wait_until has_fds "$MASTER" "$fds"
}

@test "a worker holds no descriptor of the other slots" {
	start_server --workers 8
	[ "$(listeners "$(worker_pid 0)")" -eq 1 ]
	[ "$(listeners "$(worker_pid 7)")" -eq 1 ]
}

# listeners PID: how many listening sockets the process holds.
listeners() {
	ss -Hltnp "sport = :$PORT" | grep -c "pid=$1," || true
}

@test "a server with closed standard streams gives their numbers to nothing" {
	local port pid fd
	port=$(free_port)
	LAUNCHER=(sh -c 'exec "$@" <&- >&- 2>&-' sh)
	launch --listen "127.0.0.1:$port" --workers 1
	wait_until not refuses "$port"
	HOST=127.0.0.1 PORT=$port stream --connections 10
	wait_until has_pairs 1
	for pid in "$MASTER" "$(worker_pid 0)" "$(standby_pid 0)"; do
		for fd in 0 1 2; do
			[ "$(readlink "/proc/$pid/fd/$fd")" = /dev/null ]
		done
	done
}

@test "no memory is lost over many connections" {
	start_server --workers 1
	local worker before
	worker=$(worker_pid 0)
	stream --connections 50 --rounds 3000 --bytes 10K
	before=$(memory_kb "$worker")
	stream --connections 50 --rounds 10000 --bytes 10K
	(($(memory_kb "$worker") - before < 512))
}
