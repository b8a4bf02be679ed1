/*
 * The daytime service, RFC 867: "Once a connection is established the current
 * date and time is sent out the connection as a ascii character string (and any
 * data received is thrown away). The service closes the connection after
 * sending the quote."
 *
 * "There is no specific syntax for daytime"; this is one that it calls popular:
 *
 *     Tuesday, February 22, 1982 17:37:43-UTC
 */
#include <time.h>

#include "include/preforkd.h"

static void
tell(struct preforkd_conn *conn)
{
	time_t now = time(NULL);
	struct tm utc;
	char line[80];
	size_t length;

	gmtime_r(&now, &utc);
	length =
	    strftime(line, sizeof line, "%A, %B %d, %Y %H:%M:%S-UTC\r\n", &utc);
	preforkd_reply(conn, line, length);
	preforkd_finish(conn);
}

static size_t
input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	(void)conn;
	(void)bytes;
	return count;
}

const struct preforkd_service daytime_service = {
	.abi = PREFORKD_ABI,
	.name = "daytime",
	.open = tell,
	.input = input,
};
