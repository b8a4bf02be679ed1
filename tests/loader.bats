#!/usr/bin/env bats
# The loader: services are read once for a start or a reload, by a process that
# all workers are cloned from. The services are tests/services/owner.c and
# probe.c.

load helper

# own WORDS: the service that does these as it starts.
own() {
	echo "$TEST_PROGRAMS/owner.so:$1"
}

# install_probe VERSION: as a new file by rename.
install_probe() {
	cp "$TEST_PROGRAMS/probe-$1.so" probe.new
	mv probe.new probe.so
}

# start_probe OPTIONS...: a server of the first version.
start_probe() {
	install_probe 1
	start_server --listen "127.0.0.1:0=./probe.so" "$@"
}

# versions: those that new clients find, of many.
versions() {
	local fd line
	for _ in {1..60}; do
		exec {fd}<>"/dev/tcp/$HOST/$PORT"
		echo add 5 >&"$fd"
		read -r -t "$PATIENCE" -u "$fd" line
		exec {fd}>&-
		echo "$line"
	done | sort -u | paste -sd,
}

# kill_loaders: both at once.
kill_loaders() {
	expect_error 'loader and its spare died together'
	stop_process "$MASTER"
	# shellcheck disable=SC2046 # there are two
	kill -KILL $(titled loader)
	kill -CONT "$MASTER"
}

@test "a service starts once for all workers, whenever they are born" {
	expect_error 'slot 0: worker and standby died together'
	start_server --listen "127.0.0.1:0=$(own memory)" --workers 3
	kill -TTIN "$MASTER"
	wait_until has_pairs 4
	kill_slot 0
	wait_until log_has 'died together'
	wait_until has_pairs 4
	[ "$(log_count 'owner: started')" -eq 1 ]
	kill -TERM "$MASTER"
	server_ends_with 0
	[ "$(log_count 'owner: stopped')" -eq 1 ]
}

@test "a server of built-in services has no loader" {
	start_server --workers 2
	has_loaders 0
	[ "$(children "$MASTER" | wc -l)" -eq 4 ]
}

# All have what was there at the start.
@test "what lies on the disk later does not matter until a reload" {
	expect_error 'slot 0: worker and standby died together'
	install_probe 1
	echo 'listen = 127.0.0.1:0=./probe.so' >conf
	start_server --config conf --workers 2
	install_probe 2
	kill -TTIN "$MASTER"
	wait_until has_pairs 3
	kill_slot 0
	wait_until log_has 'died together'
	wait_until has_pairs 3
	[ "$(versions)" = 'v1 5' ]
	rm probe.so
	kill -TTIN "$MASTER"
	wait_until has_pairs 4
	[ "$(versions)" = 'v1 5' ]
	install_probe 2
	reload
	[ "$(versions)" = 'v2 5' ]
}

@test "the file is renamed amid a reload: all workers have one of the two" {
	install_probe 1
	echo 'listen = 127.0.0.1:0=./probe.so' >conf
	start_server --config conf --workers 4
	local n
	for n in {1..10}; do
		install_probe $((n % 2 + 1))
		kill -HUP "$MASTER"
		install_probe $((n % 2 + 2 - 2 * (n % 2)))
		wait_until log_has_times "$n" ' reloaded: '
		[[ $(versions) =~ ^v[12]\ 5$ ]]
	done
}

# --- deaths ----------------------------------------------------------------------

@test "a loader that dies is replaced by the other" {
	start_probe --workers 1
	local n pid
	for n in {1..10}; do
		pid=$(titled loader | sed -n "$((n % 2 + 1))p")
		kill -KILL "$pid"
		wait_until log_has "loader \(pid $pid\) was killed by SIGKILL; the other clones one"
		wait_until has_loaders 2
	done
	kill -TTIN "$MASTER"
	wait_until has_pairs 2
	[ "$(versions)" = 'v1 5' ]
}

