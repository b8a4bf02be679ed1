#!/usr/bin/env bats
# A worker can be killed at any moment and no client notices. The long forms
# are `make test-long` and `make chaos`.

load helper

setup_file() {
	# How many take-overs the test of leaks makes.
	export TAKEOVERS=${TAKEOVERS:-300}
	export SECONDS_EACH=${SECONDS_EACH:-4}
}

# chaos OPTIONS...: kills, loads and verdict in one program (tests/chaos).
chaos() {
	# Sanitizers slow the server down, so that the next kill would find a
	# slot that has not mended the last one: two deaths at once.
	# And ASan's own handler of SIGSEGV composes a report for a fifth of a
	# second, with files open that its process then dies with: the slot's
	# other process has them for good, since the two share descriptors.
	if [[ $PREFORKD == *sanitize* ]]; then
		set -- "${@/#200/10}" --interval 100
		export ASAN_OPTIONS=handle_segv=0
	fi
	run --separate-stderr "$TEST_PROGRAMS/chaos" --server "$PREFORKD" \
		--seconds "$SECONDS_EACH" "$@"
	echo "chaos $*:"
	echo "$output"
	echo "$stderr"
	[ "$status" -eq 0 ]
}

# start_killer OPTIONS...: kills the processes of the server that the test has
# started, until end_killer.  Its standard output is CLIENT's, too.
start_killer() {
	KILLER=${#CLIENTS[@]}
	start_client "$TEST_PROGRAMS/chaos" --master "$MASTER" \
		--workers "$(slots)" --seconds 600 --reloads 0 "$@"
}

# end_killer: takes the verdict; sets KILLS.
end_killer() {
	kill -TERM "${CLIENTS[KILLER]}" 2>/dev/null
	await_killer
}

await_killer() {
	local status=0
	wait "${CLIENTS[KILLER]}" || status=$?
	KILLS=$(sed -n 's/^  kills: \([0-9]*\) of workers.*/\1/p' \
		"$BATS_TEST_TMPDIR/client.$KILLER")
	echo "killer: $(<"$BATS_TEST_TMPDIR/client.$KILLER")"
	((KILLS > 0)) && return "$status"
}

slots() {
	worker_pids | wc -l
}

# is_whole N: N workers, N standbys, nothing else, no zombie.
is_whole() {
	has_pairs "$1" && (($(children "$MASTER" | wc -l) == 2 * $1))
}

# slot_is_whole N OLD: a worker that is not OLD, and a standby.
slot_is_whole() {
	[[ -n $(titled "worker $1") && $(titled "worker $1") != "$2" &&
		-n $(titled "standby $1") ]]
}

# holds_connections SLOTS N: by the server's own count, over all slots.
holds_connections() {
	ask_status "$1"
	(($(tail -n "$1" "$LOG" |
		sed -n 's/.* \([0-9]*\) connections, .*/\1/p' |
		paste -sd +) == $2))
}

# --- the server's processes are killed under 200 verified streams ------------

@test "workers are killed every 10 ms" {
	chaos --whom workers --reloads 0
}

@test "workers get SIGSEGV from outside" {
	chaos --whom workers --reloads 0 --signals SEGV
}

@test "workers get SIGABRT from outside" {
	chaos --whom workers --reloads 0 --signals ABRT
}

@test "workers and standbys ignore SIGTERM" {
	chaos --reloads 0 --signals TERM
	[[ $output == *'server: 0 take-overs, 0 standbys cloned anew'* ]]
}

@test "standbys are killed every 10 ms" {
	chaos --whom standbys --reloads 0
}

@test "workers and standbys are killed every 10 ms" {
	chaos --reloads 0
}

@test "workers are killed every millisecond, a FIN comes at any moment" {
	chaos --whom workers --reloads 0 --streams 0 --short 50 --interval 1
}

@test "HUP 20 times a second" {
	chaos --whom nobody --reloads 200
}

@test "HUP 20 times a second, workers and standbys are killed" {
	chaos --reloads 200
}

@test "half-closed connections, and workers are killed" {
	chaos --whom workers --reloads 20 --streams 0 --half-closed 100
}

@test "urgent data, and workers are killed" {
	chaos --whom workers --reloads 20 --streams 0 --urgent 100
}

@test "clients reset, and workers are killed" {
	chaos --whom workers --reloads 20 --streams 100 --resets 50
}

@test "descriptors run out, and workers are killed" {
	chaos --whom workers --reloads 20 --streams 100 --emfile
}

@test "connect, echo, close at full rate: none refused, none reset" {
	chaos --reloads 200 --streams 0 --churn 100
}

@test "all of it together" {
	chaos --reloads 200 --signals KILL,SEGV,ABRT,TERM --streams 100 \
		--churn 30 --half-closed 20 --urgent 20 --resets 20 --emfile
}

# --- connections outlive workers ----------------------------------------------

@test "5,000 idle connections outlive every worker" {
	start_server --workers 2
	start_stream --connections 5000 --bytes 1 --hold
	local idle=$CLIENT
	wait_until stream_says answered "$idle"
	start_stream --connections 50 --bytes 1000000G --mixed
	local active=$CLIENT old n
	wait_until stream_says answered "$active"
	for n in 0 1 0 1; do
		old=$(titled "worker $n")
		kill -KILL "$old"
		wait_until slot_is_whole "$n" "$old"
	done
	end_stream "$active"
	end_stream "$idle"
	[ "$(summary connections)" -eq 5000 ]
	[ "$(summary closed)" -eq 0 ]
	[ "$(log_count 'its standby takes over')" -eq 4 ]
}

@test "a slot that TTOU retires hands its connections on, byte by byte" {
	start_server --workers 3
	start_stream --connections 100 --bytes 1000000G --message 1-256K --mixed
	wait_until stream_says answered
	kill -TTOU "$MASTER"
	wait_until is_whole 2
	kill -TTOU "$MASTER"
	wait_until is_whole 1
	wait_until holds_connections 1 100
	end_stream
	[ "$(summary connections)" -eq 100 ]
}

@test "a slot that a reload retires hands its connections on while workers are killed" {
	printf '%s\n' 'listen = 127.0.0.1:0' 'workers = 4' >conf
	start_server --config conf
	start_stream --connections 100 --bytes 1000000G --message 1-256K --mixed
	wait_until stream_says answered
	start_killer --whom workers --interval 20
	printf '%s\n' 'listen = 127.0.0.1:0' 'workers = 1' >conf
	reload
	wait_until not processes_are_left worker 1
	wait_until not processes_are_left worker 2
	wait_until not processes_are_left worker 3
	kill -KILL "${CLIENTS[KILLER]}" # it expects four slots
	wait_until is_whole 1
	wait_until holds_connections 1 100
	end_stream
	[ "$(summary connections)" -eq 100 ]
}

processes_are_left() {
	[[ -n $(titled "$1 $2") ]]
}

@test "a retired slot hands on what a client has not read" {
	start_server --workers 2
	start_stream --connections 40 --bytes 8M --never-read
	wait_until stream_says stuck
	kill -TTOU "$MASTER"
	wait_until is_whole 1
	end_stream
	[ "$(summary connections)" -eq 40 ]
}

@test "a reload keeps all connections and leaves no old process" {
	start_server --workers 2
	start_stream --connections 1000 --bytes 1 --hold
	wait_until stream_says answered
	local old pid
	old=$(children "$MASTER")
	reload
	wait_until is_whole 2
	for pid in $old; do
		not is_alive "$pid"
	done
	end_stream
	[ "$(summary connections)" -eq 1000 ]
}

# --- what is not survived -----------------------------------------------------

@test "both processes of a slot die at once: only its connections are lost" {
	expect_error 'slot 0: worker and standby died together'
	start_server --workers 2
	start_stream --connections 200 --bytes 10 --hold --allow-cut
	wait_until stream_says answered
	local lost
	ask_status 2
	lost=$(sed -n 's/.* slot 0: .* serving, \([0-9]*\) conn.*/\1/p' "$LOG")
	((lost > 0 && lost < 200))
	kill_slot 0
	wait_until slot_is_whole 0 ''
	log_has "died together, $lost connections are lost; restarting at once"
	stream --connections 100 --bytes 1K
	end_stream 0
	[ "$(summary connections)" -eq $((200 - lost)) ]
}

@test "connections that wait in the queue of such a slot are served" {
	expect_error 'slot 0: worker and standby died together'
	start_server --workers 1
	stop_process "$(titled 'worker 0')"
	start_stream --connections 20 --bytes 1K
	wait_until stream_says connected
	kill_slot 0
	await_stream
	[ "$(summary connections)" -eq 20 ]
}

@test "the queue of a slot in back-off is served by another" {
	expect_error 'worker and standby died together'
	start_server --workers 2
	local n
	for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
		wait_until slot_is_whole 0 ''
		kill_slot 0
		if wait_until log_has_times "$n" 'slot 0: .* restarting' &&
			log_has 'restarting in [3-9][0-9]{3} ms'; then
			break
		fi
	done
	log_has 'slot 0: .* restarting in [3-9][0-9]{3} ms'
	stream --connections 100 --bytes 1K
	[[ -z $(titled 'worker 0') ]] # so nobody has waited for it
	wait_until slot_is_whole 0 ''
	stream --connections 100 --bytes 1K
}

@test "the master dies: nobody stays" {
	start_server --workers 2
	start_stream --connections 20 --bytes 1 --hold --allow-cut
	wait_until stream_says answered
	start_killer --whom all
	wait_until log_has_times 20 'its standby takes over'
	kill -KILL "$MASTER"
	wait_until group_is_gone "$MASTER"
	await_stream 0
	[ "$(summary connections)" -eq 0 ]
}

# --- the end -------------------------------------------------------------------

@test "TERM ends the server while workers are killed" {
	start_server --workers 2
	start_stream --connections 50 --bytes 1000000G --mixed --allow-cut
	wait_until stream_says answered
	start_killer
	wait_until log_has_times 20 'its standby takes over'
	kill -TERM "$MASTER"
	server_ends_with 0
	wait_until group_is_gone "$MASTER"
}

@test "QUIT serves what there is while workers are killed" {
	start_server --workers 2
	start_stream --connections 50 --bytes 1000000G --mixed
	wait_until stream_says answered
	start_killer
	wait_until log_has_times 20 'its standby takes over'
	kill -QUIT "$MASTER"
	wait_until log_has_times 60 'its standby takes over'
	is_alive "$MASTER"
	end_stream
	[ "$(summary connections)" -eq 50 ]
	server_ends_with 0
}

# --- leaks ---------------------------------------------------------------------

# measure: a line for each process: role, slot, descriptors, memory of its own
# in kB; then the shared memory that the slots have in all.
measure() {
	local pid
	for pid in $(worker_pids) $(standby_pids); do
		echo "$(process_title "$pid") fds $(fd_count "$pid")" \
			"anon $(awk '/^RssAnon:/ { print $2 }' "/proc/$pid/status")" \
			"shmem $(awk '/^RssShmem:/ { print $2 }' "/proc/$pid/status")"
	done | sort
}

@test "nothing leaks over many take-overs" {
	start_server --workers 2
	local rounds=("$((TAKEOVERS / 3))" "$TAKEOVERS")
	local i before after line

	for i in 0 1; do
		before=$after
		start_stream --connections 100 --bytes 1000000G --mixed
		wait_until stream_says answered
		start_killer --kills "${rounds[i]}" --interval 5
		PATIENCE=$((20 + TAKEOVERS / 20)) \
			wait_until not is_alive "${CLIENTS[KILLER]}"
		await_killer
		end_stream $((2 * i))
		wait_until is_whole 2
		wait_until holds_connections 2 0
		after=$(measure)
	done
	echo "before $TAKEOVERS take-overs and reclonings: $before"
	echo "after: $after"
	[ "$(cut -d ' ' -f 1-5 <<<"$before")" = "$(cut -d ' ' -f 1-5 <<<"$after")" ]
	# A page here and there; but not one for each take-over.
	paste -d ' ' <(echo "$before") <(echo "$after") | while read -r line; do
		awk '{ exit !($16 - $7 <= 512 && $18 - $9 <= 2048) }' <<<"$line"
	done
}
