#!/usr/bin/env bats
# examples/http.c: what HTTP/1.1 asks of a server of files, and the clients that
# people use.

load helper

make_site() {
	mkdir -p site/deep/er 'site/a b' site/.hidden site/.well-known
	printf '<!DOCTYPE html>\n<title>home</title>\n' >site/index.html
	printf 'deep\n' >site/deep/er/index.html
	printf 'body { color: red }\n' >site/deep/style.css
	printf '%s\n' '{ "from": "json" }' >site/data.json
	printf 'odd\n' >'site/a b/c%d.txt'
	printf 'secret\n' >site/.hidden/file
	printf 'contact\n' >site/.well-known/security.txt
	printf 'secret\n' >secret
	ln -s ../secret site/link
	: >site/empty
	head -c 1000000 /dev/urandom >site/large.bin
}

# serve [OPTIONS...]: starts a server of the directory "site".
serve() {
	[[ -d site ]] || make_site
	start_server --listen "127.0.0.1:0=$EXAMPLES/http.so:$PWD/site" "$@"
	URL=http://$HOST:$PORT
}

# ask FORMAT [ARGUMENT...]: sends what printf(1) makes of it, then ends.
ask() {
	# shellcheck disable=SC2059
	printf "$@" | nc -N "$HOST" "$PORT"
}

# asks STATUS [CURL OPTIONS...] URL: curl gets this status; the answer is in the
# files "head" and "body".
asks() {
	local got status=$1
	shift
	got=$(curl -sS -D head -o body -w '%{http_code}' "$@")
	if [[ $got != "$status" ]]; then
		echo "curl $* gets $got instead of $status"
		return 1
	fi
}

# field NAME: its value in the file "head".
field() {
	sed -n "s/^$1: \(.*\)\r$/\1/Ip" head
}

# gets STATUS FORMAT...: the answer to it begins with this status.
gets() {
	local status=$1 line
	shift
	line=$(ask "$@" | head -n 1)
	if [[ $line != "HTTP/1.1 $status "* ]]; then
		printf '%q gets %q instead of %s\n' "$1" "$line" "$status"
		return 1
	fi
}

needs() {
	command -v "$1" >/dev/null || skip_or_fail "$1 is not installed"
}

# --- what is there -------------------------------------------------------------

@test "GET and HEAD: a file, its type and its length" {
	serve
	local path type
	while read -r path type; do
		run -0 curl -fsS -D head -o body "$URL/$path"
		cmp body "site/$path"
		grep -qix "content-type: $type"$'\r' head
		grep -qix "content-length: $(stat -c %s "site/$path")"$'\r' head
		grep -qiE '^date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT.$' head
		curl -fsSI "$URL/$path" | sed '/^Date/d' >head_only
		sed '/^Date/d' head | cmp - head_only
	done <<-'END'
		index.html text/html; charset=utf-8
		deep/style.css text/css; charset=utf-8
		data.json application/json
		empty application/octet-stream
		large.bin application/octet-stream
	END
}

@test "the date is now" {
	serve
	local before told
	before=$(date +%s)
	told=$(date -d "$(curl -fsSI "$URL/" | sed -n 's/^Date: //p' |
		tr -d '\r')" +%s)
	((before <= told + 1 && told <= $(date +%s))) # it may be a second old
}

@test "a directory has its index.html, and its name a slash" {
	serve
	[ "$(curl -fsS "$URL/")" = "$(<site/index.html)" ]
	[ "$(curl -fsS "$URL/deep/er/")" = deep ]
	run -0 curl -sS -o /dev/null -w '%{http_code} %{redirect_url}' \
		"$URL/deep/er"
	[ "$output" = "301 $URL/deep/er/" ]
	[ "$(curl -fsSL "$URL/deep/er")" = deep ]
	run -0 curl -sS -o /dev/null -w '%{redirect_url}' "$URL/a%20b"
	[ "$output" = "$URL/a%20b/" ]
	gets 404 'GET /deep/ HTTP/1.1\r\nHost: a\r\n\r\n'
}

@test "a redirection keeps the query, and stays on this host" {
	serve
	asks 301 "$URL/deep/er?x=1&y=%20?/"
	[ "$(field location)" = '/deep/er/?x=1&y=%20?/' ]
	mkdir 'site/\host'
	reload
	asks 301 --path-as-is "$URL/\\host"
	[ "$(field location)" = /%5Chost/ ]
	ask 'GET http://example.org/deep/er?q HTTP/1.1\r\nHost: a\r\n\r\n' |
		grep -qx $'Location: /deep/er/?q\r'
}

