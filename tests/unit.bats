#!/usr/bin/env bats
# The pure modules, each linked with itself alone (tests/unit/).

setup() {
	UNIT=${BUILD:-$BATS_TEST_DIRNAME/../build}/tests/unit
}

@test "restart: back-off doubles for early deaths and forgives a life" {
	"$UNIT/restart"
}

@test "connection: counters and kept bytes" {
	"$UNIT/connection"
}

@test "address: read, shown, compared" {
	"$UNIT/address"
}

@test "steering: only served slots get connections" {
	"$UNIT/steering"
}

@test "verdict: who is called again, closed, reset" {
	"$UNIT/verdict"
}

@test "ledger: what the kernel knows of an interrupted recv or send" {
	"$UNIT/ledger"
}

@test "ledger: segments that arrive at every point of a reading" {
	"$UNIT/ledger_order"
}

@test "handshake: looks keep apart" {
	"$UNIT/handshake"
}

@test "quota: a burst of log lines, then a trickle" {
	"$UNIT/quota"
}

@test "memory: the least limit of the control groups" {
	"$UNIT/memory"
}

@test "rank: the largest and oldest go first" {
	"$UNIT/rank"
}

@test "text: only what prints, cut between characters" {
	"$UNIT/text"
}

@test "vigil: time in which nobody looked is left out" {
	"$UNIT/vigil"
}

@test "timers: the first comes first, and none is forgotten" {
	"$UNIT/timers"
}

@test "wait: what a connection waits for, and for how long" {
	"$UNIT/wait"
}

@test "move: its giver or taker is killed after each instruction" {
	"$UNIT/move"
}

@test "listener: which errors a person must act on" {
	"$UNIT/listener"
}

@test "inherited: what the environment may say of descriptors" {
	"$UNIT/inherited"
}

@test "activation: which socket is for which address and slot" {
	"$UNIT/activation"
}
