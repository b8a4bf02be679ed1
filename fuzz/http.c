/*
 * What examples/http.c says to any input is responses, each of which has a
 * status that it may have, a length, and a body of that length, or none, as a
 * HEAD asks for; and nothing but the site's own bytes.
 *
 * An input that begins with a NUL is a script: each byte stands for a request
 * of which it is known how it is answered.
 */
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

enum { LARGE = 260 << 10, SCRIPT = 32 };

static unsigned char large[LARGE];
static const char page[] = "a page: hello";

/* It is always the same second, as the answers are compared: the first one. */
int fuzz_clock_gettime(clockid_t clock, struct timespec *now);
int
fuzz_clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec) { .tv_sec = 0 };
	return 0;
}

/* ---- a response ---------------------------------------------------------- */

struct response {
	int status;
	size_t length; /* that it claims for its body */
	size_t from;   /* of a part: where in the whole it is, */
	size_t whole;  /* and how long that is */
	bool closes;
};

static const char *
skip(const char *at, const char *end, const char *text)
{
	HOST_CHECK((size_t)(end - at) >= strlen(text));
	HOST_CHECK(memcmp(at, text, strlen(text)) == 0);
	return at + strlen(text);
}

static const char *
line_end(const char *at, const char *end)
{
	const char *found = memchr(at, '\r', (size_t)(end - at));

	HOST_CHECK(found && end - found >= 2 && found[1] == '\n');
	for (const char *c = at; c < found; c++)
		HOST_CHECK(*c >= ' ' && *c <= '~');
	return found;
}

static bool
begins(const char *at, const char *end, const char *text)
{
	return (size_t)(end - at) >= strlen(text) &&
	    memcmp(at, text, strlen(text)) == 0;
}

static void
read_range(const char *at, struct response *r)
{
	size_t last;

	HOST_CHECK(sscanf(at, "%zu-%zu/%zu", &r->from, &last, &r->whole) == 3);
	HOST_CHECK(r->from <= last && last < r->whole);
	HOST_CHECK(r->status == 206);
}

