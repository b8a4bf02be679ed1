#!/usr/bin/env bats
# Handshakes that are under way when listeners close: on a slow path, or where a
# SYN-ACK was lost, which alone takes a second.

load helper

# open_network: a network namespace with clients whose handshakes are slow.
open_network() {
	[[ -w /dev/net/tun ]] || skip_or_fail "no /dev/net/tun"
	mkfifo orders
	unshare --net setpriv --pdeathsig KILL \
		"$TEST_PROGRAMS/late_handshake" 20 <orders >words 2>&1 3>&- 4>&- &
	CLIENTS+=("$!")
	exec {ORDERS}>orders
	wait_until says up
	LAUNCHER=(nsenter --net="/proc/${CLIENTS[0]}/ns/net")
}

says() {
	grep -q "^$1" words
}

begin_handshakes() {
	echo "$PORT" >&"$ORDERS"
	wait_until says 'begun 20'
}

end_handshakes() {
	echo end >&"$ORDERS"
	wait_until says answered
	cat words
	says 'answered 20 reset 0'
}

@test "handshakes that take long are ended when TTOU removes workers" {
	open_network
	start_server --workers 4 --listen 10.77.0.1:0
	begin_handshakes
	kill -TTOU "$MASTER"
	wait_until has_workers 3
	kill -TTOU "$MASTER"
	wait_until has_workers 2
	kill -TTOU "$MASTER"
	wait_until has_workers 1
	end_handshakes
}

@test "handshakes that take long are ended when a reload removes workers" {
	open_network
	printf '%s\n' 'listen = 10.77.0.1:0' 'workers = 4' >conf
	start_server --config conf
	begin_handshakes
	printf '%s\n' 'listen = 10.77.0.1:0' 'workers = 1' >conf
	reload
	wait_until has_workers 1
	end_handshakes
}

# They are ended only now: nothing may have been closed yet.
are_waited_for() {
	log_has 'waiting for handshakes that are under way'
}

@test "handshakes that take long are ended before a reload removes an address" {
	open_network
	printf '%s\n' 'listen = 10.77.0.1:0' 'listen = 127.0.0.1:0' >conf
	start_server --config conf
	begin_handshakes
	printf '%s\n' 'listen = 127.0.0.1:0' >conf
	kill -HUP "$MASTER"
	wait_until are_waited_for
	end_handshakes
	wait_until log_has ' reloaded: '
}

@test "handshakes that take long are ended before a reload narrows an address" {
	open_network
	printf '%s\n' 'listen = 0.0.0.0:7070' >conf
	start_server --config conf
	begin_handshakes
	printf '%s\n' 'listen = 127.0.0.1:7070' >conf
	kill -HUP "$MASTER"
	wait_until are_waited_for
	end_handshakes
	wait_until log_has ' reloaded: '
}

@test "handshakes that take long are ended before TERM ends the server" {
	open_network
	start_server --workers 2 --listen 10.77.0.1:0
	begin_handshakes
	kill -TERM "$MASTER"
	wait_until are_waited_for
	end_handshakes
	server_ends_with 0
}

@test "handshakes that never end are waited for only for a moment" {
	open_network
	start_server --workers 2 --listen 10.77.0.1:0
	begin_handshakes
	kill -TERM "$MASTER"
	wait_until are_waited_for
	server_ends_with 0
}

# --- what the looking costs --------------------------------------------------

# Each look has the kernel walk all connections of the machine, and the master
# does nothing else meanwhile.

count_looks() {
	start_client strace -qq -o looks -e trace=sendto -p "$MASTER"
	wait_until is_traced "$MASTER"
}

# The leak sanitizer cannot look where somebody traces.
stop_counting() {
	kill -KILL "${CLIENTS[0]}"
	wait_until not is_traced "$MASTER"
}

# has_looked MOST: at least once.
has_looked() {
	local looks
	looks=$(grep -c NLM_F_REQUEST looks || true)
	echo "looks: $looks"
	((looks >= 1 && looks <= $1))
}

many_addresses() {
	local i
	for ((i = 0; i < 40; i++)); do
		echo 'listen = 127.0.0.1:0'
	done
}

# has_listeners N: so many slots listen on the first port.
has_listeners() {
	(($(sockets listening) == $1))
}

@test "one look is for all the addresses that a reload removes" {
	many_addresses >conf
	start_server --config conf
	count_looks
	start_conversing 20 10
	echo 'listen = 127.0.0.1:0' >conf
	reload
	log_has ' reloaded: '
	has_looked 3
	end_conversing 20
}

@test "one look is for all the addresses that end" {
	many_addresses >conf
	start_server --config conf
	count_looks
	start_conversing 20 10
	kill -QUIT "$MASTER"
	wait_until refuses "$PORT"
	has_looked 3
	stop_counting
	end_conversing 20
	server_ends_with 0
}

@test "one look is for all the slots that go" {
	(echo 'workers = 4'; many_addresses) >conf
	start_server --config conf
	count_looks
	start_conversing 20 10
	(echo 'workers = 1'; many_addresses) >conf
	reload
	wait_until has_listeners 1
	has_looked 6
	end_conversing 20
}
