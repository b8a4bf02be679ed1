#include "lib/master/steering.h"

#include <sys/socket.h>

void
steering_add(struct steering *group, unsigned slot)
{
	group->changed = true;
	if (group->count < STEERING_MEMBERS)
		group->slots[group->count++] = (unsigned short)slot;
}

void
steering_remove(struct steering *group, unsigned slot)
{
	group->changed = true;
	for (unsigned i = 0; i < group->count; i++)
		if (group->slots[i] == slot) {
			group->slots[i] = group->slots[--group->count];
			return;
		}
}

static unsigned
count_served(const struct steering *group, const bool *served)
{
	unsigned count = 0;

	for (unsigned i = 0; i < group->count; i++)
		count += served[group->slots[i]];
	return count;
}

/*
 * A = random % served; then for the nth served listener, in the order of the
 * group: if A == n return its index. The chance is drawn anew for each
 * connection, as BPF has no counter.
 */
unsigned
steering_program(const struct steering *group, const bool *served,
    struct sock_filter program[STEERING_PROGRAM])
{
	unsigned total = count_served(group, served), length = 0, nth = 0;

	if (total == 0)
		return 0;
	program[length++] = (struct sock_filter)BPF_STMT(
	    BPF_LD | BPF_W | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_RANDOM));
	program[length++] =
	    (struct sock_filter)BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, total);
	for (unsigned i = 0; i < group->count; i++) {
		if (!served[group->slots[i]])
			continue;
		program[length++] = (struct sock_filter)BPF_JUMP(
		    BPF_JMP | BPF_JEQ | BPF_K, nth++, 0, 1);
		program[length++] =
		    (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, i);
	}
	/* Not reached, but the kernel wants a return at the end. */
	program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	return length;
}

int
steering_apply(struct steering *group, const bool *served, int listener)
{
	struct sock_filter program[STEERING_PROGRAM];
	struct sock_fprog attachment = { .filter = program };

	attachment.len =
	    (unsigned short)steering_program(group, served, program);
	group->changed = false;
	if (attachment.len == 0)
		return 0;
	return setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF,
	    &attachment, sizeof attachment);
}
