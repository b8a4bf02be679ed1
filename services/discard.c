/*
 * The discard service, RFC 863: "Once a connection is established any data
 * received is thrown away. No response is sent. This continues until the
 * calling user terminates the connection."
 */
#include "include/preforkd.h"

static size_t
input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	(void)conn;
	(void)bytes;
	return count;
}

const struct preforkd_service discard_service = {
	.abi = PREFORKD_ABI,
	.name = "discard",
	.input = input,
};
