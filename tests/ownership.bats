#!/usr/bin/env bats
# Whose a descriptor is: a slot's processes share their table, and what a
# service has opened stays its own. The service is tests/services/owner.c, which
# says so; tests/hold.c stops or kills a process at a system call.

load helper

# own WORDS: what start_owner serves.
own() {
	echo "$TEST_PROGRAMS/owner.so:$1"
}

start_owner() {
	local words=$1
	shift
	start_server --listen "127.0.0.1:0=$(own "$words")" "$@"
}

# dial: a connection, CONN.
dial() {
	exec {CONN}<>"/dev/tcp/$HOST/$PORT"
}

# is_mine [LINE]: the service of CONN still has what it opened.
is_mine() {
	local line
	echo "${1:-own}" >&"$CONN"
	read -r -t "$PATIENCE" -u "$CONN" line
	[[ $line == mine ]]
}

# hold ROLE CALL entry|exit COUNT: from now on; await_held waits until it is so,
# kill_held kills it.
hold() {
	local line
	# shellcheck disable=SC2034 # its pid is a variable, too
	coproc HOLD { exec "$TEST_PROGRAMS/hold" "$MASTER" "$@"; }
	start_holding=$HOLD_PID
	CLIENTS+=("$start_holding")
	exec {HELD}<&"${HOLD[0]}" {HOLDER}>&"${HOLD[1]}"
	await_word traced
}

await_word() {
	local line
	read -r -t "$PATIENCE" -u "$HELD" line
	[[ $line == "$1" ]]
}

kill_held() {
	eval "exec ${HOLD[1]}>&-"
	exec {HOLDER}>&-
}

@test "a service's own listener stays open where a worker dies reading an order" {
	start_owner listener --workers 2
	local i connections=()
	for i in {1..8}; do
		dial
		connections+=("$CONN")
	done
	for CONN in "${connections[@]}"; do
		is_mine
	done
	# Worker 1 is to go, and worker 0 is brought its connections.
	hold 'worker 0' recvmsg exit 1
	kill -TTOU "$MASTER"
	await_word held
	kill_held
	wait_until has_pairs 1
	for CONN in "${connections[@]}"; do
		is_mine
	done
}

@test "a connection is found behind all that a service has opened" {
	start_owner many=1000,memory --workers 1
	hold 'worker 0' accept4 exit 1
	dial
	await_word held
	kill_held
	is_mine
}

@test "a number that was closed is not closed again when it is another's" {
	start_owner file=one --workers 1
	dial
	is_mine
	local conn=$CONN other
	dial
	is_mine
	other=$CONN
	# The worker has closed the second connection and not noted it yet, when
	# the next service opens its file.
	hold 'worker 0' close exit 1
	exec {other}>&-
	await_word held
	kill -HUP "$MASTER"
	wait_until log_has_times 2 'loader.* started'
	kill_held
	wait_until log_has ' reloaded: '
	CONN=$conn
	is_mine
	dial
	is_mine
	CONN=$conn
	is_mine
}

# --- reload --------------------------------------------------------------------

# reload_with WORDS: by the file of start_by_file.
reload_with() {
	echo "listen = 127.0.0.1:0=$(own "$1")" >conf
	reload
}

start_by_file() {
	echo "listen = 127.0.0.1:0=$(own "$1")" >conf
	start_server --config conf --workers "${2:-1}"
}

@test "a reload leaves alone what the running service has opened" {
	local words number
	mkdir acme.solutions
	for words in memory file=acme.solutions/readings listener; do
		start_by_file "$words"
		dial
		is_mine
		expect_error 'reload failed'
		reload_with fail
		number=$CONN
		dial
		is_mine
		CONN=$number
		is_mine
		reload_with "$words"
		is_mine
		dial
		is_mine
	done
}