/* Returns where the body begins. */
static const char *
read_head(const char *at, const char *end, struct response *r)
{
	bool dated = false, measured = false;

	at = skip(at, end, "HTTP/1.1 ");
	r->status = atoi(at);
	at = line_end(at, end) + 2;
	while (!begins(at, end, "\r\n")) {
		if (begins(at, end, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"))
			dated = true;
		if (begins(at, end, "Content-Length: ")) {
			HOST_CHECK(!measured);
			r->length = (size_t)atoll(at + 16);
			measured = true;
		}
		if (begins(at, end, "Content-Range: bytes ") && at[21] != '*')
			read_range(at + 21, r);
		r->closes |= begins(at, end, "Connection: close\r\n");
		at = line_end(at, end) + 2;
	}
	HOST_CHECK(dated && measured == (r->status != 304));
	HOST_CHECK((r->status == 206) == (r->whole > 0));
	return at + 2;
}

static bool
is_part(const char *body, const struct response *r)
{
	const void *whole = r->whole == LARGE ? (const void *)large : page;

	HOST_CHECK(r->from + r->length <= r->whole);
	HOST_CHECK(r->whole == LARGE || r->whole == strlen(page));
	return memcmp(body, (const char *)whole + r->from, r->length) == 0;
}

static bool
is_body(const char *body, const struct response *r)
{
	if (r->status == 206)
		return is_part(body, r);
	if (r->status == 200 && r->length == LARGE)
		return memcmp(body, large, LARGE) == 0;
	if (r->status == 200)
		return r->length == strlen(page) &&
		    memcmp(body, page, r->length) == 0;
	if (r->status == 301 || r->status == 304)
		return r->length == 0;
	return atoi(body) == r->status && body[r->length - 1] == '\n';
}

static bool
is_among(int status, const int *statuses)
{
	while (*statuses && *statuses != status)
		statuses++;
	return *statuses;
}

/* After such an answer nothing can be understood. */
static bool
ends(int status)
{
	static const int all[] = { 400, 408, 411, 413, 414, 431, 505, 0 };

	return is_among(status, all);
}

static bool
is_usual(int status)
{
	static const int all[] = { 200, 206, 301, 304, 403, 404, 405, 412, 416,
		501, 0 };

	return is_among(status, all);
}

/* What a script's requests are answered with, as it is expected. */
static int expected[SCRIPT];
static size_t expected_count;

static void
check(const struct host_answer *answer)
{
	size_t number = 0;
	const char *at = (const char *)answer->bytes;
	const char *end = at + answer->count;

	while (at < end) {
		struct response r = { .status = 0 };

		at = read_head(at, end, &r);
		HOST_CHECK(ends(r.status) || is_usual(r.status));
		HOST_CHECK(!ends(r.status) || r.closes);
		HOST_CHECK(expected_count == 0 || r.status == 408 ||
		    (number < expected_count && r.status == expected[number]));
		number++;
		if (at < end && !begins(at, end, "HTTP/1.1 ")) {
			HOST_CHECK((size_t)(end - at) >= r.length);
			HOST_CHECK(is_body(at, &r));
			at += r.length;
		}
		HOST_CHECK(!r.closes || at == end);
		HOST_CHECK(!r.closes || answer->reason == PREFORKD_FINISHED);
		HOST_CHECK(r.closes || answer->timed || at < end ||
		    answer->reason == PREFORKD_END);
	}
	HOST_CHECK(answer->reason == PREFORKD_END ||
	    answer->reason == PREFORKD_FINISHED);
	HOST_CHECK(number >= expected_count || answer->timed);
}

/* ---- scripts ------------------------------------------------------------- */

#define HEAD " HTTP/1.1\r\nHost: a\r\n"

static const struct {
	const char *request;
	int status;
	bool closes;
} known[] = {
	{ "GET /" HEAD "\r\n", 200, false },
	{ "\r\nGET /d/?q" HEAD "\r\n", 200, false },
	{ "HEAD /large" HEAD "\r\n", 200, false },
	{ "GET /large" HEAD "\r\n", 200, false },
	{ "GET /a%20%62.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200,
	    false },
	{ "GET HTTP://a/d/e.css" HEAD "CONTENT-LENGTH:\t3 \r\n\r\n\r\n\r", 200,
	    false },
	{ "GET /d" HEAD "\r\n", 301, false },
	{ "GET /d/../index.html" HEAD "\r\n", 404, false },
	{ "HEAD /x" HEAD "\r\n", 404, false },
	{ "POST /" HEAD "Content-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n", 405,
	    false },
	{ "get /" HEAD "\r\n", 501, false },
	{ "GET /" HEAD "Connection: a, close\r\n\r\n", 200, true },
	{ "GET /large HTTP/1.0\r\n\r\n", 200, true },
	{ "PUT /" HEAD "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n", 405,
	    true },
	{ "GET /%" HEAD "\r\n", 400, true },
	{ "GET /" HEAD "Host: a\r\n\r\n", 400, true },
	{ "GET /" HEAD "Content-Length : 1\r\n\r\n", 400, true },
	{ "POST /" HEAD "Transfer-Encoding: chunked\r\n\r\n", 411, true },
	{ "POST /" HEAD "Content-Length: 65537\r\n\r\n", 413, true },
	{ "GET / HTTP/2.0\r\n", 505, true },
	{ "GET /d?a=b/" HEAD "\r\n", 301, false },
	{ "GET /l/e.css" HEAD "\r\n", 200, false },
	{ "GET /l" HEAD "\r\n", 301, false },
	{ "GET /huge" HEAD "\r\n", 403, false },
	{ "FOO /" HEAD "\r\n", 501, false },
	{ "GET /" HEAD "If-None-Match: \"x\", *\r\nRange: bytes=2-4\r\n\r\n",
	    206, false },
	{ "GET /large" HEAD "Range: bytes=-200000\r\n\r\n", 206, false },
	{ "GET /" HEAD "Range: bytes=13-\r\n\r\n", 416, false },
	{ "GET /" HEAD "If-None-Match: *\r\n\r\n", 304, false },
	{ "GET /" HEAD "If-Match: \"x\"\r\n\r\n", 412, false },
	{ "GET /" HEAD "If-Modified-Since: Thursday, 01-Jan-70 00:00:00 GMT"
	  "\r\n\r\n",
	    304, false },
	{ "POST /" HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, true },
	{ "GET http:///" HEAD "\r\n", 400, true },
	{ "GET / HTTP/1.1\r\nHost: [::1]:x\r\n\r\n", 400, true },
};

enum { KNOWN = sizeof known / sizeof known[0] };

static void
follow_script(const unsigned char *script, size_t count)
{
	char *text = malloc((size_t)SCRIPT * 128), *to = text;
	bool closed = false;

	HOST_CHECK(text);
	for (size_t i = 0; i < count && i < SCRIPT; i++) {
		size_t n = script[i] % KNOWN;

		to = stpcpy(to, known[n].request);
		if (!closed)
			expected[expected_count++] = known[n].status;
		closed |= known[n].closes;
	}
	host_converse((unsigned char *)text, (size_t)(to - text), check);
	expected_count = 0;
	free(text);
}

/* ---- the site ------------------------------------------------------------ */

static void
write_page(const char *path, const void *bytes, size_t count)
{
	FILE *file = fopen(path, "w");

	HOST_CHECK(file && fwrite(bytes, 1, count, file) == count);
	HOST_CHECK(fclose(file) == 0);
}

/* It is read at once, and goes again. */
static void
start_with_site(void)
{
	static const char *const pages[] = { "index.html", "a b.txt",
		"d/index.html", "d/e.css" };
	char directory[] = "/tmp/fuzz-http.XXXXXX", argument[64];

	for (size_t i = 0; i < LARGE; i++)
		large[i] = (unsigned char)(i * i >> 7);
	HOST_CHECK(mkdtemp(directory) && chdir(directory) == 0);
	HOST_CHECK(mkdir("d", 0700) == 0);
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		write_page(pages[i], page, strlen(page));
	write_page("large", large, sizeof large);
	write_page("huge", page, 1);
	HOST_CHECK(truncate("huge", 2 << 20) == 0 && symlink("d", "l") == 0);
	snprintf(argument, sizeof argument, "1,%s", directory);
	host_start(argument);
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		unlink(pages[i]);
	unlink("large");
	unlink("huge");
	unlink("l");
	rmdir("d");
	HOST_CHECK(chdir("/") == 0 && rmdir(directory) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char *before = getcwd(NULL, 0); /* libFuzzer's paths are relative */

	(void)argc;
	(void)argv;
	start_with_site();
	HOST_CHECK(before && chdir(before) == 0);
	free(before);
	return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t count);
int
LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t count)
{
	if (count > 0 && *bytes == '\0')
		follow_script(bytes + 1, count - 1);
	else
		host_converse(bytes, count, check);
	return 0;
}
