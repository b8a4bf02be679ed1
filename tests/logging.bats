#!/usr/bin/env bats
# One line an event on stderr, for people and for the journal.

load helper

readonly STAMP='[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z'

# every_line_is PATTERN
every_line_is() {
	if grep -Ev -- "$1" "$LOG"; then
		echo "lines that are not '$1'"
		return 1
	fi
}

@test "the first line tells version, addresses and workers" {
	start_server --workers 2 --listen 127.0.0.1:0 --listen 127.0.0.2:0
	run -0 head -n 1 "$LOG"
	[[ $output =~ ^$STAMP\ info\ master:\ preforkd\ [0-9.]+\ starting\ on\ 127\.0\.0\.1:[0-9]+,\ 127\.0\.0\.2:[0-9]+\;\ 2\ workers$ ]]
}

@test "every address is told, however many there are" {
	local i addresses=()
	for i in {1..64}; do
		addresses+=(--listen 127.0.0.1:0)
	done
	start_server --workers 1 "${addresses[@]}"
	tells_ports 64
	reload
	tells_ports 128
	log_has ' reloaded: 1 worker on 127'
	every_line_is "^$STAMP info master: .*(listening|reloading|127\.0\.0\.1:[1-9][0-9]*|; 1 worker)$"
}

# tells_ports N: so many ports stand in the log, each of them open.
tells_ports() {
	local port ports
	mapfile -t ports < <(grep -o '127\.0\.0\.1:[1-9][0-9]*' "$LOG" |
		sed 's/.*://')
	((${#ports[@]} == $1))
	for port in "${ports[@]}"; do
		not refuses "$port"
	done
}

@test "every line has a time stamp, a level and a process" {
	start_server --workers 2 --log-level debug
	stream --connections 20 --bytes 1000
	kill -KILL "$(worker_pid 0)"
	wait_until log_has 'killed'
	reload
	kill -TERM "$MASTER"
	server_ends_with 0
	every_line_is "^$STAMP (error|warning|info|debug) (master|worker [0-9]+): .+$"
}

@test "where stderr is the journal, lines have its priorities" {
	: >journal
	LAUNCHER=(env "JOURNAL_STREAM=$(stat -c %d:%i journal)" sh -c
		'exec 2>>journal "$@"' sh)
	launch --listen 127.0.0.1:0 --workers 1 --log-level debug
	LOG=$BATS_TEST_TMPDIR/journal
	LOGS+=("$LOG")
	wait_until log_has '^<6>master: ready: '
	read_address
	stream --connections 5 --bytes 100
	kill -KILL "$(worker_pid 0)"
	wait_until log_has '^<4>master: worker 0 .* was killed by SIGKILL'
	log_has '^<7>worker 0: connection '
	every_line_is '^<[3467]>(master|worker [0-9]+): .+$'
}

@test "JOURNAL_STREAM of another file does not count" {
	LAUNCHER=(env JOURNAL_STREAM=1:1)
	start_server --workers 1
	every_line_is "^$STAMP "
}

# start_read_by COMMAND...: a server whose stderr is ./stream, which the command
# reads and appends to ./log.read.
start_read_by() {
	: >log.read
	start_client "$@"
	wait_until test -e stream
	LAUNCHER=(sh -c 'exec "$@" 2>stream' sh)
	launch --listen 127.0.0.1:0 --workers 2 --log-level debug
	LOG=$BATS_TEST_TMPDIR/log.read
	LOGS+=("$LOG")
	wait_until log_has 'master: ready: '
	read_address
}

# outlives_its_reader: what the server does while nobody reads its log, and what
# it says of it afterwards.
outlives_its_reader() {
	local old
	old=$(worker_pids)
	stop_process "${CLIENTS[0]}"
	stream --connections 20 --rounds 2000 --bytes 100
	kill -USR1 "$MASTER"
	kill -HUP "$MASTER"
	wait_until not is_alive "${old%%$'\n'*}"
	wait_until has_pairs 2
	stream --connections 20 --rounds 50 --bytes 100
	kill -CONT "${CLIENTS[0]}"
	wait_until loses_no_line
	log_has ' warning (master|worker [01]): [0-9]+ lines lost: stderr was blocked$'
	every_line_is "^$STAMP (warning|info|debug) (master|worker [01]): .+$"
}

# loses_no_line: what is logged now is read.
loses_no_line() {
	local before
	before=$(log_count 'opened$')
	stream --connections 20 --bytes 100 >/dev/null
	PATIENCE=3 wait_until log_has_times $((before + 20)) 'opened$' \
		>/dev/null
}

@test "a pipe that nobody reads stops nothing, and lost lines are counted" {
	mkfifo stream
	start_read_by sh -c 'exec cat <stream >>log.read'
	outlives_its_reader
}

@test "a terminal that is held stops nothing, and lost lines are counted" {
	start_read_by socat -u \
		"PTY,link=stream,rawer,wait-slave,pty-interval=0.05" CREATE:log.read
	outlives_its_reader
}

# fill_the_log: more lines than what is left of the file's last page takes.
fill_the_log() {
	local i
	for i in {1..12}; do
		kill -USR1 "$MASTER"
		wait_until not is_signalled
	done
}

# is_signalled: a signal to the master waits.
is_signalled() {
	! grep -q '^ShdPnd:.*0000000000000000' "/proc/$MASTER/status"
}

@test "lines that a full disk takes are counted, and told with the cause" {
	unshare --mount true 2>/dev/null ||
		skip_or_fail "no right to mount"
	mkdir disk
	LAUNCHER=(unshare --mount sh -c 'mount -t tmpfs -o size=64k tmpfs disk &&
		exec "$@" 2>disk/log' sh)
	launch --listen 127.0.0.1:0 --workers 4
	wait_until has_workers 4
	LOG=/proc/$MASTER/root$BATS_TEST_TMPDIR/disk/log
	wait_until log_has 'ready: '
	dd if=/dev/zero of="${LOG%log}fill" bs=4096 2>/dev/null || true
	fill_the_log
	rm "${LOG%log}fill"
	kill -USR1 "$MASTER"
	wait_until log_has ' warning master: [0-9]+ lines lost: No space left on device$'
	every_line_is "^$STAMP (warning|info) master: .+$"
}

@test "a filter that forbids pwritev2 loses no line" {
	mkfifo stream
	start_client sh -c 'exec cat <stream >log.read'
	LAUNCHER=("$TEST_PROGRAMS/forbid" pwritev2 EPERM
		sh -c 'exec "$@" 2>stream' sh)
	launch --listen 127.0.0.1:0 --workers 1
	LOG=$BATS_TEST_TMPDIR/log.read
	LOGS+=("$LOG")
	wait_until log_has 'master: ready: '
}

@test "only what prints comes into the log, cut between characters" {
	start_server --workers 1 --listen "127.0.0.1:0=$(build_talker)"
	say '\xc2\x9b31m|\xff\xfe|\x9b|\xe2\x82|\x1b[31m|gr\xc3\xbcn \xe2\x82\xac'
	wait_until log_has '\?\?31m\|\?\?\|\?\|\?\?\|\?\[31m\|grün €$'
	say "$(printf '\\xe2\\x82\\xac%.0s' {1..400})"
	say "x$(printf '\\xe2\\x82\\xac%.0s' {1..400})"
	say "xx$(printf '\\xe2\\x82\\xac%.0s' {1..400})"
	wait_until log_has_times 3 ' x{0,2}€+$'
	iconv -f UTF-8 -t UTF-8 "$LOG" >/dev/null
}

# say BYTES: to the service that logs what it gets.
say() {
	printf '%b' "$1" | nc -N "$HOST" "$PORT" >/dev/null
}

# build_talker: a service that logs what it gets; prints its path.
build_talker() {
	cat >talker.c <<-'END'
		#include "preforkd.h"
		static size_t
		input(struct preforkd_conn *conn, const unsigned char *bytes,
		    size_t count)
		{
			preforkd_log(conn, PREFORKD_INFO, "%.*s", (int)count,
			    (const char *)bytes);
			return count;
		}
		const struct preforkd_service preforkd_service = {
			.abi = PREFORKD_ABI, .name = "talker", .input = input
		};
	END
	cc -shared -fPIC -I"$BATS_TEST_DIRNAME/../include" -o talker.so talker.c
	echo "$BATS_TEST_TMPDIR/talker.so"
}

@test "what a service prints becomes lines with its name" {
	cat >prints.c <<-'END'
		#include <stdio.h>
		#include "preforkd.h"
		static const char *
		start(const char *argument)
		{
			(void)argument;
			preforkd_log(NULL, PREFORKD_INFO, "begins");
			printf("printed\nand");
			return NULL;
		}
		static size_t
		input(struct preforkd_conn *conn, const unsigned char *bytes,
		    size_t count)
		{
			(void)conn;
			printf(" said: %.*s", (int)count, (const char *)bytes);
			fprintf(stderr, "warned \x1b\n");
			return count;
		}
		static void
		stop(void)
		{
			printf("without an end");
		}
		const struct preforkd_service preforkd_service = {
			.abi = PREFORKD_ABI, .name = "printer", .start = start,
			.stop = stop, .input = input
		};
	END
	cc -shared -fPIC -I"$BATS_TEST_DIRNAME/../include" -o prints.so prints.c
	start_server --workers 1 --listen "127.0.0.1:0=./prints.so"
	nc -N "$HOST" "$PORT" <<<hello >/dev/null
	wait_until log_has ' warning worker 0: printer: warned \?$'
	log_has ' info loader: printer: begins$'
	log_has ' info loader: printer: printed$'
	log_has ' info loader: printer: and$'
	log_has ' info worker 0: printer:  said: hello$'
	stop_server "$MASTER"
	log_has ' info loader: printer: without an end$'
	every_line_is "^$STAMP (info|warning) (master|loader|worker 0): .+$"
}

@test "connections are told at debug level" {
	start_server --workers 1 --log-level debug
	stream --connections 1 --bytes 12345
	wait_until log_has 'debug worker 0: connection 127\.0\.0\.1:[0-9]+ closed: end of stream, 12345 bytes in, 12345 bytes out, [0-9]+ ms$'
	log_has 'debug worker 0: connection 127\.0\.0\.1:[0-9]+ opened$'
	stream --connections 20 --bytes 100K --reset-at-random
	wait_until log_has 'closed: reset by client, '
}

@test "connections are not told at info level" {
	start_server --workers 1
	local lines
	lines=$(wc -l <"$LOG")
	stream --connections 100 --bytes 1000
	stream --connections 100 --bytes 1000 --reset-at-random
	[ "$(wc -l <"$LOG")" -eq "$lines" ]
}

@test "--log-level error is silent while all is well" {
	local port
	port=$(free_port)
	launch --listen "127.0.0.1:$port" --workers 1 --log-level error
	HOST=127.0.0.1 PORT=$port
	wait_until not refuses "$port"
	stream --connections 20 --bytes 1000
	reload_silently
	kill -KILL "$(worker_pid 0)"
	stream --connections 20 --bytes 1000
	kill -TERM "$MASTER"
	server_ends_with 0
	[ ! -s "$LOG" ]
}

# reload_silently: by what it does, since nothing is logged.
reload_silently() {
	local pid
	pid=$(worker_pid 0)
	kill -HUP "$MASTER"
	wait_until not is_alive "$pid"
	wait_until has_workers 1
}

@test "--log-level warning tells of a killed worker, not of the start" {
	local port
	port=$(free_port)
	launch --listen "127.0.0.1:$port" --workers 1 --log-level warning
	wait_until not refuses "$port"
	kill -KILL "$(worker_pid 0)"
	wait_until log_has 'warning master: worker 0 .* was killed'
	every_line_is ' warning '
}

@test "no byte from a client comes into the log" {
	start_server --workers 1 --log-level debug
	printf 'SECRET\033[31m\001\377\n<3>forged line\n' |
		nc -N "$HOST" "$PORT" >/dev/null
	wait_until log_has 'closed: end of stream'
	not log_has 'SECRET|forged'
	not env LC_ALL=C grep -q '[^ -~]' "$LOG"
}

@test "USR1 tells what each slot is doing" {
	start_server --workers 2
	start_stream --connections 50 --bytes 1000 --hold
	wait_until stream_says answered
	local pid standby
	pid=$(worker_pid 1)
	standby=$(standby_pid 1)
	kill -KILL "$(worker_pid 0)"
	wait_until log_has 'worker 0 .* was killed'
	wait_until has_pairs 2
	ask_status 2
	log_has "info master: slot 1: worker $pid serving, [0-9]+ connections, [0-9]+ accepted, [0-9]+ bytes in, [0-9]+ bytes out, 0 restarts, 0 take-overs, standby $standby, 0 closed for a fault$"
	log_has 'slot 0: worker [0-9]+ serving, [1-9][0-9]* connections, .* 0 restarts, 1 take-overs, standby [1-9][0-9]*, 0 closed for a fault$'
}

@test "USR1 counts connections and bytes" {
	start_server --workers 1
	start_stream --connections 5 --bytes 1000 --hold
	wait_until stream_says answered
	stream --connections 7 --bytes 2000
	ask_status 1
	log_has 'slot 0: worker [0-9]+ serving, 5 connections, 12 accepted, 19000 bytes in, 19000 bytes out, 0 restarts, 0 take-overs, standby [1-9][0-9]*, 0 closed for a fault$'
	end_stream
}

@test "a service that fails in a call is named" {
	export ASAN_OPTIONS=handle_abort=0:detect_leaks=0
	ulimit -S -c 0
	expect_error 'the service failed on its input'
	cp "$TEST_PROGRAMS/probe-1.so" probe.so
	start_server --workers 1 --listen 127.0.0.1:0=./probe.so \
		--listen 127.0.0.2:0
	"$TEST_PROGRAMS/provoke" "$HOST" "$PORT" 1 crash >outcome
	cat outcome
	grep -q ' reset$' outcome
	[ "$(log_count 'killed by SIGABRT.*; its standby takes over \(it was in a call of ./probe.so\)')" -eq 2 ]
	log_has 'the service failed on its input: closing it \(service probe\)$'
}

@test "a service whose call hangs is named" {
	export ASAN_OPTIONS=handle_abort=0:detect_leaks=0
	ulimit -S -c 0
	expect_error 'the service failed on its input'
	expect_error 'hangs: aborting it'
	PREFORKD=$TEST_PROGRAMS/preforkd-crash start_server --workers 1 \
		--hang-timeout 500ms --listen 127.0.0.1:0 --listen 127.0.0.2:0=discard
	"$TEST_PROGRAMS/provoke" "$HOST" "$PORT" 1 'crash loop' >outcome
	cat outcome
	log_has 'hangs: aborting it \(it is in a call of echo\)'
}
