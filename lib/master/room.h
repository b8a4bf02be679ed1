/*
 * room: which slots new connections are steered to: those that are served and
 * not full.
 */
#ifndef PREFORKD_ROOM_H
#define PREFORKD_ROOM_H

#include "lib/master/crew.h"

/* Puts it in force, and says where clients have to wait. */
void room_steer(struct crew *);

#endif
