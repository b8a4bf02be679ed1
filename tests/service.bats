#!/usr/bin/env bats
# A service of one's own: a shared object, its calls, what survives a crash, a
# kill and a reload. The service is tests/services/probe.c, which does what it
# is told.

load helper

# install_probe VARIANT: puts it where the server looks, as a new file by rename.
install_probe() {
	cp "$TEST_PROGRAMS/probe-$1.so" probe.new
	mv probe.new probe.so
}

# start_probe OPTIONS...: a server with the first version, on its first address.
start_probe() {
	[[ -e probe.so ]] || install_probe 1
	start_server --listen "127.0.0.1:0=$PWD/probe.so" "$@"
}

# start_probe_conf ARGUMENT: the same by a file, which a reload may change.
start_probe_conf() {
	install_probe 1
	serve_argument "$1"
	start_server --config conf --workers "${2:-1}"
}

serve_argument() {
	echo "listen = 127.0.0.1:0=$PWD/probe.so:$1" >conf
}

# dial: a connection, CONN.
dial() {
	exec {CONN}<>"/dev/tcp/$HOST/$PORT"
}

# say WORDS...: a line on CONN.
say() {
	echo "$@" >&"$CONN"
}

# hears LINE: the next line on CONN is that one.
hears() {
	local line
	if ! read -r -t "$PATIENCE" -u "$CONN" line || [[ $line != "$1" ]]; then
		echo "heard \"$line\" instead of \"$1\""
		return 1
	fi
}

# has_processes N: so many workers and standbys, one generation's loaders, and
# nobody else.
has_processes() {
	has_pairs "$1" && has_loaders 2 &&
		(($(children "$MASTER" | wc -l) == 2 * $1 + 2))
}

# --- which service -----------------------------------------------------------

@test "each address has a service of its own" {
	start_probe --listen 127.0.0.2:0 --listen 127.0.0.3:0=discard
	mapfile -t numbers < <(ports)
	dial
	say add 5
	hears 'v1 5'
	HOST=127.0.0.2
	PORT=${numbers[1]}
	[ "$(printf hello | nc -N "$HOST" "$PORT")" = hello ]
	HOST=127.0.0.3
	PORT=${numbers[2]}
	[ -z "$(printf hello | nc -N "$HOST" "$PORT")" ]
}

@test "the same object with two arguments is two services" {
	install_probe 1
	start_server --listen "127.0.0.1:0=$PWD/probe.so:one" \
		--listen "127.0.0.2:0=$PWD/probe.so:two:and more"
	mapfile -t numbers < <(ports)
	dial
	hears one
	HOST=127.0.0.2
	PORT=${numbers[1]}
	dial
	hears 'two:and more'
}

# refuses_to_start SERVICE PATTERN: exits at once, for good, and says why, once.
refuses_to_start() {
	local status=0
	expect_error "$2"
	launch --listen "127.0.0.1:0=$1"
	wait_until not is_alive "$MASTER"
	wait "$MASTER" || status=$?
	[ "$status" -eq 78 ]
	[ "$(log_count "error .*$2")" -eq 1 ]
}

@test "what cannot be a service is refused, with the cause" {
	local here=$TEST_PROGRAMS
	refuses_to_start ./nowhere.so \
		'service ./nowhere.so: cannot read it: No such file'
	echo 'no object' >text.so
	refuses_to_start ./text.so 'service ./text.so: cannot load it: (file too short|invalid ELF header): expected a shared object'
	refuses_to_start "$here/probe-abi.so" 'its ABI is 999, expected 1'
	refuses_to_start "$here/probe-no-table.so" 'no symbol preforkd_service'
	refuses_to_start "$here/probe-1.so:fail" \
		'service .*probe-1.so:fail: it was told to fail'
}

# --- calls -------------------------------------------------------------------

