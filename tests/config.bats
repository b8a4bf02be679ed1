#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
# The configuration: the file, the command line, and every message that
# somebody who mistypes one of them gets to read.

setup() {
	PREFORKD=${PREFORKD:-$BATS_TEST_DIRNAME/../preforkd}
	cd "$BATS_TEST_TMPDIR" || return
}

# Writes a.conf from the arguments, a line each.
configure() {
	printf '%s\n' "$@" >a.conf
}

# check [OPTION...]: validates a.conf; $status, $output and $stderr follow.
check() {
	run --separate-stderr "$PREFORKD" --check --config a.conf "$@"
}

# refuses LINE MESSAGE: the file with that line only is refused with exactly
# that message.
refuses() {
	configure "$1"
	check
	if [[ $status != 1 || $output != "" || $stderr != "a.conf:1: $2" ]]; then
		printf 'of: %s\nexpected: %s\ngot: %s\n' "$1" "$2" "$stderr"
		return 1
	fi
}

# misuse MESSAGE OPTION...: the command line is refused with that message.
misuse() {
	local message=$1
	shift
	run --separate-stderr "$PREFORKD" "$@"
	if [[ $status != 2 || $output != "" ||
		$stderr != "preforkd: $message" ]]; then
		printf 'expected: %s\ngot (%d): %s\n' "$message" "$status" \
			"$stderr"
		return 1
	fi
}

DURATION="expected 0 or a duration such as 500ms, 30s, 5m or 1h, at most 8760h"
KEYS="listen, workers, backlog, max-connections, memory, idle-timeout, write-timeout, drain-timeout, hang-timeout, start-timeout, log-level, pin-cpus"

@test "the defaults are shown in the syntax of the file" {
	configure "# nothing"
	check
	[ "$status" -eq 0 ]
	[ "$stderr" = "" ]
	[ "${lines[0]}" = "listen = :8080" ]
	[ "${lines[1]}" = "workers = $(nproc)" ]
	[ "${lines[2]}" = "backlog = 4096" ]
	[ "${lines[3]}" = "max-connections = 16384" ]
	[[ ${lines[4]} =~ ^'memory = '[1-9][0-9]*[MGT]$ ]]
	[ "${lines[5]}" = "idle-timeout = 0" ]
	[ "${lines[6]}" = "write-timeout = 1m" ]
	[ "${lines[7]}" = "drain-timeout = 30s" ]
	[ "${lines[8]}" = "hang-timeout = 30s" ]
	[ "${lines[9]}" = "start-timeout = 90s" ]
	[ "${lines[10]}" = "log-level = info" ]
	[ "${lines[11]}" = "pin-cpus = no" ]
	[ "${#lines[@]}" -eq 12 ]
}

@test "what --check prints can be read again and means the same" {
	"$PREFORKD" --check -l 127.0.0.1:7 -l '[::1]:0' -w 3 --backlog 9 \
		--max-connections 5 --idle-timeout 1500ms --write-timeout 2h \
		--drain-timeout 90s --hang-timeout 7s --start-timeout 3m \
		--log-level debug --pin-cpus >a.conf
	run "$PREFORKD" --check -c a.conf
	[ "$status" -eq 0 ]
	[ "$output" = "$(cat a.conf)" ]
	[ "${lines[0]}" = "listen = 127.0.0.1:7" ]
	[ "${lines[1]}" = "listen = [::1]:0" ]
	[ "${lines[6]}" = "idle-timeout = 1500ms" ]
	[ "${lines[8]}" = "drain-timeout = 90s" ]
}

