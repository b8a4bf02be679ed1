/* conditions: whether a client needs a file, and which part of it: RFC 9110, 13
 * and 14. */
#ifndef HTTP_CONDITIONS_H
#define HTTP_CONDITIONS_H

#include "request.h"
#include "site.h"

/* Bytes of a body, the last one not among them. */
struct range {
	size_t from, to;
};

/* Returns WHOLE or PARTIAL, with RANGE, for a file that is to be sent;
 * NOT_MODIFIED, CHANGED or NO_SUCH_RANGE for one that is not. */
enum status conditions_judge(
    const struct request *r, const struct page *page, struct range *range);

#endif
