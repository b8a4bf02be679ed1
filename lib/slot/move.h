/*
 * move: connections on their way from one slot's worker to another's.
 *
 * The two have a socket between them (SOCK_SEQPACKET), and one piece of memory
 * for what does not fit into a message. The master makes both, and keeps a
 * duplicate of each for a successor. One batch is on its way at a time:
 *
 *   giver                                taker
 *   names the batch; from then on
 *   nobody touches its connections
 *   sends it, with their sockets   -->   makes them connections that are not
 *                                        open yet, and decides
 *                                  <--   answers: taken, or not
 *   lets them go, or serves them on      serves them, once that is said
 *
 * No death tears it, at whichever instruction:
 *
 * - The giver keeps each socket until it has the answer, so a taker that lacks
 *   something, or whose slot is lost, costs no connection.
 * - A batch that is named and not answered is sent again by the giver's
 *   successor. The taker knows it by its number, and gives the same answer
 *   again: what was decided of a number stays so.
 * - The kernel writes the numbers of the sockets into the taker's slot memory
 *   (struct slot_take), so its successor knows them, also when the call was not
 *   seen to return.
 * - The answer is in the giver's socket before the taker serves the first: so
 *   where the taker's slot is lost the giver either knows that it took them, or
 *   has them as they were.
 *
 * An end of the socket is closed by its slot when the move is over. The other
 * side hears of that behind all that was said before.
 */
#ifndef PREFORKD_MOVE_H
#define PREFORKD_MOVE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/slot/connection.h"

enum {
	MOVE_BATCH = 253, /* connections: SCM_MAX_FD, unix(7) */
	/* Of the shared memory: what the connections of a batch take along. It
	 * holds the largest of them (slot.h, SLOT_PARCEL), or many small. */
	MOVE_PARCELS_BYTES = 2 << 20,
};

/* A connection without its socket. Times in it are clock_ms(). */
struct parcel_label {
	struct connection connection;
	struct particulars particulars;
};

/* The giver's message. Parcels lie in the shared memory one behind the other,
 * in the order of the labels; how long each is follows from its label. */
struct move_batch {
	uint64_t serial; /* of the move */
	uint64_t number; /* of the batch, from 1 on */
	uint64_t count;
	struct parcel_label labels[MOVE_BATCH];
};

/* The taker's. */
struct move_answer {
	uint64_t serial, number;
	uint64_t taken; /* 0: the giver keeps them */
};

/* The bytes of a message of COUNT connections. */
static inline size_t
move_batch_bytes(uint64_t count)
{
	return offsetof(struct move_batch, labels) +
	    (size_t)count * sizeof(struct parcel_label);
}

/* What both ends have in slot memory. */
struct move_end {
	int32_t fd;	 /* of the socket; 0: no move is under way; -1: a
			    service has closed it, the master brings it anew */
	int32_t parcels; /* of the shared memory; 0: it has not come; -1: as
			    above */
	uint64_t cookie; /* which socket it is (loop.h), */
	uint64_t parcels_cookie; /* and which memory */
	uint64_t serial; /* of the move, the last where none is under way */
	uint64_t parcels_serial; /* whose memory it is */
};

struct slot_give {
	struct move_end end;
	uint64_t keep; /* so many connections stay */
	uint32_t all;  /* 0: those stay, too, whose service has more to say */
	uint64_t answered; /* batches of this move */
	uint32_t count;	   /* of the batch on its way; 0: none is */
	struct {
		int32_t fd;
		uint32_t generation; /* of the connection: it may have gone */
	} batch[MOVE_BATCH];
};

/* How far a batch has come; PHASE_TAKE. */
enum take_step {
	TAKE_RECEIVE, /* it may have come */
	TAKE_PREPARE, /* its connections are made, none is open */
	TAKE_OPEN,    /* it is taken: they are opened */
	TAKE_REFUSE,  /* its sockets are closed */
	TAKE_REPEAT,  /* so, too: it was decided before */
	TAKE_STEPS
};

struct slot_take {
	struct move_end end;
	/* Of the last batch: its number twice, plus 1 if it was taken. */
	uint64_t decided;
	/* OPEN: the slot's counters before the batch. */
	uint64_t accepted, moved;
	uint32_t step; /* enum take_step */
	/* recvmsg(2) writes what follows. The kernel writes each number before
	 * it installs the descriptor (fs/file.c, receive_fd); all are 0
	 * before. */
	struct {
		size_t length; /* struct cmsghdr */
		int32_t level, type;
		int32_t fd[MOVE_BATCH + 1];
	} brought;
	struct move_batch batch;
};

#endif
