#!/usr/bin/env bats
# docs/tour.md and its translation: what they refer to is there, what they show
# is the code, and what they say of a tutorial's server is so.

load helper

ROOT=$BATS_TEST_DIRNAME/..
TOURS=("$ROOT/docs/tour.md" "$ROOT/docs/tour.ko.md")

# function_body FILE NAME: from its name's line to its end, in one line.
function_body() {
	awk -v name="$2(" '
		index($0, name) == 1 { inside = 1 }
		inside
		inside && /^}/ { exit }' "$ROOT/$1" | tr -s '[:space:]' ' '
}

# references TOUR: each FILE:FUNCTION in it, one a line, in their order.
# shellcheck disable=SC2016 # of Markdown
references() {
	grep -oE '`[a-z_/]+\.[ch]:[a-z_]+`' "$1" | tr -d '`'
}

# files TOUR: each path of a file or directory of the sources that it names.
# shellcheck disable=SC2016 # of Markdown
files() {
	grep -oE '`[a-z_]+(/[a-z_]+)*/?\.?[a-z_]*\.(c|h|bats|md)' "$1" | tr -d '`'
}

# shown TOUR: what its blocks of C show in one piece, each in one line behind the
# reference above it.
shown() {
	awk '
		function end() {
			gsub(/[ \t]+/, " ", piece)
			if (piece) print reference "\t" piece
			piece = ""
		}
		/^\*\*`.*`\*\*$/ { gsub(/[*`]/, ""); reference = $0 }
		/^```c$/ { inside = 1; next }
		/^```$/ { end(); inside = 0 }
		inside && $0 == "..." { end(); next }
		inside { sub(/^[ \t]+/, ""); piece = piece $0 " " }' "$1"
}

# commands TOUR: its blocks of shell.
commands() {
	awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$1"
}

@test "each file and function that the tour names is there" {
	local tour path reference
	for tour in "${TOURS[@]}"; do
		(($(references "$tour" | wc -l) > 20))
		for path in $(files "$tour"); do
			[ -e "$ROOT/$path" ] || {
				echo "${tour##*/}: no file $path"
				return 1
			}
		done
		for reference in $(references "$tour"); do
			[[ $(function_body "${reference%:*}" "${reference#*:}") ]] || {
				echo "${tour##*/}: no function $reference"
				return 1
			}
		done
	done
}

@test "the code that the tour shows is the code" {
	local tour reference piece body
	for tour in "${TOURS[@]}"; do
		(($(shown "$tour" | wc -l) > 20))
		while IFS=$'\t' read -r reference piece; do
			body=$(function_body "${reference%:*}" "${reference#*:}")
			[[ $body == *"$piece"* ]] || {
				echo "${tour##*/}: not in $reference: $piece"
				return 1
			}
		done < <(shown "$tour")
	done
}

@test "the tour in Korean shows the same as the one in English" {
	diff <(shown "${TOURS[0]}") <(shown "${TOURS[1]}")
	diff <(commands "${TOURS[0]}") <(commands "${TOURS[1]}")
	diff <(references "${TOURS[0]}" | sort -u) \
		<(references "${TOURS[1]}" | sort -u)
}

# --- what the tutorial leaves out ------------------------------------------------

# start_naive: on PORT, with its pid in NAIVE.
start_naive() {
	HOST=127.0.0.1
	PORT=$(free_port)
	start_client prlimit --nofile=100 "$BUILD/bench/naive" "$PORT"
	NAIVE=${CLIENTS[-1]}
	wait_until not refuses "$PORT"
}

# client N OPTIONS...: the tour's Nth client, against whoever serves.
client() {
	local words
	read -ra words < <(commands "${TOURS[0]}" | grep '^build/tests/stream ' |
		sed -n "$1p")
	shift
	stream "${words[@]:3}" "$@"
}

start_preforkd() {
	LAUNCHER=(prlimit --nofile=100)
	start_server --workers 1
}

@test "a partial write: the tutorial's server loses bytes, this one none" {
	start_naive
	not client 1
	(($(summary wrong) + $(summary lost) > 0))
	start_preforkd
	client 1 --seconds 60
}

@test "no descriptors left: the tutorial's server forgets its queue, this one serves it" {
	start_naive
	not client 2
	(($(summary late) > 0))
	start_preforkd
	client 2 --seconds 60
	[ "$(summary connections)" -eq 300 ]
}

@test "a reset: the tutorial's server dies by SIGPIPE, this one does not notice" {
	start_naive
	not client 3
	local status=0
	wait_until not is_alive "$NAIVE"
	wait "$NAIVE" || status=$?
	[ "$status" -eq $((128 + $(kill -l PIPE))) ]
	start_preforkd
	client 3
	is_alive "$(worker_pid 0)"
}
