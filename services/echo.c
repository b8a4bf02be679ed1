/*
 * The echo service, RFC 862: "Once a connection is established any data
 * received is sent back. This continues until the calling user terminates the
 * connection."
 */
#include "include/preforkd.h"

static size_t
input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	preforkd_reply(conn, bytes, count);
	return count;
}

const struct preforkd_service echo_service = {
	.abi = PREFORKD_ABI,
	.name = "echo",
	.input = input,
};
