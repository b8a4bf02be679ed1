/*
 * What examples/http.c says to any input is responses, each of which has a
 * status that it may have, a length, and a body of that length, or none, as a
 * HEAD asks for; and nothing but the site's own bytes.
 */
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

enum { LARGE = 300 << 10 };

static unsigned char large[LARGE];

/* It is always the same second: the answers are compared. */
int fuzz_clock_gettime(clockid_t clock, struct timespec *now);
int
fuzz_clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec) { .tv_sec = 784111777 };
	return 0;
}

/* ---- a response ---------------------------------------------------------- */

struct response {
	int status;
	size_t length; /* that it claims for its body */
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

/* Returns where the body begins. */
static const char *
read_head(const char *at, const char *end, struct response *r)
{
	bool dated = false, measured = false;

	at = skip(at, end, "HTTP/1.1 ");
	r->status = atoi(at);
	at = line_end(at, end) + 2;
	while (!begins(at, end, "\r\n")) {
		if (begins(at, end, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"))
			dated = true;
		if (begins(at, end, "Content-Length: ")) {
			HOST_CHECK(!measured);
			r->length = (size_t)atoll(at + 16);
			measured = true;
		}
		r->closes |= begins(at, end, "Connection: close\r\n");
		at = line_end(at, end) + 2;
	}
	HOST_CHECK(dated && measured);
	return at + 2;
}

static bool
is_body(const char *body, const struct response *r)
{
	if (r->status == 200 && r->length == LARGE)
		return memcmp(body, large, LARGE) == 0;
	if (r->status == 200)
		return begins(body, body + r->length, "a page: ");
	if (r->status == 301)
		return r->length == 0;
	return atoi(body) == r->status && body[r->length - 1] == '\n';
}

static bool
is_error(int status)
{
	static const int errors[] = { 400, 408, 411, 413, 414, 431, 505 };

	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		if (errors[i] == status)
			return true;
	return false;
}

static void
check(const struct host_answer *answer)
{
	const char *at = (const char *)answer->bytes;
	const char *end = at + answer->count;

	while (at < end) {
		struct response r = { .status = 0 };

		at = read_head(at, end, &r);
		HOST_CHECK(is_error(r.status) || r.status == 200 ||
		    r.status == 301 || r.status == 404 || r.status == 405);
		HOST_CHECK(!is_error(r.status) || r.closes);
		if (at < end && !begins(at, end, "HTTP/1.1 ")) {
			HOST_CHECK((size_t)(end - at) >= r.length);
			HOST_CHECK(is_body(at, &r));
			at += r.length;
		}
		HOST_CHECK(!r.closes || at == end);
		HOST_CHECK(r.closes ==
		    (at == end && answer->reason == PREFORKD_FINISHED));
	}
	HOST_CHECK(answer->reason == PREFORKD_END ||
	    answer->reason == PREFORKD_FINISHED);
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
	char directory[] = "/tmp/fuzz-http.XXXXXX";

	for (size_t i = 0; i < LARGE; i++)
		large[i] = (unsigned char)(i * i >> 7);
	HOST_CHECK(mkdtemp(directory) && chdir(directory) == 0);
	HOST_CHECK(mkdir("d", 0700) == 0);
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		write_page(pages[i], "a page: hello", 13);
	write_page("large", large, sizeof large);
	host_start(directory);
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		unlink(pages[i]);
	unlink("large");
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
	host_converse(bytes, count, check);
	return 0;
}
