#include "lib/master/restart.h"

uint64_t
restart_delay_ms(struct restart *restart, uint64_t lived_ms)
{
	uint64_t delay_ms = RESTART_FIRST_MS;

	restart->deaths++;
	if (lived_ms >= RESTART_LIVED_MS)
		restart->early = 0;
	if (restart->early++ == 0)
		return 0;
	for (unsigned i = 2; i < restart->early; i++)
		if ((delay_ms *= 2) >= RESTART_MOST_MS)
			return RESTART_MOST_MS;
	return delay_ms;
}

uint64_t
restart_failed_ms(struct restart *restart)
{
	uint64_t delay_ms = restart_delay_ms(restart, 0);

	return delay_ms > 0 ? delay_ms : RESTART_FIRST_MS;
}

bool
restart_is_hopeless(const struct restart *restart)
{
	return restart->early >= RESTART_TRIES;
}
