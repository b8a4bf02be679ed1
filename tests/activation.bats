#!/usr/bin/env bats
# Socket activation: the server is started with its sockets, as by a socket unit
# of systemd. The launcher is tests/activate.c.

load helper

# shellcheck disable=SC2034 # helper.bash reads LAUNCHER

# activate WORD...: the next server is started with these sockets.
activate() {
	LAUNCHER=("$TEST_PROGRAMS/activate" "$@" --)
}

# listen_queues: what waits in each socket that listens on the port, and the
# most that may.
listen_queues() {
	ss -Hltn "sport = :$PORT" | awk '{ print $2 "/" $3 }'
}

# listens_only_there COUNT: on the port, so many sockets.
listens_only_there() {
	(($(listen_queues | wc -l) == $1))
}

# count_of N: how many connections worker N has, as its status line tells.
count_of() {
	grep " slot $1: " "$LOG" | tail -n 1 |
		sed 's/.* serving, \([0-9]*\) connections.*/\1/'
}

# refuses_to_start STATUS PATTERN OPTIONS...: it says why in one line.
refuses_to_start() {
	local status=$1 pattern=$2
	shift 2
	expect_error "$pattern"
	launch "$@"
	server_ends_with "$status"
	log_has "$pattern"
	[ "$(log_count '^[^ ]+Z error ')" -eq 1 ]
}

@test "one socket for an address is shared by all workers" {
	PORT=$(free_port)
	activate -n web "tcp:127.0.0.1:$PORT"
	start_server --listen "127.0.0.1:$PORT" --workers 4
	log_has 'master: 1 socket inherited'
	listens_only_there 1
	start_stream --connections 400 --bytes 100 --hold
	wait_until stream_says answered
	ask_status 4
	local n shares=0
	for n in 0 1 2 3; do
		shares=$((shares + $(count_of "$n")))
	done
	[ "$shares" -eq 400 ]
	end_stream
}

@test "clients that come one by one go round" {
	PORT=$(free_port)
	activate "tcp:127.0.0.1:$PORT"
	start_server --listen "127.0.0.1:$PORT" --workers 4
	local n
	for n in {1..12}; do
		start_stream --connections 1 --bytes 10 --hold
		wait_until stream_says answered
	done
	ask_status 4
	for n in 0 1 2 3; do
		[ "$(count_of "$n")" -ge 1 ]
		[ "$(count_of "$n")" -le 6 ]
	done
}

@test "of several sockets for an address each worker has one" {
	PORT=$(free_port)
	activate "reuse:127.0.0.1:$PORT" "reuse:127.0.0.1:$PORT"
	start_server --listen "127.0.0.1:$PORT" --workers 2
	listens_only_there 2
	start_stream --connections 100 --bytes 100 --hold
	wait_until stream_says answered
	ask_status 2
	[ "$(count_of 0)" -gt 10 ]
	[ "$(count_of 1)" -gt 10 ]
	end_stream
	# Of more workers than sockets two share one.
	kill -TTIN "$MASTER"
	wait_until has_pairs 3
	expect_error 'slot 0: worker and standby died together'
	kill_slot 0
	stream --connections 50 --bytes 100
	listens_only_there 2
}

@test "who has come before the server is served, with all that others have" {
	PORT=$(free_port)
	HOST=127.0.0.1
	activate -w go "tcp:127.0.0.1:$PORT"
	launch --listen "127.0.0.1:$PORT" --workers 2
	wait_until listens_only_there 1
	start_stream --connections 20 --bytes 10K --oob --message 100 --hold
	wait_until stream_says connected
	touch go
	wait_until stream_says answered
	local n options=0
	for n in 0 1; do
		"$TEST_PROGRAMS/sockopts" "$(worker_pid "$n")" >options
		options=$((options + $(grep -c 'nodelay 1 keepalive 1 oobinline 1$' options || true)))
	done
	[ "$options" -eq 20 ]
	end_stream
}

@test "a socket that is not configured: exit 78" {
	PORT=$(free_port)
	activate -n web:admin "tcp:127.0.0.1:$PORT" "tcp:127.0.0.2:$PORT"
	refuses_to_start 78 "descriptor 4 \(admin\) listens on 127.0.0.2:$PORT, which is not configured: " \
		--listen "127.0.0.1:$PORT"
	activate "tcp:0.0.0.0:$PORT"
	refuses_to_start 78 "descriptor 3 listens on 0.0.0.0:$PORT, which is not configured: " \
		--listen "127.0.0.1:$PORT"
}

