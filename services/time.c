/*
 * The time protocol, RFC 868: "The server listens for a connection ... When
 * the connection is established, the server returns a 32-bit time value and
 * closes the connection." "The time is the number of seconds since 00:00
 * (midnight) 1 January 1900 GMT".
 *
 * "This base will serve until the year 2036": from then on it begins again at
 * 0, as that of NTP does.
 */
#include <time.h>

#include "include/preforkd.h"

/* "the time 2,208,988,800 corresponds to 00:00 1 Jan 1970 GMT" */
static const uint32_t epoch = 2208988800;

static void
tell(struct preforkd_conn *conn)
{
	uint32_t now = (uint32_t)time(NULL) + epoch;
	const unsigned char bytes[] = {
		(unsigned char)(now >> 24),
		(unsigned char)(now >> 16),
		(unsigned char)(now >> 8),
		(unsigned char)now,
	};

	preforkd_reply(conn, bytes, sizeof bytes);
	preforkd_finish(conn);
}

static size_t
input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	(void)conn;
	(void)bytes;
	return count;
}

const struct preforkd_service time_service = {
	.abi = PREFORKD_ABI,
	.name = "time",
	.open = tell,
	.input = input,
};
