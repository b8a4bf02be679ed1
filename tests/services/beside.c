/* A service whose library lies beside it: tests/loader.bats. */
#include <string.h>

#include "include/preforkd.h"

const char *beside_says(void); /* tests/services/libbeside.c */

static size_t
beside_input(
    struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	(void)bytes;
	preforkd_reply(conn, beside_says(), strlen(beside_says()));
	return count;
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "beside",
	.input = beside_input,
};