@test "types, from the table and from /etc/mime.types" {
	mkdir site
	local suffix type
	cat >types <<-'END'
		avif image/avif
		CSS text/css
		csv text/csv
		htm text/html
		html text/html
		jpeg image/jpeg
		js text/javascript
		json application/json
		map application/json
		md text/markdown
		mjs text/javascript
		mp3 audio/mpeg
		mp4 video/mp4
		svg image/svg+xml
		tar.gz application/gzip
		ttf font/ttf
		unheard-of application/octet-stream
		webmanifest application/manifest+json
		woff font/woff
		xml application/xml
		zip application/zip
	END
	while read -r suffix type; do
		echo x >"site/a.$suffix"
	done <types
	serve
	while read -r suffix type; do
		asks 200 "$URL/a.$suffix"
		if [[ $(field content-type) != "$type"* ]]; then
			echo ".$suffix is $(field content-type)"
			return 1
		fi
	done <types
	cp site/a.html site/a.odt
	[[ -r /etc/mime.types ]] || skip_or_fail 'no /etc/mime.types'
	reload
	asks 200 "$URL/a.odt"
	[ "$(field content-type)" = application/vnd.oasis.opendocument.text ]
}

@test "a charset is told only where it is that of the bytes" {
	mkdir site
	printf '<p>gr\303\274n' >site/utf8.html
	printf '<p>gr\374n' >site/latin1.html
	printf '<p>\355\240\200' >site/surrogate.html
	printf '\033\044B%%\042\033(B' >site/iso-2022.txt
	printf 'a\0b\0' >site/utf16.txt
	printf '{"a":"\303\274"}' >site/utf8.json
	serve
	local name type
	while read -r name type; do
		asks 200 "$URL/$name"
		[ "$(field content-type)" = "$type" ]
	done <<-'END'
		utf8.html text/html; charset=utf-8
		latin1.html text/html
		surrogate.html text/html
		iso-2022.txt text/plain
		utf16.txt text/plain
		utf8.json application/json
	END
}

@test "a path is decoded, and its query left out" {
	serve
	[ "$(curl -fsS "$URL/a%20b/c%25d.txt")" = odd ]
	[ "$(curl -fsS "$URL/%61%20b/c%25d.txt?a=%zz&b")" = odd ]
	gets 400 'GET /%%zz HTTP/1.1\r\nHost: a\r\n\r\n'
	gets 400 'GET /a%%2 HTTP/1.1\r\nHost: a\r\n\r\n'
	gets 400 'GET /index.html%%00 HTTP/1.1\r\nHost: a\r\n\r\n'
}

@test "nothing outside of the directory, and nothing hidden" {
	serve
	local path
	for path in /../secret /deep/../../secret /%2e%2e/secret \
		/..%2fsecret '/deep/..%2f..%2fsecret' //../secret \
		"/$PWD/secret" /link /.hidden/file /.hidden/ /./index.html \
		/deep/../index.html '/..\secret'; do
		gets 404 'GET %s HTTP/1.1\r\nHost: a\r\n\r\n' "$path"
		ask 'GET %s HTTP/1.1\r\nHost: a\r\n\r\n' "$path" >answer
		not grep -q secret answer
	done
}

@test "/.well-known is served, elsewhere it is hidden" {
	make_site
	mkdir -p site/deep/.well-known
	echo no >site/deep/.well-known/security.txt
	serve
	[ "$(curl -fsS "$URL/.well-known/security.txt")" = contact ]
	gets 404 'GET /deep/.well-known/security.txt HTTP/1.1\r\nHost: a\r\n\r\n'
}

