/*
 * site: the files below a directory, read once and held in memory.
 *
 * Nothing else can be asked for, however it is spelled, since a request opens
 * no file. Files are reached through real directories alone, and a symbolic
 * link is only another name for a path of the site: so nothing outside can
 * become part of it, whoever changes the disk meanwhile. Left out are names
 * that begin with a dot, but for /.well-known (RFC 8615).
 */
#ifndef HTTP_SITE_H
#define HTTP_SITE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum kind {
	NOTHING,
	A_FILE,
	A_DIRECTORY,
	A_LINK,
	UNREADABLE /* or too large */
};

struct page {
	char *path; /* as it is asked for, decoded */
	enum kind kind;
	char *target; /* of a link: a path with no link in it */

	/* Of a file. Its fields: validators, others for each answer that has
	 * its bytes, the length of all. */
	char *head;
	size_t validators, common, fields; /* bytes of each and those before */
	char *body;
	size_t length;
	uint64_t content; /* a hash of the body, never 0 */
	char etag[20];	  /* made of that */
	time_t modified;
};

/* Reads the site that ARGUMENT tells: "DIRECTORY", or "MIB,DIRECTORY" with how
 * many MiB it may have. Returns NULL, or why it cannot be. */
const char *site_load(const char *argument);

/* The page of a path, through links, or NULL. */
const struct page *site_find(const char *path);

/* The page whose body that is, or NULL; NUMBER says where it was last, and is
 * where it is now. */
const struct page *site_content(uint64_t content, size_t *number);
size_t site_number(const struct page *page);

/* Writes as HTTP has it (RFC 9110, 5.6.7). */
enum { HTTP_DATE = 30 }; /* bytes, with the NUL */
void http_date(time_t time, char date[HTTP_DATE]);

#endif
