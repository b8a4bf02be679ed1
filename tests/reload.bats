#!/usr/bin/env bats
# SIGHUP: new workers with the new configuration, or everything as it was.

load helper

# configure LINE...: writes the configuration file anew.
configure() {
	printf '%s\n' "$@" >conf
}

# has_new_workers N OLD_PIDS: N workers, none of them an old one.
has_new_workers() {
	local pid
	has_workers "$1" || return
	for pid in $2; do
		if is_alive "$pid"; then
			return 1
		fi
	done
}

@test "HUP without a change replaces the workers" {
	configure 'listen = 127.0.0.1:0' 'workers = 2'
	start_server --config conf
	local old port
	old=$(worker_pids)
	port=$PORT
	reload
	log_has "reloaded: 2 workers on 127.0.0.1:$port"
	wait_until has_new_workers 2 "$old"
	stream --connections 50
}

@test "HUP without a configuration file" {
	start_server --workers 2
	local old
	old=$(worker_pids)
	reload
	wait_until has_new_workers 2 "$old"
	stream --connections 50
}

@test "more and fewer workers" {
	configure 'listen = 127.0.0.1:0' 'workers = 1'
	start_server --config conf
	configure 'listen = 127.0.0.1:0' 'workers = 4'
	reload
	log_has 'reloaded: 4 workers'
	wait_until has_workers 4
	stream --connections 200 --bytes 10K
	configure 'listen = 127.0.0.1:0' 'workers = 2'
	reload
	wait_until has_workers 2
	stream --connections 200 --bytes 10K
}

@test "other timeouts and limits" {
	configure 'listen = 127.0.0.1:0' 'workers = 1'
	start_server --config conf
	configure 'listen = 127.0.0.1:0' 'workers = 1' 'max-connections = 3'
	reload
	start_stream --connections 5 --bytes 100 --hold --allow-cut
	wait_until serves 3
	configure 'listen = 127.0.0.1:0' 'workers = 1' 'max-connections = 3' \
		'idle-timeout = 1s' 'log-level = debug'
	reload
	await_stream
	[ "$(summary closed)" -eq 5 ]
	log_has 'debug .* closed: idle timeout'
}

# serves N: slot 0, by its status.
serves() {
	ask_status 1
	log_has "slot 0: .* serving, $1 connections"
}

@test "a reload makes room for more connections" {
	configure 'listen = 127.0.0.1:0' 'workers = 1' 'max-connections = 10'
	start_server --config conf
	start_stream --connections 10 --bytes 100 --hold
	wait_until stream_says answered 0
	configure 'listen = 127.0.0.1:0' 'workers = 1' 'max-connections = 500'
	reload
	start_stream --connections 400 --bytes 100 --hold
	wait_until stream_says answered 1
	wait_until serves 410
	end_stream 1
	end_stream 0
}

@test "added and removed addresses" {
	local port new
	port=$(free_port)
	new=$(free_port)
	configure "listen = 127.0.0.1:$port" 'workers = 2'
	start_server --config conf
	refuses "$new" 127.0.0.2
	configure "listen = 127.0.0.1:$port" "listen = 127.0.0.2:$new" \
		'workers = 2'
	reload
	log_has "reloaded: 2 workers on 127.0.0.1:$port, 127.0.0.2:$new"
	stream --connections 20
	HOST=127.0.0.2 PORT=$new stream --connections 20

	configure "listen = 127.0.0.2:$new" 'workers = 2'
	reload
	wait_until refuses "$port"
	HOST=127.0.0.2 PORT=$new stream --connections 20
}

@test "an address gets wider and narrower under load: 0 refused, 0 reset" {
	local port address
	port=$(free_port)
	configure "listen = 127.0.0.1:$port" 'workers = 2'
	start_server --config conf
	start_stream --connections 20 --bytes 100G --interval 5 --message 1-3000
	start_stream --connections 20 --rounds 0 --bytes 200
	wait_until stream_says answered 0
	for address in 0.0.0.0: : '[::]:' 127.0.0.1: '[::]:' 0.0.0.0: 127.0.0.1:; do
		configure "listen = $address$port" 'workers = 2'
		reload
		wait_until listens_on "$port" "$address"
	done
	end_stream 1
	[ "$(summary connections)" -gt 100 ]
	end_stream 0
	[ "$(log_count ' reloaded: ')" -eq 7 ]
	wait_until refuses "$port" 127.0.0.2
}

# listens_on PORT ADDRESS: there, and on no other address.
listens_on() {
	local expected=$2
	[[ $expected == "[::]:" || $expected == : ]] && expected='*:'
	[ "$(ss -Htln "sport = :$1" | awk '{ print $4 }' | sort -u)" = \
		"$expected$1" ]
}

