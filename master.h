/* master: supervision. What happens to slots. */
#ifndef PREFORKD_MASTER_H
#define PREFORKD_MASTER_H

#include "lib/base/config.h"

/*
 * Serves CONFIG until told to end; reads SOURCE anew at each reload. Returns
 * the exit status: 0, 1 where the master itself could not go on, or
 * CONTROL_EXIT_PERMANENT, the cause having been logged.
 */
int master_run(const struct config_source *source, const struct config *config);

#endif
