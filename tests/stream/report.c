/* What the client says on the way, and its verdict. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/stream/stream.h"

enum {
	STUCK_MS = 400, /* nobody could send for so long: stuck */
	PROGRESS_MS = 100,
};

static void
announce(const char *what, uint64_t *count, uint64_t connections)
{
	if (*count < connections || *count == UINT64_MAX)
		return;
	printf("%s %" PRIu64 "\n", what, connections);
	fflush(stdout);
	*count = UINT64_MAX;
}

static void
announce_stuck(struct stream *s)
{
	uint64_t i, sent = 0;

	if (!s->opt.never_read || s->stuck || s->connected != UINT64_MAX ||
	    s->now_ms - s->sent_ms < STUCK_MS)
		return;
	for (i = 0; i < s->opt.connections; i++)
		sent += s->conns[i].fd < 0 ? 0 : s->conns[i].sent;
	printf("stuck %" PRIu64 "\n", sent);
	fflush(stdout);
	s->stuck = true;
}

void
report_milestones(struct stream *s)
{
	if (s->opt.in_rounds)
		return;
	announce("connected", &s->connected, s->opt.connections);
	announce("answered", &s->answered, s->opt.connections);
	announce_stuck(s);
}

static void
print_counts(const struct stream *s)
{
	printf("connections %" PRIu64 " bytes %" PRIu64 " wrong %" PRIu64
	       " lost %" PRIu64 " refused %" PRIu64 " reset %" PRIu64
	       " closed %" PRIu64 " late %" PRIu64 " gap %" PRId64 "\n",
	    s->count[ENDED], s->bytes, s->wrong, s->lost, s->count[REFUSED],
	    s->count[RESET], s->count[CLOSED], s->count[LATE], s->gap_ms);
}

void
report_progress(struct stream *s)
{
	if (!s->opt.progress || s->now_ms < s->progress_ms)
		return;
	s->progress_ms = s->now_ms + PROGRESS_MS;
	printf("progress open %" PRIu64 " ", s->open);
	print_counts(s);
	fflush(stdout);
}

int
report_end(const struct stream *s)
{
	bool cut = s->count[RESET] + s->count[CLOSED] + s->lost > 0;

	print_counts(s);
	if (s->count[LATE] > 0)
		fprintf(stderr,
		    "stream: time is up: %" PRIu64 " connections "
		    "have not ended: the server hangs, or --seconds %" PRIu64
		    " is too short\n",
		    s->count[LATE], s->opt.seconds);
	return s->wrong + s->count[REFUSED] + s->count[LATE] > 0 ||
	    (cut && !s->opt.allow_cut);
}
