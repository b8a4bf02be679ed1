/*
 * wait: what a connection can wait for, and what ends that.
 *
 *   it waits for             while                        at the latest
 *   ----------------------   --------------------------   ------------------
 *   the client to read       some of its answer is        write-timeout
 *                            neither acknowledged nor
 *                            given up: it is pending
 *                            here, or in the kernel
 *   the client to speak      nothing is pending, and the  idle-timeout
 *                            service has no more to say
 *   the client's end         it has its whole answer,     WAIT_LINGER_MS; no
 *                            and our FIN                  time, at a stop
 *   the service's timer      one is set                   the timer
 *   its turn                 the kernel has an event of   hang-timeout of the
 *                            it, or the service has more  call that it waits
 *                            to say and there is room     for (lib/master)
 *   the client's first       the server stops, and it     WAIT_NEWCOMER_MS
 *   words                    has only just come
 *   another slot             it is on its way: the        the taker's word
 *                            memory says so               (lib/slot/move.h)
 *
 * It can wait for several at once: with an answer in the kernel and nothing
 * more to say, for the client to read and to speak; a timer runs beside each.
 *
 * Whether a client reads is seen by what its kernel acknowledges, wherever the
 * rest lies: a service that answers in parts has nothing pending between two of
 * them, and a peer that died without a word leaves the whole answer in our
 * kernel. One byte acknowledged is progress: a slow reader is not cut.
 *
 * Times are the slot's vigil's: time in which nobody looked is left out. What
 * has come is served before anybody is judged late (schedule.c, exchange.c).
 *
 * Pure: no system call, no clock of its own.
 */
#ifndef PREFORKD_WAIT_H
#define PREFORKD_WAIT_H

#include "lib/slot/connection.h"

/* A client that closes in the midst of its last message has no more to lose. */
enum { WAIT_LINGER_MS = 5000 };

/* What a client says right after its connect is on its way then. */
enum { WAIT_NEWCOMER_MS = 1000 };

/* True for a client that has only just come and is about to say why. Where its
 * connection is closed first, a reset is the answer to what it says. */
bool wait_is_newcomer(
    const struct connection *, const struct particulars *, uint64_t now_ms);

/* True where bytes have been sent that were not acknowledged at the last look,
 * or are pending: then wait_note is to be told how many are. */
bool wait_is_owed(const struct connection *, const struct particulars *);

/* Notes that the peer's kernel has acknowledged the answer up to TAKEN. */
void wait_note(
    struct connection *, struct particulars *, uint64_t taken, uint64_t now_ms);

/* Why the connection has waited for too long, or CLOSE_NOT. Time-outs in ms, 0
 * for never. */
enum close_reason
wait_overdue(const struct connection *, const struct particulars *,
    uint64_t now_ms, uint64_t idle_timeout_ms, uint64_t write_timeout_ms);

#endif