@test "services and their arguments are printed as they were given" {
	local shown=()
	build_service good.so 1
	"$PREFORKD" --check -l :7=echo -l '[::1]:8=./good.so' \
		-l 127.0.0.1:9=./good.so:a=b:c -l 127.0.0.1:10=discard >a.conf
	check
	[ "$status" -eq 0 ]
	[ "$output" = "$(cat a.conf)" ]
	mapfile -t shown < <(grep listen a.conf)
	[ "${shown[0]}" = "listen = :7" ]
	[ "${shown[1]}" = "listen = [::1]:8=./good.so" ]
	[ "${shown[2]}" = "listen = 127.0.0.1:9=./good.so:a=b:c" ]
	[ "${shown[3]}" = "listen = 127.0.0.1:10=discard" ]
}

@test "a built-in service takes no argument" {
	run -2 "$PREFORKD" --check -l 127.0.0.1:7=echo:x
	[[ $output == 'preforkd: --listen: invalid value "127.0.0.1:7=echo:x": expected no argument behind a built-in service' ]]
}

# build_service FILE ABI: a shared object with a service for that interface.
build_service() {
	cat >service.c <<-END
		#include "preforkd.h"
		static size_t
		input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
		{
			return (void)conn, (void)bytes, count;
		}
		const struct preforkd_service preforkd_service = {
			.abi = $2, .name = "good", .input = input
		};
	END
	cc -shared -fPIC -I"$BATS_TEST_DIRNAME/../include" -o "$1" service.c
}

# build_constructor FILE STATEMENT: an object that runs it as it is loaded.
build_constructor() {
	cat >constructor.c <<-END
		#include <stdlib.h>
		#include <unistd.h>
		__attribute__((constructor)) static void
		construct(void)
		{
			$2;
		}
	END
	cc -shared -fPIC -o "$1" constructor.c
}

# What a deployment is protected by is to survive what it looks for.
@test "--check names a shared object that crashes, ends or hangs it" {
	export ASAN_OPTIONS=handle_segv=0:handle_sigbus=0:handle_abort=0
	local length
	for length in 64 4096 8192 12000; do
		head -c "$length" "$TEST_PROGRAMS/probe-1.so" >half.so
		configure "" "listen = :7=./half.so"
		check
		[ "$status" -eq 1 ]
		[[ $stderr == *"a.conf:2: "*"service ./half.so: "* ]]
	done
	build_constructor abort.so 'abort()'
	build_constructor exit.so 'exit(0)'
	build_constructor hang.so 'for (;;) pause()'
	build_constructor close.so 'close(3); close(4); close(5); for (;;) pause()'
	build_service good.so 1
	configure 'listen = :7=./abort.so' 'listen = :8=./exit.so' \
		'listen = :9=./hang.so' 'listen = :10=./close.so' \
		'listen = :11=./good.so' 'start-timeout = 2s'
	check
	[ "$status" -eq 1 ]
	[ -z "$output" ]
	[[ $stderr == *'service ./abort.so: the process that loaded it was killed by SIGABRT'* ]]
	[[ $stderr == *'service ./exit.so: the process that loaded it exited with status 0'* ]]
	[[ $stderr == *'service ./hang.so: loading and starting it has not ended in 2000 ms: '*'start-timeout'* ]]
	[[ $stderr == *'service ./close.so: loading and starting it has not ended in 2000 ms'* ]]
	[[ $stderr != *good.so* ]]
}

@test "--check loads the shared objects that are named" {
	build_service good.so 1
	build_service old.so 0
	echo text >none.so
	configure "listen = :7=./good.so" "" "listen = :8=./missing.so" \
		"listen = :9=./old.so:x" "listen = :10=./none.so" \
		"listen = :11=./good.so:y"
	check
	[ "$status" -eq 1 ]
	[ "$output" = "" ]
	[ "${#stderr_lines[@]}" -eq 3 ]
	[ "${stderr_lines[0]}" = "a.conf:3: listen: service ./missing.so: cannot read it: No such file or directory: expected the path of a shared object" ]
	[ "${stderr_lines[1]}" = "a.conf:4: listen: service ./old.so: its ABI is 0, expected 1: compile it with this preforkd's preforkd.h" ]
	[[ ${stderr_lines[2]} == "a.conf:5: listen: service ./none.so: cannot load it: "* ]]

	check --listen :8=./missing.so
	[ "$status" -eq 1 ]
	[[ $stderr == "preforkd: --listen: service ./missing.so: cannot read it: "* ]]
}

