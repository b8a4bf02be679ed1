#!/usr/bin/env bats
# The verifying client itself: it must find what the other tests rely on it
# to find.

load helper

# serve COMMAND: a server that answers by a shell command.
serve() {
	HOST=127.0.0.1
	PORT=$(free_port)
	start_client socat -t 10 \
		"TCP-LISTEN:$PORT,bind=127.0.0.1,backlog=1000,fork" \
		"SYSTEM:$1"
	wait_until not refuses "$PORT"
}

@test "an honest echo passes" {
	serve cat
	stream --connections 3 --bytes 100K
	[ "$(summary bytes)" -eq 307200 ]
	[ "$(summary wrong)" -eq 0 ]
}

@test "a changed byte is found" {
	serve "tr a b"
	not stream --bytes 100K --half-close
	[ "$(summary wrong)" -gt 0 ]
	[ "$(summary wrong)" -lt 2000 ]
}

@test "a lost byte is found" {
	serve "head -c 1000; head -c 1 >/dev/null; cat"
	not stream --bytes 1001 --message 1 --ping-pong --seconds 2
	serve "dd bs=1 count=10 2>/dev/null; dd bs=1 count=1 of=/dev/null 2>/dev/null; cat"
	not stream --bytes 100K --seconds 2
	[ "$(summary wrong)" -gt 1000 ]
}

@test "a doubled byte is found" {
	serve "sed -u s/a/aa/"
	not stream --bytes 100K --seconds 2
	[ "$(summary wrong)" -gt 1000 ]
}

@test "a server that closes too early is found" {
	serve "head -c 1000"
	not stream --bytes 100K
	[ $(($(summary closed) + $(summary reset))) -eq 1 ]
	[ "$(summary lost)" -gt 0 ]
}

@test "a server that does not answer is found" {
	serve "cat >/dev/null"
	not stream --bytes 1000 --seconds 1
	[ "$(summary late)" -eq 1 ]
}

@test "a server that does not end after a FIN is found" {
	serve "cat; timeout 5 tail -f /dev/null"
	not stream --bytes 1000 --half-close --seconds 1
	[ "$(summary late)" -eq 1 ]
}

@test "a refusal is found" {
	HOST=127.0.0.1
	PORT=$(free_port)
	not stream --bytes 1000
	[ "$(summary refused)" -eq 1 ]
}
