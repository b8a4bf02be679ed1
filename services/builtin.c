/* The services that are always there: `listen` names them by their names. */
#include "lib/base/service.h"

extern const struct preforkd_service chargen_service, daytime_service,
    discard_service, echo_service, time_service;

const struct preforkd_service *const builtin_services[] = {
	&echo_service,
	&discard_service,
	&chargen_service,
	&daytime_service,
	&time_service,
	NULL,
};
