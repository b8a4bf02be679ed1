#!/usr/bin/env bats
# make new-service, and the way from there to code that runs: what README's
# tutorial does.

load helper

# make_tree: a copy of what it takes, as it writes into the tree.
make_tree() {
	local root=$BATS_TEST_DIRNAME/..
	mkdir -p tree/tests
	cp -r "$root"/{Makefile,include,examples} tree
	cp "$root"/tests/{helper,setup_suite}.bash \
		"$root/tests/example_line.bats" tree/tests
	cd tree || return
}

@test "new-service writes a service and its test, and both work" {
	make_tree
	run -0 make -s new-service NAME=mine
	[[ $output == 'mine.c, tests/mine.bats: written.'* ]]
	run -0 make -s CFLAGS='-O2 -Werror' mine.so
	[ -z "$output" ]
	run -0 env -i PATH="$PATH" HOME="$HOME" PREFORKD="$PREFORKD" CI=true \
		TEST_PROGRAMS="$TEST_PROGRAMS" EXAMPLES="$EXAMPLES" \
		"$BATS_ROOT/bin/bats" -f "sum so far" tests/mine.bats
	[[ $output == *'ok 1 each line is answered with the sum so far'* ]]
}

@test "new-service overwrites nothing, and wants a proper name" {
	make_tree
	make -s new-service NAME=mine
	echo changed >mine.c
	rm tests/mine.bats
	run not make -s new-service NAME=mine
	[[ $output == *'mine.c: is there: nothing is overwritten'* ]]
	rm mine.c
	touch tests/mine.bats
	run not make -s new-service NAME=mine
	[[ $output == *'tests/mine.bats: is there: nothing is overwritten'* ]]
	[ ! -e mine.c ]
	local name
	for name in '' Mine 1a a-b ../a 'a b' "a'b" 'a"b' 'a;b' "$(printf '%040d' 1)"; do
		run not make -s new-service NAME="$name"
		[[ $output == *'expected a name'* ]]
	done
	[ -z "$(find . -newer tests/mine.bats -name '*.c')" ]
}

@test "HUP puts changed code to work in the middle of a conversation" {
	make_tree
	make -s new-service NAME=mine
	make -s mine.so
	start_server --listen 127.0.0.1:0=./mine.so
	exec 5<>"/dev/tcp/$HOST/$PORT"
	echo 40 >&5
	read -r -t "$PATIENCE" line <&5
	[ "$line" = 40 ]
	sed -i 's/"%lld\\n"/"%lld so far\\n"/' mine.c
	make -s mine.so
	echo 1 >&5
	read -r -t "$PATIENCE" line <&5
	[ "$line" = 41 ] # not before HUP
	reload
	echo 1 >&5
	read -r -t "$PATIENCE" line <&5
	[ "$line" = '42 so far' ]
	exec 5>&-
}
