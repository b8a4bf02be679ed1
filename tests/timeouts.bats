#!/usr/bin/env bats
# Clients that are silent or do not read are let go, others are not.

load helper

@test "--idle-timeout closes silent connections, and only them" {
	start_server --workers 2 --idle-timeout 4s --log-level debug
	start_stream --connections 20 --bytes 100G --interval 200 --message 1-100
	local begin
	begin=$(now_ms)
	start_stream --connections 20 --bytes 100 --hold --allow-cut
	await_stream 1
	[ "$(summary closed)" -eq 20 ]
	[ "$(summary lost)" -eq 0 ]
	(($(now_ms) - begin >= 4000))
	wait_until log_has_times 20 'closed: idle timeout'
	end_stream 0
	[ "$(summary connections)" -eq 20 ]
}

@test "--idle-timeout closes a client that never says a word" {
	start_server --workers 1 --idle-timeout 1s
	start_stream --connections 5 --bytes 0 --hold --allow-cut
	await_stream
	[ "$(summary closed)" -eq 5 ]
}

@test "without --idle-timeout silent connections stay" {
	start_server --workers 1
	start_stream --connections 5 --bytes 100 --hold
	wait_until stream_says answered
	holds_for 3 not stream_is_over
	end_stream
	[ "$(summary connections)" -eq 5 ]
}

@test "--write-timeout lets go of a client that does not read" {
	start_server --workers 1 --write-timeout 1s --log-level debug
	start_stream --connections 20 --bytes 100G --interval 100 --message 1-100
	start_stream --connections 5 --bytes 100G --never-read --allow-cut
	await_stream 1
	[ $(($(summary reset) + $(summary closed))) -eq 5 ]
	wait_until log_has_times 5 'closed: write timeout'
	end_stream 0
	[ "$(summary connections)" -eq 20 ]
}

@test "--write-timeout is no limit for a client that reads slowly" {
	start_server --workers 1 --write-timeout 8s
	local size=$((4 << 20))
	# With a large buffer the client's kernel would tell the server seldom
	# that something is read.
	head -c "$size" /dev/zero | tr '\0' x |
		nc -N -I 65536 "$HOST" "$PORT" | read_slowly >received
	[ "$(<received)" -eq "$size" ]
}

# read_slowly: ten seconds for 4 MB; prints how many bytes came.
read_slowly() {
	local part sum=0
	while IFS= read -r -N 40000 part || [[ $part ]]; do
		((sum += ${#part}))
		pause 0.1
	done
	echo "$sum"
}

@test "--write-timeout does not touch connections that owe nothing" {
	start_server --workers 1 --write-timeout 1s
	start_stream --connections 5 --bytes 100 --hold
	wait_until stream_says answered
	holds_for 3 not stream_is_over
	end_stream
	[ "$(summary connections)" -eq 5 ]
}

# The service has nothing pending between two parts of its answer.
@test "--write-timeout lets go of a client that does not read an endless answer" {
	start_server --listen 127.0.0.1:0=chargen --workers 1 \
		--write-timeout 1s --log-level debug
	dial
	wait_until log_has 'closed: write timeout'
	wait_until has_no_sockets
}

# has_no_sockets: nor is anything left in the kernel.
has_no_sockets() {
	(($(sockets connected) == 0))
}

# dial: a connection, CONN.
dial() {
	exec {CONN}<>"/dev/tcp/$HOST/$PORT"
}

# The whole answer is in the kernel, and nobody acknowledges it.
@test "--write-timeout lets go of a client that is dead without a word" {
	start_server --workers 1 --write-timeout 1s --log-level debug
	start_client "$TEST_PROGRAMS/dead_peer" "$HOST" "$PORT"
	wait_until log_has 'closed: write timeout'
}

@test "--idle-timeout: who has spoken in time is served, whoever stood still" {
	start_server --workers 1 --idle-timeout 4s
	start_stream --connections 20 --bytes 100G --interval 200 --message 1-100
	wait_until stream_says answered
	local worker
	worker=$(worker_pid 0)
	stop_process "$worker"
	holds_for 5 is_stopped "$worker"
	kill -CONT "$worker"
	end_stream
	[ "$(summary connections)" -eq 20 ]
}

# Whatever they would have said meanwhile.
@test "--idle-timeout leaves out the time in which nobody looked" {
	start_server --workers 1 --idle-timeout 3s --log-level debug
	local worker begin looked
	begin=$(now_ms)
	start_stream --connections 20 --bytes 100 --hold --allow-cut
	wait_until stream_says answered
	worker=$(worker_pid 0)
	stop_process "$worker"
	looked=$(($(now_ms) - begin))
	holds_for 5 is_stopped "$worker"
	begin=$(now_ms)
	kill -CONT "$worker"
	wait_until log_has 'closed: idle timeout'
	((looked + $(now_ms) - begin >= 2500))
	wait_until log_has_times 20 'closed: idle timeout'
	await_stream
}
