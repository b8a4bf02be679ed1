#!/usr/bin/env bats
# The built-in services, as their RFCs have them.

load helper

# serve SERVICE [OPTIONS...]: starts a server of it.
serve() {
	local service=$1
	shift
	start_server --listen "127.0.0.1:0=$service" "$@"
}

# chargen_lines N: the first lines of RFC 864's pattern.
chargen_lines() {
	awk -v lines="$1" 'BEGIN {
		for (i = 32; i < 127; i++)
			ring = ring sprintf("%c", i)
		ring = ring ring
		for (n = 0; n < lines; n++)
			printf "%s\r\n", substr(ring, n % 95 + 1, 72)
	}'
}

# is_chargen FILE: the pattern from its beginning, and whole lines.
is_chargen() {
	local bytes
	bytes=$(stat -c %s "$1")
	if ((bytes == 0 || bytes % 74 != 0)); then
		echo "$bytes bytes are no lines"
		return 1
	fi
	cmp "$1" <(chargen_lines $((bytes / 74)))
}

@test "each is there by its name, at an address of its own" {
	start_server --listen 127.0.0.1:0=echo --listen 127.0.0.2:0=discard \
		--listen 127.0.0.3:0=chargen --listen 127.0.0.4:0=daytime \
		--listen 127.0.0.5:0=time
	local port
	mapfile -t port < <(ports)
	[ "${#port[@]}" -eq 5 ]
	[ "$(nc -N 127.0.0.1 "${port[0]}" <<<hello)" = hello ]
	[ -z "$(nc -N 127.0.0.2 "${port[1]}" <<<hello)" ]
	[ "$(nc -d 127.0.0.3 "${port[2]}" | head -c 6)" = ' !"#$%' ]
	[[ $(nc -d 127.0.0.4 "${port[3]}") == *-UTC* ]]
	[ "$(nc -d 127.0.0.5 "${port[4]}" | wc -c)" -eq 4 ]
}

@test "echo: what is sent comes back" {
	serve echo
	stream --connections 50 --bytes 200K --message 1-5000
}

@test "discard: takes all, and says nothing" {
	serve discard --workers 1 --log-level debug
	head -c 50000000 /dev/zero | nc -N "$HOST" "$PORT" >output
	[ ! -s output ]
	wait_until log_has 'closed: .*, 50000000 bytes in, 0 bytes out'
}

@test "chargen: 100,000 lines of the pattern" {
	serve chargen
	nc -d "$HOST" "$PORT" | head -c 7400000 >output
	is_chargen output
	[ "$(wc -l <output)" -eq 100000 ]
}

@test "chargen: what comes in is thrown away; a half-close ends it" {
	serve chargen --workers 1 --log-level debug
	head -c 20000000 /dev/zero | nc -N "$HOST" "$PORT" >output
	is_chargen output
	wait_until log_has 'closed: .*, 20000000 bytes in, '
}

# is_full: the server's side of the connection has more to send than leaves.
is_full() {
	ss -Htn state established "sport = :$PORT" |
		awk '$2 > 0 { found = 1 } END { exit !found }'
}

stands_still() {
	[ "$(ss -Htn state established "sport = :$PORT" | sort)" = "$1" ]
}

# The client has read nothing when its worker dies, twice; then it reads what
# has waited, and what comes behind it.
@test "chargen: waits for a client that does not read, over deaths too" {
	serve chargen --workers 1
	local worker
	exec 5<>"/dev/tcp/$HOST/$PORT"
	wait_until is_full
	wait_until is_stuck
	for _ in 1 2; do
		worker=$(worker_pid 0)
		kill -KILL "$worker"
		wait_until was_replaced 0 "$worker"
	done
	[ "$(nc -d "$HOST" "$PORT" | head -n 1)" != '' ] # others are served
	head -c $((200000 * 74)) <&5 >output
	exec 5>&-
	is_chargen output
	[ "$(wc -l <output)" -eq 200000 ]
}

is_stuck() {
	local queue
	queue=$(ss -Htn state established "sport = :$PORT" | sort)
	holds_for 1 stands_still "$queue" >/dev/null
}

@test "chargen: a client that does not read takes no processor time" {
	serve chargen --workers 1
	local worker ticks
	worker=$(worker_pid 0)
	exec 5<>"/dev/tcp/$HOST/$PORT"
	wait_until is_full
	wait_until is_stuck
	ticks=$(cpu_ticks "$worker")
	holds_for 1 used_less_than 5 "$worker" "$ticks"
	exec 5>&-
}

used_less_than() {
	(($(cpu_ticks "$2") - $3 < $1))
}

@test "chargen: workers are killed, and no byte is missing or twice" {
	serve chargen --workers 1
	start_client nc -d "$HOST" "$PORT"
	wait_until has_bytes 1000000 client.0
	kill_workers 20
	wait_until has_bytes $(($(stat -c %s client.0) + 1000000)) client.0
	stop_clients || true
	truncate -s $(($(stat -c %s client.0) / 74 * 74)) client.0
	is_chargen client.0
}

has_bytes() {
	(($(stat -c %s "$2") >= $1))
}

@test "chargen: a reload changes nothing for who is connected" {
	serve chargen --workers 2
	exec 5<>"/dev/tcp/$HOST/$PORT"
	head -c 740000 <&5 >output
	reload
	head -c 7400000 <&5 >>output
	exec 5>&-
	is_chargen output
}

@test "daytime: one line, of now, and the connection closes" {
	serve daytime
	local before after line
	before=$(date -u +%s)
	line=$(nc -d "$HOST" "$PORT" | tr -d '\r')
	after=$(date -u +%s)
	[[ $line =~ ^[MTWFS][a-z]+day,\ [JFMASOND][a-z]+\ [0-9]{2},\ [0-9]{4}\ ([0-9:]{8})-UTC$ ]]
	local told
	told=$(date -u -d "${line%-UTC} UTC" +%s)
	((before <= told && told <= after))
}

@test "daytime: a client that talks is told, too, and not reset" {
	serve daytime
	run -0 socat -t 10 - "TCP:$HOST:$PORT" < <(head -c 1000000 /dev/zero)
	[[ $output == *-UTC* ]]
}

@test "time: 32 bits, the seconds since 1900" {
	serve time
	local before after told
	before=$(date +%s)
	told=$(nc -d "$HOST" "$PORT" | od -An -tu1 |
		awk '{ printf "%.0f", (($1 * 256 + $2) * 256 + $3) * 256 + $4 }')
	after=$(date +%s)
	((before + 2208988800 <= told && told <= after + 2208988800))
}

@test "what closes at once does so for 5,000 clients" {
	serve daytime --workers 2
	local i clients=()
	for i in {1..20}; do
		ask_often 250 >"answers.$i" 3>&- 4>&- &
		clients+=("$!")
	done
	wait "${clients[@]}"
	[ "$(cat answers.* | grep -c -- '-UTC$')" -eq 5000 ]
	[ "$(cat answers.* | wc -l)" -eq 5000 ]
}

# ask_often N: so many clients of daytime, one after the other; prints what each
# hears before its connection ends. No process for each: that costs more than
# all of the server's work.
ask_often() {
	local i line
	for ((i = 0; i < $1; i++)); do
		exec 5<>"/dev/tcp/$HOST/$PORT" || return
		while IFS= read -r -t "$PATIENCE" -u 5 line; do
			echo "${line%$'\r'}"
		done
		exec 5>&-
	done
}
