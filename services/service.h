/* service: what is done with a client's bytes. */
#ifndef PREFORKD_SERVICE_H
#define PREFORKD_SERVICE_H

#include <stddef.h>

/*
 * Takes COUNT bytes that a client sent. The answer to them is themselves: it
 * leaves once this has returned. A crash in here costs that client alone, and
 * after a kill it is called again with the same bytes.
 */
void service_input(const unsigned char *bytes, size_t count);

#endif