@test "a reload that fails leaves nothing open, however it fails" {
	export ASAN_OPTIONS=handle_segv=0:detect_leaks=0
	expect_error 'reload failed'
	start_by_file file=one 2
	local before worker way
	for way in fail crash; do
		before=$(fd_count "$(worker_pid 0)")
		for _ in {1..3}; do
			reload_with "memory,many=20,$way"
		done
		wait_until has_fds "$(worker_pid 0)" "$before"
		wait_until has_fds "$(worker_pid 1)" "$before"
	done
	# The other new worker was fine.
	echo "listen = 127.0.0.1:0=$(own 'memory,many=20')" >conf
	echo "listen = 127.0.0.2:0=$(own fail)" >>conf
	reload
	wait_until has_fds "$(worker_pid 0)" "$before"
	dial
	is_mine
}

@test "a new loader that is killed leaves nothing open" {
	start_by_file file=one
	local before old loaders
	old=$(worker_pid 0)
	before=$(fd_count "$old")
	loaders=$(titled loader)
	echo "listen = 127.0.0.1:0=$(own 'memory,many=20,until=go')" >conf
	kill -HUP "$MASTER"
	wait_until log_has 'loader.*waiting'
	kill -KILL "$(titled loader | grep -vxF "$loaders")"
	# Another is made.
	wait_until log_has_times 2 'loader.*waiting'
	has_fds "$old" "$before"
	touch go
	wait_until log_has ' reloaded: '
	dial
	is_mine
	wait_until has_fds "$(worker_pid 0)" $((before + 1 + 20))
}

@test "a service stops only when the next one has the connections" {
	start_by_file file=one
	dial
	is_mine
	local old
	old=$(worker_pid 0)
	echo "listen = 127.0.0.1:0=$(own 'file=two,until=go')" >conf
	kill -HUP "$MASTER"
	wait_until log_has 'loader.*waiting'
	stop_process "$old"
	touch go
	wait_until log_has_times 2 'loader.*started'
	not log_has 'owner: stopped'
	kill -CONT "$old"
	wait_until log_has ' reloaded: '
	is_mine
	dial
	is_mine
	wait_until log_has_times 1 'owner: stopped'
	[ "$(log_count 'owner: stopped')" -eq 1 ]
}

# --- a service that closes a descriptor twice ------------------------------------

# start_to WORD OPTION...: a service that has closed VICTIM's descriptor and done
# what the word says; FIRST told it to.
start_to() {
	expect_error 'the service has closed its descriptor: closing it'
	start_owner memory --workers 1 "${@:2}"
	dial
	FIRST=$CONN
	is_mine free
	dial
	VICTIM=$CONN
	is_mine
	CONN=$FIRST
	is_mine "$1"
	is_over
}

# start_to_close_twice: a service that has closed VICTIM's.
start_to_close_twice() {
	start_to again
}

is_over() {
	is_at_end "$VICTIM"
	exec {VICTIM}>&-
}

# counts COUNT: so many connections are open, for all that the server knows.
counts() {
	ask_status 1
	local line
	line=$(grep ' slot 0: ' "$LOG" | tail -n 1)
	echo "$line"
	[[ $line == *"serving, $1 connection"* ]]
}

@test "a connection whose descriptor a service has closed makes room for the next" {
	start_to_close_twice
	counts 2
	dial
	is_mine
	log_has 'the service has closed its descriptor: closing it'
	counts 2
	is_mine
}

@test "a connection whose descriptor a service has closed makes room over a kill in accept" {
	start_to_close_twice
	hold 'worker 0' accept4 exit 1
	dial
	await_word held
	kill_held
	is_mine
	log_has 'the service has closed its descriptor: closing it'
	counts 2
}

@test "nobody waits at QUIT for a connection whose descriptor a service has closed" {
	start_to_close_twice
	exec {FIRST}>&-
	kill -QUIT "$MASTER"
	server_ends_with 0
	not log_has 'drain timeout'
}

# start_to_take OPTION...: a service that has a socket of its own where VICTIM's
# was.
start_to_take() {
	start_to take "$@"
}

is_mine_until_closed() {
	is_mine && log_has 'the service has closed its descriptor: closing it'
}

