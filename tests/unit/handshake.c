/* Handshakes under way: how far apart looks are. */
#include "lib/base/handshake.h"

#include "check.h"

static void
the_pause_begins_after_the_look(void)
{
	CHECK(handshake_again_ms(1000, 0, 20) == 1020);
	CHECK(handshake_again_ms(1000, 5, 20) == 1025);
}

static void
half_the_time_is_left(void)
{
	CHECK(handshake_again_ms(1000, 20, 20) == 1040);
	CHECK(handshake_again_ms(1000, 160, 20) == 1320);
}

static void
no_port_has_none(void)
{
	CHECK(handshake_look(NULL, 0, 0, UINT64_MAX) == HANDSHAKES_NONE);
	CHECK(!handshake_is_under_way(NULL, 0));
}

int
main(void)
{
	the_pause_begins_after_the_look();
	half_the_time_is_left();
	no_port_has_none();
	return 0;
}
