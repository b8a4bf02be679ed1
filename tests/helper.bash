# What every test leans on: servers, verified streams, waiting for conditions.
#
# A test starts servers with start_server and clients with start_stream; what
# it started is stopped by teardown, by pid, and the test fails when something
# stays behind or when the log holds an error that was not expected.

bats_require_minimum_version 1.5.0

# How long a condition may take to come true. A busy machine is no fault, and
# sanitizers make everything slower; nothing waits for so long where all is well.
PATIENCE=${PATIENCE:-60}
POLL=0.05 # each look costs some processes

setup() {
	PREFORKD=${PREFORKD:-$BATS_TEST_DIRNAME/../preforkd}
	TEST_PROGRAMS=${TEST_PROGRAMS:-$BATS_TEST_DIRNAME/../build/tests}
	STREAM=$TEST_PROGRAMS/stream
	LAUNCHER=()          # start_server runs the server by this command
	SERVERS=()           # masters started by this test
	CLIENTS=()           # other processes started by this test
	LOGS=()              # the servers' logs
	EXPECTED_ERRORS=()   # patterns of errors that the logs must hold
	ALLOWED_ERRORS=()    # patterns of errors that the logs may hold
	cd "$BATS_TEST_TMPDIR" || return
}

teardown() {
	local failed=0
	stop_clients
	stop_servers || failed=1
	check_logs || failed=1
	((failed)) && show_logs
	return "$failed"
}

# --- waiting -----------------------------------------------------------------

# now_ms: prints milliseconds on a clock for measuring.
now_ms() {
	local t=${EPOCHREALTIME/[.,]/}
	echo "${t%???}"
}

# wait_until CONDITION...: runs the command until it succeeds.  The condition
# must come true within PATIENCE seconds.
wait_until() {
	local end=$((${EPOCHREALTIME/[.,]/} + PATIENCE * 1000000))
	until "$@"; do
		if ((${EPOCHREALTIME/[.,]/} > end)); then
			echo "after $PATIENCE s it is still not so: $*"
			show_logs
			return 1
		fi
		sleep "$POLL"
	done
}

# holds_for SECONDS CONDITION...: the condition is true now and stays so.
holds_for() {
	local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
	shift
	while ((${EPOCHREALTIME/[.,]/} < end)); do
		if ! "$@"; then
			echo "it did not stay so: $*"
			return 1
		fi
		sleep "$POLL"
	done
}

# pause SECONDS: for a client whose slowness is what the test is about, never to
# wait for something.
pause() {
	sleep "$1"
}

# not CONDITION...: for the two above.
not() {
	! "$@"
}

skip_or_fail() {
	if [[ ${CI:-} == true ]]; then
		echo "skipped tests are failed tests where CI=true: $1"
		return 1
	fi
	skip "$1"
}

# --- processes ---------------------------------------------------------------

