/*
 * http: the files below a directory, over HTTP/1.1 (RFC 9110, RFC 9112).
 *
 *     preforkd --listen :8000=./http.so:/srv/www
 *
 * `start` reads them all and makes a response of each, ready to leave, so that
 * a request costs a look-up and one reply; HUP reads them anew. Nothing else
 * can be asked for, however it is spelled, as a request opens no file. Left out
 * are symbolic links, and names that begin with a dot.
 *
 * From the top: what is sent, the site, the parser, the service.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <preforkd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	SITE_MAX = 64 << 20, /* bytes of all responses; each worker has them */
	PART = 128 << 10,    /* bytes of a response that leave in one reply */
	HEAD_MAX = 8 << 10,  /* bytes of a request without its body */
	BODY_MAX = 64 << 10, /* bytes of a request's body, which nobody reads */
	HEAD_MS = 10000,     /* for a request to come whole */
	DATE_LENGTH = 29     /* "Sun, 06 Nov 1994 08:49:37 GMT" */
};

/* What becomes of a request. */
enum outcome {
	INCOMPLETE,
	FOUND,
	NOT_FOUND,
	BAD_METHOD,
	BAD_REQUEST, /* after this and what follows the connection closes */
	TIMED_OUT,
	NO_LENGTH,
	LONG_BODY,
	LONG_TARGET,
	LONG_HEAD,
	BAD_VERSION,
	OUTCOMES
};

/* ---- what is sent -------------------------------------------------------- */

struct page {
	char *path;	  /* as it is asked for, decoded */
	char *bytes;	  /* the head, and the body behind it */
	size_t head;	  /* bytes of the head */
	size_t length;	  /* bytes of both */
	size_t date;	  /* where in the head the date stands */
	time_t second;	  /* which the date tells */
	uint64_t content; /* a hash of the body, never 0 */
};

static struct page *pages; /* sorted by path */
static size_t page_count;
static struct page answers[OUTCOMES]; /* where it is not a file */

/* Writes the head of a response with a body of COUNT bytes. Returns where that
 * goes, or NULL where there is no memory. FIELDS are whole lines. */
static char *
compose(struct page *page, const char *status, const char *fields, size_t count)
{
	size_t room = 100 + DATE_LENGTH + strlen(status) + strlen(fields);

	page->bytes = malloc(room + count);
	if (!page->bytes)
		return NULL;
	page->head = (size_t)snprintf(page->bytes, room,
	    "HTTP/1.1 %s\r\nDate: %*s\r\n%sContent-Length: %zu\r\n\r\n", status,
	    DATE_LENGTH, "", fields, count);
	page->length = page->head + count;
	page->date = strlen("HTTP/1.1 \r\nDate: ") + strlen(status);
	return page->bytes + page->head;
}

static void
write_date(struct page *page)
{
	struct timespec now;
	struct tm utc;
	char date[DATE_LENGTH + 1];

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (page->second == now.tv_sec)
		return;
	page->second = now.tv_sec;
	gmtime_r(&now.tv_sec, &utc);
	strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc);
	memcpy(page->bytes + page->date, date, DATE_LENGTH);
}

/* Replies the first COUNT bytes, with FIELDS more in the head. */
static void
reply_page(struct preforkd_conn *conn, struct page *page, size_t count,
    const char *fields)
{
	size_t dated = page->date + DATE_LENGTH + strlen("\r\n");

	write_date(page);
	if (*fields == '\0') {
		preforkd_reply(conn, page->bytes, count);
		return;
	}
	preforkd_reply(conn, page->bytes, dated);
	preforkd_reply(conn, fields, strlen(fields));
	preforkd_reply(conn, page->bytes + dated, count - dated);
}

/* ---- the site ------------------------------------------------------------ */

static char root[PATH_MAX];
static size_t site_bytes;
static char failure[PATH_MAX + 256]; /* why it cannot be */

static bool
fail(const char *what, const char *why)
{
	snprintf(failure, sizeof failure, "%s: %s", what, why);
	return false;
}