@test "messages: services" {
	local value expected
	expected="expected after = one of echo, discard, chargen, daytime, time, or the path of a shared object such as ./mine.so"
	for value in :7= :7=:echo :7=mine.so '7=' '7= :x'; do
		[[ $value == :* ]] || value=:$value
		refuses "listen = $value" "listen: invalid value \"$value\": $expected"
	done
	for value in ':7=./mine.so :' ':7=./mine.so :x'; do
		refuses "listen = $value" "listen: invalid value \"$value\": expected no white space behind the service's path"
	done
	expected="expected after = echo, one of echo, discard, chargen, daytime, time, or the path of a shared object such as ./mine.so"
	for value in :7=ech :7=ecoh :7=echo2; do
		refuses "listen = $value" "listen: invalid value \"$value\": $expected"
	done
}

@test "messages: long paths" {
	local expected value
	expected="expected a service's path and its argument of at most 4095 bytes each, and 32 KiB of them in all"
	value=$(printf './%04093d' 0)
	configure "listen = :7=$value:$value"
	check
	[ "$status" -eq 1 ]
	[[ $stderr == "a.conf:1: listen: service ...000"*": cannot read it: File name too long: "* ]]
	for value in "./0$value" "./x:0$value"; do
		configure "listen = :7=$value"
		check
		[ "$status" -eq 1 ]
		[[ $stderr == "a.conf:1: listen: invalid value \":7="*"\": $expected" ]]
	done
}

@test "a service and its argument may have long paths" {
	local deep
	deep=$PWD/$(printf 'a-level-of-a-deep-tree/%.0s' {1..60})
	mkdir -p "$deep"
	build_service "$deep/good.so" 1
	"$PREFORKD" --check -l ":7=$deep/good.so:$deep" \
		-l ":8=$deep/good.so:$deep" >a.conf
	check
	[ "$status" -eq 0 ]
	[ "$output" = "$(cat a.conf)" ]
	[[ $output == *"listen = :8=$deep/good.so:$deep"* ]]
}

@test "a # begins a comment behind white space only" {
	mkdir 'c#'
	build_service 'c#/good.so' 1
	printf 'listen = :7=./c#/good.so:a#b\t# a comment\n#x\nworkers = 3 #x\n' >a.conf
	check
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "listen = :7=./c#/good.so:a#b" ]
	[ "${lines[1]}" = "workers = 3" ]
	printf '%s\n' "$output" >a.conf
	check
	[ "${lines[0]}" = "listen = :7=./c#/good.so:a#b" ]
	refuses "workers = 3#x" 'workers: invalid value "3#x": expected auto or a number from 1 to 1024'
}

@test "messages: what the file cannot say" {
	local value=:7=./x.so:
	misuse "--listen: invalid value \"${value}a #b\": expected no # behind white space, where a comment begins" --listen "${value}a #b"
	misuse "--listen: invalid value \"${value}a?b\": expected no control characters in it" --listen "$value"$'a\nb'
	misuse "--listen: invalid value \"${value}a?b\": expected no control characters in it" --listen "$value"$'a\eb'
}

@test "blanks at the end of an argument do not matter, on the command line, too" {
	build_service good.so 1
	run -0 "$PREFORKD" --check --listen ":7=./good.so:a b  "
	[ "${lines[0]}" = "listen = :7=./good.so:a b" ]
	printf '%s\n' "$output" >a.conf
	check
	[ "${lines[0]}" = "listen = :7=./good.so:a b" ]
}

