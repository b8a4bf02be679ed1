#!/usr/bin/env bats
# A sample of tests/inject: calls that fail for a moment, in every process of a
# server that goes through all that can happen to it.

load helper

injects() {
	run "$BATS_TEST_DIRNAME/inject" "$@"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == "ok $1 "* ]]
}

@test "an order cannot be sent: no buffer" {
	injects sendmsg:ENOBUFS 2
}

@test "an order cannot be received at once: a signal" {
	injects recvmsg:EINTR 1
}

@test "no process can be made: too many" {
	injects clone:EAGAIN 1
}

@test "no memory to watch a descriptor" {
	injects epoll_ctl:ENOMEM 2
}

@test "a connection cannot be accepted: no descriptor" {
	injects accept4:EMFILE 1
}

# The sixth is of the first pair of control sockets, whose words would be
# nobody's.
@test "the master cannot be told who speaks" {
	injects setsockopt:ENOMEM 6
}
