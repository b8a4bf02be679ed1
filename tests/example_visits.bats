#!/usr/bin/env bats
# examples/visits.c: memory that all workers share, also over their deaths.

load helper

# visit: prints how many there have been.
visit() {
	local line fd
	exec {fd}<>"/dev/tcp/$HOST/$PORT"
	read -r -t "$PATIENCE" -u "$fd" line
	exec {fd}>&-
	echo "${line#visit }"
}

start_visits() {
	start_server --listen "127.0.0.1:0=$EXAMPLES/visits.so" "$@"
}

@test "all workers count in one table" {
	start_visits --workers 4
	local n
	for n in {1..40}; do
		[ "$(visit)" -eq "$n" ]
	done
	kill -TTIN "$MASTER"
	wait_until has_pairs 5
	for n in {41..80}; do
		[ "$(visit)" -eq "$n" ]
	done
}

@test "each address is counted for itself" {
	start_visits --workers 2 --listen "[::1]:0=$EXAMPLES/visits.so"
	mapfile -t numbers < <(ports)
	[ "$(visit)" -eq 1 ]
	[ "$(visit)" -eq 2 ]
	HOST=::1
	PORT=${numbers[1]}
	[ "$(visit)" -eq 1 ]
}

@test "what was counted outlives workers, and a slot" {
	expect_error 'slot 0: worker and standby died together'
	start_visits --workers 2
	local n
	for n in {1..10}; do
		[ "$(visit)" -eq "$n" ]
	done
	kill -KILL "$(worker_pid 1)"
	kill_slot 0
	wait_until log_has 'died together'
	wait_until has_pairs 2
	[ "$(visit)" -eq 11 ]
}

# A kill in the midst of a call has it made, and counted, once more.
@test "under kills no visit is missed, and no more are added than calls made anew" {
	start_visits --workers 2
	start_client "$TEST_PROGRAMS/chaos" --master "$MASTER" --workers 2 \
		--seconds 600 --reloads 0 --interval 5
	local last=0 now n
	for n in {1..400}; do
		now=$(visit)
		((now > last))
		last=$now
	done
	((last >= 400 && last <= 400 + $(log_count 'its standby takes over')))
}