@test "a wider address that another server has in part changes nothing" {
	expect_error 'reload failed: cannot listen'
	local port
	port=$(free_port)
	start_client socat "TCP-LISTEN:$port,bind=127.0.0.2,fork" EXEC:cat
	wait_until not refuses "$port" 127.0.0.2
	configure "listen = 127.0.0.1:$port" 'workers = 2'
	start_server --config conf
	configure "listen = 0.0.0.0:$port" 'workers = 2'
	reload
	log_has 'reload failed: .*in use.*; nothing has changed'
	stream --connections 20
}

@test "the port that 0 stood for cannot be asked for by its number" {
	expect_error 'reload failed: cannot listen'
	configure 'listen = 127.0.0.1:0' 'workers = 1'
	start_server --config conf
	configure "listen = 127.0.0.1:$PORT" 'workers = 1'
	reload
	log_has "reload failed: cannot listen on 127.0.0.1:$PORT under another name: restart the server for that"
	stream --connections 20
}

@test "port 0 twice at one address: two ports, and a reload keeps both" {
	configure 'listen = 127.0.0.1:0' 'listen = 127.0.0.1:0=discard' \
		'workers = 2'
	start_server --config conf
	local first second
	{ read -r first && read -r second; } < <(ports)
	((first != second))
	reload
	log_has "reloaded: 2 workers on 127.0.0.1:$first, 127.0.0.1:$second"
	PORT=$first stream --connections 20
	[ -z "$(printf hello | nc -N 127.0.0.1 "$second")" ]
	configure 'listen = 127.0.0.1:0' 'workers = 2'
	reload
	wait_until refuses "$second"
	PORT=$first stream --connections 20
}

@test "the command line wins over the file, after a reload too" {
	configure 'listen = 127.0.0.9:1' 'workers = 5'
	start_server --config conf --listen 127.0.0.1:0 --workers 2
	has_workers 2
	configure 'listen = 127.0.0.9:1' 'workers = 6' 'idle-timeout = 1s'
	reload
	log_has 'reloaded: 2 workers on 127.0.0.1:'
	start_stream --connections 2 --bytes 10 --hold --allow-cut
	await_stream
	[ "$(summary closed)" -eq 2 ]
}

@test "an invalid file changes nothing, and every error is told" {
	expect_error 'master: conf:[23]: '
	expect_error 'reload failed: conf:'
	configure 'listen = 127.0.0.1:0' 'workers = 2'
	start_server --config conf
	local old
	old=$(worker_pids)
	configure 'listen = 127.0.0.1:0' 'workers = 0' 'colour = red'
	reload
	log_has 'reload failed: .*; nothing has changed'
	log_has 'conf:2: workers: invalid value "0": expected'
	log_has 'conf:3: colour: unknown key'
	[ "$(worker_pids)" = "$old" ]
	stream --connections 50

	configure 'listen = 127.0.0.1:0' 'workers = 1'
	reload
	wait_until has_new_workers 1 "$old"
}

@test "a missing file changes nothing" {
	expect_error 'conf'
	configure 'listen = 127.0.0.1:0' 'workers = 2'
	start_server --config conf
	local old
	old=$(worker_pids)
	rm conf
	reload
	log_has 'reload failed: .*; nothing has changed'
	[ "$(worker_pids)" = "$old" ]
	stream --connections 50
}

@test "a new address that is in use changes nothing" {
	expect_error 'reload failed: cannot listen'
	configure 'listen = 127.0.0.1:0' 'workers = 2'
	start_server --config conf
	local old busy port=$PORT
	busy=$(free_port)
	old=$(worker_pids)
	start_client nc -lk 127.0.0.1 "$busy"
	wait_until not refuses "$busy"
	configure 'listen = 127.0.0.1:0' "listen = 127.0.0.1:$busy" 'workers = 4'
	reload
	log_has 'reload failed: .*in use.*; nothing has changed'
	wait_until has_workers 2
	[ "$(worker_pids)" = "$old" ]
	PORT=$port stream --connections 50
}

# under_load CONFIGURATION...: reloads it many times while connections are
# opened and closed at full rate and others go on for long.
under_load() {
	start_stream --connections 50 --bytes 100G --interval 5 --message 1-3000
	start_stream --connections 20 --rounds 0 --bytes 200
	wait_until stream_says answered 0
	configure "$@"
	local i
	for i in 1 2 3 4 5; do
		reload
	done
	stream --connections 20 --rounds 2000 --bytes 200
	end_stream 1
	[ "$(summary connections)" -gt 500 ]
	end_stream 0
	[ "$(summary connections)" -eq 50 ]
}

