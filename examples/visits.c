/*
 * Visits: tells each client how often its address has connected, to whichever
 * worker. The workers count in one table, which `start` maps with MAP_SHARED
 * before they are cloned.
 *
 * A worker can be killed at any instruction, and no lock would be opened again:
 * so each entry is two words that are written by one atomic operation each. A
 * call that is made once more, because its worker was killed in it, counts once
 * more; and a reload begins with an empty table, as it begins with a mapping of
 * its own.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "preforkd.h"

enum { ENTRIES = 1 << 16, TRIES = 64 };

static struct entry {
	uint64_t address; /* its hash; 0: the entry is free */
	uint64_t visits;
} * table;

static const char *
visits_start(const char *argument)
{
	void *memory = mmap(NULL, ENTRIES * sizeof *table,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)argument;
	if (memory == MAP_FAILED)
		return "no memory for the table";
	table = memory;
	return NULL;
}

/* "192.0.2.1:5000", "[2001:db8::1]:5000": the port is another each time. */
static uint64_t
hash_address(const char *peer)
{
	const char *end = strrchr(peer, ':');
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	while (peer < end)
		hash = (hash ^ (unsigned char)*peer++) * 1099511628211u;
	return hash ? hash : 1;
}

/* Whoever is killed here has either taken the entry or not. */
static int
is_entry_of(struct entry *entry, uint64_t address)
{
	uint64_t owner = 0;

	return __atomic_compare_exchange_n(&entry->address, &owner, address, 0,
		   __ATOMIC_RELAXED, __ATOMIC_RELAXED) ||
	    owner == address;
}

/* Returns 0 where the table is full: so many addresses are not counted. */
static uint64_t
count_visit(uint64_t address)
{
	struct entry *entry;

	for (uint64_t i = 0; i < TRIES; i++) {
		entry = &table[(address + i) % ENTRIES];
		if (is_entry_of(entry, address))
			return __atomic_add_fetch(
			    &entry->visits, 1, __ATOMIC_RELAXED);
	}
	return 0;
}

static void
visits_open(struct preforkd_conn *conn)
{
	uint64_t visits = count_visit(hash_address(preforkd_peer(conn)));

	preforkd_replyf(conn, "visit %llu\n", (unsigned long long)visits);
	preforkd_finish(conn);
}

static size_t
visits_input(
    struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	(void)conn, (void)bytes;
	return count;
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "visits",
	.start = visits_start,
	.open = visits_open,
	.input = visits_input,
};
