#include "histogram.h"

/* Durations below HISTOGRAM_STEPS have a count each; from there on each power
 * of two has HISTOGRAM_STEPS of them. */
static unsigned
step_of(uint64_t ns)
{
	unsigned shift;

	if (ns < HISTOGRAM_STEPS)
		return (unsigned)ns;
	shift = 63 - (unsigned)__builtin_clzll(ns) - HISTOGRAM_STEP_BITS;
	return shift * HISTOGRAM_STEPS + (unsigned)(ns >> shift);
}

/* The middle of what falls into that step. */
static uint64_t
value_of(unsigned step)
{
	unsigned shift;

	if (step < 2 * HISTOGRAM_STEPS)
		return step;
	shift = step / HISTOGRAM_STEPS - 1;
	return ((uint64_t)(step - shift * HISTOGRAM_STEPS) << shift) +
	    (UINT64_C(1) << shift) / 2;
}

void
histogram_record(struct histogram *histogram, uint64_t ns)
{
	histogram->counts[step_of(ns)]++;
	histogram->total++;
}

void
histogram_add(struct histogram *to, const struct histogram *from)
{
	for (unsigned i = 0; i < HISTOGRAM_COUNTS; i++)
		to->counts[i] += from->counts[i];
	to->total += from->total;
}

uint64_t
histogram_quantile(const struct histogram *histogram, double fraction)
{
	uint64_t below = 0;
	uint64_t rank = (uint64_t)((double)histogram->total * fraction);

	if (rank == histogram->total && rank > 0)
		rank--;
	for (unsigned i = 0; i < HISTOGRAM_COUNTS; i++) {
		below += histogram->counts[i];
		if (below > rank)
			return value_of(i);
	}
	return 0;
}
