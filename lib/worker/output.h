/*
 * output: what a service's code prints becomes lines of the log.
 *
 * The standard streams of a worker lead into the log, a line each, with the
 * service's name: stdout as info, stderr as warning. No process reads them, so
 * nobody can be slow at it, and a worker that dies loses only a line that it
 * had not ended. What is written to descriptors 1 and 2 past the streams, as by
 * write(2), goes where the server's own go.
 */
#ifndef PREFORKD_OUTPUT_H
#define PREFORKD_OUTPUT_H

/* To be called once in a slot, before code of a service: clones inherit it. */
void output_to_log(void);

/* Ends a line that was begun, before _exit(2). */
void output_flush(void);

#endif
