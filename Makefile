# make              build ./preforkd
# make run          build it and serve echo on port 8080
# make test         the whole suite (SANITIZE=1: under ASan and UBSan)
# make check        compilers' warnings, linters, formatting
# make install      PREFIX=/usr/local DESTDIR=

VERSION = 0.1.0

CC = gcc
CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
	-Wmissing-prototypes -Wformat=2
BUILD = build
PROGRAM = preforkd

# What a worker that strangers write to should not do without.
HARDENING = -fstack-protector-strong -fstack-clash-protection -fPIE \
	-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
HARDENED_LINK = -pie -Wl,-z,relro,-z,now

ifdef SANITIZE
HARDENING = -fPIE
BUILD = build/sanitize
PROGRAM = build/sanitize/preforkd
SANITIZERS = -fsanitize=address,undefined -fno-omit-frame-pointer \
	-fno-sanitize-recover=undefined
endif

# musl has no kernel headers of its own.
ifneq (,$(findstring musl,$(CC)))
CPPFLAGS += -idirafter /usr/include -idirafter /usr/include/$(shell uname -m)-linux-gnu
endif

# Services that are shared objects call what the program exports.
ALL_LDFLAGS = -Wl,--export-dynamic $(HARDENED_LINK) $(LDFLAGS)
LDLIBS = -ldl

ALL_CPPFLAGS = -D_GNU_SOURCE -I. -DPREFORKD_VERSION='"$(VERSION)"' $(CPPFLAGS)
ALL_CFLAGS = -std=gnu11 $(WARNINGS) $(HARDENING) $(CFLAGS) $(SANITIZERS)

