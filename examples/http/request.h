/*
 * request: what a client asks for, taken apart as RFC 9112 has it.
 *
 * The parser is strict, and reads from left to right: what it says of the
 * beginning of a request, unless that is INCOMPLETE, holds whatever follows. So
 * it does not matter in which pieces a request comes.
 */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	REQUEST_LINE_MAX = 8 << 10,    /* bytes */
	REQUEST_FIELDS_MAX = 16 << 10, /* bytes of all fields */
	REQUEST_BODY_MAX = 64 << 10    /* bytes, which nobody reads */
};

/* What becomes of a request. */
enum status {
	INCOMPLETE,
	WHOLE,
	PARTIAL,
	MOVED,
	NOT_MODIFIED,
	FORBIDDEN,
	NOT_FOUND,
	BAD_METHOD,
	CHANGED,
	NO_SUCH_RANGE,
	UNKNOWN_METHOD,
	BAD_REQUEST, /* after this and what follows the connection closes */
	TIMED_OUT,
	NO_LENGTH,
	LONG_BODY,
	LONG_TARGET,
	LONG_HEAD,
	UNKNOWN_CODING,
	BAD_VERSION,
	STATUSES
};

/* A part of the request. */
struct text {
	const unsigned char *start;
	size_t length;
};

struct request {
	struct text method, target;
	struct text path, query; /* after request_locate; a query has its '?' */
	struct text fields;	 /* all lines */
	bool http_1_0, close, keep_alive, expects;
	bool conditional;	      /* has a field for conditions.h */
	bool host, measured, encoded; /* has this field */
	bool chunked, other_coding, bad_coding; /* Transfer-Encoding */
	uint64_t length;			/* of the body */
};

/* Before any other. */
void request_start(void);

/* Reads the head of a request into R, which is all zero. Returns WHOLE, and its
 * length in USED, or what is wrong with it. */
enum status request_read(
    struct request *r, const unsigned char *bytes, size_t count, size_t *used);

/* Finds path and query in a target, which may be "http://host/path?query".
 * Returns false where that is not well formed. */
bool request_locate(struct request *r);

/* Makes a string of the path, with %XX decoded, in ROOM, REQUEST_LINE_MAX
 * bytes. Returns false where that is not well formed. */
bool request_decode(const struct request *r, char *room);

/* The next of the lines in REST. Returns false where there is none. */
bool
request_next_field(struct text *rest, struct text *name, struct text *value);

/* Returns how many fields have that name, and the value of the last one. */
unsigned
request_field(const struct request *r, const char *name, struct text *value);

/* Whether it is WORD: in this very case, or in either case, as names of fields
 * and most words in them may be written. */
bool text_is(struct text text, const char *word);
bool text_is_same(struct text text, const char *word);

#endif
