#!/usr/bin/env bats
# Workers that die have a successor at once; a slot that loses both of its
# processes gets new ones, ever later if that happens again and again.

load helper

# kill_worker N SIGNAL: and waits until its standby has taken over, with a
# standby of its own.
kill_worker() {
	local pid
	pid=$(worker_pid "$1")
	kill "-$2" "$pid"
	wait_until was_replaced "$1" "$pid"
	wait_until standby_pid "$1"
}

# lose_slot N: kills both of its processes and waits for others.
lose_slot() {
	expect_error 'worker and standby died together'
	local pid
	pid=$(worker_pid "$1")
	kill_slot "$1"
	wait_until was_replaced "$1" "$pid"
	wait_until standby_pid "$1"
}

@test "a killed worker has a successor, and the log says how it died" {
	start_server --workers 2
	local pid standby
	pid=$(worker_pid 1)
	standby=$(standby_pid 1)
	kill_worker 1 KILL
	log_has "warning master: worker 1 \(pid $pid\) was killed by SIGKILL; its standby takes over"
	[ "$(worker_pid 1)" = "$standby" ]
	wait_until has_pairs 2
	stream --connections 50
}

@test "the log tells which signal it was" {
	start_server --workers 1
	kill_worker 0 ABRT
	log_has 'worker 0 \(pid [0-9]+\) was killed by SIGABRT( \(core dumped\))?; its standby'
}

@test "a killed standby is replaced" {
	start_server --workers 1
	local pid
	pid=$(standby_pid 0)
	kill -KILL "$pid"
	wait_until log_has "standby 0 \(pid $pid\) was killed by SIGKILL; the worker clones another"
	wait_until has_pairs 1
	kill_worker 0 KILL
	stream --connections 50
}

# Whoever stopped it: the slot needs it now.
@test "a standby that was stopped takes over all the same" {
	start_server --workers 1
	start_stream --connections 20 --bytes 100 --hold
	wait_until stream_says answered
	local standby
	standby=$(standby_pid 0)
	stop_process "$standby"
	kill -KILL "$(worker_pid 0)"
	stream --connections 10 --seconds 30
	[ "$(worker_pid 0)" = "$standby" ]
	end_stream
	[ "$(summary connections)" -eq 20 ]
}

@test "a stopped worker gets no new connections, and then has a successor" {
	start_server --workers 2 --hang-timeout 8s
	start_stream --connections 40 --bytes 100 --hold
	wait_until stream_says answered
	local pid
	pid=$(worker_pid 1)
	stop_process "$pid"
	start_stream --connections 40 --bytes 100 --hold
	wait_until log_has "worker 1 \(pid $pid\) was stopped by SIGSTOP"
	wait_until log_has "worker 1 \(pid $pid\) does not move: steering away from it"
	stream --connections 40 --bytes 1000 --seconds 5
	wait_until log_has "worker 1 \(pid $pid\) has been stopped for [0-9]+ ms: killing it"
	wait_until was_replaced 1 "$pid"
	wait_until stream_says answered 1
	end_stream 1
	end_stream 0
	[ "$(summary connections)" -eq 40 ]
}

@test "a worker that is stopped for a moment goes on" {
	start_server --workers 1 --hang-timeout 4s
	local pid
	pid=$(worker_pid 0)
	stop_process "$pid"
	wait_until log_has 'steering away from it'
	kill -CONT "$pid"
	wait_until log_has "worker 0 \(pid $pid\) goes on"
	holds_for 5 is_alive "$pid"
	stream --connections 10
	not log_has 'killing it'
}

# Nobody else has its connections.
@test "a stopped worker whose standby is dead is let go on" {
	start_server --workers 1 --hang-timeout 3s
	wait_until has_pairs 1
	start_stream --connections 20 --bytes 100 --hold
	wait_until stream_says answered
	local worker standby
	worker=$(worker_pid 0)
	standby=$(standby_pid 0)
	kill -STOP "$worker"
	kill -KILL "$standby"
	wait_until log_has 'nobody could take over: letting it go on'
	wait_until has_pairs 1
	[ "$(worker_pid 0)" = "$worker" ]
	end_stream
	[ "$(summary connections)" -eq 20 ]
}

