#include "request.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- characters and texts ------------------------------------------------ */

enum { TOKEN = 1, TARGET = 2, VALUE = 4, NAME = 8, DIGIT = 16 };

static unsigned char classes[256];

static void
classify(const char *characters, int class)
{
	for (; *characters; characters++)
		classes[(unsigned char)*characters] |= (unsigned char)class;
}

void
request_start(void)
{
	for (int byte = 0; byte < 256; byte++) {
		if (isalnum(byte)) /* in the "C" locale */
			classes[byte] = TOKEN | NAME;
		if (byte > ' ' && byte < 0x7f && !strchr("\"#<>", byte))
			classes[byte] |= TARGET;
		if (byte == '\t' || (byte >= ' ' && byte != 0x7f))
			classes[byte] |= VALUE;
	}
	classify("!#$%&'*+-.^_`|~", TOKEN);
	classify("-._~!$&'()*+,;=", NAME); /* RFC 3986, 3.2.2: reg-name */
	classify("0123456789", DIGIT);
}

static bool
is_all(struct text text, int class)
{
	size_t i = 0;

	while (i < text.length && classes[text.start[i]] & class)
		i++;
	return i == text.length;
}

bool
text_is(struct text text, const char *word)
{
	return text.length == strlen(word) &&
	    strncasecmp((const char *)text.start, word, text.length) == 0;
}

static bool
begins(struct text text, const char *word)
{
	text.length = text.length < strlen(word) ? text.length : strlen(word);
	return text_is(text, word);
}

