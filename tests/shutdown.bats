#!/usr/bin/env bats
# TERM, INT and QUIT, what they still do for clients, and their limits.

load helper

@test "TERM ends an idle server with status 0" {
	start_server --workers 2
	kill -TERM "$MASTER"
	server_ends_with 0
	log_has 'stopping: TERM; at most 30000 ms'
	log_has ' stopped$'
	group_is_gone "$MASTER"
	refuses "$PORT"
}

@test "INT ends an idle server with status 0" {
	start_server --workers 2
	kill -INT "$MASTER"
	server_ends_with 0
	log_has 'stopping: INT'
}

@test "TERM closes idle connections in the orderly way" {
	start_server --workers 2
	start_stream --connections 50 --bytes 1000 --hold --allow-cut
	wait_until stream_says answered
	kill -TERM "$MASTER"
	server_ends_with 0
	await_stream
	[ "$(summary closed)" -eq 50 ]
	[ "$(summary lost)" -eq 0 ]
}

@test "TERM: what was received is answered, what is queued is accepted" {
	start_server --workers 1
	local worker
	worker=$(worker_pid 0)
	start_stream --connections 20 --bytes 0 --hold --allow-cut
	wait_until stream_says answered
	stop_process "$worker"
	start_stream --connections 100 --bytes 20K --half-close
	wait_until stream_says connected
	wait_until has_received_all
	kill -TERM "$MASTER"
	wait_until log_has 'stopping: TERM'
	kill -CONT "$worker"
	server_ends_with 0
	await_stream 1
	[ "$(summary connections)" -eq 100 ]
	await_stream 0
}

# has_received_all: 100 connections have all of their bytes and the FIN.
has_received_all() {
	(($(sockets close-wait) == 100))
}

# Bytes that come after the order, and an urgent one among them.
@test "TERM: all that was received is answered, urgent bytes too" {
	start_server --workers 1
	local worker
	worker=$(worker_pid 0)
	start_stream --connections 10 --bytes 0 --hold --oob --message 25
	wait_until stream_says answered
	ask_status 1
	wait_until log_has ' 10 connections, '
	stop_process "$worker"
	kill -TERM "$MASTER"
	wait_until log_has 'stopping: TERM'
	kill -TERM "${CLIENTS[CLIENT]}"
	wait_until have_received 10 64
	kill -CONT "$worker"
	server_ends_with 0
	await_stream
	[ "$(summary connections)" -eq 10 ]
}

# have_received CONNECTIONS BYTES: so much waits for the server to read it.
have_received() {
	(($(ss -Htn state established "sport = :$PORT" |
		awk -v n="$2" '$1 == n' | wc -l) == $1))
}

@test "TERM flushes what is pending for a client that reads late" {
	start_server --workers 1
	start_stream --connections 3 --bytes 1G --never-read --half-close \
		--allow-cut
	wait_until stream_says stuck
	kill -TERM "$MASTER"
	wait_until log_has 'stopping: TERM'
	is_alive "$MASTER"
	end_stream
	[ "$(summary bytes)" -gt 100000 ]
	[ "$(summary wrong)" -eq 0 ]
	server_ends_with 0
	not log_has 'was killed'
}

# A byte behind the server's close would have the kernel reset the connection
# and throw away what the client has not read yet.
@test "TERM: a client that sends on while it reads late gets its whole answer" {
	start_server --workers 1
	exec {CONN}<>"/dev/tcp/$HOST/$PORT"
	head -c 400K /dev/zero >&"$CONN"
	wait_until all_is_sent $((400 << 10))
	kill -TERM "$MASTER"
	wait_until has_sockets fin-wait-1 1
	printf x >&"$CONN"
	head -c 400K /dev/zero | cmp - <(head -c 400K <&"$CONN")
	is_at_end "$CONN"
	server_ends_with 0
	exec {CONN}>&-
}

# all_is_sent BYTES: the worker has given its kernel the whole answer.
all_is_sent() {
	ask_status 1
	log_has " $1 bytes out, "
}

# has_sockets STATE COUNT
has_sockets() {
	(($(sockets "$1") == $2))
}

@test "TERM does not wait for clients that have their whole answer" {
	start_server --workers 1 --listen 127.0.0.1:0=daytime
	exec {CONN}<>"/dev/tcp/$HOST/$PORT"
	head -n 1 <&"$CONN"
	is_at_end "$CONN"
	kill -TERM "$MASTER"
	PATIENCE=4 wait_until not is_alive "$MASTER"
	server_ends_with 0
	exec {CONN}>&-
}

