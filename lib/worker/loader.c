#include "lib/worker/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/title.h"
#include "lib/slot/control.h"
#include "lib/worker/output.h"
#include "lib/worker/standard.h"

struct loader {
	pid_t master;
	const struct config *config;
	int control;
	struct services services;
	int (*run)(const struct birth *);
};

static void
take_name(void)
{
	title_set("loader");
	log_name("loader");
}

/* False if the master has gone, or a service has closed our socket. */
static bool
tell(const struct loader *l, const struct control_message *message)
{
	return control_tell(l->control, message, -1) == 0;
}

/* At the socket of a loader, or of a slot. False as above. */
static bool
say_born(int control)
{
	const struct control_message message = { .type = CONTROL_BORN };

	return control_tell(control, &message, -1) == 0;
}

/* ---- the services ------------------------------------------------------- */

static void
tell_doing(void *context, const char *doing)
{
	struct control_message message = { .type = CONTROL_DOING };

	snprintf(message.text, sizeof message.text, "%s", doing);
	tell(context, &message);
}

/* What a worker cannot do without: files to move connections by, descriptors to
 * accept them. */
struct limits {
	struct rlimit file_bytes, fds;
};

/* Cannot fail: the resources and the addresses are good. */
static void
note_limits(struct limits *limits)
{
	getrlimit(RLIMIT_FSIZE, &limits->file_bytes);
	getrlimit(RLIMIT_NOFILE, &limits->fds);
}

static bool
restore_limits(const struct limits *limits, char error[SERVICE_ERROR])
{
	if (setrlimit(RLIMIT_FSIZE, &limits->file_bytes) == 0 &&
	    setrlimit(RLIMIT_NOFILE, &limits->fds) == 0)
		return true;
	snprintf(error, SERVICE_ERROR,
	    "service %s: it has lowered a limit of files, which cannot be "
	    "raised again: expected it to change none (preforkd.h)",
	    services_running);
	return false;
}

static bool
load(struct loader *l)
{
	const struct services_witness witness = { tell_doing, l };
	struct control_message message = { .type = CONTROL_FAILED, .value = 1 };
	char error[SERVICE_ERROR];
	struct limits limits;

	note_limits(&limits);
	if (services_load(&l->services, l->config, &witness, error) &&
	    services_start(&l->services, l->config, &witness, error) &&
	    restore_limits(&limits, error))
		return true;
	snprintf(message.text, sizeof message.text, "%s", error);
	tell(l, &message);
	return false;
}

/* ---- births ------------------------------------------------------------- */

static pid_t
clone_self(void)
{
	pid_t pid = birth_clone(0);

	return pid < 0 ? birth_clone(0) : pid;
}

/* The spare goes on as this process does. False as for `tell`. */
static bool
clone_spare(const struct loader *l, enum control_type type)
{
	pid_t pid = clone_self();
	const struct control_message message = { .type = type,
		.standby = pid,
		.value = pid < 0 ? (uint64_t)errno : 0 };

	if (pid != 0)
		return tell(l, &message);
	birth_follow(l->master);
	return true;
}

/* Receives what the master has sent for this type of message. Returns a
 * descriptor that the caller owns, or -1: the master has gone, or we have no
 * descriptor left. */
static int
receive(int control, enum control_type type, uint64_t *value)
{
	struct control_message message;
	int fd;

	if (control_receive(control, &message, &fd, 0) <= 0)
		return -1;
	if (message.type != type) {
		control_discard(fd);
		return -1;
	}
	*value = message.value;
	return fd;
}

static bool
receive_all(struct birth *birth)
{
	uint64_t fds = 0, unused;
	int file = receive(birth->control, CONTROL_MEMORY, &fds);

	if (file < 0)
		return false;
	birth->memory = slot_attach((unsigned)fds, file);
	close(file);
	if (!birth->memory)
		return false;
	birth->waiting = receive(birth->control, CONTROL_WAITING, &unused);
	return birth->waiting >= 0;
}

/* Returns the exit status. */
static int
fail(const struct birth *birth)
{
	struct control_message message = { .type = CONTROL_FAILED };

	snprintf(message.text, sizeof message.text,
	    "cannot begin: %s: expected memory and two sockets",
	    strerror(errno));
	control_tell(birth->control, &message, -1);
	return 1;
}

/* A worker's first steps. Returns its exit status. */
static int
begin(const struct loader *l, unsigned slot, int control)
{
	struct birth birth = { .slot = slot,
		.master = l->master,
		.config = l->config,
		.services = &l->services,
		.control = l->control };

	birth_follow(l->master);
	dup3(control, birth.control, O_CLOEXEC); /* both are open */
	close(control);
	if (!say_born(birth.control))
		return 1; /* the master does not want us any more */
	if (!receive_all(&birth))
		return fail(&birth);
	birth_limit_fds(birth.memory->fds);
	birth_place(l->master, slot, l->config->pin_cpus);
	return l->run(&birth);
}

/* Returns true in the worker, with its exit status. That it could not be made
 * the master sees by its end of CONTROL: all others are closed then. */
static bool
bear(const struct loader *l, unsigned slot, int control, int *status)
{
	pid_t pid;

	if (control < 0) {
		log_warning("cannot clone worker %u: no descriptor left", slot);
		return false;
	}
	pid = clone_self();
	if (pid == 0) {
		*status = begin(l, slot, control);
		return true;
	}
	if (pid < 0)
		log_warning(
		    "cannot clone worker %u: %s", slot, strerror(errno));
	close(control);
	return false;
}

/* ---- orders ------------------------------------------------------------- */

static int
stop(struct loader *l)
{
	const struct services_witness witness = { tell_doing, l };

	services_stop(&l->services, l->config, &witness);
	output_flush();
	return 0;
}

/* Returns the exit status. */
static int
obey(struct loader *l)
{
	struct control_message message;
	int fd, status, result;

	while ((result = control_receive(l->control, &message, &fd, 0)) != 0) {
		if (result < 0 && errno != EPROTO)
			return 1; /* a service has closed it */
		if (result > 0 && message.type == CONTROL_BEAR) {
			if (bear(l, (unsigned)message.value, fd, &status))
				return status;
			continue;
		}
		control_discard(fd);
		if (result > 0 && message.type == CONTROL_CLONE)
			clone_spare(l, CONTROL_CLONED);
		if (result > 0 && message.type == CONTROL_SPEAK)
			say_born(l->control);
		if (result > 0 && message.type == CONTROL_STOP)
			return stop(l);
	}
	return 0; /* the master has no use for us any more */
}

int
loader_run(const struct loader_birth *from, int (*run)(const struct birth *))
{
	struct loader l = { .master = from->master,
		.config = from->config,
		.control = from->control,
		.run = run };
	bool loaded;

	take_name();
	output_to_log();
	loaded = load(&l);
	output_flush();	 /* or each clone would say it once more */
	standard_fill(); /* before a listener, or a client, is there */
	if (!loaded || !say_born(l.control) || !clone_spare(&l, CONTROL_READY))
		return 1;
	return obey(&l);
}
