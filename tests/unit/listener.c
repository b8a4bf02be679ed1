/* Listeners: which errors a person must act on, and which pass. */
#include "lib/base/listener.h"

#include <errno.h>

#include "check.h"

int
main(void)
{
	CHECK(listener_remedy(EADDRINUSE) == LISTENER_ACT);
	CHECK(listener_remedy(EACCES) == LISTENER_ACT);
	CHECK(listener_remedy(EPERM) == LISTENER_ACT);
	CHECK(listener_remedy(EAFNOSUPPORT) == LISTENER_ACT);
	CHECK(listener_remedy(EPROTONOSUPPORT) == LISTENER_ACT);
	CHECK(listener_remedy(EOPNOTSUPP) == LISTENER_ACT);
	CHECK(listener_remedy(EINVAL) == LISTENER_ACT);
	CHECK(listener_remedy(EADDRNOTAVAIL) == LISTENER_AWAIT);
	CHECK(listener_remedy(ENODEV) == LISTENER_AWAIT);
	CHECK(listener_remedy(EMFILE) == LISTENER_RETRY);
	CHECK(listener_remedy(ENFILE) == LISTENER_RETRY);
	CHECK(listener_remedy(ENOMEM) == LISTENER_RETRY);
	CHECK(listener_remedy(ENOBUFS) == LISTENER_RETRY);
	CHECK(listener_remedy(EAGAIN) == LISTENER_RETRY);
	return 0;
}
