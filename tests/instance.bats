#!/usr/bin/env bats
# An address belongs to one server, and is free again when that has ended.

load helper

@test "a second instance is told that the address is in use" {
	expect_error 'cannot listen on'
	start_server --workers 2
	local first=$MASTER log=$LOG
	launch --listen "127.0.0.1:$PORT" --workers 2
	server_ends_with 78
	log_has "error master: cannot listen on 127.0.0.1:$PORT: address in use: stop the other server or choose another --listen"
	[ "$(log_count error)" -eq 1 ]
	not log_has 'ready:'
	is_alive "$first"
	LOG=$log MASTER=$first
	has_workers 2
	stream --connections 100
}

# start_together ADDRESS...: launches a server for each; all have bound before one
# of them goes on.
start_together() {
	local address
	LAUNCHER=(env ASAN_OPTIONS=detect_leaks=0
		strace -D -o /dev/null -e trace=bind
		-e inject=bind:delay_exit=500000:when=1)
	for address; do
		launch --listen "$address" --workers 1
	done
	LAUNCHER=()
	wait_until all_are_ready_or_gone
}

all_are_ready_or_gone() {
	local i
	for i in "${!SERVERS[@]}"; do
		MASTER=${SERVERS[i]} LOG=${LOGS[i]}
		is_ready_or_gone || return
	done
}

ready_count() {
	cat "${LOGS[@]}" | grep -c ' ready: '
}

@test "of instances that start at the same moment one serves" {
	expect_error 'cannot listen on'
	local port
	port=$(free_port)
	start_together "127.0.0.1:$port" "127.0.0.1:$port" "127.0.0.1:$port"
	[ "$(ready_count)" -eq 1 ]
	[ "$(cat "${LOGS[@]}" | grep -c "$port: address in use")" -eq 2 ]
	HOST=127.0.0.1 PORT=$port stream --connections 20
}

@test "of instances that start at the same moment one serves, the wildcard address or not" {
	expect_error 'cannot listen on'
	local port
	port=$(free_port)
	start_together "127.0.0.1:$port" ":$port"
	[ "$(ready_count)" -eq 1 ]
}

@test "a second instance on the wildcard address" {
	expect_error 'cannot listen on'
	start_server --workers 1
	launch --listen "0.0.0.0:$PORT"
	server_ends_with 78
	log_has "cannot listen on 0.0.0.0:$PORT: address in use"
	stream --connections 50
}

@test "a second instance on one address of the first's wildcard" {
	expect_error 'cannot listen on'
	start_server --workers 1 --listen 0.0.0.0:0
	launch --listen "127.0.0.1:$PORT"
	server_ends_with 78
	HOST=127.0.0.1 stream --connections 50
}

@test "an address that another program listens on" {
	expect_error 'cannot listen on'
	local port
	port=$(free_port)
	start_client nc -lk 127.0.0.1 "$port"
	wait_until not refuses "$port"
	launch --listen "127.0.0.1:$port" --workers 3
	server_ends_with 78
	[ "$(log_count "cannot listen on 127.0.0.1:$port: address in use")" -eq 1 ]
	not log_has 'worker .* (exited|was killed)'
}

@test "an address that another program shares by SO_REUSEPORT" {
	expect_error 'cannot listen on'
	local port
	port=$(free_port)
	start_client socat \
		"TCP-LISTEN:$port,bind=127.0.0.1,reuseport,fork" EXEC:cat
	wait_until not refuses "$port"
	launch --listen "127.0.0.1:$port"
	server_ends_with 78
	log_has "cannot listen on 127.0.0.1:$port: address in use"
}

@test "an address that this machine does not have is waited for, then 75" {
	expect_error 'cannot listen on'
	launch --listen 192.0.2.1:8080
	wait_until log_has 'warning master: cannot listen on 192.0.2.1:8080: this machine has no such address: .*; trying again for 10 s$'
	server_ends_with 75
	log_has 'error master: cannot listen on 192.0.2.1:8080: '
}

@test "who waits for an address ends by TERM" {
	launch --listen '[fe80::1%no-such]:8080'
	wait_until log_has 'cannot listen on \[fe80::1%no-such\]:8080: this machine has no such interface: .*; trying again'
	kill -TERM "$MASTER"
	server_ends_with 0
}

# in_netns: the next server gets a network namespace of its own.
in_netns() {
	unshare --net true 2>/dev/null ||
		skip_or_fail "no right to make a network namespace"
	LAUNCHER=(unshare --net sh -c 'ip link set lo up && exec "$@"' sh)
}

# ours COMMAND...: in the server's network namespace.
ours() {
	nsenter --target "$MASTER" --net "$@"
}