@test "HUP under load: 0 refused, 0 reset, streams go on" {
	configure 'listen = 127.0.0.1:0' 'workers = 2'
	start_server --config conf
	under_load 'listen = 127.0.0.1:0' 'workers = 2'
	[ "$(log_count ' reloaded: ')" -eq 5 ]
	wait_until has_workers 2
}

@test "HUP under load with an invalid configuration: nobody notices" {
	expect_error 'master: conf:2: '
	expect_error 'reload failed: conf:2: '
	configure 'listen = 127.0.0.1:0' 'workers = 2'
	start_server --config conf
	local old
	old=$(worker_pids)
	under_load 'listen = 127.0.0.1:0' 'workers = none'
	[ "$(log_count 'reload failed: ')" -eq 5 ]
	[ "$(worker_pids)" = "$old" ]
}

@test "HUP under load with more workers, then fewer: 0 refused, 0 reset" {
	configure 'listen = 127.0.0.1:0' 'workers = 4'
	start_server --config conf
	start_stream --connections 40 --bytes 100G --interval 5 --message 1-3000
	start_stream --connections 20 --rounds 0 --bytes 200
	wait_until stream_says answered 0
	local workers
	for workers in 1 4 2 3 1; do
		configure 'listen = 127.0.0.1:0' "workers = $workers"
		reload
		log_has "reloaded: $workers workers?"
	done
	stream --connections 20 --rounds 2000 --bytes 200
	end_stream 1
	end_stream 0
	[ "$(summary connections)" -eq 40 ]
	wait_until has_workers 1
	stream --connections 50
}

@test "what waits in the queue of a worker that goes is served" {
	configure 'listen = 127.0.0.1:0' 'workers = 3'
	start_server --config conf
	local pid
	for pid in $(worker_pids); do
		stop_process "$pid"
	done
	start_stream --connections 100 --bytes 1000
	wait_until stream_says connected
	configure 'listen = 127.0.0.1:0' 'workers = 1'
	reload
	for pid in $(worker_pids); do
		kill -CONT "$pid"
	done
	await_stream
	[ "$(summary connections)" -eq 100 ]
	wait_until has_workers 1
}

@test "connections move to the new workers, and no old one stays" {
	start_server --workers 2 --drain-timeout 1s
	local old
	old=$(worker_pids)
	start_stream --connections 20 --bytes 1000 --hold
	wait_until stream_says answered
	reload
	wait_until has_new_workers 2 "$old"
	reload
	wait_until has_pairs 2
	holds_for 2 is_alive "${CLIENTS[CLIENT]}"
	end_stream
	[ "$(summary connections)" -eq 20 ]
}

@test "HUP before the workers are ready is heeded when they are" {
	# The master hears it before it hears any of them.
	launch --listen 127.0.0.1:0 --workers 16
	wait_until log_has ' starting on '
	kill -HUP "$MASTER"
	wait_until log_has ' reloaded: '
	log_has_times 1 'ready: '
	read_address
	stream --connections 10
}

# So that it reads the configuration that was there when the last one came.
@test "HUP during a reload: another one follows" {
	configure 'listen = 127.0.0.1:0' 'workers = 2'
	start_server --config conf
	local worker
	worker=$(worker_pid 0)
	stop_process "$worker"
	kill -HUP "$MASTER"
	wait_until log_has 'reloading'
	configure 'listen = 127.0.0.1:0' 'workers = 3'
	kill -HUP "$MASTER"
	kill -CONT "$worker"
	wait_until log_has 'reloaded: 3 workers'
	stream --connections 10
}

@test "many HUPs at once" {
	start_server --workers 2
	start_stream --connections 10 --rounds 0 --bytes 100
	local i
	for i in {1..50}; do
		kill -HUP "$MASTER"
	done
	wait_until log_has ' reloaded: '
	reload
	wait_until has_workers 2
	end_stream
	stream --connections 50
}

@test "a worker killed around a reload" {
	start_server --workers 3
	start_stream --connections 10 --rounds 0 --bytes 100
	local i pid
	for i in 1 2 3; do
		pid=$(worker_pid 1)
		kill -KILL "$pid"
		kill -HUP "$MASTER"
		wait_until log_has_times "$i" ' reloaded: '
		wait_until was_replaced 1 "$pid"
	done
	end_stream
	[ "$(summary refused)" -eq 0 ]
	wait_until has_workers 3
	stream --connections 50
}

