#!/usr/bin/env bats
# IPv6, both families at once, several addresses, and no IPv6 at all.

load helper

needs_ipv6() {
	grep -q '^0*1 .* lo$' /proc/net/if_inet6 2>/dev/null ||
		skip_or_fail "this machine has no [::1]"
}

@test "[::1]" {
	needs_ipv6
	start_server --listen '[::1]:0'
	[ "$HOST" = ::1 ]
	stream --connections 50
	refuses "$PORT" 127.0.0.1
}

@test "[::] serves both families" {
	needs_ipv6
	start_server --listen '[::]:0' --log-level debug
	HOST=::1 stream --connections 50
	HOST=127.0.0.1 stream --connections 50
	log_has 'connection 127.0.0.1:[0-9]+ opened'
	log_has 'connection \[::1\]:[0-9]+ opened'
}

@test "0.0.0.0 serves IPv4 alone" {
	start_server --listen 0.0.0.0:0
	HOST=127.0.0.1 stream --connections 20
	refuses "$PORT" ::1
}

@test ":PORT is both families" {
	needs_ipv6
	start_server --listen :0
	log_has 'starting on \[::\]:[0-9]+;'
	HOST=::1 stream --connections 20
	HOST=127.0.0.1 stream --connections 20
}

@test "several addresses, each with a port of its own" {
	needs_ipv6
	start_server --listen 127.0.0.1:0 --listen '[::1]:0' --listen 127.0.0.2:0
	mapfile -t port < <(ports)
	[ "${#port[@]}" -eq 3 ]
	HOST=127.0.0.1 PORT=${port[0]} stream --connections 50
	HOST=::1 PORT=${port[1]} stream --connections 50
	HOST=127.0.0.2 PORT=${port[2]} stream --connections 50
}

# In a network namespace of its own port 8080 is free.
@test "the default is [::]:8080" {
	unshare --net true 2>/dev/null ||
		skip_or_fail "no right to make a network namespace"
	LAUNCHER=(unshare --net sh -c 'ip link set lo up && exec "$@"' sh)
	launch --workers 1
	wait_until log_has 'ready: '
	log_has 'starting on \[::\]:8080; 1 workers?$'
	run -0 nsenter --target "$MASTER" --net nc -N 127.0.0.1 8080 <<<"four"
	[ "$output" = four ]
	run -0 nsenter --target "$MASTER" --net nc -N ::1 8080 <<<"six"
	[ "$output" = six ]
}

@test "the default without IPv6 is 0.0.0.0:8080, and the log says so" {
	unshare --net true 2>/dev/null ||
		skip_or_fail "no right to make a network namespace"
	LAUNCHER=(unshare --net sh -c 'ip link set lo up && exec "$@"' sh
		"$TEST_PROGRAMS/no_ipv6")
	launch --workers 1
	wait_until log_has 'ready: '
	log_has 'warning master: no IPv6 here: listening on 0.0.0.0:8080 instead of \[::\]:8080'
	run -0 nsenter --target "$MASTER" --net nc -N 127.0.0.1 8080 <<<"four"
	[ "$output" = four ]
}

@test "an IPv6 address without IPv6 is a permanent failure" {
	expect_error 'cannot listen on'
	LAUNCHER=("$TEST_PROGRAMS/no_ipv6")
	launch --listen '[::1]:0'
	server_ends_with 78
	log_has 'error master: cannot listen on \[::1\]:0: '
}

@test "zones: by name and by number, of a peer too" {
	unshare --net true 2>/dev/null ||
		skip_or_fail "no right to make a network namespace"
	LAUNCHER=(unshare --net sh -c 'ip link set lo up &&
		ip link add v0 index 7 type veth peer name v1 && ip link set v1 up &&
		ip addr add fe80::5/64 dev v0 nodad && ip link set v0 up &&
		exec "$@"' sh)
	launch --workers 1 --log-level debug --listen '[fe80::5%v0]:8080' \
		--listen '[fe80::5%7]:8081' --listen '[::]:8082'
	wait_until log_has 'ready: '
	log_has 'starting on \[fe80::5%v0\]:8080, \[fe80::5%7\]:8081, \[::\]:8082; '
	local port
	for port in 8080 8081 8082; do
		run -0 nsenter --target "$MASTER" --net \
			nc -N fe80::5%v0 "$port" <<<"$port"
		[ "$output" = "$port" ]
	done
	wait_until log_has_times 3 'connection \[fe80::5%v0\]:[0-9]+ opened$'
}