@test "both loaders die: workers go on, and those to come have a new one" {
	start_probe --workers 1
	exec 5<>"/dev/tcp/$HOST/$PORT"
	kill_loaders
	wait_until log_has 'loader and its spare died together'
	wait_until has_loaders 2
	kill -TTIN "$MASTER"
	wait_until has_pairs 2
	[ "$(versions)" = 'v1 5' ]
	echo add 7 >&5
	local line
	read -r -t "$PATIENCE" -u 5 line
	[[ $line == 'v1 7' ]]
}

@test "both loaders die, and the file is gone: the server serves on, and tries again" {
	start_probe --workers 2
	rm probe.so
	kill_loaders
	wait_until log_has_times 3 'warning master: loader .*service ./probe.so: cannot read it.*; restarting in'
	[ "$(versions)" = 'v1 5' ]
	install_probe 2
	wait_until has_loaders 2
	kill -TTIN "$MASTER"
	wait_until has_pairs 3
	is_alive "$MASTER"
}

# A reload waits for nobody who is dead.
@test "loaders are killed all through ten reloads: none fails" {
	install_probe 1
	echo 'listen = 127.0.0.1:0=./probe.so' >conf
	allow_error 'loader and its spare died together'
	start_server --config conf --workers 2
	exec 5<>"/dev/tcp/$HOST/$PORT"
	local n line pids
	for n in {1..10}; do
		kill -HUP "$MASTER"
		mapfile -t pids < <(titled loader)
		[ -z "${pids[0]}" ] || kill -KILL "${pids[0]}" || true
		wait_until log_has_times "$n" ' reloaded: '
		echo add 1 >&5
		read -r -t "$PATIENCE" -u 5 line
		[[ $line == "v1 $n" ]]
		wait_until has_loaders 2
	done
}

@test "loaders that somebody has stopped are let go on when they are needed" {
	start_probe --workers 1
	local pid
	for pid in $(titled loader); do
		stop_process "$pid"
	done
	kill -TTIN "$MASTER"
	wait_until has_pairs 2
}

# --- what a service may not ------------------------------------------------------

@test "a service that has started a thread is refused, by name" {
	expect_error 'it has started a thread'
	launch --listen "127.0.0.1:0=$(own thread)" --workers 1
	server_ends_with 78
	log_has 'error master: service .*owner.so: it has started a thread, which no worker would have: expected none'
	run -1 "$PREFORKD" --check --listen "127.0.0.1:0=$(own thread)"
	[[ $output == *'it has started a thread'* ]]
}

@test "a service that had a thread as it started is served" {
	start_server --listen "127.0.0.1:0=$(own joined)" --workers 1
}

# It closes all that it finds.
@test "a service that closes the loader's own socket is named" {
	expect_error 'given up after 5 tries'
	launch --listen "127.0.0.1:0=$(own disconnect)" --workers 1
	server_ends_with 78
	log_has 'error master: loader exited with status 1 while starting service .*owner.so:disconnect; given up'
}

@test "--check starts and stops what is named" {
	export ASAN_OPTIONS=handle_segv=0
	ulimit -c 0
	run -0 "$PREFORKD" --check --listen "127.0.0.1:0=$(own memory)"
	[[ $output == *'owner: started'*'owner: stopped'* ]]
	run -1 "$PREFORKD" --check --listen "127.0.0.1:0=$(own fail)"
	[[ $output == *'owner.so:fail: it was told to fail'* ]]
	run -1 "$PREFORKD" --check --listen "127.0.0.1:0=$(own crash)"
	[[ $output == *'owner.so: the process that loaded it was killed by SIGSEGV'* ]]
}

@test "a loader that cannot go on leaves nobody behind" {
	install_probe 1
	echo 'listen = 127.0.0.1:0=./probe.so' >conf
	expect_error 'reload failed: loader exited with status 1 while starting service'
	start_server --config conf --workers 1
	echo "listen = 127.0.0.1:0=$(own disconnect)" >conf
	reload
	wait_until has_loaders 2
	holds_for 1 has_loaders 2
	[ "$(versions)" = 'v1 5' ]
}

# Nothing but the signal wakes the master: no file is read, and nobody works.
@test "a reload of an idle server begins at once" {
	start_probe --workers 1 --hang-timeout 1h --start-timeout 1h
	reload
}
