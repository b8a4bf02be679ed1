/* master: supervision. What happens to slots. */
#ifndef PREFORKD_MASTER_H
#define PREFORKD_MASTER_H

#include "lib/base/config.h"
#include "lib/base/inherited.h"

/*
 * Serves CONFIG until told to end, on what it has INHERITED as well; reads
 * SOURCE anew at each reload. Returns
 * the exit status: 0, 1 where the master itself could not go on, or
 * CONTROL_EXIT_PERMANENT, the cause having been logged.
 */
int master_run(const struct config_source *source, const struct config *config,
    const struct inherited *inherited);

#endif
