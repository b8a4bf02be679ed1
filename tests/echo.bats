#!/usr/bin/env bats
# The echo itself: every byte that was sent comes back, in its order.

load helper

@test "what is sent comes back" {
	start_server
	run -0 nc -N "$HOST" "$PORT" <<<"hello"
	[ "$output" = hello ]
}

@test "1 GiB through one connection, byte-exact" {
	start_server --workers 1
	stream --bytes 1G
	[ "$(summary bytes)" -eq $((1 << 30)) ]
}

@test "1,000 connections at once" {
	start_server --workers 2
	stream --connections 1000 --bytes 64K
	[ "$(summary connections)" -eq 1000 ]
	[ "$(summary bytes)" -eq $((1000 << 16)) ]
}

@test "20,000 connections one after the other, 50 at a time" {
	start_server --workers 2
	stream --connections 50 --rounds 20000 --bytes 100
	[ "$(summary connections)" -eq 20000 ]
}

@test "5,000 connections opened and reset at random moments" {
	start_server --workers 2
	local before
	before=$(worker_pids)
	start_stream --connections 10 --bytes 100G --interval 10
	wait_until stream_says answered
	stream --connections 100 --rounds 5000 --bytes 20K --message 1-2000 \
		--reset-at-random
	[ "$(summary connections)" -eq 5000 ]
	end_stream
	[ "$(worker_pids)" = "$before" ]
	stream --connections 100
}

@test "a slow client, byte by byte" {
	start_server --workers 1
	start_stream --connections 3 --bytes 300 --message 1 --ping-pong \
		--interval 10
	stream --connections 20
	await_stream
	[ "$(summary bytes)" -eq 900 ]
}

@test "messages of all sizes around a turn's 64 KiB" {
	start_server --workers 2
	stream --connections 20 --bytes 4M --message 65530-65540
	stream --connections 20 --bytes 4M --message 1-200000
	stream --connections 20 --bytes 20K --message 1-20
}

@test "senders at full speed do not starve their neighbours" {
	start_server --workers 1
	start_stream --connections 4 --bytes 1000G
	wait_until stream_says answered
	stream --connections 10 --bytes 20000 --message 10 --ping-pong \
		--seconds 60
	end_stream
	[ "$(summary bytes)" -gt $((10 << 20)) ]
}

# While the worker stands still, one connection gets a long backlog, then ten
# others get a few bytes each. When it goes on, the others must not wait until
# the backlog is done: the log tells in which order they end.
@test "a long backlog of one connection does not hold up the others" {
	start_server --workers 1 --log-level debug
	local worker
	worker=$(worker_pid 0)
	start_stream --connections 1 --bytes 100G --message 300000 \
		--interval 20 --half-close
	start_stream --connections 10 --bytes 10 --hold --half-close
	wait_until stream_says answered 1
	wait_until has_read $((10 << 20)) # and has large socket buffers by that

	stop_process "$worker"
	wait_until has_backlog 250000
	kill -TERM "${CLIENTS[0]}"
	kill -TERM "${CLIENTS[1]}"
	wait_until fins_have_arrived 10
	kill -CONT "$worker"
	await_stream 0
	await_stream 1
	wait_until log_has_times 11 ' closed: end of stream'
	run -0 grep ' closed: end of stream' "$LOG"
	[[ ${lines[0]} == *' 74 bytes in, '* ]]
	[[ ${lines[10]} != *' 74 bytes in, '* ]]
}

has_read() {
	ask_status 1
	(($(grep ' slot 0: ' "$LOG" | tail -n 1 |
		sed 's/.* \([0-9]*\) bytes in.*/\1/') >= $1))
}

has_backlog() {
	ss -Htn state established "sport = :$PORT" |
		awk -v n="$1" '$1 >= n { found = 1 } END { exit !found }'
}

fins_have_arrived() {
	(($(sockets close-wait) >= $1))
}

@test "urgent bytes come back in their place in the stream" {
	start_server --workers 2
	stream --connections 20 --bytes 200K --message 1-3000 --oob
}

# A read ends before the urgent byte although there is more behind it, so a
# short read does not mean here that the socket is empty.
@test "urgent bytes in what arrived while the worker was stopped" {
	start_server --workers 1
	local worker
	worker=$(worker_pid 0)
	stop_process "$worker"
	start_stream --connections 20 --bytes 3000 --message 1000 --oob
	wait_until stream_says connected
	wait_until all_have_queued 3000
	kill -CONT "$worker"
	await_stream
}

# all_have_queued BYTES: on 20 connections so much waits for the server.
all_have_queued() {
	(($(ss -Htn state established "sport = :$PORT" |
		awk -v n="$1" '$1 >= n' | wc -l) == 20))
}

@test "connections have TCP_NODELAY, SO_KEEPALIVE and SO_OOBINLINE on" {
	start_server --workers 1
	start_stream --connections 5 --bytes 10 --hold
	wait_until stream_says answered
	run -0 "$TEST_PROGRAMS/sockopts" "$(worker_pid 0)"
	[ "${#lines[@]}" -eq 5 ]
	local line
	for line in "${lines[@]}"; do
		[[ $line == *" nodelay 1 keepalive 1 oobinline 1" ]]
	done
	end_stream
}
