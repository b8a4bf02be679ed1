/*
 * http: the files below a directory, over HTTP/1.1 (RFC 9110, RFC 9112).
 *
 *     preforkd --listen :8000=./http.so:/srv/www
 *
 * `start` reads them all, so that a request costs a look-up and one answer; HUP
 * reads them anew. They may have 256 MiB; 1000,/srv/www lets them have 1000.
 *
 * This is the service: what is answered, and how it is sent. It leans on
 *
 *     http/request      what a client asks for
 *     http/site         the files
 *     http/types        what they are
 *     http/conditions   whether a client needs one, and which part of it
 */
#include <preforkd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http/conditions.h"
#include "http/request.h"
#include "http/site.h"

enum {
	PART = 128 << 10,  /* bytes of a body that leave in one reply */
	REQUEST_MS = 10000 /* for a request to come whole, with its body */
};

/* Of each connection. */
struct http {
	uint64_t body;	  /* bytes of a request's body that are to come */
	uint64_t content; /* what is being sent in parts, or 0 */
	uint64_t at, end; /* bytes of it: sent, to be sent */
	uint64_t page;	  /* the number of a page that has it */
	bool last;	  /* the connection ends after this response */
	bool waiting;	  /* a request has begun; the timer runs */
};

static const char *
start(const char *argument)
{
	request_start();
	return site_load(argument);
}

/* ---- the head of a response ---------------------------------------------- */

static const char *const statuses[STATUSES] = {
	[WHOLE] = "HTTP/1.1 200 OK",
	[PARTIAL] = "HTTP/1.1 206 Partial Content",
	[MOVED] = "HTTP/1.1 301 Moved Permanently",
	[NOT_MODIFIED] = "HTTP/1.1 304 Not Modified",
	[FORBIDDEN] = "HTTP/1.1 403 Forbidden",
	[NOT_FOUND] = "HTTP/1.1 404 Not Found",
	[BAD_METHOD] = "HTTP/1.1 405 Method Not Allowed",
	[CHANGED] = "HTTP/1.1 412 Precondition Failed",
	[NO_SUCH_RANGE] = "HTTP/1.1 416 Range Not Satisfiable",
	[UNKNOWN_METHOD] = "HTTP/1.1 501 Not Implemented",
	[BAD_REQUEST] = "HTTP/1.1 400 Bad Request",
	[TIMED_OUT] = "HTTP/1.1 408 Request Timeout",
	[NO_LENGTH] = "HTTP/1.1 411 Length Required",
	[LONG_BODY] = "HTTP/1.1 413 Content Too Large",
	[LONG_TARGET] = "HTTP/1.1 414 URI Too Long",
	[LONG_HEAD] = "HTTP/1.1 431 Request Header Fields Too Large",
	[UNKNOWN_CODING] = "HTTP/1.1 501 Not Implemented",
	[BAD_VERSION] = "HTTP/1.1 505 HTTP Version Not Supported",
};

static void
say(struct preforkd_conn *conn, const char *text)
{
	preforkd_reply(conn, text, strlen(text));
}

/* The field, made once a second. */
static const char *
date_field(void)
{
	static char field[8 + HTTP_DATE + 2];
	static time_t second = -1;
	struct timespec now;
	char date[HTTP_DATE];

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (second != now.tv_sec) {
		second = now.tv_sec;
		http_date(second, date);
		snprintf(field, sizeof field, "\r\nDate: %s\r\n", date);
	}
	return field;
}

static void
begin(struct preforkd_conn *conn, const struct http *http,
    const struct request *r, enum status status)
{
	say(conn, statuses[status]);
	say(conn, date_field());
	if (http->last)
		say(conn, "Connection: close\r\n");
	else if (r->http_1_0)
		say(conn, "Connection: keep-alive\r\n");
}

/* ---- its body ------------------------------------------------------------ */

static void
end(struct preforkd_conn *conn, const struct http *http)
{
	if (http->last)
		preforkd_finish(conn);
}

