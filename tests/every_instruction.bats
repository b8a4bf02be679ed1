#!/usr/bin/env bats
# A worker can be killed after any instruction: see every_instruction.c, and
# make test-every-instruction, which tries all of them.

load helper

# Each instruction switches processes twice, and each scenario has its least
# number of points, whatever the machine.
setup_file() {
	export BATS_TEST_TIMEOUT=1200
}

# sample SCENARIOS: under sanitizers a path has some five times as many
# instructions, of which fewer are tried in the same time.
sample() {
	run setpriv --pdeathsig KILL "$TEST_PROGRAMS/every_instruction" \
		--scenario "$1" --seconds 8 "$PREFORKD"
	echo "$output"
	if ((status == 77)); then
		skip_or_fail "$output"
	fi
	[ "$status" -eq 0 ]
	[[ ${lines[-1]} == [1-9]*" points, 0 wrong" ]]
}

@test "a worker killed after an instruction, a sample of all" {
	sample '!late'
}

@test "a client's FIN or RST after an instruction, a sample of all" {
	sample late
}