@test "links within the site are followed, and no others" {
	make_site
	mkdir -p releases/2 releases/1 site/releases/1 site/releases/2
	echo one >site/releases/1/index.html
	echo two >site/releases/2/index.html
	echo x >site/releases/2/style.css
	ln -s releases/2 site/current
	ln -s "$PWD/site/deep" site/releases/2/absolute
	ln -s current/style.css site/style.css
	ln -s .hidden/file site/unhidden
	ln -s nowhere site/dangling
	ln -s . site/self
	ln -s loop2 site/loop1
	ln -s loop1 site/loop2
	ln -s /etc site/etc
	ln -s "$PWD/site2" site/sibling
	mkdir site2
	echo secret >site2/file
	serve
	[ "$(curl -fsS "$URL/current/")" = two ]
	[ "$(curl -fsS "$URL/current/style.css")" = x ]
	[ "$(curl -fsS "$URL/style.css")" = x ]
	[ "$(curl -fsS "$URL/current/absolute/er/")" = deep ]
	[ "$(curl -fsS "$URL/self/self/self/data.json")" = '{ "from": "json" }' ]
	[ "$(curl -fsSL "$URL/self")" = "$(<site/index.html)" ]
	asks 301 "$URL/current"
	[ "$(field location)" = /current/ ]
	local path
	for path in link unhidden dangling loop1 loop1/x etc etc/passwd \
		sibling/file current/nothing current/style.css/x; do
		asks 404 "$URL/$path"
	done
	log_has 'warning .*/site/etc: left out: a link to what is not below it'
	ln -sfn releases/1 site/current
	reload
	[ "$(curl -fsS "$URL/current/")" = one ]
}

# --- validators and ranges -----------------------------------------------------

@test "304: who has it already is told so" {
	serve
	local path=$URL/data.json etag date
	asks 200 --etag-save tag "$path"
	etag=$(field etag) date=$(field last-modified)
	[ "$(date -d "$date" +%s)" = "$(stat -c %Y site/data.json)" ]
	asks 304 --etag-compare tag "$path"
	[ "$(field etag)" = "$etag" ]
	[ ! -s body ] || [ "$(field content-length)" = '' ]
	asks 304 -z "$date" "$path"
	asks 304 -z "$(date -d "$date + 1 second" -R)" "$path"
	asks 200 -z "$(date -d "$date - 1 second" -R)" "$path"
	asks 304 -I -H "If-None-Match: $etag" "$path"
	local value
	for value in "*" "W/$etag" "\"a,b\", $etag" "\"x\" , , W/$etag"; do
		asks 304 -H "If-None-Match: $value" "$path"
	done
	asks 304 -H 'If-None-Match: "x"' -H "If-None-Match: $etag" "$path"
	for value in '"x"' 'W/"x"' "${etag//\"/}" '""' '"' "x, $etag"; do
		asks 200 -H "If-None-Match: $value" "$path"
	done
	# The tag counts where there is one; dates may have old formats.
	asks 200 -H 'If-None-Match: "x"' -H "If-Modified-Since: $date" "$path"
	for value in "$(TZ=UTC date -d "$date" '+%A, %d-%b-%y %H:%M:%S GMT')" \
		"$(TZ=UTC date -d "$date" '+%a %b %e %H:%M:%S %Y')"; do
		asks 304 -H "If-Modified-Since: $value" "$path"
	done
	for value in yesterday 0 "$date x" ''; do
		asks 200 -H "If-Modified-Since: $value" "$path"
	done
	asks 404 -H 'If-None-Match: *' "$URL/nothing"
}

@test "412: who wants what is no longer there is told so" {
	serve
	local path=$URL/data.json etag date
	asks 200 "$path"
	etag=$(field etag) date=$(field last-modified)
	asks 412 -H 'If-Match: "x"' "$path"
	asks 412 -H "If-Match: W/$etag" "$path"
	asks 200 -H "If-Match: \"x\", $etag" "$path"
	asks 200 -H 'If-Match: *' "$path"
	asks 200 -H "If-Unmodified-Since: $date" "$path"
	asks 412 -H 'If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT' "$path"
	asks 200 -H "If-Match: $etag" \
		-H 'If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT' "$path"
	asks 404 -H 'If-Match: "x"' "$URL/nothing"
	asks 200 "$path" # the connection has been kept in order
}

@test "a tag and a date tell versions from each other, over reloads and workers" {
	serve --workers 2
	asks 200 "$URL/data.json"
	local etag
	etag=$(field etag)
	touch site/data.json
	reload
	asks 304 -H "If-None-Match: $etag" "$URL/data.json"
	echo '{ "from": "JSON" }' >site/data.json
	reload
	asks 200 -H "If-None-Match: $etag" "$URL/data.json"
	[ "$(field etag)" != "$etag" ]
	touch -d '+1 day' site/data.json
	reload
	asks 200 "$URL/data.json"
	(($(date -d "$(field last-modified)" +%s) <= $(date -d "$(field date)" +%s)))
}

