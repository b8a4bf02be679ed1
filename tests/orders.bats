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
@test "a reload whose candidate could not be cloned for a moment goes on" {
	start_server --workers 1
	start_conversing 20 50
	inject "$(standby_pid 0)" clone:error=EAGAIN:when=1..6
	reload
	log_has ' reloaded: '
	soon has_pairs 1
	end_conversing 20
}

# dial, adds N: a conversation on CONN, whose sum is N afterwards.
dial() {
	exec {CONN}<>"/dev/tcp/$HOST/$PORT"
}

adds() {
	local line
	echo add 1 >&"$CONN"
	read -r -t "$PATIENCE" -u "$CONN" line && [[ $line == "v1 $1" ]]
}

start_probe() {
	cp "$TEST_PROGRAMS/probe-1.so" probe.so
	start_server --workers 1 --listen "127.0.0.1:0=./probe.so"
	dial
	adds 1
}

@test "a worker that had no standby: the seed tries until there is a successor" {
	start_probe
	local worker
	worker=$(worker_pid 0)
	inject "$worker" clone:error=EAGAIN:when=1+
	inject "$(titled 'seed 0')" clone:error=EAGAIN:when=1..8
	kill -KILL "$(standby_pid 0)"
	wait_until log_has 'cannot clone standby 0'
	kill -KILL "$worker"
	adds 2
	log_has "worker 0 \(pid $worker\) was killed by SIGKILL; it had no standby: its seed makes a successor"
	soon has_pairs 1
	dial # the listener has come along
	adds 1
}

@test "connections wait while the object of their service is missing" {
	start_probe
	mv probe.so away.so
	kill_slot 0
	wait_until log_has_times 2 'warning master: the successor of worker 0 .*service ./probe.so: cannot read it: .*; trying again in [0-9]+ ms'
	mv away.so probe.so
	adds 2
	soon has_pairs 1
	dial
	adds 1
}

# At the switch of a reload the worker has ended. The candidate has cloned its
# standby, and waits in that call to be killed with the standby of before.
@test "standby and candidate killed at a switch: whom they leave takes over" {
	start_server --workers 1
	start_conversing 20 50
	local standby
	standby=$(standby_pid 0)
	inject "$standby" clone:delay_exit=8s:when=1
	kill -HUP "$MASTER"
	wait_until waits_for_clone
	kill -KILL "$CANDIDATE" "$standby"
	stop_injecting
	soon has_workers 1
	soon has_pairs 1
	end_conversing 20
}

# waits_for_clone: the worker has ended, and beside the two there is one that has
# just been cloned. It forks nothing: the moment is over in some seconds.
waits_for_clone() {
	local pids=() pid title
	CANDIDATE=
	read -ra pids <"/proc/$MASTER/task/$MASTER/children"
	for pid in "${pids[@]}"; do
		title=
		{ IFS= read -r -d '' title <"/proc/$pid/cmdline"; } 2>/dev/null
		[[ $title != "preforkd: worker"* ]] || return 1
		[[ $title != "preforkd: candidate"* ]] || CANDIDATE=$pid
	done
	[[ $CANDIDATE ]] && ((${#pids[@]} == 3))
}
