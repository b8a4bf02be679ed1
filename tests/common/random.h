/* random: splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
 * Generators, 2014), so that a seed gives the same choices everywhere. */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdint.h>

/* Every bit of X reaches every bit of the result. */
static inline uint64_t
random_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* The next number below LIMIT; 0 if that is 0. */
static inline uint64_t
random_below(uint64_t *state, uint64_t limit)
{
	*state += 0x9e3779b97f4a7c15u;
	return limit == 0 ? 0 : random_mix(*state) % limit;
}

#endif