@test "206 and 416: a part of a file" {
	serve
	local path=$URL/large.bin etag range from count
	asks 200 "$path"
	etag=$(field etag)
	[ "$(field accept-ranges)" = bytes ]
	while read -r range from count; do
		asks 206 -r "$range" "$path"
		cmp body <(tail -c +$((from + 1)) site/large.bin | head -c "$count")
		[ "$(field content-range)" = \
			"bytes $from-$((from + count - 1))/1000000" ]
		[ "$(field content-length)" = "$count" ]
		[ "$(field etag)" = "$etag" ]
	done <<-'END'
		0-0 0 1
		0-999999 0 1000000
		0-99999999999999999999999999 0 1000000
		999999- 999999 1
		500000-799999 500000 300000
		-1 999999 1
		-300000 700000 300000
		-5000000 0 1000000
	END
	for range in 1000000- 1000000-2000000 99999999999999999999999999- -0; do
		asks 416 -r "$range" "$path"
		[ "$(field content-range)" = 'bytes */1000000' ]
	done
	local odd
	for odd in bytes=2-1 bytes=a-b bytes=- bytes=0 bytes bytes=0-1,4-5 \
		lines=0-1 'bytes=0-1 x' 'bytes 0-1'; do
		asks 200 -H "Range: $odd" "$path"
		cmp body site/large.bin
	done
	asks 200 -I -r 0-0 "$path"
	asks 200 -r 0-0 "$URL/empty"
	asks 404 -r 0-0 "$URL/nothing"
	asks 304 -r 0-0 -H "If-None-Match: $etag" "$path"
}

@test "If-Range: a part of the same version only" {
	serve
	local path=$URL/data.json etag date
	asks 200 "$path"
	etag=$(field etag) date=$(field last-modified)
	asks 206 -r 0-3 -H "If-Range: $etag" "$path"
	asks 206 -r 0-3 -H "If-Range: $date" "$path"
	asks 200 -r 0-3 -H 'If-Range: "x"' "$path"
	asks 200 -r 0-3 -H "If-Range: W/$etag" "$path"
	asks 200 -r 0-3 -H 'If-Range: Sun, 06 Nov 1994 08:49:37 GMT' "$path"
	asks 200 -r 0-3 -H 'If-Range: ' -H "If-Range: x" "$path"
}

@test "a download goes on where it was cut" {
	serve
	head -c 300000 site/large.bin >got
	run -0 curl -fsS -C - -o got "$URL/large.bin"
	cmp got site/large.bin
}

# --- the protocol --------------------------------------------------------------

@test "400: what is no request" {
	serve
	local bad
	for bad in 'GET\r\n\r\n' 'GET /\r\n\r\n' ' GET / HTTP/1.1\r\n\r\n' \
		'GET  / HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET / http/1.1\r\nHost: a\r\n\r\n' \
		'GET / HTTP/1.10\r\nHost: a\r\n\r\n' \
		'GET / HTTP/1.1 \r\nHost: a\r\n\r\n' \
		'GET / HTTP/1.1\nHost: a\n\n' \
		'GET / HTTP/1.1\r\r\n' \
		'GET index.html HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET * HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET /#x HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET / HTTP/1.1\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a b\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a@b\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a:b:c\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a:99999999999999999999\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: :80\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: ::1\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: []\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: [::1]80\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: [v1.]\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a%%2\r\n\r\n' \
		'GET http:///index.html HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET http:// HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET http://?x HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET http://a:x/ HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost : a\r\n\r\n' \
		'GET / HTTP/1.1\r\n Host: a\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a\r\nx: y\r\n z\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a\r\nx\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a\r\nx: \001\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a\r\nx: \000\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n' \
		'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n' \
		'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n' \
		'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n' \
		'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n' \
		'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n' \
		'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n' \
		'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n' \
		'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n' \
		'\026\003\001\002\000\001'; do
		gets 400 "$bad"
	done
	stream_is_closed 'x\r\n'
}

# stream_is_closed FORMAT: after the answer the server ends the connection.
stream_is_closed() {
	exec 5<>"/dev/tcp/$HOST/$PORT"
	# shellcheck disable=SC2059
	printf "$1" >&5
	timeout "$PATIENCE" cat <&5 >/dev/null
	exec 5>&-
}

