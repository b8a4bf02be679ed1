#!/usr/bin/env bats
# make install and uninstall, and that what they install agrees.

load helper

# make_into DESTDIR TARGET [VARIABLE=VALUE...]
make_into() {
	local root=$1
	shift
	# The make that runs the tests must not lend its options to this one.
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make --silent \
		-C "$BATS_TEST_DIRNAME/.." DESTDIR="$root" "$@"
}

# files ROOT: all that is no directory.
files() {
	(cd "$1" && find . ! -type d | sort)
}

# installs_as_one ROOT: what the unit and the man page name is there, and the
# header compiles a service without the source.
installs_as_one() {
	local root=$1 unit binary config header
	unit=$(find "$root" -name preforkd.service)
	binary=$(sed -n 's/^ExecStart=\([^ ]*\) .*/\1/p' "$unit")
	config=$(sed -n 's/^ExecStart=.* --config \(.*\)/\1/p' "$unit")
	[[ -x $root$binary && -f $root$config ]]
	grep -qF -- "$config" "$(find "$root" -name preforkd.8)"
	run ! grep -rE '@[a-z]+@' "$root" --exclude preforkd
	run -0 "$root$binary" --version
	header=$(find "$root" -name preforkd.h)
	echo '#include <preforkd.h>' >service.c
	run -0 "${CC:-cc}" -I"${header%/*}" -std=c11 -Wall -Werror \
		-fsyntax-only service.c
	run -0 "$root$binary" --check --config "$root$config"
}

@test "install and uninstall with PREFIX=/usr" {
	make_into "$PWD/root" install PREFIX=/usr
	run -0 files root
	[[ $output == "./etc/preforkd.conf
./usr/include/preforkd.h
./usr/lib/systemd/system/preforkd.service
./usr/lib/systemd/system/preforkd.socket
./usr/sbin/preforkd
./usr/share/man/man8/preforkd.8" ]]
	installs_as_one "$PWD/root"
	make_into "$PWD/root" uninstall PREFIX=/usr
	[[ -z $(files root) ]]
}

@test "install and uninstall with the default PREFIX" {
	make_into "$PWD/root" install
	(($(files root | wc -l) == 6))
	installs_as_one "$PWD/root"
	make_into "$PWD/root" uninstall
	[[ -z $(files root) ]]
}

@test "the program is hardened" {
	readelf -W --file-header --program-headers --dynamic --dyn-syms \
		"$PREFORKD" >elf
	grep -q 'Type: *DYN' elf
	grep -q GNU_RELRO elf
	grep -q BIND_NOW elf
	grep -Eq 'GNU_STACK .* RW +0x' elf
	# Sanitizers check the stack in their own way.
	grep -Eq '__stack_chk_fail|__asan_init' elf
}

@test "an operator's configuration is neither overwritten nor removed" {
	make_into "$PWD/root" install PREFIX=/usr
	echo 'workers = 3' >root/etc/preforkd.conf
	make_into "$PWD/root" install PREFIX=/usr
	make_into "$PWD/root" uninstall PREFIX=/usr
	run -0 files root
	[[ $output == ./etc/preforkd.conf ]]
	[[ $(<root/etc/preforkd.conf) == 'workers = 3' ]]
}

@test "all may read what is installed, and only root may change it" {
	umask 077
	make_into "$PWD/root" install PREFIX=/usr
	run -0 find root -type f ! -name preforkd ! -perm 0644
	[[ -z $output ]]
	run -0 find root/usr/sbin/preforkd -perm 0755
	[[ -n $output ]]
	run -0 find root/usr/* root/etc ! -type f ! -perm 0755
	[[ -z $output ]]
}

@test "the commented configuration shows each key with its default" {
	local config=$BATS_TEST_DIRNAME/../systemd/preforkd.conf
	"$PREFORKD" --check >defaults
	"$PREFORKD" --check --config "$config" >as_shipped
	diff defaults as_shipped
	sed -E 's/^#([a-z])/\1/' "$config" >uncommented
	"$PREFORKD" --check --config uncommented >in_force
	diff defaults in_force
	# In the order in which the server prints them, none left out.
	diff <(sed 's/ =.*//' defaults) <(sed -nE 's/^([a-z-]+) =.*/\1/p' uncommented)
}

@test "the man page has the options of --help, no more and no fewer" {
	local page=$BATS_TEST_DIRNAME/../man/preforkd.8.in
	run -0 "$PREFORKD" --help
	diff <(grep -oE -- '--[a-z][a-z-]+' <<<"$output" | sort -u) \
		<(sed -nE 's/^\.It .*Fl (-[a-z-]+).*/-\1/p' "$page" | sort -u)
}
