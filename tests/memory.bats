#!/usr/bin/env bats
# Where memory runs short: who pays for it, and who does not.

load helper

oom_score_adj() {
	cat "/proc/$1/oom_score_adj"
}

# all_have SCORE: each process of a slot.
all_have() {
	local pid
	for pid in $(worker_pids) $(standby_pids); do
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

# memory_is_at_most KB: what is resident of worker 0. AddressSanitizer has a byte
# for each eight that are touched, and keeps what was freed for a while.
memory_is_at_most() {
	local kb most=$1
	[[ $PREFORKD != *sanitize* ]] || most=$((most + 2048))
	kb=$(memory_kb "$(worker_pid 0)")
	((kb <= most)) || {
		echo "$kb KiB instead of at most $most"
		return 1
	}
}

# hoard COUNT: so many clients that do not read.
hoard() {
	start_client "$TEST_PROGRAMS/hoard" "$HOST" "$PORT" "$1"
	HOARD=$((${#CLIENTS[@]} - 1))
}

hoard_is_stuck() {
	grep -q '^stuck ' "$BATS_TEST_TMPDIR/client.$HOARD"
}

end_hoard() {
	kill -TERM "${CLIENTS[HOARD]}"
	wait_until stream_is_over "$HOARD"
}

@test "slow readers have so much memory and no more, honest clients notice nothing" {
	start_server --workers 1 --memory 2M --write-timeout 0
	local before
	stream --connections 20 --bytes 300K
	before=$(memory_kb "$(worker_pid 0)")
	start_stream --connections 20 --bytes 100G --interval 5 --message 1-1000
	wait_until stream_says answered
	hoard 300
	wait_until log_has 'closing it: it has held [1-9][0-9]* KiB for [0-9]+ ms, .*raise memory \(2 MiB for 1 worker\)'
	wait_until hoard_is_stuck
	memory_is_at_most $((before + 2048 + 1024))
	stream --connections 20 --rounds 100 --bytes 1000
	end_stream 0
	[ "$(summary connections)" -eq 20 ]
}

@test "what waits is counted right after kills in its midst" {
	start_server --workers 1 --memory 2M --write-timeout 0
	local before
	stream --connections 20 --bytes 300K
	before=$(memory_kb "$(worker_pid 0)")
	hoard 300
	kill_workers 5
	wait_until log_has 'closing it: it has held '
	wait_until hoard_is_stuck
	memory_is_at_most $((before + 2048 + 1024))
	end_hoard
	wait_until memory_is_at_most $((before + 1024))
	before=$(log_count 'closing it: it has held ')
	hoard 15
	wait_until hoard_is_stuck
	[ "$(<"$BATS_TEST_TMPDIR/client.$HOARD")" = "stuck 15" ]
	[ "$(log_count 'closing it: it has held ')" -eq "$before" ]
}

@test "a reload changes what may wait" {
	printf '%s\n' 'listen = 127.0.0.1:0' 'memory = 0' >conf
	start_server --config conf --workers 1 --write-timeout 0
	hoard 100
	wait_until hoard_is_stuck
	not log_has 'closing it'
	printf '%s\n' 'listen = 127.0.0.1:0' 'memory = 1M' >conf
	reload
	wait_until log_has 'closing it: it has held .*raise memory \(1 MiB'
}