@test "an address and an interface that come in a moment are served" {
	in_netns
	launch --workers 1 --listen '[fe80::5%later]:8080' \
		--listen 192.0.2.1:8080
	wait_until log_has 'no such interface: .*; trying again'
	ours ip link add later type veth peer name other
	ours ip addr add fe80::5/64 dev later nodad
	ours ip link set later up
	ours ip link set other up
	ours ip addr add 192.0.2.1/32 dev later
	wait_until log_has 'ready: '
	log_has 'starting on \[fe80::5%later\]:8080, 192.0.2.1:8080; '
	run -0 ours nc -N fe80::5%later 8080 <<<"six"
	[ "$output" = six ]
	run -0 ours nc -N 192.0.2.1 8080 <<<"four"
	[ "$output" = four ]
	reload
	log_has ' reloaded: 1 worker on \[fe80::5%later\]:8080, 192.0.2.1:8080'
}

@test "port 0 where none is free: the cause is named" {
	in_netns
	expect_error 'cannot listen on'
	LAUNCHER=(unshare --net sh -c 'ip link set lo up &&
		sysctl -qw net.ipv4.ip_local_port_range="40000 40001" &&
		exec "$@"' sh)
	launch --workers 1 --listen 127.0.0.1:0 --listen 127.0.0.1:0 \
		--listen 127.0.0.1:0
	server_ends_with 75
	log_has 'error master: cannot listen on 127.0.0.1:0: no port is free: name one, or widen net.ipv4.ip_local_port_range$'
}

@test "a socket that is no TCP's is a permanent failure" {
	expect_error 'cannot listen on'
	cat >mptcp.c <<-'END'
		#define _GNU_SOURCE
		#include <netinet/in.h>
		#include <sys/socket.h>
		#include <sys/syscall.h>
		#include <unistd.h>
		int
		socket(int family, int type, int protocol)
		{
			if (family != AF_UNIX)
				protocol = 262; /* IPPROTO_MPTCP */
			return (int)syscall(SYS_socket, family, type, protocol);
		}
	END
	cc -shared -fPIC -o mptcp.so mptcp.c
	[[ $(cat /proc/sys/net/mptcp/enabled) == 1 ]] ||
		skip "this kernel has no MPTCP"
	LAUNCHER=(env "LD_PRELOAD=$BATS_TEST_TMPDIR/mptcp.so")
	[[ $PREFORKD != */sanitize/* ]] ||
		skip "the sanitizers want to be loaded first"
	launch --workers 1 --listen 127.0.0.1:0
	server_ends_with 78
	log_has 'error master: cannot listen on 127.0.0.1:0: the socket speaks Multipath TCP: start the server without mptcpize$'
}

@test "one address in use of two: nothing is served" {
	expect_error 'cannot listen on'
	start_server --workers 1
	local port=$PORT free
	free=$(free_port)
	launch --listen "127.0.0.1:$free" --listen "127.0.0.1:$port"
	server_ends_with 78
	refuses "$free"
}

@test "a low port without the privilege" {
	expect_error 'cannot listen on'
	[[ $(</proc/sys/net/ipv4/ip_unprivileged_port_start) -gt 7 ]] ||
		skip_or_fail "here everybody may use low ports"
	if [[ $(id -u) -eq 0 ]]; then
		# The program may lie where only root can read it.
		local copy
		copy=$(mktemp -d /tmp/preforkd-test.XXXXXX)
		cp "$PREFORKD" "$copy/preforkd"
		chmod 755 "$copy" "$copy/preforkd"
		PREFORKD=$copy/preforkd
		LAUNCHER=(setpriv --reuid 65534 --regid 65534 --clear-groups
			--bounding-set=-all --inh-caps=-all)
		launch --listen 127.0.0.1:7
		wait_until not is_alive "$MASTER"
		rm -r "$copy"
	else
		launch --listen 127.0.0.1:7
	fi
	server_ends_with 78
	log_has 'error master: cannot listen on 127.0.0.1:7: permission denied: ports below 1024 need CAP_NET_BIND_SERVICE, or choose a higher port'
}

@test "the same port directly after the end, with connections in TIME_WAIT" {
	start_server --workers 2 --idle-timeout 1s
	local port=$PORT
	start_stream --connections 50 --bytes 100 --hold --allow-cut
	await_stream
	[ "$(summary closed)" -eq 50 ]
	wait_until has_time_wait
	kill -TERM "$MASTER"
	server_ends_with 0
	start_server --listen "127.0.0.1:$port" --workers 2
	stream --connections 50
}

# has_time_wait: the server's side closed first, so its side waits.
has_time_wait() {
	(($(sockets time-wait) > 0))
}

@test "the same port directly after kill -9 of the master" {
	start_server --workers 2
	local port=$PORT
	start_stream --connections 50 --bytes 100 --hold --allow-cut
	start_stream --connections 20 --bytes 100G --never-read --allow-cut
	wait_until stream_says answered 0
	wait_until stream_says stuck 1
	kill -KILL "$MASTER"
	wait_until group_is_gone "$MASTER"
	start_server --listen "127.0.0.1:$port" --workers 2
	stream --connections 50
}

@test "two instances on two ports know nothing of each other" {
	start_server --workers 1
	start_server --workers 1
	stream --connections 50
	kill -TERM "$MASTER"
	server_ends_with 0
	is_alive "${SERVERS[0]}"
}
