#include "lib/base/vigil.h"

#include <stdbool.h>

static bool
is_much_too_late(const struct vigil *v, uint64_t now_ms)
{
	return v->due_ms != 0 && now_ms > v->due_ms + VIGIL_LATE_MS;
}

uint64_t
vigil_now(struct vigil *v, uint64_t clock_ms)
{
	uint64_t now_ms = clock_ms - v->missed_ms;
	uint64_t counted_ms = v->since_ms + VIGIL_LATE_MS;

	if (!is_much_too_late(v, now_ms))
		return now_ms;
	if (counted_ms > v->due_ms)
		counted_ms = v->due_ms;
	v->missed_ms += now_ms - counted_ms;
	return counted_ms;
}

/* What is overdue already would turn the clock back. A death in between leaves
 * a wait without an end, which misses nothing. */
void
vigil_until(struct vigil *v, uint64_t now_ms, uint64_t due_ms)
{
	__atomic_store_n(&v->due_ms, 0, __ATOMIC_RELEASE);
	v->since_ms = now_ms;
	__atomic_store_n(&v->due_ms,
	    due_ms != 0 && due_ms < now_ms ? now_ms : due_ms, __ATOMIC_RELEASE);
}