@test "a connection that has become a service's own socket is late: that stays" {
	start_to_take --idle-timeout 2s
	wait_until is_mine_until_closed
	is_mine
	counts 1
}

# --- a service that closes stdin, stdout and stderr ------------------------------

# dial_many COUNT: so many connections more, CONNS, all of them served.
dial_many() {
	for _ in $(seq "$1"); do
		dial
		CONNS+=("$CONN")
	done
	all_are_mine
}

# all_are_mine [LINE]
all_are_mine() {
	for CONN in "${CONNS[@]}"; do
		is_mine "$@"
	done
}

# no_client_is_standard ROLE: nor is anything else there.
no_client_is_standard() {
	local number
	for number in 0 1 2; do
		[ "$(readlink "/proc/$(titled "$1")/fd/$number")" = /dev/null ]
	done
}

@test "a service that closes stdin, stdout and stderr as it starts is served" {
	CONNS=()
	start_owner memory,bare --workers 1
	dial_many 5
	no_client_is_standard 'worker 0'
	kill -KILL "$(worker_pid 0)"
	all_are_mine
}

@test "no client has the number of stdin, stdout or stderr that a call has closed" {
	CONNS=()
	start_owner memory --workers 2
	dial_many 8
	all_are_mine bare
	dial_many 8
	no_client_is_standard 'worker 0'
	no_client_is_standard 'worker 1'
	# Worker 0 is brought the others' connections.
	all_are_mine bare
	kill -TTOU "$MASTER"
	wait_until log_has 'worker 1 .* has drained'
	all_are_mine
	no_client_is_standard 'worker 0'
}

@test "the same where the worker is killed as it accepts one there" {
	start_owner memory --workers 1
	dial
	is_mine bare
	hold 'worker 0' accept4 exit 1
	dial
	await_word held
	kill_held
	is_mine
	no_client_is_standard 'worker 0'
	is_mine
}

@test "the same where it is killed as it has moved that one to another number" {
	start_owner memory --workers 1
	dial
	is_mine bare
	hold 'worker 0' dup2 entry 1
	dial
	await_word held
	kill_held
	is_mine
	no_client_is_standard 'worker 0'
	exec {CONN}>&-
	wait_until has_sockets_left 1
}

# has_sockets_left COUNT: nothing else holds a socket of the server.
has_sockets_left() {
	(($(sockets connected) == $1))
}

@test "the log goes on where a service has closed stderr" {
	expect_error 'the service has closed a listener'
	start_owner memory --workers 1
	dial
	is_mine bare
	is_mine unlisten
	dial
	is_mine bare
	kill_workers 1
	is_mine unlisten
	dial
	is_mine
	log_has_times 2 'the service has closed a listener \(the last that was called: owner\)'
}

# --- a service that closes a listener ---------------------------------------------

@test "a listener that a service has closed is put back, and again" {
	expect_error 'the service has closed a listener'
	start_owner memory --workers 1
	for n in 1 2 3; do
		dial
		is_mine unlisten
		dial
		is_mine
	done
	log_has_times 3 'the service has closed a listener'
}

@test "the same where its number is a service's own socket by then" {
	expect_error 'the service has closed a listener'
	start_owner memory --workers 1
	dial
	FIRST=$CONN
	is_mine usurp
	dial
	is_mine
	dial
	is_mine
	CONN=$FIRST
	is_mine
	reload
	dial
	wait_until worker_is_idle
}

# worker_is_idle: it has made no system call for a second.
worker_is_idle() {
	local before after
	before=$(switches)
	pause 1
	after=$(switches)
	((after == before))
}

switches() {
	awk '/ctxt_switches/ { n += $2 } END { print n }' \
		"/proc/$(worker_pid 0)/status"
}

@test "the same where its number is a client's by then" {
	expect_error 'the service has closed a listener'
	start_owner memory --workers 1 --listen "127.0.0.1:0=$(own memory)"
	dial
	is_mine unlisten
	FIRST=$CONN
	PORT=$(sed -n 's/.* starting on [^ ]*, 127.0.0.1:\([0-9]*\);.*/\1/p' "$LOG")
	dial
	SECOND=$CONN
	is_mine
	read_address
	dial
	is_mine
	CONN=$SECOND
	is_mine
	CONN=$FIRST
	is_mine
}

