/*
 * store: what a successor finds is what was stored, in this order.
 *
 * A worker can die between any two stores to slot memory. The compiler may not
 * move another access across such a store; across a system call it does not, as
 * it cannot see into one. What order the processor keeps does not matter, since
 * a successor runs after a death. A store of up to a machine word is one
 * instruction, so a 64-bit counter is written whole on a 64-bit machine.
 */
#ifndef PREFORKD_STORE_H
#define PREFORKD_STORE_H

#define store(variable, value)                           \
	do {                                             \
		__atomic_signal_fence(__ATOMIC_SEQ_CST); \
		(variable) = (value);                    \
		__atomic_signal_fence(__ATOMIC_SEQ_CST); \
	} while (0)

_Static_assert(sizeof(void *) == 8, "a 64-bit machine, for whole stores");

#endif