@test "what is no TCP socket that listens: exit 78" {
	PORT=$(free_port)
	local word flaw
	while read -r word flaw; do
		activate "$word"
		refuses_to_start 78 "descriptor 3 $flaw: expected a TCP socket that listens" \
			--listen "127.0.0.1:$PORT"
	done <<-end
		udp:127.0.0.1:$PORT is a UDP socket
		idle:127.0.0.1:$PORT is a TCP socket that does not listen
		mptcp:127.0.0.1:$PORT is a Multipath TCP socket
		unix is a Unix socket
		seqpacket is a Unix socket
		fifo is a FIFO
	end
}

@test "fewer workers than sockets: at the start, at a reload, by TTOU" {
	PORT=$(free_port)
	activate "reuse:127.0.0.1:$PORT" "reuse:127.0.0.1:$PORT"
	refuses_to_start 78 'workers: invalid value "1": expected at least 2, one for each socket' \
		--listen "127.0.0.1:$PORT" --workers 1
	printf '%s\n' "listen = 127.0.0.1:$PORT" 'workers = 3' >conf
	start_server --config conf
	kill -TTOU "$MASTER"
	wait_until has_workers 2
	kill -TTOU "$MASTER"
	wait_until log_has 'TTOU: each of the 2 workers has an inherited socket of its own'
	printf '%s\n' "listen = 127.0.0.1:$PORT" 'workers = 1' >conf
	expect_error 'reload failed: workers: invalid value "1"'
	reload
	log_has 'reload failed: workers: invalid value "1": expected at least 2'
	has_workers 2
	stream --connections 50 --bytes 100
}

@test "LISTEN_PID of another process: the server opens its own" {
	PORT=$(free_port)
	activate -p 1 "tcp:127.0.0.1:$PORT"
	start_server --workers 2
	[ "$PORT" -gt 0 ]
	not log_has inherited
	stream --connections 10 --bytes 100
	stop_servers
	activate -p -1 "tcp:127.0.0.1:$(free_port)"
	start_server
	not log_has inherited
}

@test "a LISTEN_FDS that is no number of descriptors: exit 78" {
	PORT=$(free_port)
	local value
	for value in -1 '' x 1x ' 1' 2147483648 99999999999999999999999; do
		activate -f "$value" "tcp:127.0.0.1:$PORT"
		refuses_to_start 78 "LISTEN_FDS: invalid value \"$value\": expected how many descriptors are passed" \
			--listen "127.0.0.1:$PORT"
	done
	for value in 2 2147483644; do
		activate -f "$value" "tcp:127.0.0.1:$PORT"
		refuses_to_start 78 "LISTEN_FDS: invalid value \"$value\": descriptor [0-9]+ is not open" \
			--listen "127.0.0.1:$PORT"
	done
	activate -f 0
	start_server
}

@test "LISTEN_FDNAMES of any length, and what is in it" {
	PORT=$(free_port)
	activate -n "$(printf 'x%.0s' {1..100000})" "tcp:127.0.0.1:$PORT"
	start_server --listen "127.0.0.1:$PORT"
	stop_servers
	activate -n $'\e[31mred\n<0>panic' "udp:127.0.0.1:$PORT"
	refuses_to_start 78 'descriptor 3 \(\?\[31mred\?<0>panic\) is a UDP socket' \
		--listen "127.0.0.1:$PORT"
	activate -n "::::$(printf ':%.0s' {1..100000})" "udp:127.0.0.1:$PORT"
	refuses_to_start 78 'descriptor 3 is a UDP socket' \
		--listen "127.0.0.1:$PORT"
}

@test "no service sees the variables, and --check minds none" {
	PORT=$(free_port)
	activate -n web "tcp:127.0.0.1:$PORT"
	start_server --listen "127.0.0.1:$PORT=$TEST_PROGRAMS/activated.so"
	exec 5<>"/dev/tcp/127.0.0.1/$PORT"
	echo environment >&5
	read -r -t "$PATIENCE" line <&5
	[ "$line" = 0 ]
	exec 5>&-
	activate udp:127.0.0.1:0
	run -0 "${LAUNCHER[@]}" "$PREFORKD" --check --listen 127.0.0.1:0
}

@test "a listener that a service has shut down listens again" {
	PORT=$(free_port)
	activate "tcp:127.0.0.1:$PORT"
	start_server --listen "127.0.0.1:$PORT=$TEST_PROGRAMS/activated.so" \
		--workers 2
	local times
	for times in 1 2 3; do
		wait_until listens_only_there 1
		exec 5<>"/dev/tcp/127.0.0.1/$PORT"
		echo shutdown >&5
		read -r -t "$PATIENCE" line <&5
		[ "$line" -ge 1 ]
		exec 5>&-
	done
	wait_until listens_only_there 1
	log_has 'a listener had been shut down; it listens again'
	not log_has 'accepting paused'
	stop_servers
	# One of its own, too.
	LAUNCHER=()
	start_server --listen "127.0.0.1:$PORT=$TEST_PROGRAMS/activated.so" \
		--workers 1
	exec 5<>"/dev/tcp/127.0.0.1/$PORT"
	echo shutdown >&5
	read -r -t "$PATIENCE" line <&5
	exec 5>&-
	wait_until listens_only_there 1
}

