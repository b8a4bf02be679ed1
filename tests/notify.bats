#!/usr/bin/env bats
# What the server tells NOTIFY_SOCKET, sd_notify(3), without a systemd.

# shellcheck disable=SC2030,SC2031 # each test is a shell of its own

load helper

eval "helper_$(declare -f setup)"
setup() {
	helper_setup
	MANAGER=$BATS_TEST_TMPDIR/manager
	MESSAGES=$BATS_TEST_TMPDIR/messages
}

# start_manager [NAME]: receives at a path, or at the @abstract NAME.
start_manager() {
	setpriv --pdeathsig KILL "$TEST_PROGRAMS/notify_socket" \
		"${1:-$MANAGER}" >"$MESSAGES" </dev/null 3>&- 4>&- &
	CLIENTS+=("$!")
	wait_until grep -q '^bound' "$MESSAGES"
	LAUNCHER=(env NOTIFY_SOCKET="${1:-$MANAGER}")
}

# told PATTERN: an extended regular expression for one assignment.
told() {
	told_times 1 "$1"
}

told_times() {
	(($(grep -Ec "(^[0-9]+ [0-9]+ |\|)($2)(\||\$)" "$MESSAGES") >= $1))
}

# The assignments of all messages, one a line, in their order.
assignments() {
	sed -nE 's/^[0-9]+ [0-9]+ //p' "$MESSAGES" | tr '|' '\n'
}

# states: those that systemd acts on, in their order, on one line.
states() {
	assignments | grep -Ex '(READY|RELOADING|STOPPING)=1' | tr '\n' ' '
}

states_are() {
	[[ $(states) == "$1" ]]
}

@test "READY=1 comes when every worker listens, and no sooner" {
	start_manager
	# On one processor the workers get ready one after the other.
	LAUNCHER+=(taskset -c "$(taskset -cp $$ | sed 's/.*[^0-9]//')")
	start_server --workers 32
	wait_until told READY=1
	states_are 'READY=1 '
	grep -x "listening $PORT 32" "$MESSAGES"
	told 'STATUS=32 workers, 0 connections'
}

@test "an abstract socket" {
	start_manager "@preforkd-$BATS_ROOT_PID-$BATS_TEST_NUMBER"
	start_server
	wait_until told READY=1
}

@test "every message comes from the master: NotifyAccess=main" {
	start_manager
	LAUNCHER+=(WATCHDOG_USEC=100000)
	start_server --workers 4
	reload
	wait_until told_times 3 WATCHDOG=1
	stop_server "$MASTER"
	wait_until told STOPPING=1
	[[ $(grep -E '^[0-9]' "$MESSAGES" | cut -d ' ' -f 1 | sort -u) == "$MASTER" ]]
}

