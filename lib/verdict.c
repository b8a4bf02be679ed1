#include "verdict.h"

#include <signal.h>
#include <sys/wait.h>

/* A fault is what a call does to its own process. The same signals can come
 * from outside, which is one reason to run the call a second time; the other is
 * that the call at which a corrupted heap gives way is often not the one that
 * corrupted it. */
static bool
is_fault(int status)
{
	if (!WIFSIGNALED(status))
		return true; /* exit() within the call */
	switch (WTERMSIG(status)) {
	case SIGSEGV:
	case SIGBUS:
	case SIGFPE:
	case SIGILL:
	case SIGABRT:
	case SIGSYS:
		return true;
	default:
		return false;
	}
}

/* Where workers are killed from outside, to wait for events again is progress:
 * the slot is sound, however often that happens. Where they end by themselves
 * it is not, or they would do so thousands of times a second. */
static bool
has_progressed(const struct verdict_history *history, const struct death *death)
{
	if (death->progress != history->progress ||
	    death->lived_ms >= VERDICT_LIVED_MS)
		return true;
	return WIFSIGNALED(death->status) &&
	    WTERMSIG(death->status) == SIGKILL &&
	    death->waits != history->waits;
}

static void
count_progress(struct verdict_history *history, const struct death *death)
{
	if (has_progressed(history, death))
		history->stalled = 0;
	history->progress = death->progress;
	history->waits = death->waits;
	history->stalled++;
}

static void
name_call(struct verdict_history *history, const struct death *death)
{
	if (history->call != death->call)
		history->kills = history->faults = 0;
	history->call = death->call;
}

static void
count_call(struct verdict_history *history, const struct death *death)
{
	if (death->hung)
		history->faults = VERDICT_FAULTS;
	else if (is_fault(death->status))
		history->faults++;
	else if (!death->ordered && ++history->kills >= VERDICT_KILLS)
		history->faults++;
}

enum verdict
verdict_judge(struct verdict_history *history, const struct death *death)
{
	count_progress(history, death);
	if (!death->valid || history->stalled >= VERDICT_STALLED)
		return VERDICT_RESET;
	if (!death->running)
		return VERDICT_GO_ON;
	name_call(history, death);
	if (death->ran)
		count_call(history, death);
	return history->faults >= VERDICT_FAULTS ? VERDICT_CLOSE
						 : VERDICT_AGAIN;
}
