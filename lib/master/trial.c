#include "lib/master/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/clock.h"
#include "lib/master/pair.h"

enum { LOOK_MS = 50 }; /* for a death, which is no event here */

/* What a trial says when it could be done; else it says why not. Its exit
 * status says nothing, as the service may end it with any. */
static const char good[] = "+";

static _Noreturn void
try(const struct config *config, unsigned n, int answer)
{
	const struct rlimit none = { 0, 0 };
	char error[SERVICE_ERROR];
	const char *text;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &none); /* only lowers: cannot fail */
	text = services_try(config, n, error) ? good : error;
	/* Fails only where nobody wants to know. */
	_exit(write(answer, text, strlen(text)) < 0);
}

static bool
is_over(pid_t pid)
{
	siginfo_t info;

	return child_look(pid, WEXITED | WNOWAIT, &info) && info.si_pid == pid;
}

/* Waits until the trial has answered, or died, or its time is over. That its
 * socket is closed is neither: the service may have done so, or a process that
 * it has forked hold it. */
static void
await(pid_t pid, int answer, uint64_t timeout_ms)
{
	struct pollfd wanted = { .fd = answer, .events = POLLIN };
	uint64_t end_ms = clock_ms() + timeout_ms;

	do {
		if (poll(&wanted, 1, LOOK_MS) > 0)
			wanted.fd = -1;
	} while (!(wanted.revents & POLLIN) && !is_over(pid) &&
	    (timeout_ms == 0 || clock_ms() < end_ms));
}

/* Reads what the trial has said: "" where that is nothing. */
static void
hear(int answer, char text[SERVICE_ERROR])
{
	ssize_t length = read(answer, text, SERVICE_ERROR - 1);

	text[length > 0 ? length : 0] = '\0';
}

static void
describe(const struct config *config, unsigned n, bool over, int status,
    char error[SERVICE_ERROR])
{
	const char *service = config_service(config, n);

	if (over)
		snprintf(error, SERVICE_ERROR,
		    "service %s: the process that loaded it %s: expected a "
		    "whole shared object, and one that loads",
		    service, pair_death(status).text);
	else
		snprintf(error, SERVICE_ERROR,
		    "service %s: loading and starting it has not ended in "
		    "%" PRIu64 " ms: make it faster, or raise start-timeout",
		    service, config->start_timeout_ms);
}

bool
trial_load(const struct config *config, unsigned n, char error[SERVICE_ERROR])
{
	int answer[2], status = 0;
	pid_t pid = -1;
	bool over;

	/* At datagrams the end of the other side is nothing that can be read.
	 */
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		answer) < 0 ||
	    (pid = fork()) < 0) {
		snprintf(error, SERVICE_ERROR,
		    "service %s: no process to try it in: %s",
		    config_service(config, n), strerror(errno));
		return false;
	}
	if (pid == 0)
		try(config, n, answer[1]);
	close(answer[1]);
	await(pid, answer[0], config->start_timeout_ms);
	hear(answer[0], error);
	close(answer[0]);
	over = is_over(pid);
	kill(pid, SIGKILL); /* has said all, or will not */
	child_reap(pid, &status);
	if (*error == '\0')
		describe(config, n, over, status, error);
	return strcmp(error, good) == 0;
}
