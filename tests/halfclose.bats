#!/usr/bin/env bats
# After the client's FIN everything received is echoed, then the end follows.

load helper

@test "everything sent before the FIN comes back, then the end" {
	start_server --workers 2
	stream --connections 200 --bytes 200K --half-close
	[ "$(summary connections)" -eq 200 ]
}

@test "a FIN right behind a few bytes, many times" {
	start_server --workers 2
	stream --connections 50 --rounds 5000 --bytes 10 --half-close
	[ "$(summary connections)" -eq 5000 ]
}

@test "a FIN and not one byte" {
	start_server --workers 2
	stream --connections 50 --rounds 1000 --bytes 0 --half-close
	[ "$(summary connections)" -eq 1000 ]
}

@test "a FIN at a random moment, before the echo or behind it" {
	start_server --workers 2
	stream --connections 50 --rounds 5000 --bytes 200 --fin-at-random
	[ "$(summary connections)" -eq 5000 ]
}

@test "a FIN while the answer does not fit into the socket" {
	start_server --workers 1
	start_stream --connections 5 --bytes 1G --never-read --half-close
	wait_until stream_says stuck
	end_stream
	[ "$(summary connections)" -eq 5 ]
	[ "$(summary bytes)" -gt 1000000 ]
}

@test "a FIN which arrives together with the bytes, before the accept" {
	start_server --workers 1
	local worker
	worker=$(worker_pid 0)
	stop_process "$worker"
	start_stream --connections 50 --bytes 5000 --half-close
	wait_until stream_says connected
	wait_until fins_have_arrived 50
	kill -CONT "$worker"
	await_stream
	[ "$(summary connections)" -eq 50 ]
}

fins_have_arrived() {
	(($(sockets close-wait) == $1))
}

@test "the server's side of a half-closed connection goes away" {
	start_server --workers 1
	stream --connections 50 --bytes 1000 --half-close
	wait_until no_sockets_left
}

no_sockets_left() {
	(($(sockets established) + $(sockets close-wait) == 0))
}
