/*
 * The echo service, RFC 862: "Once a connection is established any data
 * received is sent back. This continues until the calling user terminates the
 * connection."
 */
#include "service.h"

void
service_input(const unsigned char *bytes, size_t count)
{
	(void)bytes;
	(void)count;
}
