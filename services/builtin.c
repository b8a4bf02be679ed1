#include "../lib/service.h"

extern const struct preforkd_service echo_service;

const struct preforkd_service *const builtin_services[] = {
	&echo_service,
	NULL,
};