static bool
compose_answers(void)
{
	static const char *const statuses[OUTCOMES] = {
		[NOT_FOUND] = "404 Not Found",
		[BAD_METHOD] = "405 Method Not Allowed",
		[BAD_REQUEST] = "400 Bad Request",
		[TIMED_OUT] = "408 Request Timeout",
		[NO_LENGTH] = "411 Length Required",
		[LONG_BODY] = "413 Content Too Large",
		[LONG_TARGET] = "414 URI Too Long",
		[LONG_HEAD] = "431 Request Header Fields Too Large",
		[BAD_VERSION] = "505 HTTP Version Not Supported",
	};

	for (size_t i = NOT_FOUND; i < OUTCOMES; i++) {
		size_t count = strlen(statuses[i]);
		char *body = compose(&answers[i], statuses[i],
		    i == BAD_METHOD
			? "Content-Type: text/plain\r\nAllow: GET, HEAD\r\n"
			: "Content-Type: text/plain\r\n",
		    count + 1);

		if (!body)
			return fail("http", "out of memory");
		memcpy(body, statuses[i], count);
		body[count] = '\n';
	}
	return true;
}

static const char *
type_of(const char *path)
{
	static const struct {
		const char *suffix, *field;
	} types[] = {
		{ ".css", "Content-Type: text/css; charset=utf-8\r\n" },
		{ ".gif", "Content-Type: image/gif\r\n" },
		{ ".html", "Content-Type: text/html; charset=utf-8\r\n" },
		{ ".ico", "Content-Type: image/vnd.microsoft.icon\r\n" },
		{ ".jpg", "Content-Type: image/jpeg\r\n" },
		{ ".js", "Content-Type: text/javascript; charset=utf-8\r\n" },
		{ ".json", "Content-Type: application/json\r\n" },
		{ ".pdf", "Content-Type: application/pdf\r\n" },
		{ ".png", "Content-Type: image/png\r\n" },
		{ ".svg", "Content-Type: image/svg+xml\r\n" },
		{ ".txt", "Content-Type: text/plain; charset=utf-8\r\n" },
		{ ".wasm", "Content-Type: application/wasm\r\n" },
		{ ".webp", "Content-Type: image/webp\r\n" },
		{ ".woff2", "Content-Type: font/woff2\r\n" },
		{ ".xml", "Content-Type: application/xml\r\n" },
	};
	const char *suffix = strrchr(path, '.');

	for (size_t i = 0; suffix && i < sizeof types / sizeof types[0]; i++)
		if (strcasecmp(suffix, types[i].suffix) == 0)
			return types[i].field;
	return "Content-Type: application/octet-stream\r\n";
}

/* The hash is FNV-1a. */
static uint64_t
hash_of(const char *bytes, size_t count)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < count; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3;
	return hash | 1;
}

static bool
read_body(const char *file, char *body, size_t count)
{
	int fd = open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	size_t at = 0;
	ssize_t got = 1;

	if (fd < 0)
		return fail(file, strerror(errno));
	while (at < count && got > 0) {
		got = read(fd, body + at, count - at);
		if (got < 0)
			fail(file, strerror(errno));
		else if (got == 0)
			fail(file, "became shorter meanwhile");
		else
			at += (size_t)got;
	}
	close(fd);
	return at == count;
}

/* Adds the page of NAME in DIRECTORY; it has a path and no response yet. */
static bool
add_page(const char *directory, const char *name)
{
	size_t length = strlen(directory) + 1 + strlen(name);
	struct page *page = pages;

	if ((page_count & (page_count - 1)) == 0) /* doubles at powers of two */
		page = realloc(pages, (page_count * 2 + 1) * sizeof *page);
	if (!page)
		return fail(directory, "out of memory");
	pages = page;
	page += page_count++;
	*page = (struct page) { .path = malloc(length + 1) };
	if (!page->path)
		return fail(directory, "out of memory");
	sprintf(page->path, "%s/%s", directory, name);
	return true;
}

