#!/usr/bin/env bats
# A client that does not read is not read from, and costs one buffer at most.

load helper

@test "a client that never reads, while others go on" {
	start_server --workers 1
	start_stream --connections 20 --bytes 100G --never-read
	wait_until stream_says stuck
	stream --connections 50 --bytes 1M
	end_stream 0
	[ "$(summary connections)" -eq 20 ]
}

@test "what was held back for a client comes whole when it reads" {
	start_server --workers 2
	start_stream --connections 50 --bytes 100G --never-read
	wait_until stream_says stuck
	end_stream
	[ "$(summary connections)" -eq 50 ]
	[ "$(summary bytes)" -gt $((10 << 20)) ]
}

# For what a worker may hold beside. AddressSanitizer keeps a shadow of what was
# touched, an eighth of it.
SPARE_KB=1024
[[ ${PREFORKD:-} == *sanitize* ]] && SPARE_KB=2048

@test "a client that does not read costs one buffer, given back later" {
	start_server --workers 1
	local worker before
	worker=$(worker_pid 0)
	stream --connections 100 --bytes 300K
	before=$(memory_kb "$worker")
	start_stream --connections 50 --bytes 100G --never-read
	wait_until stream_says stuck
	memory_is_at_most "$worker" $((before + 50 * 68 + SPARE_KB))
	end_stream
	wait_until memory_is_at_most "$worker" $((before + SPARE_KB))
}

@test "a buffer is given back while its connection stays, idle" {
	start_server --workers 1
	local worker before
	worker=$(worker_pid 0)
	stream --connections 100 --bytes 300K
	before=$(memory_kb "$worker")
	start_stream --connections 50 --bytes 100G --never-read --hold
	wait_until stream_says stuck
	not memory_is_at_most "$worker" $((before + 1024))
	kill -TERM "${CLIENTS[CLIENT]}"
	wait_until stream_says answered
	wait_until memory_is_at_most "$worker" $((before + SPARE_KB))
	end_stream
	[ "$(summary connections)" -eq 50 ]
}

memory_is_at_most() {
	local kb
	kb=$(memory_kb "$1")
	if ((kb > $2)); then
		echo "$kb KiB instead of at most $2"
		return 1
	fi
}

@test "nothing more is read from a client that does not read" {
	start_server --workers 1
	start_stream --connections 5 --bytes 100G --never-read
	wait_until stream_says stuck
	# The kernel's buffers may grow a last time.
	wait_until reading_has_ended
	end_stream
}

reading_has_ended() {
	local received
	received=$(bytes_in)
	holds_for 1 nothing_is_read "$received"
}

# bytes_in: what worker 0 has read, as its status line tells.
bytes_in() {
	ask_status 1
	grep ' slot 0: ' "$LOG" | tail -n 1 |
		sed 's/.* \([0-9]*\) bytes in.*/\1/'
}

nothing_is_read() {
	[ "$(bytes_in)" = "$1" ]
}

# It must wait to be told by epoll, not ask again and again.
@test "a client that does not read takes no processor time" {
	start_server --workers 1
	local worker ticks
	worker=$(worker_pid 0)
	start_stream --connections 20 --bytes 100G --never-read
	wait_until stream_says stuck
	ticks=$(cpu_ticks "$worker")
	holds_for 2 used_less_than 5 "$worker" "$ticks"
	end_stream
}

used_less_than() {
	(($(cpu_ticks "$2") - $3 < $1))
}