@test "a stopped worker whose standby dies in a reload is let go on" {
	start_server --workers 1
	wait_until has_pairs 1
	start_stream --connections 20 --bytes 100 --hold
	wait_until stream_says answered
	stop_process "$(worker_pid 0)"
	local standby
	standby=$(standby_pid 0)
	kill -HUP "$MASTER"
	wait_until has_children "$MASTER" 4
	kill -KILL "$standby"
	wait_until log_has ' reloaded: '
	wait_until has_pairs 1
	end_stream
	[ "$(summary connections)" -eq 20 ]
}

@test "deaths of workers mean no back-off" {
	start_server --workers 3
	local n
	for n in 0 1 2 0 1 2 0 1 2; do
		kill_worker "$n" KILL
	done
	[ "$(log_count 'its standby takes over')" -eq 9 ]
	not log_has 'restarting'
}

@test "a slot that is lost again and again is restarted ever later" {
	start_server --workers 2
	local n
	for n in 1 2 3 4 5; do
		lose_slot 1
	done
	run -0 grep -Eo 'restarting .*' "$LOG"
	[ "${lines[0]}" = "restarting at once" ]
	[ "${lines[1]}" = "restarting in 100 ms" ]
	[ "${lines[2]}" = "restarting in 200 ms" ]
	[ "${lines[3]}" = "restarting in 400 ms" ]
	[ "${lines[4]}" = "restarting in 800 ms" ]
	lose_slot 0
	[ "$(log_count 'slot 0: .* restarting at once')" -eq 1 ]
}

@test "a slot that lived for a while is forgiven" {
	start_server --workers 1
	lose_slot 0
	lose_slot 0
	log_has 'restarting in 100 ms'
	local pid
	pid=$(worker_pid 0)
	holds_for 6 is_alive "$pid"
	lose_slot 0
	[ "$(log_count 'restarting at once')" -eq 2 ]
}

@test "while the only slot waits for its restart, its queue waits too" {
	start_server --workers 1
	lose_slot 0
	lose_slot 0
	lose_slot 0
	kill_slot 0
	wait_until log_has 'restarting in 400 ms'
	stream --connections 100 --bytes 1000
	[ "$(summary connections)" -eq 100 ]
}

@test "TERM while the only slot waits for its restart: its queue is answered" {
	start_server --workers 1
	local n
	for n in 1 2 3 4 5; do
		lose_slot 0
	done
	kill_slot 0
	wait_until log_has 'restarting in 1600 ms'
	start_stream --connections 100 --bytes 1000 --half-close
	wait_until stream_says connected
	kill -TERM "$MASTER"
	server_ends_with 0
	await_stream
	[ "$(summary connections)" -eq 100 ]
}

@test "TTOU while a slot waits for its restart: its queue is served, then closed" {
	start_server --workers 2
	local n
	for n in 1 2 3 4 5; do
		lose_slot 1
	done
	# Neither is there to serve them before the slot is down and unwanted.
	stop_process "$(worker_pid 0)"
	stop_process "$(worker_pid 1)"
	start_stream --connections 100 --bytes 1000 --half-close
	wait_until stream_says connected
	kill_slot 1
	wait_until log_has 'slot 1: .* restarting in 1600 ms'
	kill -TTOU "$MASTER"
	wait_until log_has 'removing worker 1'
	kill -CONT "$(worker_pid 0)"
	await_stream
	[ "$(summary connections)" -eq 100 ]
	wait_until has_pairs 1
	wait_until has_listeners 1
	stream --connections 10
}

has_listeners() {
	(($(sockets listening) == $1))
}

# What waited in its queue as well as what is new.
@test "while a slot waits for its restart, others serve in its place" {
	start_server --workers 2
	local n
	for n in 1 2 3 4 5; do
		lose_slot 1
	done
	stop_process "$(worker_pid 1)"
	start_stream --connections 100 --bytes 1000 --hold
	wait_until stream_says connected
	kill_slot 1
	wait_until log_has 'restarting in 1600 ms'
	wait_until stream_says answered
	stop_process "$MASTER" # so that the slot stays down
	not worker_pid 1
	stream --connections 10 --rounds 100 --bytes 100
	not worker_pid 1
	kill -CONT "$MASTER"
	wait_until worker_pid 1
	end_stream
	[ "$(summary connections)" -eq 100 ]
}

