#!/usr/bin/env bats
# A server with nothing to do does nothing, and idle connections own nothing.

load helper

# server_wake_ups: of the master and all workers.
server_wake_ups() {
	# shellcheck disable=SC2046 # one word for each pid
	wake_ups "$MASTER" $(worker_pids)
}

sleeps_on() {
	[ "$(server_wake_ups)" = "$1" ]
}

# falls_asleep: nobody has woken up for a second.
falls_asleep() {
	local before
	before=$(server_wake_ups)
	holds_for 1 sleeps_on "$before" >/dev/null
}

@test "an idle server makes no wake-ups" {
	start_server --workers 4
	wait_until falls_asleep
	local before
	before=$(server_wake_ups)
	holds_for 3 sleeps_on "$before"
	stream --connections 50 --bytes 1000
	[ "$(server_wake_ups)" != "$before" ]
}

@test "nor after it has served" {
	start_server --workers 2 --idle-timeout 10s
	stream --connections 100 --bytes 100K
	wait_until falls_asleep
	local before
	before=$(server_wake_ups)
	holds_for 3 sleeps_on "$before"
}

@test "nor after a kill and a reload" {
	start_server --workers 2
	kill -KILL "$(worker_pid 0)"
	wait_until log_has 'takes over'
	wait_until has_pairs 2
	reload
	wait_until has_pairs 2
	wait_until falls_asleep
	local before
	before=$(server_wake_ups)
	holds_for 3 sleeps_on "$before"
}

@test "nor with idle connections that nothing can time out" {
	start_server --workers 2 --write-timeout 1s
	start_stream --connections 100 --bytes 1000 --hold
	wait_until stream_says answered
	wait_until falls_asleep
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