@test "404, 405, 411, 501, 505" {
	serve
	gets 404 'GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n'
	gets 404 'HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n'
	local method
	for method in POST PUT DELETE PATCH OPTIONS TRACE; do
		gets 405 '%s / HTTP/1.1\r\nHost: a\r\n\r\n' "$method"
	done
	for method in get Head X PROPFIND; do
		gets 501 '%s / HTTP/1.1\r\nHost: a\r\n\r\n' "$method"
	done
	local coding
	for coding in 'gzip, chunked' 'x-new' 'x-new, chunked'; do
		gets 501 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %s\r\n\r\n' "$coding"
	done
	gets 405 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'
	gets 405 'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n'
	ask 'POST / HTTP/1.1\r\nHost: a\r\n\r\n' | grep -qx $'Allow: GET, HEAD\r'
	gets 411 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
	gets 505 'GET / HTTP/2.0\r\n\r\n'
	gets 505 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
}

@test "413: a body that is too large, and the client hears why" {
	serve
	gets 413 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n'
	gets 413 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999999\r\n\r\n'
	head -c 20000000 /dev/zero >upload
	run -0 curl -sS -o /dev/null -w '%{http_code}' -H Expect: \
		--data-binary @upload "$URL/"
	[ "$output" = 413 ]
	run -0 curl -sS -o /dev/null -w '%{http_code}' \
		--data-binary @upload "$URL/"
	[ "$output" = 413 ]
}

@test "414 and 431: a head that is too long" {
	serve
	local long
	long=$(head -c 9000 /dev/zero | tr '\0' a)
	gets 414 'GET /%s HTTP/1.1\r\nHost: a\r\n\r\n' "$long"
	gets 431 'GET / HTTP/1.1\r\nHost: a\r\nx: %s\r\n\r\n' "$long$long"
	gets 431 'GET / HTTP/1.1\r\nHost: a\r\n%s' \
		"$(printf 'x: y\\r\\n%.0s' {1..4000})"
	gets 200 'GET /?%s HTTP/1.1\r\nHost: a\r\nx: %s\r\ny: %s\r\n\r\n' \
		"${long:0:8000}" "${long:0:8000}" "${long:0:8000}"
}

# drips FORMAT TEXT: sends the one, and then the other again and again until the
# server ends the connection; prints the first line of the answer.
drips() {
	local line client
	exec 5<>"/dev/tcp/$HOST/$PORT"
	# shellcheck disable=SC2059
	printf "$1" >&5
	while pause 0.5 && printf %b "$2" >&5; do :; done 2>/dev/null &
	client=$!
	line=$(timeout "$PATIENCE" cat <&5 2>/dev/null | head -n 1)
	kill "$client" 2>/dev/null || true
	exec 5>&-
	echo "${line%$'\r'}"
}

@test "408: a request that does not come whole, however it is spun out" {
	serve
	drips 'GET / HTTP/1.1\r\nHost: a\r\n' '' >slow.1 &
	CLIENTS+=("$!")
	drips 'GET / HTTP/1.1\r\n' 'x: y\r\n' >slow.2 &
	CLIENTS+=("$!")
	drips '\r' '' >slow.3 &
	CLIENTS+=("$!")
	drips '\r\n' '\r\n' >slow.4 &
	CLIENTS+=("$!")
	drips 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n' x \
		>slow.5 &
	CLIENTS+=("$!")
	local i
	for i in 1 2 3 4 5; do
		wait_until test -s "slow.$i"
		[ "$i" -eq 5 ] || [ "$(<"slow.$i")" = \
			'HTTP/1.1 408 Request Timeout' ]
	done
	[ "$(<slow.5)" = 'HTTP/1.1 405 Method Not Allowed' ]
}

@test "a small body is read over" {
	serve
	run -0 ask 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nGET /x HTTP/1.1\r\n\r\nXGET /data.json HTTP/1.1\r\nHost: a\r\n\r\n'
	[ "$(grep -c '^HTTP/1.1 ' <<<"$output")" -eq 2 ]
	[[ $output == *'{ "from": "json" }' ]]
	head -c 60000 /dev/zero >upload
	run -0 curl -sS -o /dev/null -w '%{http_code} %{num_connects}\n' \
		--data-binary @upload "$URL/" --next \
		-sS -o /dev/null -w '%{http_code} %{num_connects}\n' "$URL/"
	[ "$output" = $'405 1\n200 0' ]
}

