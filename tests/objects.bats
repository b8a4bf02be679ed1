#!/usr/bin/env bats
# Where a service's object may lie. AddressSanitizer's runtime needs /proc, so
# these are not for it.

load helper

@test "an object's libraries may lie beside it" {
	mkdir there
	cp "$TEST_PROGRAMS"/beside.so "$TEST_PROGRAMS"/libbeside.so there
	start_server --listen "127.0.0.1:0=there/beside.so" --workers 2 \
		--listen "127.0.0.1:0=there/beside.so:another argument"
	[ "$(echo x | nc -N "$HOST" "$PORT")" = beside ]
	reload
	[ "$(echo x | nc -N "$HOST" "$PORT")" = beside ]
}

# in_namespace COMMANDS: with mounts of their own.
in_namespace() {
	unshare --map-root-user --mount sh -ec "$1"
}

@test "an object on a file system that is mounted noexec is refused" {
	mkdir there
	run -1 in_namespace "mount -t tmpfs -o noexec tmpfs there
		cp '$TEST_PROGRAMS/probe-1.so' there
		'$PREFORKD' --check --listen 127.0.0.1:0=there/probe-1.so"
	[[ $output == *'probe-1.so: cannot read it: its file system is mounted noexec'* ]]
}

@test "an object is loaded without /proc, too" {
	run -0 in_namespace "mount -t tmpfs tmpfs /proc
		'$PREFORKD' --check --listen '127.0.0.1:0=$TEST_PROGRAMS/probe-1.so'"
	[[ $output == *'workers = '* ]]
}

# There is no copy then, and the file itself can be loaded but once.
@test "the same with two arguments is refused without /proc" {
	run -78 in_namespace "mount -t tmpfs tmpfs /proc
		exec '$PREFORKD' --workers 1 \
			--listen '127.0.0.1:0=$TEST_PROGRAMS/probe-1.so:one' \
			--listen '127.0.0.1:0=$TEST_PROGRAMS/probe-1.so:two'"
	[[ $output == *'give the other address a file of its own'* ]]
}