static bool
load_directory(const char *file, const char *path)
{
	const struct dirent *entry;
	DIR *directory = opendir(file);
	bool loaded = directory || fail(file, strerror(errno));

	while (loaded && (entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			loaded = add_page(path, entry->d_name);
	if (directory)
		closedir(directory);
	return loaded;
}

/* A directory without the slash behind it: what its index refers to is relative
 * to the path with it. */
static bool
load_redirection(const char *path, struct page *page)
{
	char *fields = malloc(3 * strlen(path) + 32), *to = fields;
	bool composed;

	if (!fields)
		return fail(path, "out of memory");
	to += sprintf(to, "Location: ");
	for (; *path; path++)
		to += sprintf(to,
		    isalnum((unsigned char)*path) || strchr("-._~/", *path)
			? "%c"
			: "%%%02X",
		    (unsigned char)*path);
	strcpy(to, "/\r\n");
	composed = compose(page, "301 Moved Permanently", fields, 0);
	free(fields);
	return composed || fail(path, "out of memory");
}

static bool
load_file(const char *file, size_t count, struct page *page)
{
	char *body;

	site_bytes += count;
	if (site_bytes > SITE_MAX)
		return fail(file, "with it the site has more than 64 MiB");
	body = compose(page, "200 OK", type_of(file), count);
	if (!body)
		return fail(file, "out of memory");
	if (!read_body(file, body, count))
		return false;
	page->content = hash_of(body, count);
	return true;
}

/* Adding pages may move them all. */
static bool
load_page(size_t number)
{
	const char *path = pages[number].path;
	char file[PATH_MAX];
	struct stat st;

	if ((size_t)snprintf(file, sizeof file, "%s%s", root, path) >=
	    sizeof file)
		return fail(path, strerror(ENAMETOOLONG));
	if (lstat(file, &st) < 0)
		return fail(file, strerror(errno));
	if (S_ISREG(st.st_mode))
		return load_file(file, (size_t)st.st_size, &pages[number]);
	if (S_ISDIR(st.st_mode))
		return load_redirection(path, &pages[number]) &&
		    load_directory(file, path);
	return true;
}

static int
compare_paths(const void *a, const void *b)
{
	return strcmp(
	    ((const struct page *)a)->path, ((const struct page *)b)->path);
}

static struct page *
find_page(char *path)
{
	const struct page key = { .path = path };
	struct page *page =
	    bsearch(&key, pages, page_count, sizeof key, compare_paths);

	return page && page->bytes ? page : NULL;
}

/* What a directory holds is appended to the pages, and so has its turn. */
static bool
load_site(const char *directory)
{
	bool loaded;

	if (!realpath(directory, root))
		return fail(directory, strerror(errno));
	loaded = load_directory(root, "");
	for (size_t i = 0; loaded && i < page_count; i++)
		loaded = load_page(i);
	if (loaded)
		qsort(pages, page_count, sizeof *pages, compare_paths);
	return loaded;
}

/* ---- the parser ---------------------------------------------------------- */

/*
 * It is strict, and reads from left to right: what it says of the beginning of
 * a request, unless that is INCOMPLETE, holds whatever follows. So it does not
 * matter in which pieces a request comes.
 */
struct parser {
	const unsigned char *at, *end;
	enum outcome outcome;
};

struct text {
	const unsigned char *start;
	size_t length;
};

struct request {
	struct text method, target;
	bool http_1_0, host, close, keep_alive, encoded, measured, expects;
	uint64_t length; /* of the body */
};

enum { TOKEN = 1, TARGET = 2, VALUE = 4, HOST = 8, DIGIT = 16 };

static unsigned char classes[256];

static void
classify(const char *characters, int class)
{
	for (; *characters; characters++)
		classes[(unsigned char)*characters] |= (unsigned char)class;
}

static void
make_classes(void)
{
	for (int byte = 0; byte < 256; byte++) {
		if (isalnum(byte)) /* in the "C" locale */
			classes[byte] = TOKEN | HOST;
		if (byte > ' ' && byte < 0x7f && !strchr("\"#<>", byte))
			classes[byte] |= TARGET;
		if (byte == '\t' || (byte >= ' ' && byte != 0x7f))
			classes[byte] |= VALUE;
	}
	classify("!#$%&'*+-.^_`|~", TOKEN);
	classify("-._~%!$&'()*+,;=:[]", HOST);
	classify("0123456789", DIGIT);
}

static bool
stop(struct parser *p, enum outcome outcome)
{
	p->outcome = outcome;
	return false;
}

/* Takes the longest run of a class, empty or not; what ends it is there. */
static bool
take(struct parser *p, int class, struct text *text)
{
	text->start = p->at;
	while (p->at < p->end && classes[*p->at] & class)
		p->at++;
	text->length = (size_t)(p->at - text->start);
	return p->at < p->end || stop(p, INCOMPLETE);
}

static bool
skip(struct parser *p, const char *literal)
{
	for (; *literal; literal++, p->at++) {
		if (p->at == p->end)
			return stop(p, INCOMPLETE);
		if (*p->at != (unsigned char)*literal)
			return stop(p, BAD_REQUEST);
	}
	return true;
}

static bool
is_all(struct text text, int class)
{
	size_t i = 0;

	while (i < text.length && classes[text.start[i]] & class)
		i++;
	return i == text.length;
}

/* Names of fields, and most words in them, may be written in either case. */
static bool
is(struct text text, const char *word)
{
	return text.length == strlen(word) &&
	    strncasecmp((const char *)text.start, word, text.length) == 0;
}

static struct text
trim(struct text text)
{
	for (; text.length > 0 && isblank(*text.start); text.length--)
		text.start++;
	while (text.length > 0 && isblank(text.start[text.length - 1]))
		text.length--;
	return text;
}

/* Whether a list, separated by commas, has WORD. */
static bool
has(struct text list, const char *word)
{
	const unsigned char *comma;
	struct text item;

	while ((comma = memchr(list.start, ',', list.length))) {
		item.start = list.start;
		item.length = (size_t)(comma - list.start);
		if (is(trim(item), word))
			return true;
		list.start = comma + 1;
		list.length -= item.length + 1;
	}
	return is(trim(list), word);
}

static bool
note_length(struct request *r, struct text value)
{
	bool first = !r->measured;

	r->measured = true;
	for (size_t i = 0; i < value.length && r->length <= BODY_MAX; i++)
		r->length = r->length * 10 + value.start[i] - '0';
	return first && value.length > 0 && is_all(value, DIGIT);
}

static bool
note_host(struct request *r, struct text value)
{
	bool first = !r->host;

	r->host = true;
	return first && is_all(value, HOST);
}

/* Returns false where the value is no good. Most fields do not matter here. */
static bool
note_field(struct request *r, struct text name, struct text value)
{
	if (is(name, "host"))
		return note_host(r, value);
	if (is(name, "content-length"))
		return note_length(r, value);
	if (is(name, "connection")) {
		r->close |= has(value, "close");
		r->keep_alive |= has(value, "keep-alive");
	}
	r->encoded |= is(name, "transfer-encoding");
	r->expects |= is(name, "expect");
	return true;
}

static bool
read_request_line(struct parser *p, struct request *r)
{
	struct text major, minor;

	if (!take(p, TOKEN, &r->method) || !skip(p, " ") ||
	    !take(p, TARGET, &r->target) || !skip(p, " HTTP/") ||
	    !take(p, DIGIT, &major) || !skip(p, ".") ||
	    !take(p, DIGIT, &minor) || !skip(p, "\r\n"))
		return false;
	if (r->method.length == 0 || r->target.length == 0 ||
	    major.length != 1 || minor.length != 1)
		return stop(p, BAD_REQUEST);
	r->http_1_0 = *minor.start == '0';
	return *major.start == '1' || stop(p, BAD_VERSION);
}

static bool
read_field(struct parser *p, struct request *r)
{
	struct text name, value;

	if (!take(p, TOKEN, &name) || !skip(p, ":") ||
	    !take(p, VALUE, &value) || !skip(p, "\r\n"))
		return false;
	return (name.length > 0 && note_field(r, name, trim(value))) ||
	    stop(p, BAD_REQUEST);
}

static bool
read_head(struct parser *p, struct request *r)
{
	if (!read_request_line(p, r))
		return false;
	while (p->at < p->end && *p->at != '\r')
		if (!read_field(p, r))
			return false;
	return skip(p, "\r\n");
}

/* What is wrong with a head that is well formed. */
static enum outcome
judge(const struct request *r)
{
	if (!r->host && !r->http_1_0)
		return BAD_REQUEST;
	if (r->encoded && (r->measured || r->http_1_0))
		return BAD_REQUEST; /* others may see its end elsewhere */
	if (r->encoded)
		return NO_LENGTH;
	return r->length > BODY_MAX ? LONG_BODY : FOUND;
}

/* Reads the head of a request; USED becomes its length where there is one. */
static enum outcome
parse(const unsigned char *bytes, size_t count, struct request *r, size_t *used)
{
	struct parser p = { .at = bytes,
		.end = bytes + (count < HEAD_MAX ? count : HEAD_MAX) };

	if (read_head(&p, r)) {
		*used = (size_t)(p.at - bytes);
		return judge(r);
	}
	if (p.outcome != INCOMPLETE || count < HEAD_MAX)
		return p.outcome;
	return memchr(bytes, '\n', HEAD_MAX) ? LONG_HEAD : LONG_TARGET;
}

static bool
same(struct text text, const char *word)
{
	return text.length == strlen(word) &&
	    memcmp(text.start, word, text.length) == 0;
}

/* The path of a target, which may be "http://host/path", without its query. */
static struct text
path_of(struct text target)
{
	static const char scheme[] = "http://";
	const unsigned char *at = target.start, *end = at + target.length, *to;

	if (target.length >= strlen(scheme) &&
	    strncasecmp((const char *)at, scheme, strlen(scheme)) == 0) {
		at += strlen(scheme);
		while (at < end && *at != '/' && *at != '?')
			at++;
		if (at == end || *at == '?')
			return (struct text) { (const unsigned char *)"/", 1 };
	}
	for (to = at; to < end && *to != '?'; to++)
		;
	return (struct text) { at, (size_t)(to - at) };
}

/* Makes a string of a path, with %XX decoded; ROOM is longer by one. False
 * where that is not well formed. */
static bool
decode(struct text path, char *room)
{
	const unsigned char *at = path.start, *end = at + path.length;

	for (; at < end; at++, room++) {
		char digits[3] = "";

		*room = (char)*at;
		if (*at != '%')
			continue;
		if (end - at < 3 || !isxdigit(at[1]) || !isxdigit(at[2]))
			return false;
		memcpy(digits, at + 1, 2);
		*room = (char)strtoul(digits, NULL, 16);
		if (*room == '\0')
			return false;
		at += 2;
	}
	*room = '\0';
	return true;
}

static enum outcome
find(const struct request *r, struct page **page)
{
	static const char index[] = "index.html";
	struct text path = path_of(r->target);
	char room[HEAD_MAX + sizeof index];
	size_t length;

	if (!same(r->method, "GET") && !same(r->method, "HEAD"))
		return BAD_METHOD;
	if (*path.start != '/' || !decode(path, room))
		return BAD_REQUEST;
	length = strlen(room);
	if (room[length - 1] == '/')
		strcpy(room + length, index);
	*page = find_page(room);
	return *page ? FOUND : NOT_FOUND;
}

/* ---- the service --------------------------------------------------------- */

/* Of each connection. */
struct http {
	uint64_t body;	  /* bytes of a request's body that are to come */
	uint64_t content; /* what is being sent in parts, or 0 */
	uint64_t sent;	  /* bytes of it */
	bool last;	  /* the connection ends after this response */
	bool waiting;	  /* a request has begun; the timer runs */
};

static const char *
start(const char *argument)
{
	if (*argument == '\0')
		return "expected a directory: ./http.so:/srv/www";
	make_classes();
	if (!compose_answers() || !load_site(argument))
		return failure;
	preforkd_log(NULL, PREFORKD_INFO, "%zu paths, %zu bytes, from %s",
	    page_count, site_bytes, argument);
	return NULL;
}

static void
respond(struct preforkd_conn *conn, struct http *http, const struct request *r,
    struct page *page)
{
	size_t whole = same(r->method, "HEAD") ? page->head : page->length;
	size_t count = whole < PART ? whole : PART;

	if (http->last)
		reply_page(conn, page, count, "Connection: close\r\n");
	else if (r->http_1_0)
		reply_page(conn, page, count, "Connection: keep-alive\r\n");
	else
		reply_page(conn, page, count, "");
	if (count < whole) {
		http->content = page->content;
		http->sent = count - page->head;
		preforkd_more(conn);
	} else if (http->last) {
		preforkd_finish(conn);
	}
}

static void
answer(struct preforkd_conn *conn, struct http *http, const struct request *r,
    enum outcome outcome)
{
	struct page *page = NULL;

	if (outcome == FOUND)
		outcome = find(r, &page);
	if (!page)
		page = &answers[outcome];
	http->body = r->length;
	http->last = outcome >= BAD_REQUEST || r->close ||
	    (r->http_1_0 && !r->keep_alive) || (r->expects && r->length > 0);
	respond(conn, http, r, page);
}

/* A request that has begun must come whole in time. */
static void
wait_for_rest(struct preforkd_conn *conn, struct http *http, bool wanted)
{
	if (wanted != http->waiting)
		preforkd_timer(conn, wanted ? HEAD_MS : 0);
	http->waiting = wanted;
}

/* Takes one request, or what is to be thrown away. */
static size_t
input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	struct http *http = preforkd_state(conn);
	struct request r = { .length = 0 };
	enum outcome outcome;
	size_t used = count;

	if (http->body > 0) {
		used = count < http->body ? count : (size_t)http->body;
		http->body -= used;
		return used;
	}
	if (*bytes == '\r' && (count < 2 || bytes[1] == '\n'))
		return count < 2 ? 0 : 2; /* an empty line (RFC 9112, 2.2) */
	outcome = parse(bytes, count, &r, &used);
	wait_for_rest(conn, http, outcome == INCOMPLETE);
	if (outcome == INCOMPLETE)
		return 0;
	answer(conn, http, &r, outcome);
	return used;
}

/* Other content by now, after a reload, cannot be sent to its end. */
static struct page *
find_content(uint64_t content)
{
	for (size_t i = 0; i < page_count; i++)
		if (pages[i].content == content)
			return &pages[i];
	return NULL;
}

static void
more(struct preforkd_conn *conn)
{
	struct http *http = preforkd_state(conn);
	const struct page *page = find_content(http->content);
	size_t from, count;

	if (!page || page->length - page->head <= http->sent) {
		preforkd_abort(conn);
		return;
	}
	from = page->head + http->sent;
	count = page->length - from < PART ? page->length - from : PART;
	preforkd_reply(conn, page->bytes + from, count);
	http->sent += count;
	if (from + count < page->length) {
		preforkd_more(conn);
		return;
	}
	http->content = 0;
	if (http->last)
		preforkd_finish(conn);
}

static void
timer(struct preforkd_conn *conn)
{
	const struct request none = { .length = 0 };

	answer(conn, preforkd_state(conn), &none, TIMED_OUT);
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "http",
	.state_size = sizeof(struct http),
	.state_version = 1,
	.start = start,
	.input = input,
	.more = more,
	.timer = timer,
};