@test "keep-alive as HTTP/1.1 and HTTP/1.0 have it" {
	serve
	run -0 curl -fsS -o /dev/null -o /dev/null -o /dev/null \
		-w '%{num_connects}\n' "$URL/" "$URL/data.json" "$URL/empty"
	[ "$output" = $'1\n0\n0' ]
	stream_is_closed 'GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n'
	stream_is_closed 'GET / HTTP/1.0\r\n\r\n'
	ask 'GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n' |
		grep -qx $'Connection: keep-alive\r'
	run -0 ask 'GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n'
	[ "$(grep -c '^HTTP/1.1 200' <<<"$output")" -eq 1 ]
	run -0 ask 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n'
	[ "$(grep -c '^HTTP/1.1 200' <<<"$output")" -eq 2 ]
}

@test "a target may be a whole URL, and an empty line come first" {
	serve
	gets 200 'GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n'
	gets 200 'GET HTTP://example.org HTTP/1.1\r\nHost: example.org\r\n\r\n'
	gets 200 'GET http://example.org?x HTTP/1.1\r\nHost: example.org\r\n\r\n'
	gets 200 '\r\n\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n'
}

@test "a request that comes byte by byte" {
	serve
	local request byte
	request=$'GET /data.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
	exec 5<>"/dev/tcp/$HOST/$PORT"
	while IFS= read -r -d '' -n 1 byte; do
		printf %s "$byte" >&5
	done <<<"$request"
	[[ $(cat <&5) == *'{ "from": "json" }' ]]
	exec 5>&-
}

# --- pipelining, and what happens to workers -----------------------------------

# make_numbers N: files that tell their number, the higher the longer.
make_numbers() {
	local i
	mkdir site
	for ((i = 0; i < $1; i++)); do
		printf "%0$((i * 20 + 1))d\n" "$i" >"site/$i.txt"
	done
}

# requests N COUNT, responses N COUNT: for those files, over and over.
requests() {
	awk -v files="$1" -v count="$2" 'BEGIN {
		for (i = 0; i < count; i++)
			printf "GET /%d.txt HTTP/1.1\r\nHost: a\r\n\r\n", i % files
	}'
}

# plain: without the fields that are not the same each time.
plain() {
	sed -E '/^(Date|Last-Modified|ETag|Accept-Ranges): /d'
}

responses() {
	awk -v files="$1" -v count="$2" 'BEGIN {
		for (i = 0; i < count; i++) {
			n = i % files
			printf "HTTP/1.1 200 OK\r\n"
			printf "Content-Type: text/plain; charset=utf-8\r\n"
			printf "Content-Length: %d\r\n\r\n", n * 20 + 2
			printf "%0" (n * 20 + 1) "d\n", n
		}
	}'
}

@test "50,000 pipelined requests are answered in their order" {
	make_numbers 50
	serve
	requests 50 50000 | nc -N "$HOST" "$PORT" | plain >output
	cmp output <(responses 50 50000)
}

@test "pipelined requests while workers are killed: the same" {
	make_numbers 50
	serve --workers 1
	requests 50 200000 | nc -N "$HOST" "$PORT" | plain >output &
	local client=$!
	kill_workers 15
	wait "$client"
	cmp output <(responses 50 200000)
}

@test "pipelined requests over reloads: the same" {
	make_numbers 50
	serve --workers 2
	requests 50 200000 | nc -N "$HOST" "$PORT" | plain >output &
	local client=$! i
	for i in {1..5}; do
		reload
	done
	wait "$client"
	cmp output <(responses 50 200000)
}

@test "many requests behind a large file" {
	serve --workers 1
	{
		printf 'GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n'
		awk 'BEGIN {
			for (i = 0; i < 20000; i++)
				printf "GET /data.json HTTP/1.1\r\nHost: a\r\n\r\n"
		}'
	} | nc -N "$HOST" "$PORT" >output
	[ "$(grep -ao 'HTTP/1.1 200 OK' output | wc -l)" -eq 20001 ]
	[ "$(tail -n 1 output)" = '{ "from": "json" }' ]
}

@test "a large file to a client that reads slowly, while workers are killed" {
	serve --workers 1
	exec 5<>"/dev/tcp/$HOST/$PORT"
	printf 'GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >&5
	local line
	while read -r line <&5 && [[ $line != $'\r' ]]; do :; done
	local i
	for i in {1..10}; do
		dd bs=1000 count=50 iflag=fullblock status=none <&5 >>output
		kill_workers 1
	done
	cat <&5 >>output
	exec 5>&-
	cmp output site/large.bin
}