@test "state, addresses, and a line in several pieces" {
	start_probe --workers 1
	dial
	printf 'ad' >&"$CONN"
	say 'd 5'
	hears 'v1 5'
	printf 'add 1\nadd 2\nadd' >&"$CONN"
	hears 'v1 6'
	hears 'v1 8'
	say ' 3'
	hears 'v1 11'
	say where
	# The peer's port is not known before.
	local line
	read -r -t "$PATIENCE" -u "$CONN" line
	[[ $line == "127.0.0.1:"*" to $HOST:$PORT" ]]
}

@test "a timer, replaced, stopped, and over a kill" {
	start_probe --workers 1
	dial
	say timer 50
	hears tick
	say timer 3600000
	say timer 50
	hears tick
	say timer 300
	say timer 0
	say add 1
	hears 'v1 1'
	say timer 500
	say add 1
	hears 'v1 2'
	local old
	old=$(worker_pid 0)
	kill -KILL "$old"
	wait_until was_replaced 0 "$old"
	hears tick
	say timer 700
	say add 1
	hears 'v1 3'
	reload
	hears tick
}

@test "finish: the answer leaves, also where the client goes on sending" {
	start_probe --workers 1
	dial
	say finish
	head -c 4000000 /dev/zero 2>/dev/null 1>&"$CONN" || true
	hears bye
	is_at_end "$CONN"
	wait_until log_has 'closed for reason 1$'
}

@test "abort: a reset, and nothing of the call" {
	start_probe --workers 1
	"$TEST_PROGRAMS/provoke" "$HOST" "$PORT" 1 abort >outcome
	grep -q ' reset$' outcome
	log_has 'closed for reason 2$'
}

@test "a message beyond the limit, and a reply beyond what one call may" {
	expect_error 'longer than the service.s limit'
	expect_error 'more than PREFORKD_REPLY_MAX'
	expect_error 'consumed more than there was'
	start_probe --workers 1
	dial
	say limit 20
	printf 'add 1 %014d' 7 >&"$CONN" # 20 bytes, and no end of it
	is_at_end "$CONN"
	wait_until log_has "connection 127.0.0.1:[0-9]+: its message is longer than the service's limit: closing it"
	dial
	say limit 20
	printf 'add 1 %013d\n' 7 >&"$CONN" # 20 bytes with their end
	hears 'v1 1'
	"$TEST_PROGRAMS/provoke" "$HOST" "$PORT" 1 much >outcome
	grep -q ' reset$' outcome
	log_has 'one call has replied more than PREFORKD_REPLY_MAX'
	"$TEST_PROGRAMS/provoke" "$HOST" "$PORT" 1 greedy >outcome
	grep -q ' reset$' outcome
	log_has 'the service consumed more than there was'
}

@test "what earlier calls have answered leaves before the one that ends it" {
	expect_error 'longer than the service.s limit'
	expect_error 'more than PREFORKD_REPLY_MAX'
	expect_error 'consumed more than there was'
	expect_error 'the service failed on its input'
	ulimit -c 0
	export ASAN_OPTIONS=handle_abort=0
	start_probe --workers 1
	local end
	for end in 'abort\n' 'crash\n' 'greedy\n' 'much\n' 'limit 2\nxxx'; do
		dial
		printf '%b' "add 1\nadd 2\n$end" >&"$CONN"
		hears 'v1 1'
		hears 'v1 3'
		is_at_end "$CONN"
	done
}

@test "a formatted reply may have 4096 bytes" {
	local length
	start_probe --workers 1
	for length in 4095 4096 4097; do
		dial
		printf 'format %d\nfinish\n' "$length" >&"$CONN"
		[ "$(wc -c <&"$CONN")" -eq $(((length < 4097 ? length : 4096) + 4)) ]
	done
}

@test "more: a long answer in parts, then what came meanwhile" {
	start_probe --workers 1
	dial
	printf 'more 200000\nadd 5\nfinish\n' >&"$CONN"
	[ "$(cksum <&"$CONN")" = \
		"$(seq 200000 -1 1 | cat - <(printf 'v1 5\nbye\n') | cksum)" ]
}

@test "end: the last words after the client's last byte" {
	start_probe --workers 1
	[ "$(printf 'more 30000\nadd 5\n' | nc -N "$HOST" "$PORT" | cksum)" = \
		"$(seq 30000 -1 1 | cat - <(echo v1 5; echo end) | cksum)" ]
}

