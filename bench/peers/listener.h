/* listener: the port that the peers without a library listen on. */
#ifndef BENCH_LISTENER_H
#define BENCH_LISTENER_H

/* On 127.0.0.1, and does not block. Ends the program if it cannot be had. */
int listener_open(const char *port);

#endif
