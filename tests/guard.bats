#!/usr/bin/env bats
# The master against its workers. Slot 0 is taken over (tests/services/evil.c
# has the attacks by name); the master does not stop, grow or signal anybody
# else's process, and the clients of slot 1 notice nothing.

load helper

WITNESSES=5

# What a worker that is taken over says in the log is its own affair, and so is
# what becomes of it; errors of the master or the other slot are not.
setup_evil() {
	allow_error ' (worker|standby|leaving) 0: '
	allow_error 'master: (worker|standby|slot) 0 '
	allow_error 'master: slot 0: '
	# A sanitizer would take the signals for its own.
	export ASAN_OPTIONS=handle_segv=0:handle_abort=0:handle_sigbus=0
	ASAN_OPTIONS+=:handle_sigfpe=0:handle_sigill=0:detect_leaks=0
	ulimit -S -c 0
	start_server --workers 2 --drain-timeout 1s \
		-l "127.0.0.1:0=$TEST_PROGRAMS/evil.so" "$@"
	WORKER_1=$(worker_pid 1)
	STANDBY_1=$(standby_pid 1)
	WITNESS=()
	while ((${#WITNESS[@]} < WITNESSES)); do
		connect_to 1
		WITNESS+=("$FD")
	done
	connect_to 0
	EVIL=$FD
}

# connect_to SLOT: sets FD to a connection that this slot serves.
connect_to() {
	local answer
	while :; do
		exec {FD}<>"/dev/tcp/$HOST/$PORT"
		answer=$(ask "$FD" 'evil who')
		[[ $answer != "slot $1" ]] || return 0
		exec {FD}>&-
	done
}

# ask FD LINE: prints what comes back.
ask() {
	local answer
	echo "$2" >&"$1"
	IFS= read -t "$PATIENCE" -r -u "$1" answer
	echo "$answer"
}

# evil ATTACK...: by slot 0, which may die of it.
evil() {
	(trap '' PIPE; ask "$EVIL" "evil $*") 2>/dev/null || true
}

# others_are_well: slot 1 has the same processes, its clients are answered, and
# so is the operator.
others_are_well() {
	local fd
	[[ $(worker_pid 1) == "$WORKER_1" && $(standby_pid 1) == "$STANDBY_1" ]]
	for fd in "${WITNESS[@]}"; do
		[ "$(ask "$fd" hello)" == hello ]
	done
	ask_status 1
	! log_has 'master: (worker|standby|leaving) 1 .*(exited|was killed|hangs|stopped|does not move)'
}

# all_is_well: and slot 0 is there (again), for new clients, too.
all_is_well() {
	others_are_well
	wait_until has_pairs 2
	local n
	for n in 0 1; do
		connect_to "$n"
		[ "$(ask "$FD" hello)" == hello ]
	done
	reload
	log_has ' reloaded: '
}

# --- descriptors ---------------------------------------------------------------

@test "a socket that lingers does not have the master wait in close" {
	setup_evil
	evil lingering 1
	others_are_well
	evil lingering 2
	all_is_well
}

@test "descriptors that no message has do not stay with the master" {
	setup_evil
	local before
	before=$(fd_count "$MASTER")
	evil descriptors 300 1
	evil descriptors 300 2
	others_are_well
	wait_until has_fds "$MASTER" "$before"
	all_is_well
}

@test "a connection that nobody has asked for reaches no other slot" {
	setup_evil --hang-timeout 1s
	local before
	before=$(fd_count "$WORKER_1")
	evil offer
	holds_for 1 has_fds "$WORKER_1" "$before"
	all_is_well
}

@test "the master keeps no listener but the one that it asked for" {
	setup_evil
	evil listener
	others_are_well
	stop_process "$MASTER"
	kill -KILL "$(worker_pid 0)" "$(standby_pid 0)"
	kill -CONT "$MASTER"
	wait_until log_has 'slot 0: worker and standby died together'
	wait_until has_pairs 2
	# Its queue is served: nobody waits in another port's.
	local n
	for n in {1..20}; do
		exec {FD}<>"/dev/tcp/$HOST/$PORT"
		[ "$(ask "$FD" hello)" == hello ]
		exec {FD}>&-
	done
	all_is_well
}

# --- pids ----------------------------------------------------------------------

@test "a process of nobody's that a slot names is not signalled" {
	setup_evil
	tail -f /dev/null 3>&- &
	local stranger=$!
	evil name "$stranger"
	evil name "$stranger"
	others_are_well
	kill -KILL "$(worker_pid 0)"
	wait_until has_pairs 2
	all_is_well
	[ "$(process_state "$stranger")" == S ]
	kill -KILL "$stranger"
	wait "$stranger" || true
}

@test "a process of another slot that a slot names stays that one's" {
	setup_evil
	evil name "$WORKER_1"
	evil name "$STANDBY_1"
	others_are_well
	kill -KILL "$WORKER_1"
	wait_until was_replaced 1 "$WORKER_1"
	wait_until has_pairs 2
	WORKER_1=$(worker_pid 1)
	STANDBY_1=$(standby_pid 1)
	log_has "master: worker 1 \(pid [0-9]+\) was killed by SIGKILL; its standby takes over"
	local fd
	for fd in "${WITNESS[@]}"; do
		[ "$(ask "$fd" hello)" == hello ]
	done
}

# --- floods --------------------------------------------------------------------

# master_kb: what of the master's memory is its own.
master_kb() {
	awk '/^RssAnon:/ { print $2 }' "/proc/$MASTER/status"
}

@test "answers that a worker does not read do not fill the master" {
	setup_evil
	local before
	before=$(master_kb)
	evil nobody 20000
	others_are_well
	[ "$(master_kb)" -lt $((before + 8000)) ]
	all_is_well
}

@test "messages without an end leave the master time for others" {
	setup_evil
	evil wake 50000 &
	local flood=$!
	others_are_well
	wait "$flood"
	all_is_well
}

@test "a message of no byte is not the end of a slot" {
	setup_evil
	local worker
	worker=$(worker_pid 0)
	evil empty
	all_is_well
	[ "$(worker_pid 0)" != "$worker" ] # by the reload alone
	run ! log_has 'slot 0: worker and standby died'
}

# --- at random -----------------------------------------------------------------

# fuzz SECONDS ATTACK: rounds of it, each with its own seed, said when it fails.
fuzz() {
	local end seed
	end=$(($(now_ms) + $1 * 1000))
	while (($(now_ms) < end)); do
		seed=$RANDOM$RANDOM
		echo "evil $2 300 $seed"
		wait_until has_workers 2
		connect_to 0
		EVIL=$FD
		evil "$2" 300 "$seed" "$WORKER_1"
		exec {EVIL}>&-
		others_are_well
	done
}

@test "messages at random harm nobody else" {
	setup_evil
	fuzz "${FUZZ_SECONDS:-3}" fuzz
	others_are_well
}

@test "messages at random, and slot memory written over" {
	setup_evil
	fuzz "${FUZZ_SECONDS:-3}" scribble
	others_are_well
}

# --- processes of a service ------------------------------------------------------

# has_children PID: living ones.
has_children() {
	local pid
	for pid in $(children "$1"); do
		if is_alive "$pid"; then
			return 0
		fi
	done
	return 1
}

@test "a child of a service that comes back into the loop is no second worker" {
	setup_evil
	local n
	for n in 1 2 3; do
		[ "$(ask "$EVIL" 'evil stray')" == 'done' ]
	done
	wait_until not has_children "$(worker_pid 0)"
	for n in {1..20}; do
		[ "$(ask "$EVIL" hello)" == hello ]
	done
	[ "$(log_count 'takes over|damaged')" -eq 0 ]
	all_is_well
}

@test "a helper process of a service does not keep the server from ending" {
	start_server --workers 2 --drain-timeout 1s \
		-l "127.0.0.1:0=$TEST_PROGRAMS/evil.so:helper"
	local helpers
	mapfile -t helpers < <(helper_processes)
	((${#helpers[@]} == 1))
	kill -TERM "$MASTER"
	PATIENCE=20 server_ends_with 0
	kill -KILL "${helpers[@]}"
}

# helper_processes: whoever is in the server's group and no child of the master.
helper_processes() {
	local pid
	for pid in $(group_members "$MASTER"); do
		if [[ $pid != "$MASTER" ]] &&
			! children "$MASTER" | grep -qx "$pid"; then
			echo "$pid"
		fi
	done
}

@test "a slot of which a helper process is left begins anew" {
	expect_error 'worker and standby died together'
	start_server --workers 1 -l "127.0.0.1:0=$TEST_PROGRAMS/evil.so"
	local helpers first
	connect_to 0
	[ "$(ask "$FD" 'evil helper')" == 'done' ]
	mapfile -t helpers < <(helper_processes)
	((${#helpers[@]} == 1))
	first=$(worker_pid 0)
	stop_process "$MASTER"
	kill -KILL "$first" "$(standby_pid 0)"
	kill -CONT "$MASTER"
	wait_until was_replaced 0 "$first"
	connect_to 0
	[ "$(ask "$FD" hello)" == hello ]
	kill -TERM "$MASTER"
	server_ends_with 0
	mapfile -t -O 1 helpers < <(group_members "$MASTER")
	kill -KILL "${helpers[@]}"
}

# --- memory ----------------------------------------------------------------------

@test "bytes of a connection that was handed on are in no worker born later" {
	start_server --workers 2 -l "127.0.0.1:0=$EXAMPLES/line.so"
	local fd fds=() n
	for n in {1..12}; do
		exec {fd}<>"/dev/tcp/$HOST/$PORT"
		printf 7700142425 >&"$fd" # no end of line: it waits
		fds+=("$fd")
	done
	wait_until all_received 120
	kill -TTOU "$MASTER"
	wait_until log_has 'worker 1 .* has drained'
	for fd in "${fds[@]}"; do
		exec {fd}>&-
	done
	kill -TTIN "$MASTER"
	wait_until has_workers 2
	not memory_has "$MASTER" 7700142425
	not memory_has "$(worker_pid 1)" 7700142425
}

# all_received COUNT: bytes, of both slots.
all_received() {
	ask_status 2
	(($(grep -E ' slot [0-9]+: ' "$LOG" | tail -n 2 |
		sed 's/.* \([0-9]*\) bytes in.*/\1/' | paste -sd+ | bc) == $1))
}

# is_mapped_small FROM-TO: AddressSanitizer's shadow is terabytes.
is_mapped_small() {
	((0x${1#*-} - 0x${1%-*} < 1 << 28))
}

# memory_has PID TEXT: in its private memory that can be written.
memory_has() {
	local range rest
	while read -r range rest; do
		if [[ $rest == rw-p* ]] && is_mapped_small "$range" && dd if="/proc/$1/mem" bs=4096 \
			skip=$((0x${range%-*} / 4096)) \
			count=$(((0x${range#*-} - 0x${range%-*}) / 4096)) \
			2>/dev/null | grep -aq "$2"; then
			return 0
		fi
	done <"/proc/$1/maps"
	return 1
}

@test "damaged counters are not told as connections" {
	setup_evil
	evil count
	ask_status 2
	not log_has '[0-9]{7} connections'
}
