/*
 * trial: loads a service in a process made for that, for whoever only wants to
 * know whether it can be done: code of a shared object runs as it is loaded,
 * and may crash, exit or hang.
 */
#ifndef PREFORKD_TRIAL_H
#define PREFORKD_TRIAL_H

#include <stdbool.h>

#include "lib/base/config.h"
#include "lib/base/service.h"

/* Tries CONFIG's Nth service for start-timeout at the most. Returns false with
 * cause and remedy in ERROR. */
bool
trial_load(const struct config *config, unsigned n, char error[SERVICE_ERROR]);

#endif
