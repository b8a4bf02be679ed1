/* close: many descriptors at once. */
#ifndef PREFORKD_CLOSE_H
#define PREFORKD_CLOSE_H

/* Closes what is open from FIRST to LAST. */
void close_between(unsigned first, unsigned last);

#endif