bool
text_is_same(struct text text, const char *word)
{
	return text.length == strlen(word) &&
	    memcmp(text.start, word, text.length) == 0;
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

static struct text
skip_bytes(struct text text, size_t count)
{
	text.start += count;
	text.length -= count;
	return text;
}

/* The part before BYTE, or all. */
static struct text
before(struct text text, int byte)
{
	const unsigned char *at =
	    text.length > 0 ? memchr(text.start, byte, text.length) : NULL;

	if (at)
		text.length = (size_t)(at - text.start);
	return text;
}

/* Takes the next item, which may be empty, from a list with commas. Returns
 * false where there is none. */
static bool
next_item(struct text *list, struct text *item)
{
	if (list->length == 0)
		return false;
	*item = before(*list, ',');
	*list = skip_bytes(*list, item->length + (item->length < list->length));
	*item = trim(*item);
	return true;
}

static bool
has(struct text list, const char *word)
{
	struct text item;

	while (next_item(&list, &item))
		if (text_is(item, word))
			return true;
	return false;
}

/* ---- where it goes ------------------------------------------------------- */

/* In brackets: an address of IPv6, or of a version to come (RFC 3986, 3.2.2).
 * Returns the length, or 0 where it is none. */
static size_t
literal_length(struct text text)
{
	struct text inside = before(skip_bytes(text, 1), ']');
	struct text version = before(inside, '.');
	char address[INET6_ADDRSTRLEN] = "";
	struct in6_addr parsed;
	size_t length = inside.length + 2;

	if (length > text.length)
		return 0;
	if (inside.length < sizeof address) {
		memcpy(address, inside.start, inside.length);
		if (inet_pton(AF_INET6, address, &parsed) == 1)
			return length;
	}
	if (version.length < 2 || version.length + 1 >= inside.length ||
	    tolower(*version.start) != 'v')
		return 0;
	for (size_t i = 1; i < version.length; i++)
		if (!isxdigit(version.start[i]))
			return 0;
	for (size_t i = version.length + 1; i < inside.length; i++)
		if (!(classes[inside.start[i]] & NAME) &&
		    inside.start[i] != ':')
			return 0;
	return length;
}

static size_t
name_length(struct text text)
{
	size_t i = 0;

	for (; i < text.length && text.start[i] != ':'; i++) {
		if (text.start[i] == '%' && text.length - i > 2 &&
		    isxdigit(text.start[i + 1]) && isxdigit(text.start[i + 2]))
			i += 2;
		else if (!(classes[text.start[i]] & NAME))
			return 0;
	}
	return i;
}

/* A host and perhaps a port; nobody has an account here (RFC 9110, 4.2.4). */
static bool
is_authority(struct text text)
{
	bool literal = text.length > 0 && *text.start == '[';
	size_t host = literal ? literal_length(text) : name_length(text);
	struct text port = skip_bytes(text, host);
	unsigned long number = 0;

	if (host == 0)
		return false;
	if (port.length == 0)
		return true;
	if (*port.start != ':' || !is_all(skip_bytes(port, 1), DIGIT))
		return false;
	for (size_t i = 1; i < port.length && number <= 65535; i++)
		number = number * 10 + port.start[i] - '0';
	return number <= 65535;
}

bool
request_locate(struct request *r)
{
	static const char scheme[] = "http://";
	static const struct text slash = { (const unsigned char *)"/", 1 };
	struct text rest = r->target, authority;

	if (begins(rest, scheme)) {
		rest = skip_bytes(rest, strlen(scheme));
		authority = before(before(rest, '/'), '?');
		if (!is_authority(authority))
			return false;
		rest = skip_bytes(rest, authority.length);
		if (rest.length == 0 || *rest.start == '?') {
			r->path = slash;
			r->query = rest;
			return true;
		}
	}
	r->path = before(rest, '?');
	r->query = skip_bytes(rest, r->path.length);
	return r->path.length > 0 && *r->path.start == '/';
}

bool
request_decode(const struct request *r, char *room)
{
	const unsigned char *at = r->path.start, *end = at + r->path.length;

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

/* ---- fields -------------------------------------------------------------- */

/* Each of these returns false where the value is no good. */

static bool
note_length(struct request *r, struct text value)
{
	bool first = !r->measured;

	r->measured = true;
	for (size_t i = 0; i < value.length && r->length <= REQUEST_BODY_MAX;
	     i++)
		r->length = r->length * 10 + value.start[i] - '0';
	return first && value.length > 0 && is_all(value, DIGIT);
}

static bool
note_host(struct request *r, struct text value)
{
	bool first = !r->host;

	r->host = true;
	return first && (value.length == 0 || is_authority(value));
}

/* "chunked" is the last one, and comes once (RFC 9112, 6.1 and 7). */
static bool
note_codings(struct request *r, struct text value)
{
	struct text item;

	r->encoded = true;
	while (next_item(&value, &item)) {
		if (item.length == 0)
			continue;
		if (r->chunked)
			return false;
		r->chunked = text_is(item, "chunked");
		if (text_is(item, "gzip") || text_is(item, "x-gzip") ||
		    text_is(item, "deflate") || text_is(item, "compress") ||
		    text_is(item, "x-compress"))
			r->other_coding = true;
		else if (!r->chunked)
			r->bad_coding = true;
	}
	return true;
}

/* Most fields do not matter here. */
static bool
note_field(struct request *r, struct text name, struct text value)
{
	if (text_is(name, "host"))
		return note_host(r, value);
	if (text_is(name, "content-length"))
		return note_length(r, value);
	if (text_is(name, "transfer-encoding"))
		return note_codings(r, value);
	if (text_is(name, "connection")) {
		r->close |= has(value, "close");
		r->keep_alive |= has(value, "keep-alive");
	}
	r->expects |= text_is(name, "expect");
	r->conditional |= begins(name, "if-") || text_is(name, "range");
	return true;
}

bool
request_next_field(struct text *rest, struct text *name, struct text *value)
{
	struct text line = before(*rest, '\r');

	if (rest->length == 0)
		return false;
	*name = before(line, ':');
	*value = trim(skip_bytes(line, name->length + 1));
	*rest = skip_bytes(*rest, line.length + 2);
	return true;
}

unsigned
request_field(const struct request *r, const char *name, struct text *value)
{
	struct text rest = r->fields, found, of;
	unsigned count = 0;

	while (request_next_field(&rest, &found, &of)) {
		if (!text_is(found, name))
			continue;
		*value = of;
		count++;
	}
	return count;
}

/* ---- the parser ---------------------------------------------------------- */

struct parser {
	const unsigned char *at, *end;
	enum status status;
};

static bool
stop(struct parser *p, enum status status)
{
	p->status = status;
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
read_line(struct parser *p, struct request *r)
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
read_fields(struct parser *p, struct request *r)
{
	r->fields.start = p->at;
	while (p->at < p->end && *p->at != '\r')
		if (!read_field(p, r))
			return false;
	r->fields.length = (size_t)(p->at - r->fields.start);
	return skip(p, "\r\n");
}

/* What is wrong with a body that is said to come behind a head (RFC 9112, 6). A
 * request with both lengths, or that ends elsewhere for others, is no good. */
static enum status
judge_body(const struct request *r)
{
	if (r->encoded && (r->measured || r->http_1_0))
		return BAD_REQUEST;
	if (r->bad_coding)
		return UNKNOWN_CODING;
	if (r->encoded && !r->chunked)
		return BAD_REQUEST;
	if (r->encoded)
		return r->other_coding ? UNKNOWN_CODING : NO_LENGTH;
	return r->length > REQUEST_BODY_MAX ? LONG_BODY : WHOLE;
}

/* Has P read no further than MOST bytes from where it is. */
static bool
limit(struct parser *p, const unsigned char *end, size_t most)
{
	bool limited = (size_t)(end - p->at) >= most;

	p->end = limited ? p->at + most : end;
	return limited;
}

enum status
request_read(
    struct request *r, const unsigned char *bytes, size_t count, size_t *used)
{
	const unsigned char *end = bytes + count;
	struct parser p = { .at = bytes };
	bool limited = limit(&p, end, REQUEST_LINE_MAX);

	if (!read_line(&p, r))
		return limited && p.status == INCOMPLETE ? LONG_TARGET
							 : p.status;
	limited = limit(&p, end, REQUEST_FIELDS_MAX);
	if (!read_fields(&p, r))
		return limited && p.status == INCOMPLETE ? LONG_HEAD : p.status;
	*used = (size_t)(p.at - bytes);
	if (!r->host && !r->http_1_0)
		return BAD_REQUEST;
	return judge_body(r);
}
