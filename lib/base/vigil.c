#include "lib/base/vigil.h"

uint64_t
vigil_now(struct vigil *v, uint64_t clock_ms)
{
	uint64_t now_ms = clock_ms - v->missed_ms;

	if (v->due_ms == 0 || now_ms <= v->due_ms + VIGIL_LATE_MS)
		return now_ms;
	v->missed_ms += now_ms - v->due_ms;
	return v->due_ms;
}

/* What is overdue already would turn the clock back. */
void
vigil_until(struct vigil *v, uint64_t now_ms, uint64_t due_ms)
{
	v->due_ms = due_ms != 0 && due_ms < now_ms ? now_ms : due_ms;
}
