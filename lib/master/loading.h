/* loading: the generations of a crew: when one is loaded, by whom slots are
 * born, and when one has had its time. */
#ifndef PREFORKD_LOADING_H
#define PREFORKD_LOADING_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/master/crew.h"

/* True if slots of CONFIG can be born: by the master, if there is nothing to
 * load, or by this generation. */
bool loading_can_bear(const struct config *config, const struct generation *);

/* Begins to load what is to be in force, and lets end what nobody needs. */
void loading_reconcile(struct crew *);

/* The same for CONFIG, which the reload under way is to put in force. Returns
 * true once it can bear slots; if it cannot be loaded, crew->failure says why.
 */
bool loading_next(struct crew *, const struct config *config);
void loading_switch(struct crew *);
void loading_dismiss_next(struct crew *);

/* The generation whose control socket FD is, or that has process PID, or NULL.
 */
struct generation *loading_at(const struct crew *, int fd);
struct generation *loading_of(const struct crew *, pid_t pid);

void loading_keep_time(struct crew *);
uint64_t loading_due_ms(const struct crew *);
void loading_kill(struct crew *);

#endif