@test "reload: RELOADING=1 with the time, then READY=1" {
	start_manager
	start_server
	reload
	wait_until states_are 'READY=1 RELOADING=1 READY=1 '
	local line received said
	line=$(grep RELOADING=1 "$MESSAGES")
	received=${line#* } received=${received%% *}
	said=${line#*MONOTONIC_USEC=} said=${said%%|*}
	((received - said >= 0 && received - said < 10000000))
}

@test "failed reload: RELOADING=1, then READY=1 and the reason" {
	start_manager
	printf 'listen = 127.0.0.1:0\nworkers = 2\n' >preforkd.conf
	start_server --config preforkd.conf
	printf 'listen = 127.0.0.1:0\nworkers = none\n' >preforkd.conf
	expect_error 'reload failed: '
	expect_error 'master: .*: workers: invalid value'
	reload
	wait_until states_are 'READY=1 RELOADING=1 READY=1 '
	wait_until told 'STATUS=[^|]*reload failed: [^|]*workers: [^|]*'
	# With the error gone, its status goes, too.
	printf 'listen = 127.0.0.1:0\nworkers = 3\n' >preforkd.conf
	reload
	wait_until states_are 'READY=1 RELOADING=1 READY=1 RELOADING=1 READY=1 '
	wait_until told 'STATUS=3 workers, 0 connections'
}

@test "TERM: STOPPING=1 at once, while connections still end" {
	start_manager
	start_server
	start_stream --connections 1 --bytes 1G --never-read --allow-cut
	wait_until stream_says stuck
	kill -TERM "$MASTER"
	wait_until states_are 'READY=1 STOPPING=1 '
	is_alive "$MASTER"
	end_stream
	server_ends_with 0
	states_are 'READY=1 STOPPING=1 '
}

@test "QUIT: STOPPING=1 at once, while connections are served" {
	start_manager
	start_server
	start_stream --connections 3 --hold
	wait_until stream_says connected
	kill -QUIT "$MASTER"
	wait_until states_are 'READY=1 STOPPING=1 '
	is_alive "$MASTER"
	end_stream
	server_ends_with 0
}

@test "WATCHDOG=1 at half of WATCHDOG_USEC" {
	start_manager
	LAUNCHER+=(WATCHDOG_USEC=400000)
	start_server
	wait_until told_times 6 WATCHDOG=1
	# The gap is 200 ms and must stay below 400; fewer than 100 would be a
	# busy idle.
	grep WATCHDOG=1 "$MESSAGES" | awk '
		NR > 1 { sum += $2 - last; n++ } { last = $2 }
		END { print sum / n; exit !(sum / n > 100e3 && sum / n < 400e3) }'
}

@test "no WATCHDOG=1 where it is asked of another process, or of none" {
	start_manager
	start_server
	LAUNCHER+=(WATCHDOG_USEC=20000 WATCHDOG_PID=1)
	start_server
	local usec
	for usec in 0 -1 '' none 20000s; do
		LAUNCHER=("${LAUNCHER[@]:0:2}" WATCHDOG_USEC="$usec")
		start_server
	done
	wait_until told_times 7 READY=1
	holds_for 1 not told WATCHDOG=1
}

@test "a stopped master sends no WATCHDOG=1, whatever its workers do" {
	start_manager
	LAUNCHER+=(WATCHDOG_USEC=100000)
	start_server
	wait_until told_times 2 WATCHDOG=1
	stop_process "$MASTER"
	stream --connections 10 --bytes 1000
	local before
	before=$(grep -c WATCHDOG=1 "$MESSAGES")
	holds_for 1 not told_times $((before + 1)) WATCHDOG=1
	kill -CONT "$MASTER"
	wait_until told_times $((before + 1)) WATCHDOG=1
}

@test "STATUS= follows workers and connections" {
	start_manager
	LAUNCHER+=(WATCHDOG_USEC=200000)
	start_server --workers 2
	wait_until told 'STATUS=2 workers, 0 connections'
	start_stream --connections 3 --hold
	wait_until told 'STATUS=2 workers, 3 connections'
	end_stream
	kill -TTIN "$MASTER"
	wait_until told 'STATUS=3 workers, 0 connections'
}

@test "nobody at NOTIFY_SOCKET, or a name that is none: it serves" {
	local name
	for name in "$MANAGER" relative "/$(printf '%0200d' 0)" @ ''; do
		LAUNCHER=(env NOTIFY_SOCKET="$name" WATCHDOG_USEC=20000)
		start_server
		stream --connections 2 --bytes 1000
	done
}

@test "a manager that does not read holds nothing up" {
	start_manager
	LAUNCHER+=(WATCHDOG_USEC=2000)
	start_server
	wait_until told READY=1
	local manager=${CLIENTS[0]}
	stop_process "$manager"
	wait_until queue_is_full
	reload
	stream --connections 10 --bytes 1000
	# Nor may it believe for ever that the reload goes on.
	kill -CONT "$manager"
	wait_until ends_ready
}

# The kernel's queue takes net.unix.max_dgram_qlen messages.
queue_is_full() {
	not timeout 2 socat -u - "UNIX-SENDTO:$MANAGER" <<<PING=1
}

ends_ready() {
	[[ $(states) == *'READY=1 ' ]]
}

@test "what a service says is one line of the status, and no assignment" {
	start_manager
	cat >says.c <<-'END'
		#include <unistd.h>
		#include "preforkd.h"
		static const char *
		start(const char *argument)
		{
			return access(argument, F_OK) == 0
			    ? "no\nMAINPID=1\nSTOPPING=1\xff\xc2\x9b gr\xc3\xbcn"
			    : NULL;
		}
		static size_t
		input(struct preforkd_conn *conn, const unsigned char *bytes,
		    size_t count)
		{
			return (void)conn, (void)bytes, count;
		}
		const struct preforkd_service preforkd_service = {
			.abi = PREFORKD_ABI, .name = "says", .start = start,
			.input = input
		};
	END
	cc -shared -fPIC -I"$BATS_TEST_DIRNAME/../include" -o says.so says.c
	start_server --workers 1 \
		--listen "127.0.0.1:0=./says.so:$BATS_TEST_TMPDIR/flag"
	: >flag
	expect_error 'reload failed'
	reload
	wait_until told 'STATUS=[^|]*no\?MAINPID=1\?STOPPING=1\?\?\? grün'
	states_are 'READY=1 RELOADING=1 READY=1 '
	not grep -aE '\|(MAINPID|STOPPING)=' "$MESSAGES"
}
