#!/usr/bin/env bats
# What the kernel knows of a connection, read while its peer moves it. The cases
# one by one are in tests/unit/ledger_order.c; here the kernel itself decides
# what meets what.

load helper

@test "the ledger is right at every moment of a connection that ends" {
	run "$TEST_PROGRAMS/ledger_race" 4
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"connections "[1-9]* ]]
}
