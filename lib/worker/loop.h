/* loop: what all parts of a worker share. */
#ifndef PREFORKD_LOOP_H
#define PREFORKD_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "lib/base/config.h"
#include "lib/base/service.h"
#include "lib/slot/slot.h"

/* What is the server's own in the slot's table: own.h. In this order, as the
 * epoll instance is known by the control socket. */
enum own { OWN_CONTROL, OWN_WAITING, OWN_EPOLL, OWNS };

/* Private to a process; a successor has its own from before the start. */
struct loop {
	struct slot_memory *memory;
	unsigned fds; /* that it is for: the memory may say anything */
	const struct config *config;
	struct services *services;
	int32_t pid; /* of this process */
	int epoll;   /* the slot's one instance */
	int control; /* the worker's end of the slot's control sockets */
	int waiting; /* the standby's */
	struct {
		int kept; /* a duplicate; 0: none */
		uint64_t cookie;
	} own[OWNS];	 /* of the three */
	int batch;	 /* events that are handled between two epoll_wait */
	uint64_t now_ms; /* taken once after each epoll_wait */
	bool stopping;	 /* a connection closes once it is answered */
	bool broken;	 /* it lacks what only a successor is brought */
};

/* What an event belongs to that is no connection's: even, in the place of a
 * generation. Some of these keep their events under whatever number they have.
 */
enum { LOOP_LISTENER = 0, LOOP_CONTROL = 2, LOOP_GIVE = 4, LOOP_TAKE = 6 };

/*
 * epoll_ctl(2) with what an event belongs to: an fd, and the generation of its
 * connection, which is odd, or one of the above. An event of a connection that
 * was closed (and whose fd may be another's by now) carries an old generation.
 */
int loop_watch(
    struct loop *, int operation, int fd, uint32_t events, uint32_t generation);

/* A number of the socket that FD is, which no other socket ever has (SO_COOKIE,
 * socket(7)); of another file its inode; 0 where there is none. FD's own number
 * can be another's by the time that a successor looks: a service that starts
 * beside opens files. */
uint64_t loop_cookie(int fd);

/* True for the descriptors above, and their duplicates. */
bool loop_owns(const struct loop *, int fd);

/* Puts into an event what it belongs to. */
static inline void
loop_name(struct epoll_event *event, int fd, uint32_t generation)
{
	event->data.u64 = (uint64_t)generation << 32 | (uint32_t)fd;
}

static inline int
loop_fd(const struct epoll_event *event)
{
	return (int)(uint32_t)event->data.u64;
}

static inline uint32_t
loop_generation(const struct epoll_event *event)
{
	return (uint32_t)(event->data.u64 >> 32);
}

#endif
