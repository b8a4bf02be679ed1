#!/usr/bin/env bats
# examples/gateway.c: devices that talk in frames, those that misbehave, and
# those that fall silent.

load helper

HELLO=1 WELCOME=2 DATA=3 ACK=4 PING=5 PONG=6 ERROR=7

# serve HEARTBEAT [OPTIONS...]: readings go to the file "readings".
serve() {
	local heartbeat=$1
	shift
	start_server "$@" \
		--listen "127.0.0.1:0=$EXAMPLES/gateway.so:$heartbeat,$PWD/readings"
}

connect() {
	exec 5<>"/dev/tcp/$HOST/$PORT"
}

# frame TYPE BODY: as printf(1) takes it for %b; the body is hexadecimal.
frame() {
	printf '\\x%02x\\x%02x\\x%02x' $((${#2} / 512)) $((${#2} / 2 % 256)) \
		"$1"
	printf %s "$2" | sed 's/../\\x&/g'
}

# say TYPE BODY
say() {
	printf %b "$(frame "$@")" >&5
}

# hex TEXT, text HEX
hex() {
	printf %s "$1" | od -An -v -tx1 | tr -d ' \n'
}

text() {
	printf %b "$(printf %s "$1" | sed 's/../\\x&/g')"
}

# take COUNT: so many bytes of the answer, as numbers.
take() {
	timeout "$PATIENCE" head -c "$1" <&5 | od -An -v -tu1
}

# hear: the next frame: its type, and its body in hexadecimal. Fails at the end.
hear() {
	local header
	read -rd '' -a header < <(take 3) || true
	[ "${#header[@]}" -eq 3 ] || return
	local length=$((header[0] * 256 + header[1]))
	echo "${header[2]} $(timeout "$PATIENCE" head -c "$length" <&5 |
		od -An -v -tx1 | tr -d ' \n')"
}

# hears TYPE [BODY]
hears() {
	local heard
	heard=$(hear)
	if [[ $heard != "$1 ${2:-}" ]]; then
		echo "heard $heard instead of $1 ${2:-}"
		return 1
	fi
}

# is_refused TEXT: that error, then the end.
is_refused() {
	hears "$ERROR" "$(hex "$1")"
	is_at_end 5
	exec 5>&-
}

# greet NAME [HEARTBEAT]: connects, says hello and is welcome.
greet() {
	local hello
	hello=$(frame "$HELLO" "$(hex "$1")") # a heartbeat may be short
	connect
	printf %b "$hello" >&5
	hears "$WELCOME" "$(printf %04x "${2:-60}")"
}

@test "a reading is stored, then acknowledged" {
	serve 60
	greet pump-1
	say "$DATA" "00000007$(hex '21.5 C')"
	hears "$ACK" 00000007
	run -0 cat readings
	[[ $output =~ ^[0-9]+\ pump-1\ 7\ ([0-9a-f]+)$ ]]
	[ "$(text "${BASH_REMATCH[1]}")" = '21.5 C' ]
}

@test "PING is answered by PONG, PONG by nothing" {
	serve 60
	greet a
	say "$PONG" ''
	say "$PING" ''
	hears "$PONG"
	say "$PING" ''
	hears "$PONG"
}

@test "many frames in one piece, and one frame byte by byte" {
	serve 60
	connect
	local all byte
	all=$(frame "$HELLO" 61)$(frame "$PING" '')$(frame "$DATA" 0000000141)
	printf %b "$all$(frame "$DATA" 0000000242)" >&5
	hears "$WELCOME" 003c
	hears "$PONG"
	hears "$ACK" 00000001
	hears "$ACK" 00000002
	for byte in '\x00' '\x05' '\x03' '\x00' '\x00' '\x00' '\x03' '\x43'; do
		printf %b "$byte" >&5
	done
	hears "$ACK" 00000003
	[ "$(cut -d ' ' -f 4 readings)" = $'41\n42\n43' ]
}

@test "who does not keep to the protocol is told so, and closed" {
	serve 60
	connect
	say "$PING" ''
	is_refused 'HELLO comes first'
	connect
	say "$HELLO" "$(hex 'a b')"
	is_refused "a name has letters, digits, '.', '-' and '_'"
	connect
	say "$HELLO" ''
	is_refused "a name has letters, digits, '.', '-' and '_'"
	greet a
	say "$HELLO" 61
	is_refused 'HELLO comes once'
	greet a
	say "$DATA" 00000001
	is_refused 'DATA has a number and a reading'
	greet a
	say "$DATA" 0000000141
	hears "$ACK" 00000001
	say "$DATA" 0000000341
	is_refused 'numbers rise by one'
	greet a
	say 99 ''
	is_refused 'no such frame'
	[ "$(wc -l <readings)" -eq 1 ]
}

@test "a frame that is too long is refused by its header" {
	serve 60
	connect
	printf '\0\041\001' >&5 # 33 bytes of HELLO
	is_refused 'it is too long'
	greet a
	printf '\003\355\003' >&5 # 1005 bytes of DATA
	is_refused 'it is too long'
	greet "$(printf 'a%.0s' {1..32})"
	local longest
	longest=$(printf '4%.0s' {1..2000})
	say "$DATA" "ffffffff$longest"
	hears "$ACK" ffffffff
	say "$DATA" 0000000041
	hears "$ACK" 00000000
	[ "$(head -n 1 readings | cut -d ' ' -f 4)" = "$longest" ]
}

@test "one that falls silent is asked, and then taken for dead" {
	serve 3
	greet quiet 3
	hears "$PING"
	hears "$PING"
	is_at_end 5
	log_has 'quiet is dead'
	log_has 'quiet has gone after 0 readings'
}

@test "one that answers stays, over deaths and reloads" {
	serve 8 --workers 1 # three of them are time enough on any machine
	greet talker 8
	local i
	for i in 1 2; do
		kill_workers 1
		hears "$PING"
		say "$PONG" ''
		reload
	done
	say "$DATA" 0000000141
	local heard
	heard=$(hear)
	while [[ $heard == "$PING "* ]]; do # the next may have come before
		say "$PONG" ''
		heard=$(hear)
	done
	[ "$heard" = "$ACK 00000001" ]
	not log_has 'is dead'
}

@test "who connects and says nothing is not kept" {
	serve 1
	connect
	is_refused 'HELLO comes first'
}

# talk NAME COUNT: a device that sends all its readings, and counts the answers.
talk() {
	local i all frame
	all=$(frame "$HELLO" "$(hex "$1")")
	for ((i = 1; i <= $2; i++)); do
		printf -v frame '\\x00\\x05\\x03\\x00\\x00\\x%02x\\x%02x\\x41' \
			$((i / 256)) $((i % 256))
		all+=$frame
	done
	printf %b "$all" | nc -N "$HOST" "$PORT" | wc -c >"talked.$1"
}

@test "readings while workers are killed: none is lost, each is acknowledged" {
	serve 60 --workers 2
	local i devices=()
	for i in {1..20}; do
		talk "device-$i" 1000 &
		devices+=("$!")
	done
	kill_workers 10
	wait "${devices[@]}"
	for i in {1..20}; do
		[ "$(<"talked.device-$i")" -eq $((5 + 1000 * 7)) ]
	done
	[ "$(cut -d ' ' -f 2,3 readings | sort -u | wc -l)" -eq 20000 ]
}

@test "what happens is counted, over workers and their deaths" {
	serve 60 --workers 1
	greet a
	say "$DATA" 0000000141
	hears "$ACK" 00000001
	kill_workers 1
	say "$DATA" 0000000241
	hears "$ACK" 00000002
	say 99 ''
	is_refused 'no such frame'
	ask_status 1
	wait_until log_has 'counter gateway hellos: 1$'
	wait_until log_has 'counter gateway readings: 2$'
	wait_until log_has 'counter gateway refused: 1$'
}

@test "after a reload the readings go to a new file, if the old was renamed" {
	serve 60 --workers 2
	greet a
	say "$DATA" 0000000141
	hears "$ACK" 00000001
	mv readings readings.old
	reload
	say "$DATA" 0000000242
	hears "$ACK" 00000002
	[ "$(cut -d ' ' -f 3 readings.old)" = 1 ]
	[ "$(cut -d ' ' -f 3 readings)" = 2 ]
}

@test "what cannot be stored is not acknowledged" {
	expect_error 'a reading of a cannot be stored: No space left on device'
	ln -s /dev/full readings
	serve 60
	greet a
	say "$DATA" 0000000141
	is_refused 'it cannot be stored now'
	log_has 'a reading of a cannot be stored: No space left on device'
}

# file_limit BYTES|unlimited: as a full disk, for worker 0.
file_limit() {
	prlimit --pid "$(worker_pid 0)" --fsize="$1:unlimited"
}

# stored NUMBER: the readings of device a with it that have a line of their own.
stored() {
	sed -nE "s/^[0-9]+ a $1 ([0-9a-f]+)$/\1/p" readings
}

@test "a full disk in the midst of a line: the next reading has its own" {
	expect_error 'a reading of a cannot be stored: File too large'
	yes 1700000000 b 9 41 | head -n 10000 >readings # the log is smaller
	serve 60 --workers 1
	greet a
	say "$DATA" 0000000141
	hears "$ACK" 00000001
	file_limit $(($(stat -c %s readings) + 25))
	say "$DATA" "00000002$(hex 'more than there is room for')"
	is_refused 'it cannot be stored now'
	log_has 'a reading of a cannot be stored: File too large'
	greet a
	say "$DATA" 0000000242
	is_refused 'it cannot be stored now'
	file_limit unlimited
	greet a
	say "$DATA" 0000000243
	hears "$ACK" 00000002
	say "$DATA" 0000000344
	hears "$ACK" 00000003
	[ "$(stored 1)" = 41 ]
	[ "$(stored 2)" = 43 ]
	[ "$(stored 3)" = 44 ]
}

@test "what a killed worker left of a line costs the next reading nothing" {
	local part
	for part in '1' '1700000000 b' '1700000000 b 9 ' '1700000000 b 9 4142'; do
		printf %s "$part" >readings
		serve 60
		greet a
		say "$DATA" 0000000141
		hears "$ACK" 00000001
		[ "$(stored 1 | tail -n 1)" = 41 ]
		stop_servers
	done
}

@test "an argument that is none is refused" {
	expect_error 'service .*gateway.so'
	local bad
	for bad in '' :60 :0,readings :x,readings :70000,readings \
		:60,/nowhere/readings; do
		launch --listen "127.0.0.1:0=$EXAMPLES/gateway.so$bad"
		wait_until not is_alive "$MASTER"
		log_has 'expected SECONDS,FILE|No such file or directory'
	done
}
