#include "lib/master/verdict.h"

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

/* Somebody else's doing, and as often as he likes. */
static bool
is_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
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
	return is_killed(death->status) && death->waits != history->waits;
}

static void
count_progress(struct verdict_history *history, const struct death *death)
{
	if (has_progressed(history, death))
		history->stalled = 0;
	history->progress = death->progress;
	history->waits = death->waits;
	history->stalled += is_killed(death->status) ? 1 : VERDICT_OWN;
}

static void
name_call(struct verdict_history *history, const struct death *death)
{
	if (history->call != death->call)
		history->kills = history->faults = 0;
	history->call = death->call;
}

/* So many kills from outside are taken for the call's own doing. */
static bool
is_one_kill_too_many(struct verdict_history *history, const struct death *death)
{
	return !death->ordered && ++history->kills >= VERDICT_KILLS;
}

static void
count_call(struct verdict_history *history, const struct death *death)
{
	if (death->hung)
		history->faults = VERDICT_FAULTS;
	else if (is_fault(death->status) ||
	    is_one_kill_too_many(history, death))
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