# lose_slots NUMBERS: all of them at once.
lose_slots() {
	expect_error 'worker and standby died together'
	local n lost pids=()
	wait_until has_pairs 4
	stop_process "$MASTER"
	for n in $1; do
		pids+=("$(worker_pid "$n")" "$(standby_pid "$n")")
	done
	lost=$(log_count 'died together')
	kill -KILL "${pids[@]}"
	kill -CONT "$MASTER"
	wait_until log_has_times $((lost + $(wc -w <<<"$1"))) 'died together'
}

# lose_slots_for_long NUMBERS: until they are down for a while; a life of 5 s
# is forgiven.
lose_slots_for_long() {
	local _
	for _ in {1..20}; do
		lose_slots "$1"
		if log_has_times 3 'restarting in [2-9]00 ms'; then
			return
		fi
	done
	echo "no slot has backed off"
	return 1
}

# start_with_addresses N OPTIONS...: on the addresses $NET.1 to $NET.N, which
# nobody else has.
start_with_addresses() {
	local count=$1 n
	NET=127.$((RANDOM % 200 + 20)).$((RANDOM % 200 + 20))
	shift
	for ((n = 1; n <= count; n++)); do
		set -- "$@" --listen "$NET.$n:0"
	done
	start_server "$@"
}

# Three slots with 64 listeners each are more than a socket's buffer takes at
# once, and more than one worker takes at all.
@test "the queues of many slots that are down do not drown who serves on" {
	start_with_addresses 64 --workers 4
	start_stream --connections 40 --bytes 1000 --hold --allow-cut
	wait_until stream_says answered
	lose_slots_for_long '1 2 3'
	wait_until has_pairs 4
	not log_has 'worker 0 .* was killed'
	not log_has 'cannot watch a listener'
	local n
	for n in 1 13 64; do
		stream_at "$NET.$n"
	done
}

# stream_at ADDRESS: connections to whatever port the server has there.
stream_at() {
	local HOST=$1 PORT
	PORT=$(ss -Hltn "src $1" | sed "s|.*$1:\\([0-9]*\\) .*|\\1|;q")
	stream --connections 50
}

# What its successor would be told anew it just has not read yet.
@test "a worker that reads its orders late is not killed" {
	start_with_addresses 64 --workers 4
	local worker
	worker=$(worker_pid 0)
	lose_slots_for_long '1 2 3'
	wait_until has_pairs 4
	stop_process "$worker"
	lose_slots '1 2 3'
	wait_until has_pairs 4
	kill -CONT "$worker"
	stream_at "$NET.64"
	not log_has 'worker 0 .* was killed'
}

@test "kill -9 of each worker: nobody in its queue is refused or reset" {
	start_server --workers 3
	local n pid
	for n in 0 1 2; do
		pid=$(worker_pid "$n")
		stop_process "$pid"
		start_stream --connections 300 --bytes 1000 --hold
		wait_until stream_says connected
		not stream_says answered
		kill -KILL "$pid"
		wait_until stream_says answered
		wait_until was_replaced "$n" "$pid"
		end_stream
		[ "$(summary connections)" -eq 300 ]
	done
	[ "$(log_count 'was killed by SIGKILL; its standby takes over')" -eq 3 ]
}

@test "kill -9 of all workers at once, with full queues" {
	start_server --workers 2
	local pids pid
	pids=$(worker_pids)
	for pid in $pids; do
		stop_process "$pid"
	done
	start_stream --connections 300 --bytes 1000 --half-close
	wait_until stream_says connected
	# shellcheck disable=SC2086 # one word for each pid
	kill -KILL $pids
	await_stream
	[ "$(summary connections)" -eq 300 ]
	wait_until has_workers 2
}

@test "kill -9 of each worker under load of new connections: 0 refused, 0 reset" {
	start_server --workers 2
	start_stream --connections 20 --rounds 0 --bytes 200
	local n
	for n in 0 1 0 1 0 1; do
		wait_until has_served_more
		kill_worker "$n" KILL
	done
	wait_until has_served_more
	end_stream
	[ "$(summary refused)" -eq 0 ]
	[ "$(summary wrong)" -eq 0 ]
	[ "$(summary connections)" -gt 1000 ]
	[ "$(summary reset)" -eq 0 ]
	[ "$(summary closed)" -eq 0 ]
}