@test "a download that has begun ends with the content that it began with" {
	make_site
	head -c 20000000 /dev/urandom >site/large.bin
	cp site/large.bin before
	serve --workers 1
	exec 5<>"/dev/tcp/$HOST/$PORT" 6<>"/dev/tcp/$HOST/$PORT"
	printf 'GET /large.bin HTTP/1.0\r\n\r\n' >&5
	printf 'GET /large.bin HTTP/1.0\r\n\r\n' >&6
	local line
	while read -r line <&5 && [[ $line != $'\r' ]]; do :; done
	while read -r line <&6 && [[ $line != $'\r' ]]; do :; done
	reload
	cat <&5 | cmp - before
	head -c 20000000 /dev/urandom >site/large.bin
	reload
	curl -fsS "$URL/large.bin" | cmp - site/large.bin
	cat <&6 | cmp - before
	exec 5>&- 6>&-
}

# has_one_pair: one worker, its standby, and one generation's loaders.
has_one_pair() {
	has_pairs 1 && (($(children "$MASTER" | wc -l) == 4))
}

@test "a download that takes for ever does not keep the old worker for ever" {
	make_site
	head -c 20000000 /dev/urandom >site/large.bin
	serve --workers 1 --drain-timeout 2s
	exec 5<>"/dev/tcp/$HOST/$PORT"
	printf 'GET /large.bin HTTP/1.0\r\n\r\n' >&5
	local line
	while read -r line <&5 && [[ $line != $'\r' ]]; do :; done
	reload
	wait_until has_one_pair
	cat <&5 | tail -c 1000000 | cmp - <(tail -c 1000000 site/large.bin)
	exec 5>&-
}

@test "HUP shows what has changed on the disk" {
	serve
	echo new >site/new.txt
	rm site/data.json
	gets 404 'GET /new.txt HTTP/1.1\r\nHost: a\r\n\r\n'
	reload
	[ "$(curl -fsS "$URL/new.txt")" = new ]
	gets 404 'GET /data.json HTTP/1.1\r\nHost: a\r\n\r\n'
}

@test "a site that cannot be served is refused, and a reload keeps the old" {
	expect_error 'service .*http.so'
	expect_error 'reload failed'
	local bad
	for bad in "$EXAMPLES/http.so" "$EXAMPLES/http.so:nowhere"; do
		launch --listen "127.0.0.1:0=$bad"
		wait_until not is_alive "$MASTER"
	done
	log_has 'nowhere: No such file or directory'
	serve
	mv site site.away
	reload
	log_has 'reload failed: .*/site: No such file or directory; nothing has changed'
	[ "$(curl -fsS "$URL/deep/er/")" = deep ]
	mv site.away site
	reload
	log_has ' reloaded: '
}

@test "what cannot be read is forbidden, and the rest is served" {
	make_site
	mkdir -p site/lost+found site/listed
	echo x >site/private.txt
	echo x >site/listed/file
	mkfifo site/fifo
	chmod 0 site/private.txt site/lost+found
	chmod 600 site/listed
	# Root reads everything, unless it may not.
	((EUID != 0)) ||
		LAUNCHER=(setpriv '--bounding-set=-dac_override,-dac_read_search')
	serve --workers 1
	chmod 700 site/lost+found site/listed
	asks 403 "$URL/private.txt"
	asks 403 -I "$URL/private.txt"
	asks 301 "$URL/lost+found"
	asks 403 "$URL/lost+found/"
	asks 403 "$URL/listed/file"
	asks 404 "$URL/fifo"
	[ "$(curl -fsS "$URL/data.json")" = '{ "from": "json" }' ]
	log_has 'warning .*/site/private.txt: Permission denied'
	log_has 'warning .*/site/lost\+found: Permission denied'
	chmod 600 site/private.txt
	reload
	asks 200 "$URL/private.txt"
}

