/*
 * A service that owns a descriptor, for tests/ownership.bats: `start` opens it,
 * and each line that a client says is answered with whether it is the same
 * still. The argument is a list of words, divided by commas, done in order. At
 * the line "free" it closes a file, at "again" the same number once more; at
 * "take" it does so and has a socket of its own there, with a byte to be read;
 * at "bare" it closes what is not its own: stdin, stdout and stderr; at
 * "unlisten" the server's listener, and at "usurp" it has its socket there; at
 * "block" it has that listener block. At "cut N" it closes that number, at "put
 * N" it has its socket there; one below 0 counts from the end of the table.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "include/preforkd.h"

static int own = -1;
static struct stat identity;
static int freed = -1;
static bool has_byte; /* `own` is a socket with a byte */

static int
open_listener(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
	    listen(fd, 5) < 0)
		return -1;
	return fd;
}

static void
close_standard(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		close(fd);
}

static void *
wait_for_ever(void *unused)
{
	pause();
	return unused;
}

static void *
return_at_once(void *unused)
{
	return unused;
}

static void
start_thread(bool joined)
{
	pthread_t thread;

	pthread_create(
	    &thread, NULL, joined ? return_at_once : wait_for_ever, NULL);
	if (joined)
		pthread_join(thread, NULL);
}

static const char *
obey(const char *word)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	if (strcmp(word, "memory") == 0)
		own = memfd_create("own", MFD_CLOEXEC);
	else if (strcmp(word, "listener") == 0)
		own = open_listener();
	else if (strncmp(word, "file=", 5) == 0)
		own = open(
		    word + 5, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	else if (strncmp(word, "many=", 5) == 0)
		for (int n = atoi(word + 5); n > 0; n--)
			open("/dev/null", O_RDONLY | O_CLOEXEC);
	else if (strcmp(word, "bare") == 0)
		close_standard();
	else if (strcmp(word, "thread") == 0)
		start_thread(false);
	else if (strcmp(word, "joined") == 0)
		start_thread(true);
	else if (strcmp(word, "disconnect") == 0)
		for (int fd = STDERR_FILENO + 1; fd < 64; fd++)
			close(fd);
	else if (strcmp(word, "fail") == 0)
		return "it was told to fail";
	else if (strcmp(word, "crash") == 0)
		raise(SIGSEGV);
	else if (strncmp(word, "until=", 6) == 0) {
		preforkd_log(NULL, PREFORKD_INFO, "waiting");
		while (access(word + 6, F_OK) != 0)
			nanosleep(&moment, NULL);
	}
	return NULL;
}

static const char *
owner_start(const char *argument)
{
	static char words[256];
	const char *cause = NULL;

	snprintf(words, sizeof words, "%s", argument);
	for (char *word = strtok(words, ","); word && !cause;
	     word = strtok(NULL, ","))
		cause = obey(word);
	if (own >= 0)
		fstat(own, &identity);
	preforkd_log(NULL, PREFORKD_INFO, "started");
	return cause;
}

static void
owner_stop(void)
{
	preforkd_log(NULL, PREFORKD_INFO, "stopped");
	close(own);
}

static bool
is_mine(void)
{
	struct stat now;
	char byte;

	return fstat(own, &now) == 0 && now.st_dev == identity.st_dev &&
	    now.st_ino == identity.st_ino &&
	    (!has_byte || recv(own, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
}

static void
take(int fd)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    write(pair[1], "b", 1) != 1)
		return;
	own = dup2(pair[0], fd);
	close(pair[0]);
	fstat(own, &identity);
	has_byte = true;
}

static bool
is_listener(int fd)
{
	int domain = 0, listens = 0;
	socklen_t length = sizeof listens;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) ==
	    0 &&
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
	    listens && domain == AF_INET;
}

static int
find_listener(void)
{
	int fd = STDERR_FILENO + 1;

	while (fd < 1024 && !is_listener(fd))
		fd++;
	return fd;
}

static int
number_in(const char *word)
{
	struct rlimit limit;
	int n = (int)strtol(word, NULL, 10);

	getrlimit(RLIMIT_NOFILE, &limit);
	return n < 0 ? (int)limit.rlim_cur + n : n;
}

static void
misbehave(const char *word)
{
	if (strncmp(word, "free", 4) == 0)
		close(freed = open("/dev/null", O_RDONLY | O_CLOEXEC));
	else if (strncmp(word, "again", 5) == 0)
		close(freed);
	else if (strncmp(word, "take", 4) == 0)
		take(freed);
	else if (strncmp(word, "bare", 4) == 0)
		close_standard();
	else if (strncmp(word, "unlisten", 8) == 0)
		close(find_listener());
	else if (strncmp(word, "block", 5) == 0)
		fcntl(find_listener(), F_SETFL, 0);
	else if (strncmp(word, "usurp", 5) == 0)
		take(find_listener());
	else if (strncmp(word, "cut ", 4) == 0)
		close(number_in(word + 4));
	else if (strncmp(word, "put ", 4) == 0)
		take(number_in(word + 4));
}

static size_t
owner_input(
    struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	const unsigned char *end = memchr(bytes, '\n', count);

	if (!end)
		return 0;
	misbehave((const char *)bytes);
	preforkd_replyf(conn, is_mine() ? "mine\n" : "lost\n");
	return (size_t)(end - bytes) + 1;
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "owner",
	.start = owner_start,
	.stop = owner_stop,
	.input = owner_input,
};
