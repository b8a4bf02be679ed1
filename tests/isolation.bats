#!/usr/bin/env bats
# A service that breaks on its input costs the one connection that sent it. The
# server here has tests/services/crash.c for its service: it breaks on demand.

load helper

# start_crashing OPTIONS...: a server with that service.
start_crashing() {
	ulimit -S -c 0
	# A sanitizer would take the signals for its own.
	export ASAN_OPTIONS=handle_segv=0:handle_sigfpe=0:handle_sigill=0
	ASAN_OPTIONS+=:handle_abort=0:handle_sigbus=0:detect_leaks=0
	PREFORKD=$TEST_PROGRAMS/preforkd-crash start_server "$@"
}

# provoke COUNT MESSAGE...: sends it on so many new connections. Their ports and
# what became of them go to the file "provoked".
provoke() {
	local count=$1
	shift
	"$TEST_PROGRAMS/provoke" "$HOST" "$PORT" "$count" "crash $*" >provoked
	cat provoked
}

# start_provoking: the same in the background; "sent" in the file when all is.
start_provoking() {
	local count=$1
	shift
	start_client "$TEST_PROGRAMS/provoke" "$HOST" "$PORT" "$count" \
		"crash $*"
	PROVOKED=$BATS_TEST_TMPDIR/client.$((${#CLIENTS[@]} - 1))
}

await_provoked() {
	wait_until provoked_has 'waited' "$PROVOKED"
	cp "$PROVOKED" provoked
	cat provoked
}

provoked_has() {
	grep -q "$1" "${2:-provoked}"
}

# ended COUNT OUTCOME: so many ended like that, and none otherwise.
ended() {
	local others
	others=$(grep -Ev "^[0-9]+ $2$|^sent |^waited " provoked || true)
	if [[ -n $others || $(grep -Ec "^[0-9]+ $2$" provoked) -ne $1 ]]; then
		echo "not $1 times $2"
		return 1
	fi
}

# faults_logged COUNT: so many lines tell of a fault, and each provoked
# connection has one.
faults_logged() {
	local port
	while read -r port _; do
		log_has "error worker [0-9]+: connection 127\.0\.0\.1:$port: the service failed on its input: closing it"
	done < <(grep -E '^[0-9]+ ' provoked)
	[ "$(log_count 'the service failed on its input')" -eq "$1" ]
}

start_honest() {
	local count=$1
	shift
	start_stream --connections "$count" --bytes 100 --hold "$@"
	wait_until stream_says answered
}

# end_honest COUNT: none of them was closed, and all bytes came back: those of
# before, and 64 now.
end_honest() {
	end_stream
	[ "$(summary connections)" -eq "$1" ]
	[ "$(summary bytes)" -eq $(($1 * 164)) ]
}

@test "of 5,000 connections exactly the one that broke the service is closed" {
	expect_error 'the service failed on its input'
	start_crashing --workers 1
	start_conversing 4999 400
	local failure faults=0
	for failure in null divide stack illegal abort heap 'exit 0' \
		'exit 3' '_exit 0' '_exit 78'; do
		provoke 1 "$failure"
		ended 1 reset
		faults_logged $((++faults))
	done
	[ "$(log_count 'its standby takes over')" -eq $((2 * faults)) ]
	provoke 1 memory # four times, as it looks like somebody's kill
	ended 1 reset
	faults_logged $((++faults))
	end_conversing 4999
	not log_has 'lost'
}

@test "of 5,000 connections the one whose call hangs is closed in time" {
	expect_error 'the service failed on its input'
	expect_error 'worker 0 \(pid [0-9]+\) hangs: aborting it'
	start_crashing --workers 1 --hang-timeout 1s
	start_honest 4999
	provoke 1 loop
	ended 1 reset
	faults_logged 1
	[ "$(log_count 'hangs: aborting it')" -eq 1 ]
	[ "$(log_count 'its standby takes over')" -eq 1 ]
	end_honest 4999
}

@test "new connections do not go where a call hangs" {
	allow_error 'the service failed on its input'
	allow_error 'hangs: aborting it'
	start_crashing --workers 2 --hang-timeout 20s
	start_provoking 1 loop
	wait_until log_has 'does not move: steering away from it'
	stream --connections 50 --seconds 10
	not log_has 'hangs'
}

@test "a call that hangs and does not heed SIGABRT" {
	expect_error 'the service failed on its input'
	expect_error 'worker 0 \(pid [0-9]+\) hangs: aborting it'
	start_crashing --workers 1 --hang-timeout 1s
	start_honest 100
	provoke 1 deaf
	ended 1 reset
	faults_logged 1
	log_has 'worker 0 \(pid [0-9]+\) was killed by SIGKILL; its standby'
	end_honest 100
}

@test "who waits behind a call that hangs is answered after it" {
	expect_error 'the service failed on its input'
	expect_error 'worker 0 \(pid [0-9]+\) hangs: aborting it'
	start_crashing --workers 1 --hang-timeout 1s
	start_stream --connections 50 --bytes 100G --message 1-1000 \
		--ping-pong --interval 10
	wait_until stream_says answered
	provoke 1 loop
	ended 1 reset
	stream --connections 50
	end_stream
	[ "$(summary connections)" -eq 50 ]
}

# Progress counts, not age.
@test "a worker that is busy for longer than the time-out does not hang" {
	start_crashing --workers 1 --hang-timeout 500ms
	start_stream --connections 20 --bytes 100G
	wait_until stream_says answered
	holds_for 2 not log_has 'hangs'
	end_stream
	[ "$(summary connections)" -eq 20 ]
}

@test "without a hang-timeout a call may take for ever" {
	start_crashing --workers 1 --hang-timeout 0
	start_honest 20
	start_provoking 1 "slow $PWD/go"
	wait_until has_calls 1
	holds_for 1 not provoked_has 'reset' "$PROVOKED"
	touch go
	await_provoked
	ended 1 echoed
	[ "$(log_count 'take')" -eq 0 ]
	end_honest 20
}

# start_configured LINE...: the same with a configuration file of these lines.
start_configured() {
	configure "$@"
	start_crashing --listen 127.0.0.1:0 --workers 1 --config conf
}

configure() {
	printf '%s\n' "$@" >conf
}

@test "a reload waits for a call that takes long, and does not repeat it" {
	start_crashing --workers 1
	start_honest 20
	start_provoking 1 "slow $PWD/go"
	wait_until has_calls 1
	kill -HUP "$MASTER"
	holds_for 3 not log_has 'killing it|was killed|reloaded'
	touch go
	await_provoked
	ended 1 echoed
	wait_until log_has ' reloaded: '
	has_calls 1
	end_honest 20
}

@test "a reload that sets a hang-timeout: it holds for the call under way" {
	expect_error 'the service failed on its input'
	expect_error 'worker 0 \(pid [0-9]+\) hangs: aborting it'
	start_configured 'hang-timeout = 0'
	start_honest 20
	start_provoking 1 loop
	wait_until provoked_has sent "$PROVOKED"
	configure 'hang-timeout = 1s'
	reload
	await_provoked
	ended 1 reset
	provoke 1 loop
	ended 1 reset
	end_honest 20
}

@test "a reload that takes the hang-timeout away: the call under way may last" {
	start_configured 'hang-timeout = 3s'
	start_honest 20
	start_provoking 1 "slow $PWD/go"
	wait_until has_calls 1
	configure 'hang-timeout = 0'
	kill -HUP "$MASTER"
	holds_for 5 not log_has 'hangs'
	touch go
	await_provoked
	ended 1 echoed
	wait_until log_has ' reloaded: '
	has_calls 1
	end_honest 20
}

# has_calls N: so many processes have called the service with "slow".
has_calls() {
	local marks=("$PWD"/go.*)
	[[ -e ${marks[0]} ]] && ((${#marks[@]} == $1))
}

# kill_call N: kills the worker in the Nth call of the service, with SIGKILL.
kill_call() {
	wait_until has_calls "$1"
	kill -KILL "$(worker_pid 0)"
}

@test "a call that was killed from outside is run again, three times" {
	start_crashing --workers 1
	start_honest 100
	start_provoking 1 "slow $PWD/go"
	local call
	for call in 1 2 3; do
		kill_call "$call"
	done
	wait_until has_calls 4
	touch go
	await_provoked
	ended 1 echoed
	[ "$(log_count 'was killed by SIGKILL; its standby takes over')" -eq 3 ]
	end_honest 100
}

@test "the third kill of a call counts as a fault, the next closes" {
	expect_error 'the service failed on its input'
	start_crashing --workers 1
	start_honest 100
	start_provoking 1 "slow $PWD/go"
	local call
	for call in 1 2 3 4; do
		kill_call "$call"
	done
	await_provoked
	ended 1 reset
	faults_logged 1
	has_calls 4
	end_honest 100
}

# The connection that is served when a corrupted heap gives way is not the one
# that corrupted it: on a clean image its call succeeds.
@test "the damage that a call left in its process dies with the process" {
	start_crashing --workers 1
	start_honest 100
	provoke 1 corrupt
	ended 1 echoed
	provoke 10 malloc
	ended 10 echoed
	[ "$(log_count 'was killed by SIGABRT.*; its standby takes over')" -eq 1 ]
	end_honest 100
}

# All in one batch of events: nothing else happens between their deaths.
@test "a storm of inputs that break the service leaves the others served" {
	expect_error 'the service failed on its input'
	start_crashing --workers 1
	start_honest 100
	local worker
	worker=$(worker_pid 0)
	stop_process "$worker"
	start_provoking 60 null
	wait_until provoked_has sent "$PROVOKED"
	kill -CONT "$worker"
	await_provoked
	ended 60 reset
	faults_logged 60
	not log_has 'resetting it'
	stream --connections 20
	end_honest 100
}

# As fast as they go: ten times STORM, each with two deaths. make test-long has
# ten thousand in all.
@test "a storm that lasts, while others come, echo and go" {
	expect_error 'the service failed on its input'
	local each=${STORM:-200} i
	start_crashing --workers 2
	start_honest 100
	start_stream --connections 20 --bytes 100G --message 1-5000 \
		--ping-pong
	wait_until stream_says answered
	for i in {1..10}; do
		provoke "$each" abort
		ended "$each" reset
		stream --connections 10 --rounds 20 --bytes 100
	done
	end_stream 1
	[ "$(summary connections)" -eq 20 ]
	CLIENT=0 end_honest 100
	# The log tells of some, and how many more; the status of all.
	(($(log_count 'the service failed on its input') < 10 * each))
	ask_status 2
	(($(tail -n 2 "$LOG" |
		sed -n 's/.*, \([0-9]*\) closed for a fault$/\1/p' |
		paste -sd +) == 10 * each))
	log_has 'more connections closed for such a reason were not logged'
}

# No successor can do better: each ends as soon as it has begun.
@test "a slot whose workers all end at once is given up, and begins anew" {
	expect_error 'epoll_wait: '
	expect_error 'makes no progress: resetting it'
	expect_error 'connections are lost'
	start_crashing --workers 1
	provoke 1 epoll
	wait_until log_has 'connections are lost; restarting'
	wait_until has_slots 1
	stream --connections 20
	[ "$(log_count 'its standby takes over')" -lt 20 ]
}

# lost: the connections that the log says were lost, all in all.
lost() {
	sed -n 's/.* \([0-9]*\) connections are lost.*/\1/p' "$LOG" |
		awk '{ sum += $1 } END { print sum + 0 }'
}

@test "damaged slot memory resets the slot; the other goes on" {
	expect_error 'is damaged: resetting it'
	expect_error 'connections are lost'
	start_crashing --workers 2
	start_honest 100 --allow-cut
	provoke 1 magic
	provoked_has 'closed\|reset'
	wait_until log_has 'connections are lost; restarting at once'
	end_stream
	[ "$(summary wrong)" -eq 0 ]
	[ "$(lost)" -gt 1 ] # the odds against that are 2^100
	[ "$(lost)" -lt 101 ]
	[ "$(summary connections)" -eq $((101 - $(lost))) ]
	wait_until has_slots 2
	stream --connections 50
}

# has_slots N: a worker and a standby of so many slots live.
has_slots() {
	local n
	for ((n = 0; n < $1; n++)); do
		worker_pid "$n" >/dev/null && standby_pid "$n" >/dev/null ||
			return
	done
}

# The back-off is a slot's: after three resets one of two has had a second.
@test "a slot that is damaged again backs off, and new clients are served" {
	expect_error 'is damaged: resetting it'
	expect_error 'connections are lost'
	start_crashing --workers 2
	local i
	for i in {1..6}; do
		provoke 1 magic
		wait_until log_has_times "$i" 'connections are lost'
		stream --connections 20
	done
	log_has 'connections are lost; restarting in [0-9]+ ms'
	wait_until has_slots 2
	stream --connections 50
}

# Nothing in there may hurt the master, whatever its value.
@test "no value in damaged slot memory harms the master or another slot" {
	expect_error 'is damaged: resetting it'
	expect_error 'connections are lost'
	start_crashing --workers 2
	local i=0 damage
	for damage in 'size 0x100000000' 'size 0x100000000' 'size 4096' \
		'size 0x400000000' 'size 0' 'slot 0' 'slot 1' 'slot 255'; do
		provoke 1 "$damage"
		wait_until log_has_times $((++i)) 'connections are lost'
		stream --connections 20
	done
	wait_until has_slots 2
}

@test "a write beyond the end of the buffer costs its connection alone" {
	expect_error 'the service failed on its input'
	start_crashing --workers 1
	start_honest 20
	local damage
	for damage in 1 64 4096 100000 2000000; do
		provoke 1 "overrun $damage"
		ended 1 reset
		stream --connections 20
	done
	faults_logged 5
	end_honest 20
}

# A status of 0 says that a worker has ended as ordered, or that the service has
# ended it.
@test "a service that calls exit(0) while the server drains" {
	expect_error 'the service failed on its input'
	start_crashing --workers 1
	start_honest 20
	exec 5<>"/dev/tcp/$HOST/$PORT"
	echo hello >&5
	read -r answer <&5
	[ "$answer" = hello ]
	kill -QUIT "$MASTER"
	wait_until log_has 'draining: QUIT'
	wait_until refuses "$PORT"
	echo 'crash exit 0' >&5
	wait_until log_has 'worker 0 .* exited with status 0; its standby takes over'
	not read -r answer <&5
	exec 5>&-
	end_honest 20
	server_ends_with 0
}

# freeze SECONDS: nobody of the server runs, and nobody is told (a suspended
# machine, a frozen cgroup).
freeze() {
	# shellcheck disable=SC2046 # one word for each pid
	"$TEST_PROGRAMS/freeze" "$1" "$MASTER" $(children "$MASTER")
}

@test "a call that was frozen with the whole server does not hang" {
	start_crashing --workers 1 --hang-timeout 4s
	start_provoking 1 "slow $PWD/go"
	wait_until has_calls 1
	freeze 6
	touch go
	await_provoked
	ended 1 echoed
	not log_has 'hangs'
}