@test "the same where the worker is killed before it notices" {
	expect_error 'the service has closed a listener'
	start_owner memory --workers 1
	dial
	is_mine unlisten
	kill -KILL "$(worker_pid 0)"
	dial
	is_mine
}

@test "a worker whose listener a service has made block hangs once, and goes on" {
	CONNS=()
	expect_error 'hangs: aborting it'
	start_owner memory --workers 2 --hang-timeout 1s
	dial_many 8
	all_are_mine block
	kill -TTOU "$MASTER"
	wait_until log_has 'worker 1 .* has drained'
	all_are_mine
	[ "$(log_count 'hangs: aborting it')" -le 2 ]
}

# --- a service that closes what is the server's own -------------------------------

# survives WORD: a call that does so to each number that the server itself has in
# the table, both of the control sockets and of the epoll instance.
survives() {
	local number
	CONNS=()
	expect_error 'has closed the (worker|standby).s control socket, which is the server.s'
	expect_error '\(the last that was called: owner\) has closed the epoll instance, which is the server.s'
	start_owner memory --workers 1
	dial_many 5
	for number in 3 5 6 -1 -2 -3; do # 4 is the service's own
		CONN=${CONNS[0]}
		is_mine "$1 $number"
		dial_many 1
		kill_workers 1
		dial_many 1
		reload
		dial_many 1
	done
	not log_has 'died together|given up'
}

@test "a control socket or the epoll instance that a service has closed is put back" {
	survives cut
}

@test "the same where it has put a file of its own there" {
	survives put
}

# --- and what connections move by ---------------------------------------------------

# numbers: of all descriptors of worker 0.
numbers() {
	local fds=("/proc/$WORKER/fd"/*)
	printf '%s\n' "${fds[@]##*/}" | sort
}

has_numbers_more() {
	(($(numbers | wc -l) >= BEFORE + $1))
}

# begin_move: worker 1 is held before it gives away the first of CONNS, and worker
# 0 has been brought what it takes them by: ENDS, its memory and its socket.
# OFFENDER is a connection of worker 0.
begin_move() {
	CONNS=()
	start_owner memory --workers 1
	dial
	OFFENDER=$CONN
	WORKER=$(worker_pid 0)
	kill -TTIN "$MASTER"
	wait_until has_pairs 2
	dial_many 20
	numbers >before
	BEFORE=$(wc -l <before)
	hold 'worker 1' sendmsg entry 1
	kill -TTOU "$MASTER"
	await_word held
	wait_until has_numbers_more 3 # the third is the other's listener
	mapfile -t ENDS < <(numbers | comm -13 before - | sort -n)
	CONN=$OFFENDER
}

# end_move: all of them come to worker 0.
end_move() {
	kill_held
	wait_until log_has 'worker 1 .* has drained'
	CONNS+=("$OFFENDER")
	all_are_mine
}

@test "a move goes on where a service has closed what connections move by" {
	local n
	for n in 0 1; do
		expect_error 'has closed what connections move by'
		begin_move
		is_mine "cut ${ENDS[n]}"
		end_move
	done
}

@test "the same where it has put a file of its own there: that stays" {
	local n file
	for n in 0 1; do
		expect_error 'has closed what connections move by'
		begin_move
		is_mine "put ${ENDS[n]}"
		file=$(readlink "/proc/$WORKER/fd/${ENDS[n]}")
		end_move
		[ "$(readlink "/proc/$(worker_pid 0)/fd/${ENDS[n]}")" == "$file" ]
	done
}

@test "no client that moves has the number of stdin, stdout or stderr" {
	begin_move
	is_mine bare
	end_move
	no_client_is_standard 'worker 0'
	for CONN in "${CONNS[@]}"; do
		exec {CONN}>&-
	done
	wait_until has_sockets_left 0
}