static void
send_part(struct preforkd_conn *conn, struct http *http, const char *body)
{
	uint64_t rest = http->end - http->at;
	size_t count = rest < PART ? (size_t)rest : PART;

	preforkd_reply(conn, body + http->at, count);
	http->at += count;
	if (http->at < http->end) {
		preforkd_more(conn);
		return;
	}
	http->content = 0;
	end(conn, http);
}

/* Other content by now, after a reload, cannot be sent to its end. */
static void
more(struct preforkd_conn *conn)
{
	struct http *http = preforkd_state(conn);
	size_t number = http->page;
	const struct page *page = site_content(http->content, &number);

	if (!page || page->length < http->end) {
		preforkd_log(conn, PREFORKD_INFO,
		    "closed, as a reload has other bytes for what it reads");
		preforkd_abort(conn);
		return;
	}
	http->page = number;
	send_part(conn, http, page->body);
}

/* ---- responses ----------------------------------------------------------- */

/* With no body: to HEAD, and 304. */
static void
send_page(struct preforkd_conn *conn, struct http *http,
    const struct request *r, const struct page *page, struct range range)
{
	if (text_is_same(r->method, "HEAD") || range.from == range.to) {
		end(conn, http);
		return;
	}
	http->content = page->content;
	http->page = site_number(page);
	http->at = range.from;
	http->end = range.to;
	send_part(conn, http, page->body);
}

static void
send_whole(struct preforkd_conn *conn, struct http *http,
    const struct request *r, const struct page *page)
{
	begin(conn, http, r, WHOLE);
	preforkd_reply(conn, page->head, page->fields);
	send_page(conn, http, r, page, (struct range) { 0, page->length });
}

static void
send_range(struct preforkd_conn *conn, struct http *http,
    const struct request *r, const struct page *page, struct range range)
{
	begin(conn, http, r, PARTIAL);
	preforkd_reply(conn, page->head, page->common);
	preforkd_replyf(conn,
	    "Content-Range: bytes %zu-%zu/%zu\r\nContent-Length: %zu\r\n\r\n",
	    range.from, range.to - 1, page->length, range.to - range.from);
	send_page(conn, http, r, page, range);
}

static void
send_not_modified(struct preforkd_conn *conn, struct http *http,
    const struct request *r, const struct page *page)
{
	begin(conn, http, r, NOT_MODIFIED);
	preforkd_reply(conn, page->head, page->validators);
	say(conn, "\r\n");
	end(conn, http);
}

/* To a directory's name with the slash behind it, as what its index refers to
 * is relative to that. A browser takes a backslash for a slash, and two of them
 * for another host. */
static void
send_redirection(
    struct preforkd_conn *conn, struct http *http, const struct request *r)
{
	begin(conn, http, r, MOVED);
	say(conn, "Location: ");
	for (size_t i = 0; i < r->path.length; i++) {
		const unsigned char *at = r->path.start + i;

		preforkd_reply(conn, *at == '\\' ? (const void *)"%5C" : at,
		    *at == '\\' ? 3 : 1);
	}
	say(conn, "/");
	preforkd_reply(conn, r->query.start, r->query.length);
	say(conn, "\r\nContent-Length: 0\r\n\r\n");
	end(conn, http);
}

/* LENGTH is that of a file that has no such range. */
static void
send_error(struct preforkd_conn *conn, struct http *http,
    const struct request *r, enum status status, size_t length)
{
	const char *text = statuses[status] + strlen("HTTP/1.1 ");

	begin(conn, http, r, status);
	if (status == BAD_METHOD)
		say(conn, "Allow: GET, HEAD\r\n");
	if (status == NO_SUCH_RANGE)
		preforkd_replyf(conn, "Content-Range: bytes */%zu\r\n", length);
	preforkd_replyf(conn,
	    "Content-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
	    strlen(text) + 1);
	if (!text_is_same(r->method, "HEAD"))
		preforkd_replyf(conn, "%s\n", text);
	end(conn, http);
}

