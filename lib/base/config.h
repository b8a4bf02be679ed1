/*
 * config: what the server shall do, from the defaults, a file and the command
 * line, in that order; the later wins.
 *
 * One table of keys serves the file, the command line and --check.
 */
#ifndef PREFORKD_CONFIG_H
#define PREFORKD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/base/address.h"
#include "lib/base/log.h"

enum {
	CONFIG_LISTEN_MAX = 64,
	CONFIG_WORKERS_MAX = 1024,
	CONFIG_NAME_MAX = 4095,	  /* bytes of a path or an argument: PATH_MAX */
	CONFIG_NAMES = 32 * 1024, /* bytes of all of them, with their ends */
};

/* ADDRESS:PORT[=SERVICE[:ARGUMENT]] */
struct config_listen {
	struct address address; /* as asked for */
	unsigned
	    ordinal;   /* how often that stands before it: only with port 0 */
	unsigned line; /* in the file; 0: not from there */
	/* Where they stand in the configuration's names; the same text has the
	 * same place. */
	uint32_t service;  /* a path if it has a slash in it */
	uint32_t argument; /* or "" */
	uint32_t endpoint; /* set by the master: what it calls the address */
};

/* Plain data: copied by assignment, owns nothing. */
struct config {
	struct config_listen listen[CONFIG_LISTEN_MAX];
	unsigned listen_count;	  /* at least 1 */
	char names[CONFIG_NAMES]; /* strings, one behind another */
	uint32_t names_used;
	unsigned settings;	   /* how many the file has */
	unsigned workers;	   /* 1..CONFIG_WORKERS_MAX, auto resolved */
	unsigned backlog;	   /* of each listener, connections */
	unsigned max_connections;  /* of each worker */
	uint64_t memory_bytes;	   /* of all workers; 0: no bound */
	uint64_t idle_timeout_ms;  /* 0: never */
	uint64_t write_timeout_ms; /* 0: never */
	uint64_t drain_timeout_ms; /* 0: at once */
	uint64_t hang_timeout_ms;  /* 0: never */
	uint64_t start_timeout_ms; /* of all services; 0: never */
	enum log_level log_level;
	bool pin_cpus; /* worker N to the Nth CPU allowed */
};

static inline const char *
config_service(const struct config *config, unsigned n)
{
	return config->names + config->listen[n].service;
}

static inline const char *
config_argument(const struct config *config, unsigned n)
{
	return config->names + config->listen[n].argument;
}

/* A key as the command line needs to know it. */
struct config_key {
	const char *name;
	char letter;	  /* its short option, or '\0' */
	bool takes_value; /* must have one there; in the file all do */
};

/* The keys, ended by one without a name. */
const struct config_key *config_key(size_t index);

/* The key that is meant by one that there is not, or NULL. */
const char *config_nearest_key(const char *typed);

/* What a key's value should be: "expected a number from 1 to 65535". */
const char *config_expected(const char *key);

/* Where a configuration comes from; kept to read it anew at a reload. */
struct config_source {
	const char *file; /* path, or NULL */
	struct config_override {
		const char *key;
		const char *value; /* NULL for an option without one */
	} * overrides;		   /* from the command line, in its order */
	size_t override_count;
};

enum config_result {
	CONFIG_VALID,
	CONFIG_BAD_FILE,    /* the file cannot be read or has errors */
	CONFIG_BAD_OPTIONS, /* the command line has errors */
};

/* Takes one error, a line without its end; called once for each. */
struct config_report {
	void (*error)(void *context, const char *message);
	void *context;
};

/* Reports that something is wrong with CONFIG's Nth address, which SOURCE has.
 */
void
config_complain(const struct config_source *source, const struct config *config,
    unsigned n, const char *what, const struct config_report *report);

/* Fills CONFIG from SOURCE. Reports every error, not only the first; CONFIG is
 * to be used only when the result is CONFIG_VALID. Touches no port. */
enum config_result config_load(const struct config_source *source,
    struct config *config, const struct config_report *report);

/* The same at a reload, for a server that serves IN_FORCE. The file must be one
 * that can be read again, and must not have lost all its settings. */
enum config_result
config_reload(const struct config_source *source, const struct config *in_force,
    struct config *next, const struct config_report *report);

/* Writes CONFIG in the syntax of the file. */
void config_print(const struct config *config, FILE *out);

#endif
