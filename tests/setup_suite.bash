# What holds for the whole suite: where the programs are and the time limit.

setup_suite() {
	local root
	root=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	export PREFORKD=${PREFORKD:-$root/preforkd}
	export TEST_PROGRAMS=${TEST_PROGRAMS:-$root/build/tests}
	export EXAMPLES=${EXAMPLES:-$root/build/examples}
	export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-300}
	PREFORKD=$(realpath "$PREFORKD")
	local program
	for program in "$PREFORKD" "$TEST_PROGRAMS"/{stream,sockopts,no_ipv6} \
		"$TEST_PROGRAMS"/{notify_socket,provoke,preforkd-crash} \
		"$TEST_PROGRAMS"/{chaos,every_instruction} \
		"$EXAMPLES"/{line,http,gateway,visits}.so; do
		if [[ ! -x $program ]]; then
			echo "$program: not there: run 'make test'"
			return 1
		fi
	done
}