@test "counters and the log" {
	start_probe --workers 2
	dial
	say count 5
	say count 7
	say log 42
	wait_until log_has 'warning worker [01]: probe: connection 127.0.0.1:[0-9]+: told to log\? 42'
	dial
	say count 100
	say add 1
	hears 'v1 1'
	kill -USR1 "$MASTER"
	wait_until log_has 'info master: counter probes: 112$'
}

# --- crashes and kills --------------------------------------------------------

@test "a crash costs its connection alone, and its call changes nothing" {
	expect_error 'the service failed on its input'
	ulimit -c 0
	export ASAN_OPTIONS=handle_abort=0
	start_probe --workers 1
	dial
	say add 5
	hears 'v1 5'
	"$TEST_PROGRAMS/provoke" "$HOST" "$PORT" 1 crash >outcome
	grep -q ' reset$' outcome
	say add 2
	hears 'v1 7'
	wait_until has_processes 1
}

# sum_is_exact N: a client that adds 1 so often, and reads each answer.
sum_is_exact() {
	local n
	dial
	for ((n = 1; n <= $1; n++)); do
		say add 1
		hears "v$VERSION $n" || return
	done
}

@test "no call is lost or made twice while workers are killed" {
	start_probe --workers 1
	start_client "$TEST_PROGRAMS/chaos" --master "$MASTER" --workers 1 \
		--seconds 600 --reloads 0 --interval 5
	wait_until log_has 'its standby takes over'
	until log_has_times 100 'its standby takes over'; do
		VERSION=1 sum_is_exact 100
	done
	dial
	yes 'add 1' | head -n 20000 >&"$CONN" &
	local saying=$!
	[ "$(head -n 20000 <&"$CONN" | cksum)" = \
		"$(seq -f 'v1 %.0f' 20000 | cksum)" ]
	wait "$saying"
	(($(log_count 'its standby takes over') > 20))
}

# --- reload --------------------------------------------------------------------

@test "a reload brings the new code to an open conversation, state and all" {
	start_probe --workers 2
	dial
	say add 5
	hears 'v1 5'
	printf 'add 1' >&"$CONN" # half a message
	install_probe 2
	reload
	wait_until has_processes 2
	say 0
	hears 'v2 15'
	log_has_times 1 'probe: stopped'
	# The new code alone is mapped.
	local pid
	for pid in $(worker_pids) $(standby_pids); do
		[ "$(grep -c 'r-xp.*memfd:.*probe.so' "/proc/$pid/maps")" -eq 1 ]
	done
}

@test "also where the file was overwritten in place" {
	start_probe --workers 1
	dial
	say add 5
	hears 'v1 5'
	cat "$TEST_PROGRAMS/probe-2.so" >probe.so
	say add 1
	hears 'v1 6'
	reload
	say add 1
	hears 'v2 7'
}

@test "a state that grows beyond its place, and back" {
	start_probe --workers 1
	dial
	say add 5
	hears 'v1 5'
	install_probe 2-large
	reload
	say add 5
	hears 'v2 10'
	kill -KILL "$(worker_pid 0)"
	say add 5
	hears 'v2 15'
}

@test "a changed state without migration closes those connections, and says so" {
	expect_error 'its state is of another version of the service'
	start_probe --workers 1
	dial
	say add 5
	hears 'v1 5'
	local stateful=$CONN
	dial
	local stateless=$CONN
	install_probe 2-bare
	reload
	CONN=$stateless
	say add 1
	hears 'v2 1'
	CONN=$stateful
	say add 1
	is_at_end "$CONN"
	wait_until log_has 'error worker 0: connection 127.0.0.1:[0-9]+: its state is of another version'
}