# has_served_more: the workers have used some more processor time for it.
has_served_more() {
	local pid now=0
	for pid in $(worker_pids); do
		now=$((now + $(cpu_ticks "$pid")))
	done
	if ((now > ${served:-0} + 3 || now < ${served:-0})); then
		served=$now
		return 0
	fi
	return 1
}

@test "a slot lost: connections of the others do not notice" {
	expect_error 'worker and standby died together'
	start_server --workers 2
	start_stream --connections 100 --bytes 100G --interval 5 \
		--message 1-1000 --allow-cut
	wait_until stream_says answered
	ask_status 2
	local others
	others=$(grep ' slot 1: ' "$LOG" | sed 's/.* serving, \([0-9]*\) .*/\1/')
	kill_slot 0
	wait_until has_pairs 2
	end_stream
	[ "$(summary connections)" -eq "$others" ]
	[ "$(summary connections)" -lt 100 ]
	[ "$(summary wrong)" -eq 0 ]
}

@test "no zombies stay" {
	start_server --workers 3
	local n
	for n in 0 1 2 0 1 2; do
		kill_worker "$n" KILL
	done
	wait_until not has_zombies "$MASTER"
	[ "$(children "$MASTER" | wc -l)" -eq 6 ]
}

@test "the master killed: no worker stays behind" {
	start_server --workers 3
	start_stream --connections 20 --bytes 100 --hold --allow-cut
	wait_until stream_says answered
	kill -KILL "$MASTER"
	wait_until group_is_gone "$MASTER"
	wait_until refuses "$PORT"
	await_stream
}

@test "the master killed while its workers wait or stand still" {
	start_server --workers 2
	local first second
	first=$(worker_pid 0)
	second=$(worker_pid 1)
	stop_process "$second"
	kill -KILL "$MASTER"
	wait_until not is_alive "$first"
	kill -CONT "$second" || true
	wait_until group_is_gone "$MASTER"
}

@test "Ctrl-C reaches the whole group: only the master acts on it" {
	start_server --workers 2
	kill -INT -- "-$MASTER"
	server_ends_with 0
	log_has 'stopping: INT'
	log_has ' stopped$'
	not log_has 'was killed|exited with'
}

@test "a closing terminal reaches the whole group: it is one reload" {
	start_server --workers 2
	kill -HUP -- "-$MASTER"
	wait_until log_has ' reloaded: '
	not log_has 'was killed|exited with'
	has_workers 2
	stream --connections 20
}

@test "workers leave the master's signals to the master" {
	start_server --workers 1
	local pid signal
	pid=$(worker_pid 0)
	for signal in HUP INT QUIT TERM USR1 TTIN TTOU PIPE; do
		kill "-$signal" "$pid"
	done
	stream --connections 10
	[ "$(worker_pid 0)" = "$pid" ]
	not log_has 'was killed|exited with|stopping|reloading'
}

@test "signals that mean nothing to the master do nothing" {
	start_server --workers 1
	local signal
	for signal in USR2 ALRM VTALRM PROF IO PWR STKFLT XCPU RTMIN RTMIN+1 \
		RTMAX; do
		kill "-$signal" "$MASTER"
	done
	wait_until log_has 'ignoring SIGUSR2'
	wait_until log_has 'ignoring signal 34'
	has_pairs 1
	stream --connections 10
}

@test "as PID 1 of a container it reaps orphans that are not its own" {
	unshare --pid --fork true 2>/dev/null ||
		skip_or_fail "no right to make a pid namespace"
	LAUNCHER=(unshare --pid --fork --kill-child)
	start_server --workers 2
	local init orphan outside=$MASTER
	init=$(children "$MASTER")
	MASTER=$init
	wait_until has_children "$init" 4
	mkfifo gate
	exec 5<>gate
	# The inner shell is left behind by the outer one, and waits.
	nsenter --target "$init" --pid sh -c 'sh -c "read _" <gate &'
	wait_until has_children "$init" 5
	orphan=$(comm -13 <(sorted_workers) <(children "$init" | sort))
	[ -n "$orphan" ]
	echo "end" >&5
	exec 5>&-
	wait_until not test -e "/proc/$orphan"
	has_workers 2
	not log_has 'was killed|exited with'
	stream --connections 10
	kill -TERM "$init"
	wait_until not is_alive "$outside"
}

has_children() {
	(($(children "$1" | wc -l) == $2))
}

sorted_workers() {
	{ worker_pid 0 && worker_pid 1; } | sort
}