@test "TERM: --drain-timeout is the end for a client that does not read" {
	start_server --workers 1 --drain-timeout 1500ms
	start_stream --connections 3 --bytes 1G --never-read --allow-cut
	wait_until stream_says stuck
	local begin
	begin=$(now_ms)
	kill -TERM "$MASTER"
	server_ends_with 0
	(($(now_ms) - begin >= 1400))
	(($(now_ms) - begin < 20000)) # the default is 30 s
	log_has 'stopping: TERM; at most 1500 ms'
	not log_has 'was killed|killing'
}

@test "TERM: a worker that stands still is ended at --drain-timeout" {
	start_server --workers 2 --drain-timeout 1s
	local worker
	worker=$(worker_pid 0)
	stop_process "$worker"
	kill -TERM "$MASTER"
	server_ends_with 0
	not is_alive "$worker"
}

@test "a second TERM ends at once" {
	start_server --workers 2 --drain-timeout 1h
	start_stream --connections 3 --bytes 1G --never-read --allow-cut
	wait_until stream_says stuck
	kill -TERM "$MASTER"
	wait_until log_has 'stopping: TERM; at most 3600000 ms'
	holds_for 1 is_alive "$MASTER"
	kill -TERM "$MASTER"
	wait_until not is_alive "$MASTER"
	group_is_gone "$MASTER"
}

@test "a second Ctrl-C ends at once" {
	start_server --workers 2 --drain-timeout 1h
	start_stream --connections 3 --bytes 1G --never-read --allow-cut
	wait_until stream_says stuck
	kill -INT -- "-$MASTER"
	wait_until log_has 'stopping: INT'
	kill -INT -- "-$MASTER"
	wait_until not is_alive "$MASTER"
	group_is_gone "$MASTER"
}

# start_to_stop: a server that is stopping and waits for three clients.
start_to_stop() {
	start_server --workers 2 --drain-timeout 1h
	start_stream --connections 3 --bytes 1G --never-read --allow-cut
	wait_until stream_says stuck
	kill -TERM "$MASTER"
	wait_until log_has 'stopping: TERM'
}

@test "who is killed by a second TERM has no successor" {
	start_to_stop
	kill -TERM "$MASTER"
	server_ends_with 0
	log_has 'TERM again: ending at once'
	not log_has 'takes over|was killed'
}

@test "QUIT after TERM changes nothing" {
	start_to_stop
	kill -QUIT "$MASTER"
	wait_until log_has 'QUIT: ignored: the server is stopping'
	holds_for 1 is_alive "$MASTER"
	not log_has 'again'
	end_stream
	server_ends_with 0
}

@test "HUP, TTIN and TTOU while the server stops change nothing, and say so" {
	start_to_stop
	local signal
	for signal in HUP TTIN TTOU; do
		kill "-$signal" "$MASTER"
		wait_until log_has "$signal: ignored: the server is stopping"
	done
	not log_has 'adding|removing|reloading'
	end_stream
	server_ends_with 0
}

@test "TERM under load: everybody who got in is answered" {
	start_server --workers 2
	start_stream --connections 10 --bytes 100G --interval 1 --message 1-1000 \
		--allow-cut
	wait_until stream_says answered
	kill -TERM "$MASTER"
	server_ends_with 0
	await_stream
	[ "$(summary wrong)" -eq 0 ]
	[ $(($(summary closed) + $(summary reset))) -eq 10 ]
}

@test "QUIT serves established connections until their clients close" {
	start_server --workers 2
	start_stream --connections 30 --bytes 100G --interval 20 --message 1-1000
	start_stream --connections 10 --bytes 100 --hold
	wait_until stream_says answered 0
	wait_until stream_says answered 1
	kill -QUIT "$MASTER"
	wait_until log_has 'draining: QUIT; at most 30000 ms'
	wait_until refuses "$PORT"
	holds_for 2 is_alive "$MASTER"
	end_stream 1
	[ "$(summary connections)" -eq 10 ]
	is_alive "$MASTER"
	end_stream 0
	[ "$(summary connections)" -eq 30 ]
	server_ends_with 0
	[ "$(log_count 'worker [01] \(pid [0-9]+\) has drained')" -eq 2 ]
	log_has ' stopped$'
}

@test "QUIT of an idle server ends at once" {
	start_server --workers 2
	kill -QUIT "$MASTER"
	server_ends_with 0
	log_has ' stopped$'
}