SOURCES = server.c master.c worker.c $(wildcard lib/*/*.c services/*.c)
OBJECTS = $(SOURCES:%.c=$(BUILD)/%.o)

all: $(PROGRAM)

$(PROGRAM): $(OBJECTS)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(OBJECTS) $(LDLIBS)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d)

run: $(PROGRAM)
	./$(PROGRAM)

# ---- installation ----------------------------------------------------------

PREFIX = /usr/local
SBINDIR = $(PREFIX)/sbin
INCLUDEDIR = $(PREFIX)/include
MANDIR = $(PREFIX)/share/man
# A unit and a configuration below /usr are the distribution's.
SYSCONFDIR = $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
UNITDIR = $(PREFIX)/lib/systemd/system

SUBSTITUTE = sed -e 's|@sbindir@|$(SBINDIR)|g' \
	-e 's|@sysconfdir@|$(SYSCONFDIR)|g' -e 's|@version@|$(VERSION)|g'

install: $(PROGRAM)
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(MANDIR)/man8 \
		$(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONFDIR) \
		$(DESTDIR)$(INCLUDEDIR)
	install -m 755 $(PROGRAM) $(DESTDIR)$(SBINDIR)/preforkd
	install -m 644 include/preforkd.h $(DESTDIR)$(INCLUDEDIR)/preforkd.h
	$(SUBSTITUTE) man/preforkd.8.in >$(DESTDIR)$(MANDIR)/man8/preforkd.8
	$(SUBSTITUTE) systemd/preforkd.service.in \
		>$(DESTDIR)$(UNITDIR)/preforkd.service
	chmod 644 $(DESTDIR)$(MANDIR)/man8/preforkd.8 \
		$(DESTDIR)$(UNITDIR)/preforkd.service
	install -m 644 systemd/preforkd.socket \
		$(DESTDIR)$(UNITDIR)/preforkd.socket
	@# An operator's configuration is never overwritten.
	test -e $(DESTDIR)$(SYSCONFDIR)/preforkd.conf || install -m 644 \
		systemd/preforkd.conf $(DESTDIR)$(SYSCONFDIR)/preforkd.conf

# The configuration stays if it was changed.
uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/preforkd \
		$(DESTDIR)$(INCLUDEDIR)/preforkd.h \
		$(DESTDIR)$(MANDIR)/man8/preforkd.8 \
		$(DESTDIR)$(UNITDIR)/preforkd.service \
		$(DESTDIR)$(UNITDIR)/preforkd.socket
	! cmp -s systemd/preforkd.conf $(DESTDIR)$(SYSCONFDIR)/preforkd.conf || \
		rm -f $(DESTDIR)$(SYSCONFDIR)/preforkd.conf

# ---- services and examples ---------------------------------------------------

EXAMPLES = $(patsubst examples/%.c,$(BUILD)/examples/%.so,\
	$(wildcard examples/*.c))

examples: $(EXAMPLES)

$(BUILD)/examples/%.so: examples/%.c include/preforkd.h Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -Iinclude -fPIC -shared -o $@ \
		$(filter %.c,$^)

# The one that is more than a file.
$(BUILD)/examples/http.so: $(wildcard examples/http/*.[ch])

# Services of your own, beside the server's files: make mine.so
OWN = $(patsubst %.c,%.so,$(filter-out server.c master.c worker.c,\
	$(wildcard *.c)))

%.so: %.c include/preforkd.h
	$(CC) $(CFLAGS) $(WARNINGS) -Iinclude -fPIC -shared -o $@ $<

# make new-service NAME=mine writes mine.c and tests/mine.bats.
new-service: export NAME := $(NAME)
new-service:
	@examples/new-service "$$NAME"

# ---- fuzzing -----------------------------------------------------------------

# make fuzz takes FUZZ_SECONDS for each; what it finds stays in build/fuzz/.
FUZZ = line http gateway config
FUZZ_SECONDS = 600
FUZZ_CC = clang
FUZZ_FLAGS = -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined \
	-fno-sanitize-recover=undefined

fuzz: $(FUZZ:%=run-fuzz-%)

# About twenty seconds in all.
fuzz-quick:
	$(MAKE) FUZZ_SECONDS=4 fuzz

run-fuzz-%: build/fuzz/%
	@mkdir -p build/fuzz/corpus/$*
	$< -max_total_time=$(FUZZ_SECONDS) -max_len=16384 -timeout=10 \
		-verbosity=0 -print_final_stats=1 -dict=fuzz/$*.dict \
		-artifact_prefix=build/fuzz/$*- \
		build/fuzz/corpus/$* fuzz/seeds/$*

$(FUZZ:%=build/fuzz/%): build/fuzz/%: fuzz/%.c fuzz/host.h include/preforkd.h
	@mkdir -p $(@D)
	$(FUZZ_CC) $(ALL_CPPFLAGS) $(FUZZ_CPPFLAGS) -Iinclude \
		$(FUZZ_FLAGS) $(WARNINGS) -o $@ $(filter %.c,$^)

build/fuzz/line: fuzz/host.c examples/line.c
build/fuzz/http: fuzz/host.c examples/http.c $(wildcard examples/http/*.[ch])
build/fuzz/gateway: fuzz/host.c examples/gateway.c
build/fuzz/config: $(addprefix lib/base/,config.c address.c service.c log.c \
	fetch.c child.c cpus.c file.c memfd.c memory.c object.c text.c)
# The answers are compared, and tell the time.
build/fuzz/http: FUZZ_CPPFLAGS = -Dclock_gettime=fuzz_clock_gettime

# ---- tests -----------------------------------------------------------------

TESTS = tests
# Most tests wait for something; twice the CPUs keep them busy.
JOBS = $(shell echo $$((2 * $$(nproc))))
TEST_FOLDERS = build/tests/stream build/tests/chaos
TEST_PROGRAMS = $(TEST_FOLDERS) $(patsubst tests/%.c,build/tests/%,\
	$(wildcard tests/*.c tests/unit/*.c))

# The server with a service that breaks on demand.
CRASH_OBJECTS = $(OBJECTS:$(BUILD)/services/echo.o=$(BUILD)/tests/services/crash.o)

build/tests/preforkd-crash: $(CRASH_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(CRASH_OBJECTS) $(LDLIBS)

-include $(BUILD)/tests/services/crash.d

# The service that does what it is told: its versions, and broken ones.
PROBES = probe-1 probe-2 probe-2-large probe-2-bare probe-abi probe-no-table
build/tests/probe-1.so: PROBE =
build/tests/probe-2.so: PROBE = -DPROBE_VERSION=2 -DPROBE_MIGRATES
build/tests/probe-2-large.so: PROBE = -DPROBE_VERSION=2 -DPROBE_MIGRATES \
	-DPROBE_STATE=5000
build/tests/probe-2-bare.so: PROBE = -DPROBE_VERSION=2
build/tests/probe-abi.so: PROBE = -DPROBE_ABI=999
build/tests/probe-no-table.so: PROBE = -DPROBE_NO_TABLE

build/tests/relay-2.so: RELAY = -DRELAY_VERSION=2
build/tests/relay.so build/tests/relay-2.so: tests/services/relay.c include/preforkd.h Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) -std=gnu11 $(WARNINGS) $(CFLAGS) $(RELAY) \
		-fPIC -shared -o $@ $<

build/tests/evil.so: tests/services/evil.c include/preforkd.h \
		lib/slot/control.h lib/slot/slot.h Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) -std=gnu11 $(WARNINGS) $(CFLAGS) -fPIC -shared -o $@ $<

build/tests/probe-%.so: tests/services/probe.c include/preforkd.h Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) -std=gnu11 $(WARNINGS) $(CFLAGS) $(PROBE) \
		-fPIC -shared -o $@ $<

# Services of one file each.
PLAIN_SERVICES = $(addprefix build/tests/,owner.so tick.so activated.so greedy.so)

$(PLAIN_SERVICES): build/tests/%.so: tests/services/%.c include/preforkd.h Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) -std=gnu11 $(WARNINGS) $(CFLAGS) -fPIC -shared \
		-pthread -o $@ $<

# One with a library, which lies beside it.
build/tests/libbeside.so: tests/services/libbeside.c Makefile
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(WARNINGS) $(CFLAGS) -fPIC -shared -o $@ $<

build/tests/beside.so: tests/services/beside.c build/tests/libbeside.so \
		include/preforkd.h
	$(CC) $(ALL_CPPFLAGS) -std=gnu11 $(WARNINGS) $(CFLAGS) -fPIC -shared \
		-o $@ $< -Lbuild/tests -lbeside -Wl,-rpath,'$$ORIGIN'

test: $(PROGRAM) $(TEST_PROGRAMS) build/tests/preforkd-crash \
		$(PROBES:%=build/tests/%.so) $(PLAIN_SERVICES) \
		build/tests/beside.so \
		build/tests/relay.so build/tests/relay-2.so build/tests/evil.so \
		build/bench/naive $(EXAMPLES) $(OWN)
	PREFORKD=$(CURDIR)/$(PROGRAM) BUILD=$(CURDIR)/build \
		EXAMPLES=$(CURDIR)/$(BUILD)/examples bats --jobs $(JOBS) $(TESTS)

build/tests/%: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(TEST_LDFLAGS) -o $@ \
		$(filter %.c,$^)

# Those that are more than a file.
build/tests/stream: $(wildcard tests/stream/*.[ch])
build/tests/chaos: $(wildcard tests/chaos/*.[ch])
$(TEST_FOLDERS): $(wildcard tests/common/*.h) Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -o $@ $(filter %.c,$^)

build/tests/provoke build/tests/ledger_race: tests/common/clock.h

# A unit test links its own module and what that stands on: nothing else.
build/tests/unit/restart: lib/master/restart.c
build/tests/unit/steering: lib/master/steering.c
build/tests/unit/connection: lib/slot/connection.c
build/tests/unit/address: lib/base/address.c
build/tests/unit/verdict: lib/master/verdict.c
build/tests/unit/ledger: lib/worker/ledger.c
build/tests/unit/ledger_order: lib/worker/ledger.c
build/tests/unit/ledger_order: TEST_LDFLAGS = -Wl,--wrap=ioctl,--wrap=getsockopt,--wrap=recvmsg
build/tests/unit/quota: lib/base/quota.c
build/tests/unit/handshake: lib/base/handshake.c
build/tests/unit/memory: lib/base/memory.c
build/tests/unit/rank: lib/worker/rank.c
build/tests/unit/text: lib/base/text.c
build/tests/unit/vigil: lib/base/vigil.c
build/tests/unit/wait: lib/worker/wait.c lib/slot/connection.c
build/tests/unit/timers: lib/slot/timers.c lib/slot/slot.c lib/base/memfd.c \
	lib/slot/connection.c
build/tests/unit/move: $(wildcard lib/worker/*.c lib/slot/*.c lib/base/*.c)
build/tests/unit/listener: lib/base/listener.c lib/base/address.c
build/tests/unit/inherited: lib/base/inherited.c lib/base/address.c \
	lib/base/text.c
build/tests/unit/activation: lib/master/activation.c lib/base/inherited.c \
	lib/base/listener.c lib/base/address.c lib/base/log.c lib/base/text.c

build/tests/ledger_race: lib/worker/ledger.c
build/tests/activate: lib/base/address.c

# ---- chaos -----------------------------------------------------------------

# Twenty seconds that show it; CHAOS=--help tells what else it can do.
chaos: $(PROGRAM) build/tests/chaos build/tests/stream
	build/tests/chaos --server $(PROGRAM) $(CHAOS)

# The take-over tests at their full length, a minute each.
test-long: $(PROGRAM) $(TEST_PROGRAMS) build/tests/preforkd-crash \
		$(PROBES:%=build/tests/%.so) \
		build/tests/relay.so build/tests/relay-2.so
	PREFORKD=$(CURDIR)/$(PROGRAM) BUILD=$(CURDIR)/build SECONDS_EACH=60 \
		TAKEOVERS=10000 STORM=1000 BATS_TEST_TIMEOUT=900 \
		bats tests/takeover.bats tests/service.bats \
		tests/isolation.bats

# ---- calls that fail ---------------------------------------------------------

# The whole table of tests/inject, of which tests/inject.bats takes a sample: an
# hour. INJECT="sendmsg:ENOBUFS 1 6" is a row of it.
inject: $(PROGRAM) build/tests/stream build/tests/relay.so
	PREFORKD=$(CURDIR)/$(PROGRAM) tests/inject $(INJECT)

# ---- every instruction -------------------------------------------------------

# All of what tests/every_instruction.bats takes samples of: some ten minutes.
test-every-instruction: $(PROGRAM) build/tests/every_instruction \
		build/tests/unit/move
	build/tests/unit/move 1
	build/tests/every_instruction $(CURDIR)/$(PROGRAM)

# It reads slot memory.
build/tests/every_instruction: lib/slot/slot.c lib/base/memfd.c lib/slot/slot.h \
	lib/slot/connection.h lib/slot/store.h include/preforkd.h

# ---- measurements ----------------------------------------------------------

BENCH_PROGRAMS = build/bench/load build/bench/strike
BENCH_VARIANTS = build/bench/preforkd-unshared build/bench/preforkd-stamps

# Of the peers in C, those whose library is there.
PEER_SOURCES = $(addprefix bench/peers/,floor.c naive.c listener.c \
	$(if $(wildcard /usr/include/event2/event.h),libevent.c) \
	$(if $(wildcard /usr/include/uv.h),libuv.c))
BENCH_PEERS = $(patsubst bench/peers/%.c,build/bench/%,\
	$(filter-out %/listener.c,$(PEER_SOURCES))) \
	$(if $(shell command -v go),build/bench/gonet)

# make bench-takeover AGAINST=/some/other/preforkd compares with that, too.
bench-takeover: $(PROGRAM) $(BENCH_PROGRAMS) build/bench/preforkd-unshared
	PREFORKD=$(CURDIR)/$(PROGRAM) bench/takeover $(AGAINST)

# PEERS="this floor" CONNECTIONS="50 1000" ROUNDS=5 run a part of it.
export PEERS CONNECTIONS ROUNDS

# With no PARTS= also what the shared table of descriptors costs an echo.
bench: $(PROGRAM) $(BENCH_PROGRAMS) $(BENCH_PEERS) $(BUILD)/examples/http.so \
		$(BENCH_VARIANTS)
	bench/bench $(PARTS)
	$(if $(PARTS),,PREFORKD=$(CURDIR)/$(PROGRAM) PARTS=cpu_time ROUNDS=5 \
		bench/takeover)

bench-quick: $(PROGRAM) $(BENCH_PROGRAMS) $(BENCH_PEERS)
	bench/bench quick

build/bench/load: $(addprefix bench/,load.c traffic.c client.c histogram.c \
	tree.c)
build/bench/strike: $(addprefix bench/,strike.c client.c tree.c)
build/bench/floor build/bench/naive: bench/peers/listener.c
build/bench/libevent: LDLIBS = -levent_core
build/bench/libuv: LDLIBS = -luv

$(BENCH_PROGRAMS): $(wildcard bench/*.h)
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -o $@ $(filter %.c,$^)

build/bench/%: bench/peers/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -o $@ $(filter %.c,$^) $(LDLIBS)

build/bench/%: bench/peers/%.go
	@mkdir -p $(@D)
	GOCACHE=$(CURDIR)/build/go GOFLAGS=-trimpath go build -o $@ $<

# The same objects; only the functions that are named are others.
build/bench/preforkd-unshared: WRAPPED = syscall
build/bench/preforkd-stamps: WRAPPED = give_hear give_next take_hear
$(BENCH_VARIANTS): build/bench/preforkd-%: $(OBJECTS) $(BUILD)/bench/%.o
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(WRAPPED:%=-Wl,--wrap=%) -o $@ \
		$^ $(LDLIBS)

-include $(BUILD)/bench/unshared.d $(BUILD)/bench/stamps.d

# ---- checks ----------------------------------------------------------------

C_FILES = $(wildcard *.c *.h lib/*/*.[ch] services/*.[ch] tests/*.[ch] \
	tests/*/*.[ch] bench/*.[ch] \
	bench/peers/*.[ch] include/*.h examples/*.c \
	examples/http/*.[ch] fuzz/*.[ch])
CHECKED = $(SOURCES) $(wildcard tests/*.c tests/*/*.c \
	bench/*.c examples/*.c examples/http/*.c fuzz/*.c) $(PEER_SOURCES)
SHELL_FILES = .ci/run $(wildcard tests/*.bats tests/*.bash tests/systemd-box) \
	tests/inject tests/arrows bench/takeover examples/new-service

check:
	tests/arrows
	@# A test waits for a condition (wait_until), or is slow (pause).
	! grep -nE '(^|[[:space:];&|(])sleep[[:space:]]' tests/*.bats
	$(MAKE) CC=gcc BUILD=build/check-gcc PROGRAM=build/check-gcc/preforkd \
		CFLAGS='-O2 -Werror' all examples
	$(MAKE) CC=clang BUILD=build/check-clang \
		PROGRAM=build/check-clang/preforkd CFLAGS='-O2 -Werror' all examples
	$(MAKE) CC=musl-gcc BUILD=build/check-musl \
		PROGRAM=build/check-musl/preforkd CFLAGS='-O2 -Werror' all examples
	cppcheck --quiet --std=c11 --enable=warning,performance,portability \
		--suppress=ctuuninitvar --error-exitcode=1 $(ALL_CPPFLAGS) \
		-Iinclude $(CHECKED)
	clang-tidy --quiet $(CHECKED) -- $(ALL_CPPFLAGS) -std=gnu11 \
		-Iinclude
	clang-format --dry-run --Werror $(C_FILES)
	shellcheck $(SHELL_FILES)
	mandoc -T lint -W warning man/preforkd.8.in

clean:
	rm -rf build preforkd

.PHONY: all run install uninstall test chaos test-long \
	examples new-service fuzz fuzz-quick inject test-every-instruction \
	bench bench-quick bench-takeover check clean