# A new worker that is killed from outside is made anew, or its standby takes
# over: the reload succeeds.
@test "a new worker killed during a reload" {
	start_server --workers 16
	start_stream --connections 50 --bytes 100G --interval 5 --message 1-1000
	wait_until stream_says answered
	local i old
	for i in 1 2 3 4 5; do
		old=$(children "$MASTER")
		kill -HUP "$MASTER"
		wait_until kill_new_worker "$old"
		wait_until log_has_times "$i" ' reloaded: '
		wait_until has_pairs 16
		stream --connections 100
	done
	end_stream
}

# kill_new_worker OLD: kills one that is not of these.
kill_new_worker() {
	local pid
	for pid in $(children "$MASTER"); do
		if [[ $'\n'$1$'\n' != *$'\n'$pid$'\n'* ]]; then
			kill -KILL "$pid"
			return
		fi
	done
	return 1
}

# reload_fails MESSAGE: nothing has changed, and the log says why.
reload_fails() {
	local port=$PORT
	reload
	log_has "error master: reload failed: $1; nothing has changed\$"
	stream --connections 2 --bytes 100
	[ "$(ports)" = "$port" ]
}

@test "a configuration that has become a FIFO fails the reload and holds nothing up" {
	printf 'listen = 127.0.0.1:0\nworkers = 1\n' >a.conf
	start_server --config a.conf
	rm a.conf
	mkfifo a.conf
	expect_error 'master: .*: cannot read it'
	expect_error 'reload failed: .*: cannot read it'
	reload_fails 'a.conf: cannot read it: it is no regular file: expected .*'
	kill -TERM "$MASTER"
	server_ends_with 0
}

# Its name is looked up for ever, and so is what is below it.
@test "a configuration whose file system does not answer fails the reload" {
	[[ -w /dev/fuse ]] || skip_or_fail "no /dev/fuse"
	mkdir etc
	printf 'listen = 127.0.0.1:0\nworkers = 1\n' >etc/a.conf
	LAUNCHER=(unshare --mount --propagation private)
	start_server --config "$PWD/etc/a.conf"
	nsenter --mount="/proc/$MASTER/ns/mnt" setpriv --pdeathsig KILL \
		"$TEST_PROGRAMS/mute" "$PWD/etc" >words 3>&- 4>&- &
	CLIENTS+=("$!")
	wait_until grep -q mounted words
	expect_error 'cannot read it|reload failed'
	reload_fails '.*a.conf: cannot read it: Connection timed out: expected .*'
	kill -KILL "$(worker_pid 0)"
	wait_until has_pairs 1
	kill -TERM "$MASTER"
	server_ends_with 0
}

@test "a configuration from a pipe is not read again" {
	expect_error 'master: .*: cannot read it'
	expect_error 'reload failed: .*: cannot read it'
	LAUNCHER=(bash -c 'exec 9< <(printf "%s\n" "listen = 127.0.0.1:0" \
		"workers = 1") && exec "$@"' bash)
	start_server --config /dev/fd/9
	reload_fails '/dev/fd/9: cannot read it: it is no regular file: expected .*'
}

@test "a file that has lost all its settings fails the reload" {
	printf 'listen = 127.0.0.1:0\nworkers = 1\n' >a.conf
	start_server --config a.conf
	expect_error 'master: a.conf: no setting is left'
	expect_error 'reload failed: a.conf: no setting is left'
	: >a.conf
	reload_fails 'a.conf: no setting is left in it: expected .*'
	printf '# listen = 127.0.0.1:0\n' >a.conf
	reload_fails 'a.conf: no setting is left in it: expected .*'
	printf 'listen = 127.0.0.1:0\nworkers = 2\n' >a.conf
	reload
	log_has 'reloaded: 2 workers'
}

@test "a file that never had a setting can be reloaded" {
	printf '# nothing\n' >a.conf
	start_server --config a.conf --listen 127.0.0.1:0 --workers 1
	reload
	log_has 'reloaded: 1 worker '
}

@test "a relative object follows the link by which the server was started" {
	mkdir r1 r2
	cp "$BUILD/tests/probe-1.so" r1/service.so
	cp "$BUILD/tests/probe-2.so" r2/service.so
	ln -s r1 current
	LAUNCHER=(env -C current "PWD=$PWD/current")
	start_server --workers 1 --listen 127.0.0.1:0=./service.so
	log_has "info master: service ./service.so is $PWD/current/service.so$"
	run -0 nc -N "$HOST" "$PORT" <<<'add 1'
	[[ $output == "v1 1"* ]]
	ln -s r2 next
	mv -T next current
	reload
	run -0 nc -N "$HOST" "$PORT" <<<'add 1'
	[[ $output == "v2 1"* ]]
}
