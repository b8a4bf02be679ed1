#!/usr/bin/env bats
# Services that cannot be loaded, started or stopped: a first start says why and
# is given up; a server that has been ready serves on and tries again; an end is
# an end.

load helper

# install_probe: tests/services/probe.c, as a new file by rename.
install_probe() {
	cp "$TEST_PROGRAMS/probe-1.so" probe.new
	mv probe.new probe.so
}

# launch_probe ARGUMENT OPTIONS...: does not wait until it is ready.
launch_probe() {
	install_probe
	launch --listen "127.0.0.1:0=./probe.so:$1" --workers 1 "${@:2}"
}

# no_core: a crash leaves none, and no sanitizer takes it for its own.
no_core() {
	ulimit -c 0
	export ASAN_OPTIONS=handle_segv=0:handle_sigbus=0:handle_abort=0
}

# adds: the server adds for a new client.
adds() {
	local fd line
	exec {fd}<>"/dev/tcp/$HOST/$PORT"
	echo add 5 >&"$fd"
	read -r -t "$PATIENCE" -u "$fd" line
	exec {fd}>&-
	[[ $line == 'v1 5' ]]
}

# --- the first start -----------------------------------------------------------

@test "a first start that crashes is given up after five tries, with its service" {
	expect_error 'given up after 5 tries'
	no_core
	launch_probe crash
	server_ends_with 78
	log_has_times 4 'warning master: loader \(pid [0-9]+\) was killed by SIGSEGV.* while starting service ./probe.so:crash; restarting in [0-9]+ ms'
	log_has 'error master: loader was killed by SIGSEGV.* while starting service ./probe.so:crash; given up after 5 tries$'
}

# Code of a service may end its process with any status: none is a protocol.
@test "exit() in start is a crash, whatever the status" {
	local status
	for status in 0 1 78; do
		expect_error "exited with status $status while starting"
		launch_probe "exit $status"
		server_ends_with 78
		log_has "error master: loader exited with status $status while starting service ./probe.so:exit $status; given up after 5 tries"
		[ "$(log_count 'restarting in')" -eq 4 ]
	done
}

@test "a truncated object is named" {
	expect_error 'half.so'
	no_core
	head -c 8192 "$TEST_PROGRAMS/probe-1.so" >half.so
	launch --listen 127.0.0.1:0=./half.so --workers 1
	server_ends_with 78
	log_has 'error master: .*service ./half.so'
}

# Another start may find what this one has waited for.
@test "a first start that hangs has start-timeout, and says what it waited for" {
	expect_error 'start-timeout'
	launch_probe hang --start-timeout 500ms
	server_ends_with 1
	log_has 'warning master: loader \(pid [0-9]+\) is still starting service ./probe.so:hang: killing it'
	log_has 'error master: loader was killed by SIGKILL while starting service ./probe.so:hang: not ready in 500 ms \(start-timeout\); given up after 1 try'
}

# --- a server that has been ready ------------------------------------------------

# lose_slot_0: its worker and standby at once.
lose_slot_0() {
	expect_error 'worker and standby died together'
	stop_process "$MASTER"
	kill -KILL "$(worker_pid 0)" "$(standby_pid 0)"
	kill -CONT "$MASTER"
}

# comes_again HOW: it is lost while its object is missing or broken.
comes_again() {
	install_probe
	start_server --listen "127.0.0.1:0=./probe.so" --workers 2
	rm probe.so
	[[ $1 == missing ]] || head -c 40 "$TEST_PROGRAMS/probe-1.so" >probe.so
	lose_slot_0
	wait_until log_has_times 1 'slot 0: worker and standby died together'
	wait_until has_pairs 2
	for _ in {1..20}; do
		adds
	done
	not log_has 'cannot|stopp'
}

@test "a slot lost while its object is missing comes again, others serve" {
	comes_again missing
}

@test "a slot lost while its object is broken comes again, others serve" {
	comes_again broken
}

# kill_loaders: both at once.
kill_loaders() {
	expect_error 'loader and its spare died together'
	stop_process "$MASTER"
	# shellcheck disable=SC2046 # there are two
	kill -KILL $(titled loader)
	kill -CONT "$MASTER"
}

# What waits in the queue of a slot that starts for long is served by another.
@test "nobody waits for a lost slot whose start takes long" {
	install_probe
	echo 'listen = 127.0.0.1:0=./probe.so' >conf
	start_server --config conf --workers 2 --start-timeout 1m
	touch probe.hang
	kill_loaders
	lose_slot_0
	for _ in {1..40}; do
		PATIENCE=20 adds
	done
	[ -z "$(standby_pid 0)" ] # it has not come back meanwhile
}

@test "an added worker has what the others have, whatever is on the disk" {
	install_probe
	start_server --listen "127.0.0.1:0=./probe.so" --workers 1
	rm probe.so
	kill -TTIN "$MASTER"
	wait_until has_pairs 2
	head -c 8192 "$TEST_PROGRAMS/probe-1.so" >probe.so
	kill -TTIN "$MASTER"
	wait_until has_pairs 3
	for _ in {1..20}; do
		adds
	done
}

@test "a reload whose services hang has start-timeout, and says what it waited for" {
	expect_error 'reload failed: '
	install_probe
	echo 'listen = 127.0.0.1:0=./probe.so' >conf
	start_server --config conf --workers 2 --start-timeout 3s
	echo 'listen = 127.0.0.1:0=./probe.so:hang' >conf
	reload
	log_has 'error master: reload failed: loader was killed by SIGKILL while starting service ./probe.so:hang: not ready in 3000 ms \(start-timeout\); nothing has changed'
	adds
	wait_until has_pairs 2
}

@test "a start that takes long is waited for, once for all workers" {
	install_probe
	echo 'listen = 127.0.0.1:0=./probe.so' >conf
	start_server --config conf --workers 2 --start-timeout 3s
	echo 'listen = 127.0.0.1:0=./probe.so:sleep 1' >conf
	reload
	log_has ' reloaded: '
}

# --- the end -----------------------------------------------------------------------

@test "a stop that fails has one try, and the server ends soon" {
	no_core
	local how
	for how in crash exit kill hang; do
		launch_probe "stop-$how" --drain-timeout 1m
		wait_until log_has 'ready:'
		kill -TERM "$MASTER"
		PATIENCE=30 server_ends_with 0
		[ "$(log_count ' probe: stops$')" -eq 1 ]
		log_has 'warning master: loader .* (while|still) stopping service ./probe.so:stop-' || [[ $how == exit ]]
	done
}

@test "a stop that hangs at a reload or in a retired slot keeps nobody" {
	install_probe
	echo 'listen = 127.0.0.1:0=./probe.so:stop-hang' >conf
	start_server --config conf --workers 2
	kill -TTOU "$MASTER"
	wait_until has_pairs 1
	echo 'listen = 127.0.0.1:0=./probe.so' >conf
	reload
	log_has ' reloaded: '
	wait_until has_pairs 2
	adds
}

# The loader is in `start`, and reads no order.
@test "TERM ends a server whose services never start" {
	launch_probe hang
	wait_until has_loaders 1
	kill -TERM "$MASTER"
	PATIENCE=20 server_ends_with 0
	[ "$(log_count 'loader')" -eq 0 ]
}

@test "a hundred and twenty workers of one object" {
	install_probe
	echo 'listen = 127.0.0.1:0=./probe.so' >conf
	start_server --config conf --workers 120 --max-connections 100
	adds
	reload
	adds
	not log_has 'error|cannot'
}
