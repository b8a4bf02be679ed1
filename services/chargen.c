/*
 * The character generator, RFC 864: "Once a connection is established a stream
 * of data is sent out the connection (and any data received is thrown away).
 * This continues until the calling user terminates the connection."
 *
 * Of the patterns that it leaves to choose, this is the one that it calls
 * popular: the 95 printing characters are a ring, and "on line N, put
 * characters (0+N mod 95) through (71+N mod 95)". How fast the lines go is the
 * client's affair: the next come when it has taken the last.
 */
#include "include/preforkd.h"

enum {
	FIRST_CHARACTER = ' ',
	CHARACTERS = '~' - ' ' + 1,
	LINE_CHARACTERS = 72,
	LINE_BYTES = LINE_CHARACTERS + 2, /* with CR LF */
	REPLY_LINES = 128
};

struct chargen {
	uint32_t line; /* the next, as a line of the ring */
};

/* The ring, and so much of it again that a reply can begin at any line. */
static char lines[CHARACTERS + REPLY_LINES - 1][LINE_BYTES];

static const char *
start(const char *argument)
{
	for (size_t n = 0; n < sizeof lines / sizeof lines[0]; n++) {
		for (size_t i = 0; i < LINE_CHARACTERS; i++)
			lines[n][i] =
			    (char)(FIRST_CHARACTER + (n + i) % CHARACTERS);
		lines[n][LINE_CHARACTERS] = '\r';
		lines[n][LINE_CHARACTERS + 1] = '\n';
	}
	return *argument ? "chargen takes no argument" : NULL;
}

static void
generate(struct preforkd_conn *conn)
{
	struct chargen *chargen = preforkd_state(conn);

	preforkd_reply(
	    conn, lines[chargen->line], (size_t)REPLY_LINES * LINE_BYTES);
	chargen->line = (chargen->line + REPLY_LINES) % CHARACTERS;
	preforkd_more(conn);
}

static size_t
input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	(void)conn;
	(void)bytes;
	return count;
}

const struct preforkd_service chargen_service = {
	.abi = PREFORKD_ABI,
	.name = "chargen",
	.state_size = sizeof(struct chargen),
	.state_version = 1,
	.duplex = 1,
	.start = start,
	.open = generate,
	.more = generate,
	.input = input,
	.end = preforkd_finish,
};
