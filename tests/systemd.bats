#!/usr/bin/env bats
# The installed unit under a real systemd: what an operator relies on.

# shellcheck disable=SC2030,SC2031 # each test is a shell of its own

load helper
load systemd

setup_file() {
	# The tests share one box and one unit.
	export BATS_NO_PARALLELIZE_WITHIN_FILE=true
	box_up
}

teardown_file() {
	box_down
}

eval "helper_$(declare -f setup)"
setup() {
	helper_setup
	box_setup
}

teardown() {
	box_teardown
}

@test "the installed unit: verify is silent, and exposure is at most 1.6" {
	run -0 box systemd-analyze verify preforkd.service preforkd.socket
	[[ -z $output ]]
	run -0 box systemd-analyze security --offline=yes --threshold=16 \
		--no-pager /usr/lib/systemd/system/preforkd.service
}

@test "enable: it starts with the machine" {
	box systemctl enable --quiet preforkd
	box systemctl restart multi-user.target
	wait_until property_is ActiveState active
	box systemctl disable --quiet preforkd
}

@test "start: ready when every worker listens, and no sooner" {
	# On one processor the workers get ready one after the other.
	drop_in CPUAffinity=0
	configure "listen = 127.0.0.1:$PORT" 'workers = 256'
	box systemctl start preforkd
	has_listeners 256
	stream --connections 50 --bytes 1000
	property_is StatusText '256 workers, [0-9]+ connections?'
	journal_has '^master: ready: 256 workers listening$'
}

@test "start: as a user of its own, with one capability and a filter" {
	start_unit
	local pid status uid
	for pid in "$MASTER" $(worker_pids); do
		status=$(<"/proc/$pid/status")
		[[ $status == *$'NoNewPrivs:\t1'* ]]
		[[ $status == *$'Seccomp:\t2'* ]]
		# CAP_NET_BIND_SERVICE is number 10.
		[[ $status == *$'CapEff:\t0000000000000400'* ]]
		[[ $status == *$'CapBnd:\t0000000000000400'* ]]
		uid=$(awk '/^Uid:/ { print $2 }' <<<"$status")
		# The range of DynamicUser=, systemd.exec(5).
		((uid >= 61184 && uid <= 65519))
	done
	run -0 process_title "$MASTER"
	[[ $output == 'preforkd: master' ]]
	[[ $(worker_pids | wc -l) == 2 ]]
}

@test "the system call filter has all that the server calls" {
	# The unit answers ENOSYS, which libc or the server may hide.
	drop_in SystemCallErrorNumber=kill
	configure "listen = 127.0.0.1:$PORT" 'workers = 2' 'pin-cpus = yes' \
		'log-level = debug' 'idle-timeout = 1h'
	start_unit
	stream --connections 100 --bytes 100000
	stream --connections 50 --bytes 1000000 --reset-at-random --allow-cut
	kill -KILL "$(worker_pid 0)"
	wait_until journal_has 'worker 0 .* was killed by SIGKILL; its standby takes over'
	kill -USR1 "$MASTER"
	wait_until journal_has 'slot 1: worker'
	kill -TTIN "$MASTER"
	wait_until has_workers 3
	kill -TTOU "$MASTER"
	wait_until has_workers 2
	box systemctl reload preforkd
	wait_until journal_has 'master: reloaded: '
	stream --connections 10 --bytes 1000
	not journal_has SIGSYS
	box systemctl stop preforkd
	property_is Result success
}