@test "nothing changes the socket: it outlives the server as it was" {
	PORT=$(free_port)
	activate -b 7 -w go "tcp:127.0.0.1:$PORT"
	start_stranger
	printf '%s\n' "listen = 127.0.0.1:$PORT" 'workers = 2' 'backlog = 99' >conf
	touch go
	start_server --config conf
	reload
	kill -KILL "$(worker_pid 0)"
	# No more than fit into the queue: of more the kernel makes SYN cookies, and
	# it resets a client whose second segment comes while the queue is full.
	stream --connections 7 --bytes 1000
	[ "$(listen_queues)" = 0/7 ]
	kill -TTIN "$MASTER"
	wait_until has_workers 3
	kill -TTOU "$MASTER"
	wait_until has_workers 2
	[ "$(listen_queues)" = 0/7 ]
	not has_filter
}

# start_stranger: the launcher leaves a process that holds the sockets.
start_stranger() {
	LAUNCHER=("${LAUNCHER[@]:0:1}" -h "${LAUNCHER[@]:1}")
}

# has_filter: a BPF program is attached to a socket that listens there.
has_filter() {
	ss -Hltnb "sport = :$PORT" | grep -q bpf
}

@test "reload: an inherited address goes and comes back" {
	PORT=$(free_port)
	local other
	other=$(free_port)
	activate -n web:admin "tcp:127.0.0.1:$PORT" "tcp:127.0.0.1:$other"
	printf '%s\n' "listen = 127.0.0.1:$PORT" "listen = 127.0.0.1:$other" \
		'workers = 2' >conf
	start_server --config conf
	start_conversing 10 20
	printf '%s\n' "listen = 127.0.0.1:$PORT" 'workers = 2' >conf
	reload
	log_has "127.0.0.1:$other is not configured any more, but whoever has passed descriptor 4 \(admin\) still listens there"
	# Who comes there meanwhile waits.
	PORT=$other start_stream --connections 5 --bytes 100
	local waiting=$CLIENT
	wait_until stream_says connected
	printf '%s\n' "listen = 127.0.0.1:$PORT" "listen = 127.0.0.1:$other" \
		"listen = 127.0.0.1:0" 'workers = 3' >conf
	reload
	await_stream "$waiting"
	has_workers 3
	PORT=$other stream --connections 50 --bytes 1000
	CLIENT=0
	end_conversing 10
}

@test "connect, echo, close: none is refused or reset as workers come and go" {
	PORT=$(free_port)
	activate "tcp:127.0.0.1:$PORT"
	start_server --listen "127.0.0.1:$PORT" --workers 2
	start_stream --connections 20 --bytes 64 --rounds 0
	local n
	for n in 1 2; do
		kill_workers 3
		kill -TTIN "$MASTER"
		wait_until has_pairs 3
		kill -TTOU "$MASTER"
		wait_until has_pairs 2
		reload
	done
	end_stream
	[ "$(summary refused)" -eq 0 ]
	[ "$(summary reset)" -eq 0 ]
	(($(summary connections) > 100))
}

@test "a slot that is lost loses what it had, and nobody in the queue" {
	PORT=$(free_port)
	activate "tcp:127.0.0.1:$PORT"
	start_server --listen "127.0.0.1:$PORT" --workers 2
	stop_process "$(worker_pid 0)"
	stop_process "$(worker_pid 1)"
	start_stream --connections 50 --bytes 1000
	wait_until stream_says connected
	expect_error 'slot 1: worker and standby died together'
	kill_slot 1
	await_stream
	[ "$(summary connections)" -eq 50 ]
	kill -CONT "$(worker_pid 0)"
}

@test "a worker that is full or stands still keeps nobody waiting" {
	PORT=$(free_port)
	activate "tcp:127.0.0.1:$PORT"
	start_server --listen "127.0.0.1:$PORT" --workers 2 --max-connections 10
	start_stream --connections 20 --bytes 100 --hold
	wait_until stream_says answered
	kill -TERM "${CLIENTS[CLIENT]}"
	stop_process "$(worker_pid 0)"
	stream --connections 8 --rounds 5 --bytes 100
	kill -CONT "$(worker_pid 0)"
}
