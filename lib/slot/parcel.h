/*
 * parcel: what a connection takes along to another slot beside its entry: the
 * rest of its input, its pending answer, its state. How long each part is
 * follows from the entry.
 */
#ifndef PREFORKD_PARCEL_H
#define PREFORKD_PARCEL_H

#include "lib/slot/slot.h"

/* The parcel's bytes. Returns false where the label cannot be a connection's:
 * it comes from a process that talks to strangers. */
bool parcel_size(const struct parcel_label *, size_t *size);

/* Packs the connection FD into its slot's memory->parcel. */
struct parcel_label parcel_pack(struct slot_memory *, int fd);

/* Makes the entry of FD, which is not open, from memory->parcel and the label,
 * for which parcel_size must have been true. */
void parcel_unpack(struct slot_memory *, int fd, const struct parcel_label *);

#endif