@test "a service of one's own, and its new version" {
	local there=${BOX_CONFIG%/*}/probe.so
	cp "$TEST_PROGRAMS/probe-1.so" "$BOX_ROOT$there"
	drop_in SystemCallErrorNumber=kill
	configure "listen = 127.0.0.1:$PORT=$there" 'workers = 2'
	start_unit
	box mkfifo /run/go
	# shellcheck disable=SC2016 # for the bash in there
	in_box 'exec 5<>/dev/tcp/127.0.0.1/8080; echo add 5 >&5; read -r r <&5
		echo "$r"; read -r _ </run/go
		echo add 6 >&5; read -r r <&5; echo "$r"' >said &
	wait_until grep -q '^v1 5$' said
	cp "$TEST_PROGRAMS/probe-2.so" "$BOX_ROOT$there"
	box systemctl reload preforkd
	wait_until journal_has 'master: reloaded: '
	in_box 'echo >/run/go'
	wait_until grep -q '^v2 11$' said
	wait $!
	box rm /run/go
	rm "$BOX_ROOT$there"
	not journal_has SIGSYS
}

# in_box SCRIPT: bash in there.
in_box() {
	box bash -c "$1"
}

@test "pin-cpus works under the unit" {
	configure "listen = 127.0.0.1:$PORT" 'workers = 2' 'pin-cpus = yes'
	start_unit
	local pid
	for pid in $(worker_pids); do
		grep -Ex 'Cpus_allowed_list:[[:space:]][0-9]+' "/proc/$pid/status"
	done
	not journal_has 'cannot pin'
}

@test "a port below 1024 as a dynamic user" {
	PORT=7
	configure "listen = 127.0.0.1:7"
	start_unit
	stream --connections 10 --bytes 1000
}

@test "a port below 1024 without the capability: a clear error, no restart" {
	drop_in AmbientCapabilities= CapabilityBoundingSet=
	configure 'listen = 127.0.0.1:7'
	expect_error 'cannot listen on 127.0.0.1:7: permission denied'
	fails_to_start 78
	journal_has '^master: cannot listen on 127.0.0.1:7: permission denied: ports below 1024 need CAP_NET_BIND_SERVICE' -p err
}

@test "address in use: exit 78 and no restart" {
	start_client nsenter --net="/proc/$BOX_INIT/ns/net" \
		nc -l 127.0.0.1 "$PORT"
	wait_until has_listeners 1
	expect_error 'cannot listen on .*: address in use'
	fails_to_start 78
	journal_has "^master: cannot listen on 127.0.0.1:$PORT: address in use: " -p err
	[[ $(journal -o cat -p err | wc -l) == 1 ]]
}

@test "a bad configuration: exit 78 and no restart, with every error" {
	configure 'workers = 0' 'colour = red'
	expect_error "$BOX_CONFIG:[12]: "
	fails_to_start 78
	journal_has "$BOX_CONFIG:1: workers: invalid value \"0\"" -p err
	journal_has "$BOX_CONFIG:2: colour: unknown key" -p err
}

@test "command line misuse: exit 2 and no restart" {
	drop_in ExecStart= 'ExecStart=/usr/sbin/preforkd --colour'
	expect_error 'unknown option'
	fails_to_start 2
	journal_has 'unknown option "--colour"' -p err
}

@test "reload: with new settings, and no connection refused meanwhile" {
	start_unit
	local main_pid
	main_pid=$(property MainPID)
	start_stream --connections 20 --bytes 2000 --rounds 0
	configure "listen = 127.0.0.1:$PORT" 'workers = 4'
	box systemctl reload preforkd
	wait_until property_is StatusText '4 workers, .*'
	configure "listen = 127.0.0.1:$PORT" 'workers = 1'
	box systemctl reload preforkd
	wait_until property_is StatusText '1 workers?, .*'
	end_stream
	(($(summary connections) > 100))
	property_is MainPID "$main_pid"
	property_is ActiveState active
	journal_has '^master: reloaded: 4 workers'
	journal_has '^master: reloaded: 1 worker'
}

@test "failed reload: the unit stays active, says why, serves as before" {
	start_unit
	start_stream --connections 20 --bytes 2000 --rounds 0
	configure "listen = 127.0.0.1:$PORT" 'workers = none'
	expect_error "^$BOX_CONFIG:2: workers: invalid value"
	expect_error "^master: $BOX_CONFIG:2: workers: invalid value"
	expect_error '^master: reload failed: '
	# The unit checks first, so the command says it, and nothing is told.
	run ! box systemctl reload preforkd
	property_is ActiveState active
	not journal_has '^master: reload'
	# Without the unit the master refuses.
	kill -HUP "$MASTER"
	wait_until property_is StatusText '.*reload failed: .*workers: .*'
	wait_until property_is ActiveState active
	journal_has '^master: reload failed: .*; nothing has changed$' -p err
	end_stream
	has_listeners 2
	stream --connections 10 --bytes 1000
	# And the next one, with the error gone, goes well.
	configure "listen = 127.0.0.1:$PORT" 'workers = 3'
	box systemctl reload preforkd
	wait_until property_is StatusText '3 workers, .*'
	property_is ActiveState active
}

@test "status: workers and connections" {
	# It is told with the watchdog's ping: no wake-up is for it alone.
	drop_in WatchdogSec=600ms
	start_unit
	start_stream --connections 3 --hold
	wait_until stream_says connected
	wait_until property_is StatusText '2 workers, 3 connections'
	end_stream
	wait_until property_is StatusText '2 workers, 0 connections'
}

@test "restart: other processes, and ready again when it returns" {
	start_unit
	local before=$MASTER
	box systemctl restart preforkd
	stream --connections 20 --bytes 1000
	read_master
	[[ $MASTER != "$before" ]]
	not is_alive "$before"
	property_is Result success
}

@test "watchdog: pings keep it, a stopped master is killed and restarted" {
	start_unit
	not property_is WatchdogUSec '0|infinity'
	drop_in WatchdogSec=600ms TimeoutAbortSec=2s
	box systemctl restart preforkd
	read_master
	local main_pid workers worker
	main_pid=$(property MainPID)
	workers=$(worker_pids)
	holds_for 2 property_is MainPID "$main_pid"
	kill -STOP "$MASTER"
	wait_until was_restarted "$main_pid"
	unit_journal | grep -F 'Watchdog timeout (limit 600ms)!'
	for worker in $workers; do
		not is_alive "$worker"
	done
	stream --connections 20 --bytes 1000
}

@test "crash of the master: its workers go with it, the unit is restarted" {
	start_unit
	local main_pid workers worker
	main_pid=$(property MainPID)
	workers=$(worker_pids)
	kill -KILL "$MASTER"
	wait_until was_restarted "$main_pid"
	property_is NRestarts 1
	for worker in $workers; do
		not is_alive "$worker"
	done
	has_listeners 2
	stream --connections 20 --bytes 1000
}

@test "crash of a worker: the master replaces it, the unit stays" {
	start_unit
	local main_pid worker
	main_pid=$(property MainPID)
	worker=$(worker_pid 1)
	kill -ABRT "$worker"
	wait_until was_replaced 1 "$worker"
	stream --connections 20 --bytes 1000
	property_is MainPID "$main_pid"
	property_is NRestarts 0
	journal_has '^master: worker 1 .* was killed by SIGABRT' -p warning
}

@test "start limit: a master that dies again and again is given up" {
	drop_in RestartSec=10ms
	start_unit
	while property_is ActiveState 'active|activating|deactivating'; do
		box systemctl kill --kill-whom=main -s KILL preforkd ||
			true # it has just ended
	done
	property_is ActiveState failed
	unit_journal | grep -F 'Start request repeated too quickly'
}

@test "stop: it waits for answers under way, and nothing stays behind" {
	start_unit
	# Its answers fill all buffers on the way, so that it cannot be closed.
	start_stream --connections 1 --bytes 1G --never-read --allow-cut
	wait_until stream_says stuck
	box systemctl stop --no-block preforkd
	wait_until property_is ActiveState deactivating
	journal_has '^master: stopping: TERM'
	end_stream
	wait_until property_is ActiveState inactive
	property_is Result success
	journal_has '^master: stopped$'
	has_listeners 0
}

@test "journal: each line has its priority" {
	configure "listen = 127.0.0.1:$PORT" 'workers = 2' 'log-level = debug'
	start_unit
	stream --connections 2 --bytes 100
	kill -KILL "$(worker_pid 0)"
	wait_until journal_has 'was killed by SIGKILL' -p warning
	configure 'workers = none'
	expect_error 'reload failed: '
	expect_error '^master: .*: workers: invalid value'
	kill -HUP "$MASTER"
	wait_until journal_has '^master: reload failed: ' -p err..err
	journal_has '^master: worker 0 .* was killed by SIGKILL' -p warning..warning
	journal_has '^master: ready: 2 workers listening$' -p info..info
	wait_until journal_has '^worker [01]: connection .* closed: ' -p debug..debug
	not journal_has 'ready|killed|connection' -p err
	# No prefix is left in the text.
	not journal_has '^<'
}

@test "without AF_INET6: a warning, and IPv4 is served" {
	drop_in RestrictAddressFamilies= 'RestrictAddressFamilies=AF_INET AF_UNIX'
	configure "listen = :$PORT"
	start_unit
	journal_has '^master: no IPv6 here: listening on 0\.0\.0\.0:8080 instead of \[::\]:8080$' -p warning..warning
	stream --connections 10 --bytes 1000
}

# start_socket: the socket unit as it is installed. No server runs yet.
start_socket() {
	configure "listen = :$PORT" 'workers = 2'
	box systemctl start preforkd.socket
	property_is ActiveState inactive
}

@test "socket: the first client starts the server" {
	start_socket
	stream --connections 20 --bytes 1000
	wait_until property_is ActiveState active
	journal_has '^master: 1 socket inherited'
	read_master
	[[ $(worker_pids | wc -l) == 2 ]]
	# Stopped with its socket, it stays so.
	box systemctl stop preforkd.socket preforkd
	property_is Result success
	not journal_has 'closing [0-9]+ connection'
}

@test "socket: restarts, and no client is refused or reset" {
	start_socket
	drop_in SystemCallErrorNumber=kill
	box systemctl start preforkd
	start_stream --connections 20 --bytes 64 --rounds 0
	local n before
	for n in {1..10}; do
		read_master
		before=$MASTER
		box systemctl restart preforkd
		read_master
		[[ $MASTER != "$before" ]]
	done
	end_stream
	(($(summary connections) > 100))
	(($(summary refused) == 0 && $(summary reset) == 0))
	(($(summary closed) == 0 && $(summary lost) == 0))
	not journal_has SIGSYS
}

@test "socket: an address that is not configured: exit 78" {
	start_socket
	configure "listen = :8081"
	expect_error 'descriptor 3 \(preforkd.socket\) listens on \[::\]:8080, which is not configured'
	fails_to_start 78
	journal_has 'descriptor 3 \(preforkd.socket\) listens on \[::\]:8080, which is not configured: add listen = ' -p err
}
