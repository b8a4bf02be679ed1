# A real systemd for a test file: a box with the project installed in it.

BOX_TOOL=$BATS_TEST_DIRNAME/systemd-box
UNIT_DROP_IN=/etc/systemd/system/preforkd.service.d/test.conf
BOX_CONFIG=/etc/preforkd.conf

# install_into DESTDIR: as a distribution would, with the binary under test.
# The make that runs the tests must not lend its options to this one.
install_into() {
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make --silent \
		-C "$BATS_TEST_DIRNAME/.." install PREFIX=/usr DESTDIR="$1"
	cp "$PREFORKD" "$1/usr/sbin/preforkd"
}

# --- the box -----------------------------------------------------------------

# box_up: for setup_file, which cannot skip: box_setup does.
box_up() {
	local layer=$BATS_FILE_TMPDIR/layer
	export BOX=$BATS_FILE_TMPDIR/box WHY_NO_BOX=
	WHY_NO_BOX=$("$BOX_TOOL" why-not 2>&1) || return 0
	mkdir -m 0755 "$layer"
	install_into "$layer"
	"$BOX_TOOL" up "$BOX" "$layer"
	read -r BOX_INIT _ <"$BOX/init"
	export BOX_INIT BOX_ROOT=/proc/$BOX_INIT/root
	export BOX_STREAM=$BATS_FILE_TMPDIR/stream
	# Only its network is the box's: the clients' pids are those of here.
	printf '#!/bin/sh\nexec nsenter --net="/proc/%s/ns/net" "%s" "$@"\n' \
		"$BOX_INIT" "$TEST_PROGRAMS/stream" >"$BOX_STREAM"
	chmod +x "$BOX_STREAM"
}

box_down() {
	"$BOX_TOOL" down "$BOX"
}

box() {
	"$BOX_TOOL" exec "$BOX" "$@" </dev/null
}

# --- the unit ----------------------------------------------------------------

# box_setup: two workers on 127.0.0.1:8080, the unit as it is installed.
box_setup() {
	[[ -z $WHY_NO_BOX ]] || skip_or_fail "$WHY_NO_BOX"
	STREAM=$BOX_STREAM HOST=127.0.0.1 PORT=8080
	configure 'listen = 127.0.0.1:8080' 'workers = 2'
	# LeakSanitizer traces its own process, which the unit forbids.
	drop_in 'Environment=ASAN_OPTIONS=detect_leaks=0'
	box systemctl reset-failed
	TEST_BEGAN=@$EPOCHREALTIME
}

box_teardown() {
	local failed=0
	[[ -z $WHY_NO_BOX ]] || return 0
	stop_clients
	box systemctl stop preforkd.socket preforkd 2>/dev/null
	check_journal || failed=1
	if [[ -n $(unit_pids) ]]; then
		echo "processes that the unit left behind: $(unit_pids)"
		failed=1
	fi
	((failed)) && show_logs
	rm -f "$BOX_ROOT$UNIT_DROP_IN"
	return "$failed"
}

# configure LINE...: writes the configuration that the unit names.
configure() {
	printf '%s\n' "$@" >"$BOX_ROOT$BOX_CONFIG"
}

# drop_in LINE...: adds these to the unit's [Service].
drop_in() {
	mkdir -p "$BOX_ROOT${UNIT_DROP_IN%/*}"
	[[ -e $BOX_ROOT$UNIT_DROP_IN ]] || set -- '[Service]' "$@"
	printf '%s\n' "$@" >>"$BOX_ROOT$UNIT_DROP_IN"
	box systemctl daemon-reload
}

# start_unit: starts it. Sets MASTER, a pid of here, for the helpers.
start_unit() {
	box systemctl start preforkd || {
		show_logs
		return 1
	}
	read_master
}

read_master() {
	local main_pid pid
	main_pid=$(property MainPID)
	for pid in $(children "$BOX_INIT"); do
		if grep -q "^NSpid:.*[[:space:]]$main_pid\$" "/proc/$pid/status"; then
			MASTER=$pid
			return
		fi
	done
	echo "no master: MainPID is $main_pid"
	return 1
}

property() {
	box systemctl show -P "$1" preforkd
}

# property_is NAME PATTERN: an extended regular expression for the whole value.
property_is() {
	property "$1" | grep -Exq -- "$2"
}

# unit_pids: all processes of the unit, as the box numbers them.
unit_pids() {
	cat "$BOX_ROOT/sys/fs/cgroup/system.slice/preforkd.service/cgroup.procs" \
		2>/dev/null
}

# was_restarted PID: the unit is active again, with another master than PID.
was_restarted() {
	property_is ActiveState active && property_is SubState running &&
		! property_is MainPID "0|$1"
}

# fails_to_start STATUS: the start fails, and it is not tried again.
fails_to_start() {
	run ! box systemctl start preforkd
	wait_until property_is ActiveState failed
	property_is ExecMainStatus "$1"
	property_is NRestarts 0
}

# has_listeners N: so many sockets listen on the port.
has_listeners() {
	local port
	printf -v port '%04X' "$PORT"
	(($(grep -c ":$port .* 0A " "/proc/$BOX_INIT/net/tcp") == $1))
}

# --- the journal -------------------------------------------------------------

# unit_journal OPTIONS...: what was logged about the unit in this test.
unit_journal() {
	box journalctl --sync
	box journalctl --quiet --since "$TEST_BEGAN" -u preforkd "$@"
}

# journal OPTIONS...: the server's own lines.
journal() {
	unit_journal -t preforkd "$@"
}

# journal_has PATTERN [OPTIONS...]
journal_has() {
	local pattern=$1
	shift
	journal -o cat "$@" | grep -Eq -- "$pattern"
}

# For wait_until and box_teardown; the unit has no log file.
show_logs() {
	unit_journal -n 40 -o short-monotonic
}

check_journal() {
	local found failed=0
	if found=$(journal -o cat | grep -E -A 30 'runtime error:|Sanitizer'); then
		echo "a sanitizer has found something:"
		echo "$found"
		failed=1
	fi
	check_errors "$(journal -o cat -p err)" || failed=1
	return "$failed"
}
