/*
 * parcel: what a connection takes along to another slot beside its entry: the
 * rest of its input, its pending answer, its state.
 *
 * It lies in slot memory, the giving slot's and then the taking one's; the
 * master copies it from one to the other. How long each part is follows from
 * the entry.
 */
#ifndef PREFORKD_PARCEL_H
#define PREFORKD_PARCEL_H

#include "lib/slot/slot.h"

/* A connection without its socket, as it stands in a message (control.h). Times
 * in it are clock_ms(). */
struct parcel_label {
	struct connection connection;
	struct particulars particulars;
};

/* The parcel's bytes. Returns false where the label cannot be a connection's:
 * it comes from a process that talks to strangers. */
bool parcel_size(const struct parcel_label *, size_t *size);

/* Packs the connection FD into its slot's memory->parcel. */
struct parcel_label parcel_pack(struct slot_memory *, int fd);

/* Makes the entry of FD, which is not open, from the label and
 * memory->parcel. Returns false where the label is wrong. */
bool parcel_unpack(struct slot_memory *, int fd, const struct parcel_label *);

#endif
