#!/usr/bin/env bats
# Where memory runs short: who pays for it, and who does not.

load helper

oom_score_adj() {
	cat "/proc/$1/oom_score_adj"
}

# all_have SCORE: each process of a slot.
all_have() {
	local pid
	for pid in $(worker_pids) $(standby_pids) $(titled seed); do
		[ "$(oom_score_adj "$pid")" -eq "$1" ] || return
	done
}

@test "the OOM killer prefers the processes of slots to the master" {
	start_server --workers 2 --listen "127.0.0.1:0=$EXAMPLES/line.so"
	local own
	own=$(oom_score_adj $$)
	wait_until has_pairs 2
	[ "$(oom_score_adj "$MASTER")" -eq "$own" ]
	all_have $((own + 500))
	kill_workers 2
	wait_until has_pairs 2
	all_have $((own + 500))
	reload
	wait_until has_pairs 2
	all_have $((own + 500))
}

@test "what oom_score_adj was given is added to, for a user without privileges, too" {
	LAUNCHER=(choom -n 700 -- setpriv --reuid 65534 --clear-groups --no-new-privs)
	start_server --workers 1
	[ "$(oom_score_adj "$MASTER")" -eq 700 ]
	wait_until has_pairs 1
	all_have 1000
}

# A sysctl belongs to the whole machine, so the file is another for this server alone.
@test "without overcommit the remedy is named" {
	if [[ $PREFORKD == *sanitize* ]]; then
		skip "AddressSanitizer needs all of the address space"
	fi
	expect_error 'cannot start worker 0'
	echo 2 >overcommit
	LAUNCHER=(unshare --mount sh -c 'mount --bind overcommit /proc/sys/vm/overcommit_memory && exec prlimit --as=500000000 "$@"' sh)
	launch --listen 127.0.0.1:0 --workers 1
	wait_until log_has 'cannot start worker 0: .*memory.*vm.overcommit_memory'
}
