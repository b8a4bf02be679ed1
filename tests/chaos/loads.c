#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"
#include "tests/common/die.h"

const struct load_form load_kinds[LOADS] = {
	[STREAMS] = { "streams", "streams",
	    { "--bytes", "1000000G", "--message", "1-256K", "--mixed" } },
	[CHURN] = { "churn", "connect, echo, close",
	    { "--rounds", "0", "--bytes", "64" } },
	[SHORT] = { "short", "short, with a FIN at a random moment",
	    { "--rounds", "0", "--bytes", "200", "--fin-at-random" } },
	[HALF_CLOSED] = { "half-closed", "half-closed",
	    { "--rounds", "0", "--bytes", "600K", "--message", "1-256K",
		"--mixed", "--half-close" } },
	[URGENT] = { "urgent", "urgent data",
	    { "--bytes", "1000000G", "--message", "1-256K", "--mixed",
		"--oob" } },
	[RESETS] = { "resets", "reset by clients",
	    { "--rounds", "0", "--bytes", "300K", "--message", "1-256K",
		"--mixed", "--reset-at-random" } },
	[HOGS] = { "hogs", "out of descriptors",
	    { "--rounds", "0", "--bytes", "2K", "--message", "1K", "--interval",
		"300" } },
};

static _Noreturn void
become_load(const struct chaos *c, enum load_kind kind)
{
	char path[LINE], number[24], seconds[24];
	const char *arguments[32] = { "stream", "--port", c->port,
		"--connections", number, "--seconds", seconds, "--progress" };
	size_t count = 8, i;

	snprintf(path, sizeof path, "%s/stream", c->directory);
	snprintf(number, sizeof number, "%" PRIu64, c->opt.connections[kind]);
	snprintf(seconds, sizeof seconds, "%" PRIu64,
	    c->opt.seconds + (MISSING_MS + SETTLE_MS + FINISH_MS) / 1000);
	for (i = 0; load_kinds[kind].options[i] != NULL; i++)
		arguments[count++] = load_kinds[kind].options[i];
	unblock_signals();
	setpgid(0, 0);
	dup2(c->loads[kind].out, STDOUT_FILENO);
	execv(path, (char *const *)arguments);
	die(path, "build it with make chaos");
}

void
start_load(struct chaos *c, enum load_kind kind)
{
	struct load *load = &c->loads[kind];
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		die("pipe", "raise ulimit -n");
	load->out = ends[1];
	fflush(stdout);
	load->pid = fork();
	if (load->pid == 0)
		become_load(c, kind);
	if (load->pid < 0)
		die("fork", "too many processes");
	close(ends[1]);
	load->out = ends[0];
}

/* Keeps the last whole line. */
void
hear_load(struct load *load)
{
	ssize_t n = read(load->out, load->text + load->length,
	    sizeof load->text - 1 - load->length);
	char *line = load->text, *end;

	if (n <= 0) {
		close(load->out);
		load->out = -1;
		return;
	}
	load->length += (size_t)n;
	load->text[load->length] = '\0';
	for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		*end = '\0';
		if (strstr(line, " bytes ") != NULL)
			strcpy(load->counts, line);
	}
	load->length = strlen(line);
	memmove(load->text, line, load->length + 1);
}

/* The number behind WORD in what a load has said last. */
uint64_t
load_count(const struct load *load, const char *word)
{
	char key[32];
	const char *at;

	snprintf(key, sizeof key, "%s ", word);
	at = strstr(load->counts, key);
	return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

uint64_t
loads_sum(const struct chaos *c, const char *word)
{
	uint64_t total = 0;

	for (int kind = 0; kind < LOADS; kind++)
		total += load_count(&c->loads[kind], word);
	return total;
}

uint64_t
loads_worst_gap(const struct chaos *c)
{
	uint64_t worst = 0, gap;

	for (int kind = 0; kind < LOADS; kind++) {
		gap = kind == HOGS ? 0 : load_count(&c->loads[kind], "gap");
		worst = gap > worst ? gap : worst;
	}
	return worst;
}