@test "what is too large is forbidden, and the rest is served" {
	make_site
	head -c 100000 /dev/zero >site/zeros
	head -c 90000000 /dev/zero >site/huge
	start_server --workers 1 \
		--listen "127.0.0.1:0=$EXAMPLES/http.so:1,$PWD/site" \
		--listen "127.0.0.1:0=$EXAMPLES/http.so:$PWD/site"
	URL=http://$HOST:$PORT
	asks 403 "$URL/huge"
	[ "$(curl -fsS "$URL/data.json")" = '{ "from": "json" }' ]
	log_has 'warning .*/site/huge: forbidden, .*: write "MIB,DIRECTORY"'
	asks 200 -I "http://$HOST:$(ports | tail -n 1)/huge"
	[ "$(field content-length)" = 90000000 ]
}

@test "files that come and go while the site is read fail no reload" {
	mkdir site
	local i
	for i in {1..300}; do
		echo x >"site/f$i"
	done
	serve --workers 1
	(while :; do
		for i in {1..300}; do
			echo new >"site/new$i"
			mv "site/new$i" "site/f$i"
		done
	done) 3>&- &
	CLIENTS+=("$!")
	for i in {1..10}; do
		reload
	done
	not log_has 'reload failed'
	asks 200 "$URL/f1"
}

# --- clients that nobody here wrote --------------------------------------------

@test "wrk" {
	needs wrk
	serve --workers 2
	run -0 wrk -t 1 -c 50 -d 2 "$URL/data.json"
	[[ $output =~ ([0-9]+)\ requests\ in ]]
	((BASH_REMATCH[1] > 1000))
	[[ $output != *'Socket errors'* && $output != *'Non-2xx'* ]]
}

@test "wrk, while workers are killed and the site is reloaded" {
	needs wrk
	serve --workers 1
	start_client wrk -t 1 -c 50 -d 3 "$URL/data.json"
	local i client=${CLIENTS[0]}
	for i in {1..5}; do
		kill_workers 2
		reload
	done
	wait_until not is_alive "$client"
	run -0 cat client.0
	[[ $output == *'requests in'* ]]
	[[ $output != *'Socket errors'* && $output != *'Non-2xx'* ]]
}

@test "ab, with keep-alive and without" {
	needs ab
	serve --workers 2
	run -0 ab -q -k -n 20000 -c 20 "$URL/data.json"
	[[ $output == *'Complete requests:      20000'* ]]
	[[ $output == *'Keep-Alive requests:    20000'* ]]
	[[ $output == *'Failed requests:        0'* ]]
	[[ $output != *'Non-2xx'* ]]
	run -0 ab -q -n 5000 -c 20 "$URL/large.bin"
	[[ $output == *'Complete requests:      5000'* ]]
	[[ $output == *'Failed requests:        0'* ]]
}

@test "h2load, as HTTP/1.1 and pipelining" {
	needs h2load
	serve --workers 2
	run -0 h2load --h1 -n 20000 -c 20 -m 16 "$URL/data.json"
	[[ $output == *'20000 succeeded, 0 failed, 0 errored, 0 timeout'* ]]
	[[ $output == *'status codes: 20000 2xx'* ]]
}

@test "curl, 100 files on 10 connections at once" {
	serve --workers 4
	local i
	for i in {1..100}; do
		printf 'url = "%s/large.bin"\noutput = "got.%s"\n' "$URL" "$i"
	done >list
	run -0 curl -fsS --parallel --parallel-max 10 -K list
	for i in {1..100}; do
		cmp "got.$i" site/large.bin
	done
}

# browser: the name of what is installed.
browser() {
	command -v chromium || command -v chromium-browser ||
		command -v google-chrome
}

# The page is complete when its script has got the style sheet and the data.
@test "Chromium shows a page with a style sheet, a script and data" {
	local chromium
	chromium=$(browser) || skip_or_fail 'chromium is not installed'
	make_site
	printf '%s\n' '<!DOCTYPE html><title>page</title>' \
		'<link rel="stylesheet" href="deep/style.css">' \
		'<body>waiting<script src="script.js"></script>' >site/page.html
	cat >site/script.js <<-'END'
		addEventListener("load", async () => {
			const data = await (await fetch("data.json")).json();
			const color = getComputedStyle(document.body).color;
			document.body.textContent = data.from + ", " + color;
		});
	END
	serve --workers 2
	run -0 timeout 240 "$chromium" --headless --no-sandbox --disable-gpu \
		--disable-quic --no-first-run --disable-background-networking \
		--disable-component-update --disable-sync \
		--user-data-dir="$PWD/profile" --virtual-time-budget=10000 \
		--dump-dom "$URL/page.html" 2>errors
	[[ $output == *'json, rgb(255, 0, 0)'* ]]
}