# is_alive PID: runs, and is no zombie.
is_alive() {
	local stat
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return
	[[ ${stat##*) } != [ZX]* ]]
}

# process_state PID: prints the letter that proc(5) has for it.
process_state() {
	local stat
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return
	stat=${stat##*) }
	echo "${stat%% *}"
}

is_stopped() {
	[[ $(process_state "$1") == T ]]
}

# is_traced PID: strace(1), for instance, has got hold of it.
is_traced() {
	grep -Eq '^TracerPid:[[:space:]]+[1-9]' "/proc/$1/status"
}

# stop_process PID: sends SIGSTOP and waits until it has stopped.
stop_process() {
	kill -STOP "$1"
	wait_until is_stopped "$1"
}

# process_title PID: prints what ps shows.
process_title() {
	local words title
	{ mapfile -d '' -t words <"/proc/$1/cmdline"; } 2>/dev/null || return
	title="${words[*]}"
	echo "${title%"${title##*[! ]}"}"
}

# children PID: prints the pids of all children, zombies too.
children() {
	local pids=()
	{ read -ra pids <"/proc/$1/task/$1/children"; } 2>/dev/null
	((${#pids[@]})) && printf '%s\n' "${pids[@]}"
	return 0
}

# find_titled ROLE: sets FOUND to the living processes of the server started
# last whose title begins so. It forks nothing: some tests have a moment only.
find_titled() {
	local pid pids=() title
	FOUND=()
	{ read -ra pids <"/proc/$MASTER/task/$MASTER/children"; } 2>/dev/null ||
		true # they do not end with a newline
	for pid in "${pids[@]}"; do
		title=
		{ read -r -d '' title <"/proc/$pid/cmdline"; } 2>/dev/null || true
		if [[ $title == "preforkd: $1"* ]] && is_alive "$pid"; then
			FOUND+=("$pid")
		fi
	done
}

# titled ROLE: prints them, one a line.
titled() {
	local FOUND
	find_titled "$1"
	((${#FOUND[@]} == 0)) || printf '%s\n' "${FOUND[@]}"
}

worker_pids() {
	titled "worker "
}

standby_pids() {
	titled "standby "
}

# worker_pid N, standby_pid N: of slot N, by its title.
worker_pid() {
	first_titled "worker $1"
}

standby_pid() {
	first_titled "standby $1"
}

first_titled() {
	local FOUND
	find_titled "$1"
	((${#FOUND[@]} > 0)) && echo "${FOUND[0]}"
}

has_workers() {
	local FOUND
	find_titled "worker "
	((${#FOUND[@]} == $1))
}

# has_pairs N: so many workers, each with its standby.
has_pairs() {
	local FOUND
	has_workers "$1" && find_titled "standby " && ((${#FOUND[@]} == $1))
}

# has_loaders N: two for each generation whose services are objects.
has_loaders() {
	local FOUND
	find_titled loader
	((${#FOUND[@]} == $1))
}

# kill_slot N: worker and standby at once, which is what a slot does not
# survive.  The master must not see the one death before the other.
kill_slot() {
	stop_process "$MASTER"
	kill -KILL "$(worker_pid "$1")" "$(standby_pid "$1")"
	kill -CONT "$MASTER"
}

# was_replaced N PID: worker N lives and is no longer PID.
was_replaced() {
	local FOUND
	find_titled "worker $1"
	((${#FOUND[@]} > 0)) && [[ ${FOUND[0]} != "$2" ]]
}

# kill_workers N: worker 0, so often, one after the other, each as soon as it has a successor.
kill_workers() {
	local i pid
	for ((i = 0; i < $1; i++)); do
		pid=$(worker_pid 0)
		kill -KILL "$pid"
		wait_until was_replaced 0 "$pid"
	done
}

# has_zombies PID: one of its children is dead and not reaped.
has_zombies() {
	local pid
	for pid in $(children "$1"); do
		if [[ $(process_state "$pid") == Z ]]; then
			return 0
		fi
	done
	return 1
}

# group_members PGID: the living processes of a process group.
group_members() {
	local pid
	for pid in $(pgrep -g "$1"); do
		if is_alive "$pid"; then
			echo "$pid"
		fi
	done
}

group_is_gone() {
	[[ -z $(group_members "$1") ]]
}

# fd_count PID
fd_count() {
	local fds=("/proc/$1/fd"/*)
	echo "${#fds[@]}"
}

has_fds() {
	(($(fd_count "$1") == $2))
}

# cpu_ticks PID: user and system time used so far, in clock ticks.
cpu_ticks() {
	local stat fields
	read -r stat <"/proc/$1/stat"
	read -ra fields <<<"${stat##*) }"
	echo $((fields[11] + fields[12]))
}

# wake_ups PID...: how often they gave up the processor to wait.
wake_ups() {
	local pid
	for pid; do
		grep '^voluntary_ctxt_switches' "/proc/$pid/status"
	done
}

# memory_kb PID: what is resident and not of a file, shared memory too.
memory_kb() {
	awk '/^Rss(Anon|Shmem):/ { sum += $2 } END { print sum + 0 }' \
		"/proc/$1/status"
}

# --- the server --------------------------------------------------------------

# launch OPTIONS...: starts a server and does not wait for it.  Sets MASTER and
# LOG.  The server leads a process group of its own, has the usual signal
# dispositions (a shell's background processes ignore SIGINT), and dies with
# the test.
launch() {
	LOG=$BATS_TEST_TMPDIR/log.${#LOGS[@]}
	LOGS+=("$LOG")
	setsid setpriv --pdeathsig KILL env --default-signal=INT,QUIT,HUP,TERM \
		"${LAUNCHER[@]}" "$PREFORKD" "$@" \
		>"$BATS_TEST_TMPDIR/stdout" 2>"$LOG" </dev/null 3>&- 4>&- &
	MASTER=$!
	SERVERS+=("$MASTER")
}

# start_server OPTIONS...: starts a server on a free port of 127.0.0.1, unless
# the options say where, and waits until it is ready.  Sets PORT and HOST to
# the first address it listens on.
start_server() {
	case " $*" in
	*' --listen'* | *' -l'* | *' --config'* | *' -c'*) ;;
	*) set -- --listen 127.0.0.1:0 "$@" ;;
	esac
	launch "$@"
	wait_until is_ready_or_gone
	if ! is_alive "$MASTER"; then
		echo "the server ended at once: $PREFORKD $*"
		show_logs
		return 1
	fi
	read_address
}

is_ready_or_gone() {
	log_has 'ready: ' || ! is_alive "$MASTER"
}

# ports: the port of each address in the log's first line, one a line.
ports() {
	grep -m 1 ' starting on ' "$LOG" |
		sed 's/.* starting on \(.*\); .*/\1/; s/, /\n/g' | sed 's/.*://'
}

read_address() {
	local address
	address=$(grep -m 1 ' starting on ' "$LOG" |
		sed 's/.* starting on \([^,;]*\).*/\1/')
	PORT=${address##*:}
	HOST=${address%:*}
	HOST=${HOST#[}
	HOST=${HOST%]}
	if [[ ! $PORT =~ ^[1-9][0-9]*$ ]]; then
		echo "no port in the log's first line"
		show_logs
		return 1
	fi
}

# log_has PATTERN: an extended regular expression, on any line of the log.
log_has() {
	grep -Eq -- "$1" "$LOG"
}

log_count() {
	grep -Ec -- "$1" "$LOG" || true
}

log_has_times() {
	(($(log_count "$2") >= $1))
}

# reload: sends HUP and waits until the reload is over.
reload() {
	local before
	before=$(log_count ' reloaded: | reload failed: ')
	kill -HUP "$MASTER"
	wait_until log_has_times $((before + 1)) ' reloaded: | reload failed: '
}

# server_ends_with STATUS: waits until the master has ended by itself.
server_ends_with() {
	local status=0
	wait_until not is_alive "$MASTER"
	wait "$MASTER" || status=$?
	if ((status != $1)); then
		echo "the master ended with $status instead of $1"
		return 1
	fi
}

# expect_error PATTERN: the log must hold such an error line at the end.
expect_error() {
	EXPECTED_ERRORS+=("$1")
}

# allow_error PATTERN: the log may hold such error lines; chance decides.
allow_error() {
	ALLOWED_ERRORS+=("$1")
}

show_logs() {
	local log
	for log in "${LOGS[@]}"; do
		echo "--- ${log##*/}, its last lines:"
		tail -n 30 "$log"
	done
}

# stop_server PID: a master and its group; fails when that takes force.
stop_server() {
	local pid=$1 members failed=0
	if is_alive "$pid"; then
		kill -CONT -- "-$pid" 2>/dev/null
		kill -TERM "$pid"
		PATIENCE=2 wait_until not is_alive "$pid" >/dev/null ||
			kill -TERM "$pid"
		PATIENCE=20 wait_until not is_alive "$pid" >/dev/null || {
			echo "the master $pid does not end by TERM"
			kill -KILL "$pid"
			failed=1
		}
	fi
	wait "$pid" 2>/dev/null
	PATIENCE=10 wait_until group_is_gone "$pid" >/dev/null &&
		return "$failed"
	members=$(group_members "$pid")
	echo "processes that stayed behind the master $pid:"
	ps -o pid,ppid,stat,args -p "${members//$'\n'/,}"
	kill -KILL -- "-$pid"
	return 1
}

stop_servers() {
	local pid failed=0
	for pid in "${SERVERS[@]}"; do
		stop_server "$pid" || failed=1
	done
	SERVERS=()
	return "$failed"
}

# errors: the error lines of all logs.
errors() {
	((${#LOGS[@]} == 0)) ||
		grep -Eh '^<3>|^[^ ]+Z error ' "${LOGS[@]}" || true
}

# no_error_is_missing ERRORS: each that a completed test expects is among them.
no_error_is_missing() {
	local pattern failed=0
	[[ $BATS_TEST_COMPLETED && -z $BATS_TEST_SKIPPED ]] || return 0
	for pattern in "${EXPECTED_ERRORS[@]}"; do
		if ! grep -Eq -- "$pattern" <<<"$1"; then
			echo "an error that was expected has not come: $pattern"
			failed=1
		fi
	done
	return "$failed"
}

# unexpected_errors ERRORS: those that the test neither expects nor allows.
unexpected_errors() {
	local IFS='|' patterns
	patterns=("${EXPECTED_ERRORS[@]}" "${ALLOWED_ERRORS[@]}")
	grep -Ev -- "${patterns[*]:-nothing is expected}" <<<"$1" | grep .
}

# check_errors ERRORS: they are what the test wants to see.
check_errors() {
	local found failed=0
	no_error_is_missing "$1" || failed=1
	if found=$(unexpected_errors "$1"); then
		echo "errors in the log that were not expected:"
		echo "$found"
		failed=1
	fi
	return "$failed"
}

check_logs() {
	local log found failed=0
	for log in "${LOGS[@]}"; do
		if found=$(grep -E -A 30 'runtime error:|Sanitizer' "$log"); then
			echo "a sanitizer has found something:"
			echo "$found"
			failed=1
		fi
	done
	check_errors "$(errors)" || failed=1
	return "$failed"
}

# --- clients -----------------------------------------------------------------

# stream OPTIONS...: runs the verifying client against the server; its exit
# status is the verdict.  Sets SUMMARY.
stream() {
	local status=0
	SUMMARY=$("$STREAM" --host "$HOST" --port "$PORT" "$@") || status=$?
	SUMMARY=${SUMMARY##*$'\n'}
	echo "stream $*: $SUMMARY"
	return "$status"
}

# start_stream OPTIONS...: the same in the background.  Sets CLIENT, a handle
# for the functions below.
start_stream() {
	CLIENT=${#CLIENTS[@]}
	setpriv --pdeathsig KILL "$STREAM" --host "$HOST" --port "$PORT" "$@" \
		>"$BATS_TEST_TMPDIR/stream.$CLIENT" 2>&1 </dev/null 3>&- 4>&- &
	CLIENTS+=("$!")
}

# stream_says WORD [CLIENT]: it has said that it is connected, answered, stuck.
stream_says() {
	grep -q "^$1 " "$BATS_TEST_TMPDIR/stream.${2:-$CLIENT}"
}

stream_is_over() {
	! is_alive "${CLIENTS[${1:-$CLIENT}]}"
}

# end_stream [CLIENT]: tells it to end, and takes its verdict.
# shellcheck disable=SC2120 # tests pass it
end_stream() {
	kill -TERM "${CLIENTS[${1:-$CLIENT}]}" 2>/dev/null
	await_stream "$@"
}

# await_stream [CLIENT]: waits for it to end by itself.  Sets SUMMARY.
await_stream() {
	local client=${1:-$CLIENT} status=0
	wait "${CLIENTS[client]}" || status=$?
	SUMMARY=$(tail -n 1 "$BATS_TEST_TMPDIR/stream.$client")
	echo "stream $client: $(<"$BATS_TEST_TMPDIR/stream.$client")"
	return "$status"
}

# summary WORD: the number behind that word in the summary.
summary() {
	local rest=${SUMMARY#*"$1 "}
	echo "${rest%% *}"
}

# start_conversing COUNT INTERVAL: connections that talk without an end, each
# after so many milliseconds again, every byte verified.
start_conversing() {
	start_stream --connections "$1" --bytes 1000000G --message 1-200 \
		--ping-pong --interval "$2"
	wait_until stream_says answered
}

# end_conversing COUNT: none of them has noticed more than a pause.
end_conversing() {
	# shellcheck disable=SC2119
	end_stream
	[ "$(summary connections)" -eq "$1" ]
	[ "$(summary closed)" -eq 0 ]
	[ "$(summary wrong)" -eq 0 ]
}

# start_client COMMAND...: some other process, stopped by teardown.
start_client() {
	setpriv --pdeathsig KILL "$@" \
		>"$BATS_TEST_TMPDIR/client.${#CLIENTS[@]}" 2>&1 \
		</dev/null 3>&- 4>&- &
	CLIENTS+=("$!")
}

stop_clients() {
	local pid
	for pid in "${CLIENTS[@]}"; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	CLIENTS=()
}

# refuses PORT [HOST]: nobody listens there.
refuses() {
	! (exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null
}

# is_at_end FD: nothing more comes on that connection, and it has ended. A read
# that runs into its time-out (a status above 128) has seen no end.
is_at_end() {
	local rest='' status=0
	IFS= read -r -t "$PATIENCE" -N 1 -u "$1" rest || status=$?
	if ((status != 1)) || [[ -n $rest ]]; then
		echo "instead of the end came \"$rest\" (status $status)"
		return 1
	fi
}

# free_port: a port of 127.0.0.1 that was free a moment ago.
free_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 12000))
		if refuses "$port"; then
			echo "$port"
			return
		fi
	done
}

# ask_status: has every slot log its line; the test reads them in the log.
ask_status() {
	local before
	before=$(log_count ' slot [0-9]+: ')
	kill -USR1 "$MASTER"
	wait_until log_has_times $((before + $1)) ' slot [0-9]+: '
}

# sockets STATE: how many of the server's sockets are in that state (ss -o).
sockets() {
	ss -Htn state "$1" "sport = :$PORT" | wc -l
}