@test "blanks around the = behind an address do not matter" {
	configure "listen = :7 = discard" "listen = [::1]:8	=	echo"
	check
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "listen = :7=discard" ]
	[ "${lines[1]}" = "listen = [::1]:8" ]
}

@test "a relative object is looked for where the server was started" {
	mkdir r1 r2 conf
	ln -s r1 current
	build_service r1/good.so 1
	echo 'listen = :7=./good.so' >conf/a.conf
	(cd current && "$PREFORKD" --check --config ../conf/a.conf)
	# By the link, as the shell has come there.
	run -1 env -C r2 "PWD=$PWD/current" "$PREFORKD" --check \
		--config ../conf/a.conf
}

@test "messages: an object that the unit hides" {
	run -1 env INVOCATION_ID=1 "$PREFORKD" --check --listen :7=/home/none/x.so
	[[ $output == *": expected the path of a shared object: a unit with ProtectHome= does not see it" ]]
	run -1 env INVOCATION_ID=1 "$PREFORKD" --check --listen :7=/tmp/none/x.so
	[[ $output == *": expected the path of a shared object: a unit with PrivateTmp= does not see it" ]]
	run -1 env -u INVOCATION_ID "$PREFORKD" --check --listen :7=/home/none/x.so
	[[ $output == *": expected the path of a shared object" ]]
}

@test "a byte order mark does not matter, and elsewhere is none" {
	printf '\357\273\277workers = 5\n' >a.conf
	check
	[ "$status" -eq 0 ]
	[[ $output == *"workers = 5"* ]]
	printf '\n\357\273\277workers = 5\n' >a.conf
	check
	[ "$status" -eq 1 ]
	[[ $stderr == "a.conf:2: "*"workers: unknown key: "* ]]
}

@test "comments, blanks, white space and CRLF do not matter" {
	printf '\n  # a comment\n\tworkers\t=  3   # three\r\nbacklog=7\r\n\r\n' \
		>a.conf
	check
	[ "$status" -eq 0 ]
	[[ $output == *"workers = 3"*"backlog = 7"* ]]
}

@test "a last line without an end counts" {
	printf 'workers = 5' >a.conf
	check
	[[ $output == *"workers = 5"* ]]
}

@test "the command line wins over the file" {
	configure "workers = 3" "log-level = error" "listen = 127.0.0.1:1001"
	check --workers 4 --listen 127.0.0.1:1002 --listen 127.0.0.1:1003
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "listen = 127.0.0.1:1002" ]
	[ "${lines[1]}" = "listen = 127.0.0.1:1003" ]
	[ "${lines[2]}" = "workers = 4" ]
	[[ $output == *"log-level = error"* ]]
}

