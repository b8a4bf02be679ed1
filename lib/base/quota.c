#include "lib/base/quota.h"

/* Each line puts off the time when the quota is full again; it is used up when
 * that lies a whole burst ahead. */
bool
quota_take(struct quota *q, uint64_t now_ms, uint64_t *withheld)
{
	const uint64_t burst_ms = (uint64_t)QUOTA_BURST * QUOTA_EVERY_MS;
	uint64_t full_ms = q->full_ms > now_ms ? q->full_ms : now_ms;

	if (full_ms - now_ms > burst_ms) /* not of this boot, or damaged */
		full_ms = now_ms + burst_ms;
	if (full_ms + QUOTA_EVERY_MS > now_ms + burst_ms) {
		q->withheld++;
		return false;
	}
	q->full_ms = full_ms + QUOTA_EVERY_MS;
	*withheld = q->withheld;
	q->withheld = 0;
	return true;
}
