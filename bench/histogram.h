/*
 * histogram: how often each duration was seen, to within a hundredth.
 *
 * It is of a fixed size and needs no lock: each process of the load has its
 * own, and they are added up at the end.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
	/* Each power of two has so many steps. */
	HISTOGRAM_STEP_BITS = 7,
	HISTOGRAM_STEPS = 1 << HISTOGRAM_STEP_BITS,
	HISTOGRAM_COUNTS = (64 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS,
};

struct histogram {
	uint64_t total;
	uint64_t counts[HISTOGRAM_COUNTS];
};

void histogram_record(struct histogram *histogram, uint64_t ns);

void histogram_add(struct histogram *to, const struct histogram *from);

/* The least duration that FRACTION of all recorded ones are within, 0 if none
 * is recorded. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);

#endif