/* ---- requests ------------------------------------------------------------ */

/* GET and HEAD are allowed; others are known (RFC 9110, 9.1). */
static enum status
judge_method(const struct request *r)
{
	static const char *const methods[] = { "POST", "PUT", "DELETE",
		"OPTIONS", "PATCH", "TRACE", "CONNECT" };

	if (text_is_same(r->method, "GET") || text_is_same(r->method, "HEAD"))
		return WHOLE;
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		if (text_is_same(r->method, methods[i]))
			return BAD_METHOD;
	return UNKNOWN_METHOD;
}

/* What a well-formed request is answered with. */
static enum status
find(struct request *r, const struct page **page, struct range *range)
{
	static const char index[] = "index.html";
	char path[REQUEST_LINE_MAX + sizeof index];
	enum status status = judge_method(r);
	size_t length;

	if (status != WHOLE)
		return status;
	if (!request_locate(r) || !request_decode(r, path))
		return BAD_REQUEST;
	length = strlen(path);
	if (path[length - 1] == '/')
		strcpy(path + length, index);
	*page = site_find(path);
	if (!*page)
		return NOT_FOUND;
	if ((*page)->kind == A_FILE)
		return conditions_judge(r, *page, range);
	return (*page)->kind == A_DIRECTORY ? MOVED : FORBIDDEN;
}

static void
answer(struct preforkd_conn *conn, struct http *http, struct request *r,
    enum status status)
{
	const struct page *page = NULL;
	struct range range;

	if (status == WHOLE)
		status = find(r, &page, &range);
	http->body = r->length;
	http->last = status >= BAD_REQUEST || r->close ||
	    (r->http_1_0 && !r->keep_alive) || (r->expects && r->length > 0);
	if (status == MOVED)
		send_redirection(conn, http, r);
	else if (page && status == WHOLE)
		send_whole(conn, http, r, page);
	else if (page && status == PARTIAL)
		send_range(conn, http, r, page, range);
	else if (page && status == NOT_MODIFIED)
		send_not_modified(conn, http, r, page);
	else
		send_error(conn, http, r, status, page ? page->length : 0);
}

/* A request that has begun must come whole in time: its head and its body, and
 * the empty lines before it. */
static void
wait_for_rest(struct preforkd_conn *conn, struct http *http, bool wanted)
{
	if (wanted != http->waiting)
		preforkd_timer(conn, wanted ? REQUEST_MS : 0);
	http->waiting = wanted;
}

/* Takes one request, or what is to be thrown away. */
static size_t
input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	struct http *http = preforkd_state(conn);
	struct request r = { .length = 0 };
	enum status status;
	size_t used = count;

	if (http->body > 0) {
		used = count < http->body ? count : (size_t)http->body;
		http->body -= used;
		wait_for_rest(conn, http, http->body > 0);
		return used;
	}
	if (*bytes == '\r' && (count < 2 || bytes[1] == '\n')) {
		wait_for_rest(conn, http, true);
		return count < 2 ? 0 : 2; /* an empty line (RFC 9112, 2.2) */
	}
	status = request_read(&r, bytes, count, &used);
	wait_for_rest(conn, http, status == INCOMPLETE || r.length > 0);
	if (status == INCOMPLETE)
		return 0;
	answer(conn, http, &r, status);
	return used;
}

/* Where a body is missing its request has been answered. */
static void
timer(struct preforkd_conn *conn)
{
	struct http *http = preforkd_state(conn);
	struct request none = { .length = 0 };

	if (http->body > 0)
		preforkd_finish(conn);
	else
		answer(conn, http, &none, TIMED_OUT);
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "http",
	.state_size = sizeof(struct http),
	.state_version = 2,
	.start = start,
	.input = input,
	.more = more,
	.timer = timer,
};