@test "the supplied preforkd.conf is valid, and every key in it too" {
	local conf=$BATS_TEST_DIRNAME/../systemd/preforkd.conf
	run "$PREFORKD" --check -c "$conf"
	[ "$status" -eq 0 ]
	# Uncommented, each key's example line must be valid too.
	local key
	for key in ${KEYS//,/ }; do
		grep -E "^#? *$key *=" "$conf" | head -n 1 | sed 's/^# *//' >a.conf
		[ -s a.conf ] || { echo "no $key in preforkd.conf"; return 1; }
		check
		[ "$status" -eq 0 ] || { echo "$key: $stderr"; return 1; }
	done
}

@test "all errors are printed, not only the first" {
	configure "workers = 0" "workers = 2" "backlog = many" "colour = blue" \
		"log-level" "idle-timeout = 5"
	check
	[ "$status" -eq 1 ]
	[ "${#stderr_lines[@]}" -eq 6 ]
	[[ ${stderr_lines[0]} == "a.conf:1: workers: "* ]]
	[[ ${stderr_lines[1]} == "a.conf:2: workers: already set in line 1: "* ]]
	[[ ${stderr_lines[2]} == "a.conf:3: backlog: "* ]]
	[[ ${stderr_lines[3]} == "a.conf:4: colour: "* ]]
	[[ ${stderr_lines[4]} == "a.conf:5: log-level: "* ]]
	[[ ${stderr_lines[5]} == "a.conf:6: idle-timeout: "* ]]
}

@test "errors of the file and of the command line are printed together" {
	configure "workers = 0"
	check --backlog 0
	[ "$status" -eq 2 ]
	[[ ${stderr_lines[0]} == "a.conf:1: workers: "* ]]
	[[ ${stderr_lines[1]} == "preforkd: --backlog: "* ]]
}

@test "messages: numbers" {
	local value
	for value in 0 1025 -1 +1 2x 1.5 '' autos 99999999999999999999; do
		refuses "workers = $value" "workers: invalid value \"$value\": expected auto or a number from 1 to 1024"
	done
	for value in 0 65536 ten; do
		refuses "backlog = $value" "backlog: invalid value \"$value\": expected a number from 1 to 65535"
	done
	for value in 0 1000001 x; do
		refuses "max-connections = $value" "max-connections: invalid value \"$value\": expected a number from 1 to 1000000"
	done
}

@test "messages: durations need a unit" {
	local key value
	for key in idle-timeout write-timeout drain-timeout hang-timeout \
		start-timeout; do
		for value in 5 5x s -1s 1.5s '1 s' '' 8761h 99999999999999999999s; do
			refuses "$key = $value" "$key: invalid value \"$value\": $DURATION"
		done
		configure "$key = 0"
		check
		[ "$status" -eq 0 ]
		[[ $output == *"$key = 0"* ]]
	done
}

@test "durations are shown in the largest unit that fits" {
	local pair
	for pair in 60s=1m 60m=1h 1000ms=1s 1001ms=1001ms 90s=90s 8760h=8760h 0s=0; do
		configure "idle-timeout = ${pair%=*}"
		check
		[[ $output == *"idle-timeout = ${pair#*=}"* ]]
	done
}

@test "messages: addresses" {
	local value
	for value in 8080 localhost:8080 127.0.0.1 127.0.0.1:65536 ::1:80 '[::1]' ''; do
		refuses "listen = $value" "listen: invalid value \"$value\": expected ADDRESS:PORT such as 127.0.0.1:8080, [::1]:8080, or :8080 for every address; names are not resolved"
	done
}

@test "messages: zones" {
	refuses 'listen = [fe80::1]:80' 'listen: invalid value "[fe80::1]:80": expected a link-local address with its interface, as in [fe80::1%eth0]:8080'
	refuses 'listen = [fe80::1%]:80' 'listen: invalid value "[fe80::1%]:80": expected behind % the name of an interface'
	# shellcheck disable=SC2016 # the message has the backquotes
	refuses 'listen = [fe80::1%none-here]:80' 'listen: no such interface here: expected none-here to be one that `ip link` shows'
	configure 'listen = [fe80::1%lo]:80' 'listen = [fe80::1%1]:81'
	check
	[ "$status" -eq 0 ]
	[[ $output == "listen = [fe80::1%lo]:80"$'\n'"listen = [fe80::1%1]:81"* ]]
}

# refuses_second ADDRESS OTHER: the one is refused for the sake of the other.
refuses_second() {
	local message="listen: invalid value \"$1\": expected an address and port that no other listen covers, as \"$2\""
	configure "workers = 1" "listen = $2" "listen = $1"
	check
	[ "$status" -eq 1 ]
	[ "$stderr" = "a.conf:3: $message in line 2 does" ]
	misuse "--$message does" --listen "$2" --listen "$1"
}

@test "messages: an address that another covers" {
	refuses_second 127.0.0.1:80 :80
	refuses_second 127.0.0.1:80 0.0.0.0:80
	refuses_second '[::1]:80' '[::1]:80'
	refuses_second :80 '[::1]:80'
	refuses_second '[::ffff:127.0.0.1]:80' 127.0.0.1:80
	refuses_second '[::ffff:127.0.0.1]:80' 0.0.0.0:80
}

@test "port 0 covers nothing" {
	configure "listen = 127.0.0.1:0" "listen = 127.0.0.1:0" "listen = :0"
	check
	[ "$status" -eq 0 ]
}

@test "messages: too many addresses" {
	local i
	for ((i = 1; i <= 65; i++)); do
		echo "listen = 127.0.0.1:$((1000 + i))"
	done >a.conf
	check
	[ "$status" -eq 1 ]
	[ "$stderr" = 'a.conf:65: listen: invalid value "127.0.0.1:1065": expected at most 64 addresses' ]
}

@test "messages: words" {
	refuses "log-level = loud" 'log-level: invalid value "loud": expected error, warning, info or debug'
	refuses "pin-cpus = maybe" 'pin-cpus: invalid value "maybe": expected yes or no'
	refuses "pin-cpus =" 'pin-cpus: invalid value "": expected yes or no'
}

@test "messages: lines that are no setting" {
	refuses "workers" "workers: no value: expected key = value"
	refuses "worker = 2" "worker: unknown key: did you mean workers? expected one of $KEYS"
	refuses "wrokers = 2" "wrokers: unknown key: did you mean workers? expected one of $KEYS"
	refuses "port = 2" "port: unknown key: did you mean listen? expected one of $KEYS"
	refuses "colour = 2" "colour: unknown key: expected one of $KEYS"
	refuses "= 2" "= 2: no key: expected key = value"
	refuses "=" "=: no key: expected key = value"
	refuses "config = x" "config: unknown key: expected one of $KEYS"
}

@test "messages: sizes" {
	refuses "memory = 5" 'memory: invalid value "5": expected auto, 0 or a size such as 512K, 64M or 2G, at most 1024T'
	refuses "memory = 5X" 'memory: invalid value "5X": expected auto, 0 or a size such as 512K, 64M or 2G, at most 1024T'
	refuses "memory = 1025T" 'memory: invalid value "1025T": expected auto, 0 or a size such as 512K, 64M or 2G, at most 1024T'
	refuses "memory = 5MB" 'memory: invalid value "5MB": expected auto, 0 or a size such as 512K, 64M or 2G, at most 1024T'
}

@test "a size is printed with the largest unit that it has" {
	local size
	for size in 0 1500K 64M 2G 1024T; do
		configure "memory = $size"
		check
		[[ $output == *$'\n'"memory = $size"$'\n'* ]]
	done
	configure "memory = 2048M"
	check
	[[ $output == *$'\n'"memory = 2G"$'\n'* ]]
}

@test "messages: values in quotes" {
	refuses 'workers = "3"' 'workers: invalid value ""3"": expected it without quotes'
	refuses "listen = ':80'" "listen: invalid value \"':80'\": expected it without quotes"
}

@test "messages: of a long path the end is shown, and all of the message" {
	local name path
	name=$(printf 'd%0200d' 0)
	path=$name/$name/the.conf
	mkdir -p "$name/$name"
	echo 'colour = blue' >"$path"
	run --separate-stderr "$PREFORKD" --check --config "$path"
	[ "$status" -eq 1 ]
	[ "$stderr" = "...${path: -200}:1: colour: unknown key: expected one of $KEYS" ]
}

@test "messages: a key given twice names the first line" {
	configure "" "backlog = 5" "backlog = 6"
	check
	[ "$status" -eq 1 ]
	[ "$stderr" = "a.conf:3: backlog: already set in line 2: expected it once" ]
}

@test "messages: a file that cannot be read" {
	run --separate-stderr "$PREFORKD" --check --config none.conf
	[ "$status" -eq 1 ]
	[ "$stderr" = "none.conf: cannot read it: No such file or directory: expected a readable configuration file" ]
	run --separate-stderr "$PREFORKD" --check --config .
	[ "$status" -eq 1 ]
	[ "$stderr" = ".: cannot read it: Is a directory: expected a readable configuration file" ]
}

# cannot_be_read PATH CAUSE: it is refused soon, and without its being read.
cannot_be_read() {
	run --separate-stderr timeout 10 "$PREFORKD" --check --config "$1"
	[ "$status" -eq 1 ]
	[ "$output" = "" ]
	[ "$stderr" = "$1: cannot read it: $2: expected a readable configuration file" ]
}

@test "messages: what is no configuration file, or has no end" {
	local irregular="it is no regular file"
	mkfifo fifo
	cannot_be_read fifo "$irregular"
	cannot_be_read /dev/zero "$irregular"
	printf 'workers = 3\n' >sparse
	truncate -s 8G sparse
	cannot_be_read sparse "it is too large"
	run -1 --separate-stderr "$PREFORKD" --check \
		--config <(head -c 1048577 /dev/zero)
	[[ $stderr == "/dev/fd/"*": cannot read it: it is too large: "* ]]
}

@test "a file of the largest size, and a pipe, can be read" {
	yes '# a comment' 2>/dev/null | head -c 1048576 >a.conf
	check
	[ "$status" -eq 0 ]
	run -0 "$PREFORKD" --check --config <(echo workers = 5)
	[[ $output == *"workers = 5"* ]]
	echo workers = 6 | {
		run -0 "$PREFORKD" --check --config /dev/stdin
		[[ $output == *"workers = 6"* ]]
	}
}

@test "messages: an object that is no file, or has no end" {
	local irregular="it is no regular file"
	mkfifo fifo.so
	truncate -s 8G sparse.so
	configure "listen = :7=./fifo.so" "listen = :8=/dev/zero" \
		"listen = :9=./sparse.so"
	run --separate-stderr timeout 10 "$PREFORKD" --check --config a.conf
	[ "$status" -eq 1 ]
	[ "${stderr_lines[0]}" = "a.conf:1: listen: service ./fifo.so: cannot read it: $irregular: expected the path of a shared object" ]
	[ "${stderr_lines[1]}" = "a.conf:2: listen: service /dev/zero: cannot read it: $irregular: expected the path of a shared object" ]
	[ "${stderr_lines[2]}" = "a.conf:3: listen: service ./sparse.so: cannot read it: it is too large: expected the path of a shared object" ]
}

@test "complaints show only what prints, cut between characters" {
	printf 'workers = \xc2\x9b31mred\xff\n%s = 1\n' \
		"$(printf 'x€€%.0s' {1..40})" >a.conf
	check
	[ "${stderr_lines[0]}" = 'a.conf:1: workers: invalid value "??31mred?": expected auto or a number from 1 to 1024' ]
	iconv -f UTF-8 -t UTF-8 <<<"$stderr" >/dev/null
	[[ ${stderr_lines[1]} == "a.conf:2: x€€x€€"*"€€x: unknown key"* ]]
}

@test "a file of anything is refused line by line, and prints no control byte" {
	printf 'workers = 2\000\nba\033[31mcklog = 3\n\001\002=\003\n' >a.conf
	check
	[ "$status" -eq 1 ]
	[ "${stderr_lines[0]}" = "a.conf:1: workers = 2: a NUL byte: expected a text file" ]
	[ "${#stderr_lines[@]}" -eq 3 ]
	[[ $stderr != *[$'\001\002\003\033']* ]]
}

@test "a bad file at the start: every error, exit 78, no port touched" {
	configure "workers = 0" "listen = nowhere"
	run --separate-stderr "$PREFORKD" --config a.conf
	[ "$status" -eq 78 ]
	[ "${#stderr_lines[@]}" -eq 2 ]
	[[ ${stderr_lines[0]} == "a.conf:1: workers: "* ]]
	[[ ${stderr_lines[1]} == "a.conf:2: listen: "* ]]
}

@test "--check touches no port" {
	configure "listen = 127.0.0.1:80" "listen = 192.0.2.1:7"
	# 192.0.2.1 is nobody's (RFC 5737): bind would fail.
	check
	[ "$status" -eq 0 ]
}

@test "the command line: values" {
	misuse '--workers: invalid value "0": expected auto or a number from 1 to 1024' --workers 0
	misuse '--workers: invalid value "x": expected auto or a number from 1 to 1024' -w x
	misuse "--idle-timeout: invalid value \"5\": $DURATION" --idle-timeout=5
	misuse '--log-level: invalid value "": expected error, warning, info or debug' --log-level=
}

@test "the command line: pinning can be switched off" {
	configure "pin-cpus = yes"
	check --pin-cpus=no
	[[ $output == *"pin-cpus = no"* ]]
	configure "pin-cpus = no"
	check --pin-cpus
	[[ $output == *"pin-cpus = yes"* ]]
	check --pin-cpus=yes
	[[ $output == *"pin-cpus = yes"* ]]
	misuse '--pin-cpus: invalid value "maybe": expected yes or no' --pin-cpus=maybe
}

@test "the command line: options" {
	misuse 'unknown option "--colour": see preforkd --help' --colour
	misuse 'unknown option "--idle-timout=3": did you mean --idle-timeout? see preforkd --help' --idle-timout=3
	misuse 'unknown option "--wrokers": did you mean --workers? see preforkd --help' --wrokers 3
	misuse 'unknown option "--chekc": did you mean --check? see preforkd --help' --chekc
	misuse 'unknown option "--port": did you mean --listen? see preforkd --help' --port 80
	misuse 'unknown option "-x": see preforkd --help' -x
	misuse 'unknown option "-x": see preforkd --help' -tx
	misuse 'unknown option "--bogus": see preforkd --help' -w 2 --bogus foo
	misuse 'unexpected argument "foo": see preforkd --help' foo --bogus
	misuse 'ambiguous option "--w": expected one of --workers, --write-timeout' --w 3
	misuse 'option "--workers" needs a value: expected auto or a number from 1 to 1024' --workers
	misuse 'option "-w" needs a value: expected auto or a number from 1 to 1024' -tw
	misuse "option \"--idle-timeout\" needs a value: $DURATION" --idle-timeout
	misuse 'option "-c" needs a value: expected the path of a configuration file' -c
	misuse '--config: invalid value "": expected the path of a configuration file' -c ''
	misuse 'option "--check=no" takes no value' --check=no
	misuse 'unexpected argument "8080": see preforkd --help' 8080
	misuse 'unexpected argument "8080": see preforkd --help' -w 2 8080
}

@test "--help fits a screen of 24 lines by 80 columns and names every key" {
	run --separate-stderr "$PREFORKD" --help
	[ "$status" -eq 0 ]
	[ "$stderr" = "" ]
	[ "$(wc -L <<<"$output")" -le 80 ]
	[ "$(wc -l <<<"$output")" -le 24 ]
	[ "$(grep -o 'slot;' <<<"$output" | wc -l)" -eq 1 ]
	[[ $output == *"--listen ADDRESS:PORT[=SERVICE[:ARGUMENT]]"* ]]
	local key
	for key in ${KEYS//,/ } config check help version; do
		[[ $output == *"--$key"* ]] || { echo "no --$key"; return 1; }
	done
}

@test "--version" {
	run "$PREFORKD" --version
	[ "$status" -eq 0 ]
	[[ $output =~ ^preforkd\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "what cannot be printed is a failure" {
	local option
	for option in --help --version --check; do
		run sh -c '"$1" "$2" >/dev/full' sh "$PREFORKD" "$option"
		[ "$status" -eq 1 ]
		run sh -c '"$1" "$2" >&-' sh "$PREFORKD" "$option"
		[ "$status" -eq 1 ]
	done
}