@test "a broken service fails the reload, and everything goes on" {
	expect_error 'reload failed: '
	ulimit -c 0
	export ASAN_OPTIONS=handle_segv=0
	start_probe_conf one
	dial
	hears one
	say add 5
	hears 'v1 5'
	local broken
	for broken in fail crash; do
		serve_argument "$broken"
		reload
		say add 1
		hears "v1 $((++sum + 5))"
	done
	log_has 'reload failed: .*it was told to fail; nothing has changed'
	log_has 'reload failed: .*was killed by SIGSEGV.*; nothing has changed'
	serve_argument two
	for broken in abi no-table; do
		install_probe "$broken"
		reload
		say add 1
		hears "v1 $((++sum + 5))"
	done
	log_has 'reload failed: .*its ABI is 999, expected 1.*; nothing has changed'
	log_has 'reload failed: .*no symbol preforkd_service'
	wait_until has_processes 1
	install_probe 2
	reload
	say add 1
	hears 'v2 10'
	dial
	hears two
}

@test "from a built-in to an object and back" {
	expect_error 'its service is no longer configured'
	install_probe 1
	echo 'listen = 127.0.0.1:0' >conf
	start_server --config conf --workers 1
	dial
	say hello
	hears hello
	local echoing=$CONN
	serve_argument
	reload
	wait_until has_processes 1
	say hello # a connection keeps the service that it began with
	hears hello
	dial
	say add 5
	hears 'v1 5'
	echo 'listen = 127.0.0.1:0' >conf
	reload
	say add 5
	is_at_end "$CONN"
	wait_until log_has 'its service is no longer configured: closing it'
	CONN=$echoing
	say hello
	hears hello
}

# --- between slots ------------------------------------------------------------

@test "a retired slot hands on rests, states and timers" {
	start_probe --workers 3
	local n conns=()
	for n in {1..30}; do
		dial
		conns+=("$CONN")
		say add "$n"
		hears "v1 $n"
		say timer 2000
		printf 'add 1' >&"$CONN"
	done
	kill -TTOU "$MASTER"
	wait_until has_processes 2
	kill -TTOU "$MASTER"
	wait_until has_processes 1
	for n in {1..30}; do
		CONN=${conns[n - 1]}
		hears tick
		say 0
		hears "v1 $((n + 10))"
	done
}

# --- every byte, by the hardest way (tests/services/relay.c) -------------------

@test "new code ten times a second under 1,000 conversations" {
	cp "$TEST_PROGRAMS/relay.so" relay.so
	start_server --listen "127.0.0.1:0=$PWD/relay.so" --workers 2
	start_stream --connections 1000 --bytes 1000000G --message 1-3000 \
		--ping-pong --interval 50
	wait_until stream_says answered
	local variants=(relay-2 relay) i
	for ((i = 0; i < ${SECONDS_EACH:-4} * 10; i++)); do
		cp "$TEST_PROGRAMS/${variants[i % 2]}.so" relay.new
		mv relay.new relay.so
		reload
	done
	end_stream
	[ "$(summary connections)" -eq 1000 ]
	[ "$(summary closed)" -eq 0 ]
	[ "$(log_count ' reloaded: ')" -eq "$i" ]
	wait_until has_processes 2
}

@test "workers and standbys are killed, and the service reloaded" {
	local interval=10
	[[ $PREFORKD == *sanitize* ]] && interval=100
	ASAN_OPTIONS=detect_leaks=0 run "$TEST_PROGRAMS/chaos" \
		--server "$PREFORKD" --service "$TEST_PROGRAMS/relay.so" \
		--seconds "${SECONDS_EACH:-4}" --interval "$interval" \
		--streams 100 --half-closed 20 --churn 10
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "a worker killed after an instruction of a service's call, a sample" {
	local scenario
	for scenario in echo last-words clone takeover-run takeover-write; do
		run setpriv --pdeathsig KILL \
			"$TEST_PROGRAMS/every_instruction" --seconds 2 \
			--service "$TEST_PROGRAMS/relay.so" \
			--scenario "$scenario" "$PREFORKD"
		echo "$output"
		if ((status == 77)); then
			skip_or_fail "$output"
		fi
		[ "$status" -eq 0 ]
		[[ ${lines[-1]} == [1-9]*" points, 0 wrong" ]]
	done
}
