#!/usr/bin/env bats
# What can fail for a moment (a send, a clone) is tried again at once and then
# with short back-off: no slot waits for a deadline. Calls are made to fail by
# strace(1), for all processes of a server or for one.

load helper

# inject PID SPECIFICATION: in that process and its children from now on.
inject() {
	start_client strace -f -qq -o "$BATS_TEST_TMPDIR/strace.$1" -p "$1" \
		-e "trace=${2%%:*}" -e "inject=$2"
	wait_until is_traced "$1"
}

# stop_injecting: of what was started last.
stop_injecting() {
	kill -TERM "${CLIENTS[-1]}"
	wait "${CLIENTS[-1]}" || true
	unset 'CLIENTS[-1]'
}

# was_injected PID
was_injected() {
	grep -q INJECTED "$BATS_TEST_TMPDIR/strace.$1"
}

# soon COMMAND...: before a deadline has passed, however busy the machine is.
soon() {
	wait_until "$@"
	not log_has 'killing it$|giving (it|the slot) up$'
}

@test "the order to take over is sent again until it has gone" {
	start_server --workers 1
	start_conversing 20 50
	local error worker
	for error in ENOBUFS EAGAIN ETOOMANYREFS; do
		worker=$(worker_pid 0)
		inject "$MASTER" "sendmsg:error=$error:when=1..4"
		kill -KILL "$worker"
		soon was_replaced 0 "$worker"
		was_injected "$MASTER"
		stop_injecting
		soon has_pairs 1
	done
	end_conversing 20
}

@test "a reload whose orders cannot be sent for a moment goes on" {
	start_server --workers 2
	start_conversing 20 50
	inject "$MASTER" sendmsg:error=ENOBUFS:when=1..6
	reload
	was_injected "$MASTER"
	log_has ' reloaded: '
	stop_injecting
	soon has_pairs 2
	end_conversing 20
}

@test "a standby that could not be cloned comes within a moment" {
	start_server --workers 1
	start_conversing 20 50
	local worker
	worker=$(worker_pid 0)
	inject "$worker" clone:error=EAGAIN:when=1..12
	kill -KILL "$(standby_pid 0)"
	wait_until log_has 'warning master: cannot clone standby 0: Resource temporarily unavailable'
	soon has_pairs 1
	[ "$(log_count 'cannot clone')" -eq 1 ]
	stop_injecting
	kill -KILL "$worker"
	soon was_replaced 0 "$worker"
	end_conversing 20
}

# A reload can do without for long, a client cannot.
@test "a reload whose worker could not be forked for a moment goes on" {
	start_server --workers 1
	start_conversing 20 50
	inject "$MASTER" clone:error=EAGAIN:when=1..6
	reload
	log_has ' reloaded: '
	soon has_pairs 1
	end_conversing 20
}