@test "QUIT accepts what is queued" {
	start_server --workers 1
	local worker
	worker=$(worker_pid 0)
	stop_process "$worker"
	start_stream --connections 100 --bytes 1000
	wait_until stream_says connected
	kill -QUIT "$MASTER"
	wait_until log_has 'draining: QUIT'
	kill -CONT "$worker"
	await_stream
	[ "$(summary connections)" -eq 100 ]
	server_ends_with 0
}

@test "QUIT: --drain-timeout is the end for clients that stay" {
	start_server --workers 2 --drain-timeout 1500ms
	start_stream --connections 10 --bytes 100 --hold --allow-cut
	wait_until stream_says answered
	local begin
	begin=$(now_ms)
	kill -QUIT "$MASTER"
	server_ends_with 0
	(($(now_ms) - begin >= 1400))
	(($(now_ms) - begin < 20000)) # the default is 30 s
	not log_has 'was killed|killing'
	await_stream
	[ $(($(summary closed) + $(summary reset))) -eq 10 ]
}

@test "QUIT, then TERM: stops sooner" {
	start_server --workers 1
	start_stream --connections 5 --bytes 100 --hold --allow-cut
	wait_until stream_says answered
	kill -QUIT "$MASTER"
	wait_until log_has 'draining: QUIT'
	kill -TERM "$MASTER"
	wait_until not is_alive "$MASTER"
	await_stream
	[ $(($(summary closed) + $(summary reset))) -eq 5 ]
}

@test "a worker that dies while the server stops has a successor that goes on" {
	start_server --workers 1 --drain-timeout 6s
	start_stream --connections 4 --bytes 1G --never-read --allow-cut
	wait_until stream_says stuck
	local worker
	worker=$(worker_pid 0)
	kill -TERM "$MASTER"
	wait_until log_has 'stopping: TERM'
	kill -KILL "$worker"
	wait_until log_has 'its standby takes over'
	server_ends_with 0
	[ "$(log_count 'drain timeout: closing')" -gt 0 ]
	not log_has 'restarting'
}

@test "TERM right after the start" {
	# A worker may be caught just as it has cloned its standby.
	local _
	for _ in {1..15}; do
		launch --listen 127.0.0.1:0 --workers 4
		wait_until log_has ' starting on '
		kill -TERM "$MASTER"
		server_ends_with 0
		group_is_gone "$MASTER"
	done
}

# start_in_terminal: a server whose standard input is a terminal, which lasts as
# long as TERMINAL, a process.
start_in_terminal() {
	LOG=$BATS_TEST_TMPDIR/log.0
	LOGS+=("$LOG")
	cat >run <<-END
		#!/bin/sh
		exec "$PREFORKD" --listen 127.0.0.1:0 --workers 1 2>"$LOG"
	END
	chmod +x run
	start_client socat -u EXEC:./run,pty,setsid,ctty CREATE:stdout
	TERMINAL=$!
	wait_until test -s "$LOG"
	wait_until log_has 'ready: '
	MASTER=$(pgrep -P "$TERMINAL")
	SERVERS+=("$MASTER")
	read_address
}

@test "a server whose terminal is closed ends in order" {
	start_in_terminal
	kill -KILL "$TERMINAL"
	wait_until not is_alive "$MASTER"
	log_has 'info master: stopping: HUP, the terminal is closed; at most '
	log_has 'info master: stopped$'
}

@test "HUP by kill in an open terminal is a reload" {
	start_in_terminal
	reload
	log_has ' reloaded: '
	stream --connections 2 --bytes 100
}

@test "a signal that libc keeps for itself does not end the master" {
	start_server --workers 1
	local number
	for ((number = 32; number < $(kill -l RTMIN); number++)); do
		kill "-$number" "$MASTER"
		wait_until log_has "ignoring signal $number: it means nothing here"
	done
	stream --connections 2 --bytes 100
}

@test "TERM: a client that has just come is answered" {
	start_server --workers 1
	exec 5<>"/dev/tcp/127.0.0.1/$PORT" 6<>"/dev/tcp/127.0.0.1/$PORT"
	echo first >&6
	read -r -t "$PATIENCE" line <&6
	# The other has been accepted before, and the worker stops.
	kill -TERM "$MASTER"
	is_at_end 6
	echo hello >&5
	read -r -t "$PATIENCE" line <&5
	[ "$line" = hello ]
	is_at_end 5
	server_ends_with 0
}

@test "TERM: one who says nothing is not waited for" {
	start_server --workers 2
	exec 5<>"/dev/tcp/127.0.0.1/$PORT"
	kill -TERM "$MASTER"
	is_at_end 5
	server_ends_with 0
}
