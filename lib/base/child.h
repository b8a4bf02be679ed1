/*
 * child: news of child processes. None of these waits for ever, so a signal is
 * no reason to return without the answer: EINTR is tried again.
 */
#ifndef PREFORKD_CHILD_H
#define PREFORKD_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* Looks for news of PID, or of any child where that is 0, as waitid(2) does by
 * OPTIONS, without waiting. False where it is no child; si_pid is 0 where there
 * is no news. */
bool child_look(pid_t pid, int options, siginfo_t *info);

/* Takes the end of a child that is dead or being killed; STATUS is as from
 * waitpid(2). */
bool child_reap(pid_t pid, int *status);

#endif
