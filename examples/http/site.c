#include "site.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <preforkd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "types.h"

enum {
	SITE_MIB = 256,	      /* where the argument does not say how much */
	PATH_ROOM = 16 << 10, /* bytes: a request's path through links */
	LINKS_MAX = 40, /* on the way of one path, as path_resolution(7) */
	WARNINGS_MAX = 20
};

static const struct page root_page = { .kind = A_DIRECTORY };
static struct page *pages; /* sorted by path, once all are there */
static size_t page_count, link_count;
static char root[PATH_MAX];
static size_t bytes_left;
static size_t warnings;
static time_t loaded_at;
static char failure[PATH_MAX + 256]; /* why it cannot be */

static bool
fail(const char *what, const char *why)
{
	snprintf(failure, sizeof failure, "%s: %s", what, why);
	return false;
}

static void
warn(const char *path, const char *why)
{
	if (++warnings <= WARNINGS_MAX)
		preforkd_log(
		    NULL, PREFORKD_WARNING, "%s%s: %s", root, path, why);
}

/* ---- pages --------------------------------------------------------------- */

/* Adds one that has nothing but its path. It stays where it is until the next
 * one comes. Returns NULL where there is no memory. */
static struct page *
add_page(const char *directory, const char *name)
{
	size_t length = strlen(directory) + 1 + strlen(name) + 1;
	struct page *page = pages;

	if ((page_count & (page_count - 1)) == 0) /* doubles at powers of two */
		page = realloc(pages, (page_count * 2 + 1) * sizeof *pages);
	if (!page)
		return NULL;
	pages = page;
	page += page_count;
	*page = (struct page) { .path = malloc(length) };
	if (!page->path)
		return NULL;
	sprintf(page->path, "%s/%s", directory, name);
	page_count++;
	return page;
}

static int
compare_paths(const void *a, const void *b)
{
	return strcmp(
	    ((const struct page *)a)->path, ((const struct page *)b)->path);
}

/* ---- what cannot be read ------------------------------------------------- */

/* What others have done to the directory since its names were read. */
static bool
has_vanished(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP ||
	    error == ESTALE;
}

/* It is this process that has too little of something. */
static bool
is_ours(int error)
{
	return error == ENOMEM || error == EMFILE || error == ENFILE;
}

/* A file that cannot be read is there, and forbidden; that is no reason to
 * refuse the others. */
static bool
leave_out(struct page *page, int error)
{
	if (is_ours(error))
		return fail(page->path, strerror(error));
	if (has_vanished(error))
		return true;
	warn(page->path, strerror(error));
	page->kind = UNREADABLE;
	return true;
}

/* ---- files --------------------------------------------------------------- */

/* FNV-1a. */
static uint64_t
hash_of(const char *bytes, size_t count)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < count; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3;
	return hash | 1;
}

void
http_date(time_t time, char date[HTTP_DATE])
{
	struct tm utc;

	gmtime_r(&time, &utc);
	strftime(date, HTTP_DATE, "%a, %d %b %Y %H:%M:%S GMT", &utc);
}

/* A file may tell a time that has not come, or none that a date could show: a
 * date after the answer's own is forbidden (RFC 9110, 8.8.2.1). */
static time_t
past(time_t modified)
{
	if (modified < 0)
		return 0;
	return modified < loaded_at ? modified : loaded_at;
}

static bool
compose_head(struct page *page)
{
	const char *type = type_of(page->path);
	char date[HTTP_DATE], head[256 + TYPE_MAX];
	size_t used;

	http_date(page->modified, date);
	snprintf(
	    page->etag, sizeof page->etag, "\"%016" PRIx64 "\"", page->content);
	used = (size_t)snprintf(head, sizeof head,
	    "Last-Modified: %s\r\nETag: %s\r\n", date, page->etag);
	page->validators = used;
	used += (size_t)snprintf(head + used, sizeof head - used,
	    "Accept-Ranges: bytes\r\nContent-Type: %s%s\r\n", type,
	    type_charset(type, page->body, page->length));
	page->common = used;
	used += (size_t)snprintf(head + used, sizeof head - used,
	    "Content-Length: %zu\r\n\r\n", page->length);
	page->fields = used;
	page->head = strdup(head);
	page->kind = A_FILE;
	return page->head || fail(page->path, strerror(ENOMEM));
}

/* Reads up to ROOM bytes; a file that has become shorter has fewer. Returns
 * false with errno. */
static bool
read_body(int fd, struct page *page, size_t room)
{
	ssize_t got = 1;

	page->body = calloc(1, room + 1);
	if (!page->body)
		return false;
	while (page->length < room && got > 0) {
		got = read(fd, page->body + page->length, room - page->length);
		page->length += got > 0 ? (size_t)got : 0;
	}
	page->content = hash_of(page->body, page->length);
	return got >= 0;
}

static bool
load_open_file(int fd, struct page *page)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return leave_out(page, errno);
	if (!S_ISREG(st.st_mode))
		return true;
	if ((size_t)st.st_size > bytes_left) {
		warn(page->path,
		    "forbidden, as the site would have too many bytes with "
		    "it: write \"MIB,DIRECTORY\" to let it have more");
		page->kind = UNREADABLE;
		return true;
	}
	page->modified = past(st.st_mtime);
	if (!read_body(fd, page, (size_t)st.st_size))
		return leave_out(page, errno);
	bytes_left -= page->length;
	return compose_head(page);
}

static bool
load_file(int directory, const char *name, struct page *page)
{
	int fd = openat(
	    directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool loaded;

	if (fd < 0)
		return leave_out(page, errno);
	loaded = load_open_file(fd, page);
	close(fd);
	return loaded;
}

/* ---- links --------------------------------------------------------------- */

/* What lies outside, or nowhere, is left out. */
static bool
load_link(struct page *page)
{
	char file[PATH_MAX], target[PATH_MAX];
	size_t length = strlen(root);

	if (snprintf(file, sizeof file, "%s%s", root, page->path) >=
		(int)sizeof file ||
	    !realpath(file, target))
		return true;
	if (strncmp(target, root, length) != 0 ||
	    (target[length] != '/' && target[length] != '\0')) {
		warn(page->path, "left out: a link to what is not below it");
		return true;
	}
	page->target = strdup(target + length);
	page->kind = A_LINK;
	link_count++;
	return page->target || fail(page->path, strerror(ENOMEM));
}

/* ---- directories --------------------------------------------------------- */

/* Leaves errno as it is. */
static void
close_quietly(int fd)
{
	int saved_errno = errno;

	if (fd >= 0)
		close(fd);
	errno = saved_errno;
}

/* Nothing on the way of PATH may be a link: one that is there by now has taken
 * a directory's place. Returns a descriptor, or -1 with errno. */
static int
open_directory(const char *path)
{
	char name[NAME_MAX + 1];
	int fd = open(*root ? root : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int next;

	for (; fd >= 0 && *path; path += 1 + strlen(name)) {
		size_t length = strcspn(path + 1, "/");

		snprintf(name, sizeof name, "%.*s", (int)length, path + 1);
		next = openat(
		    fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close_quietly(fd);
		fd = next;
	}
	return fd;
}

static bool
load_entry(int directory, const char *name, struct page *page)
{
	struct stat st;

	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return leave_out(page, errno);
	if (S_ISREG(st.st_mode))
		return load_file(directory, name, page);
	if (S_ISLNK(st.st_mode))
		return load_link(page);
	if (S_ISDIR(st.st_mode))
		page->kind = A_DIRECTORY; /* has its turn */
	return true;
}

/* What an entry turns out not to be leaves no page. */
static bool
add_entry(int directory, const char *path, const char *name)
{
	struct page *page = add_page(path, name);

	if (!page)
		return fail(path, strerror(ENOMEM));
	if (!load_entry(directory, name, page))
		return false;
	if (page->kind == NOTHING) {
		free(page->path);
		page_count--;
	}
	return true;
}

/* A directory that cannot be read is there, and its index is forbidden. */
static bool
forbid_index(const char *path, int error)
{
	struct page *page;

	if (is_ours(error) || *path == '\0')
		return fail(*path ? path : root, strerror(error));
	if (has_vanished(error))
		return true;
	warn(path, strerror(error));
	page = add_page(path, "index.html");
	if (!page)
		return fail(path, strerror(ENOMEM));
	page->kind = UNREADABLE;
	return true;
}

static bool
is_hidden(const char *path, const char *name)
{
	return *name == '.' && (*path || strcmp(name, ".well-known") != 0);
}

/* Its directories have their turn behind all that are there already. */
static bool
load_directory(const char *path)
{
	int fd = open_directory(path);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	bool loaded = true;

	if (!directory) {
		int error = errno;

		close_quietly(fd);
		return forbid_index(path, error);
	}
	errno = 0;
	while (loaded && (entry = readdir(directory))) {
		if (!is_hidden(path, entry->d_name))
			loaded = add_entry(fd, path, entry->d_name);
		errno = 0;
	}
	if (loaded && errno != 0)
		warn(path, strerror(errno));
	closedir(directory);
	return loaded;
}

/* ---- the site ------------------------------------------------------------ */

/* Returns the directory, or NULL. */
static const char *
read_argument(const char *argument)
{
	unsigned long mib = SITE_MIB;
	char *end = NULL;

	if (isdigit((unsigned char)*argument)) {
		unsigned long told = strtoul(argument, &end, 10);

		if (*end == ',') {
			mib = told;
			argument = end + 1;
		}
	}
	if (mib > SIZE_MAX >> 20)
		mib = SIZE_MAX >> 20;
	bytes_left = (size_t)mib << 20;
	return *argument ? argument : NULL;
}

static bool
load(const char *directory)
{
	bool loaded;

	if (!types_load())
		return fail("/etc/mime.types", strerror(ENOMEM));
	if (!realpath(directory, root))
		return fail(directory, strerror(errno));
	if (strcmp(root, "/") == 0)
		*root = '\0';
	loaded = load_directory("");
	for (size_t i = 0; loaded && i < page_count; i++)
		if (pages[i].kind == A_DIRECTORY)
			loaded = load_directory(pages[i].path);
	if (loaded && page_count > 0)
		qsort(pages, page_count, sizeof *pages, compare_paths);
	return loaded;
}

const char *
site_load(const char *argument)
{
	const char *directory = read_argument(argument);
	struct timespec now;
	size_t most = bytes_left;

	if (!directory)
		return "expected a directory: ./http.so:/srv/www";
	clock_gettime(CLOCK_REALTIME, &now);
	loaded_at = now.tv_sec;
	if (!load(directory))
		return failure;
	if (warnings > WARNINGS_MAX)
		preforkd_log(NULL, PREFORKD_WARNING, "and %zu more like these",
		    warnings - WARNINGS_MAX);
	preforkd_log(NULL, PREFORKD_INFO, "%zu paths, %zu bytes, from %s",
	    page_count, most - bytes_left, directory);
	return NULL;
}

static const struct page *
look_up(const char *path)
{
	struct page key = { .kind = NOTHING };

	key.path = (char *)path; /* and is not written to */

	return page_count == 0
	    ? NULL
	    : bsearch(&key, pages, page_count, sizeof key, compare_paths);
}

/* Replaces the first link on the way of a path by what it leads to. Returns
 * false where there is none. */
static bool
follow(char path[PATH_ROOM])
{
	const struct page *page;
	char rest[PATH_ROOM];
	char *end = path;

	do {
		char next;

		end += strcspn(end + 1, "/") + 1;
		next = *end;
		*end = '\0';
		page = look_up(path);
		*end = next;
	} while (*end && (!page || page->kind != A_LINK));
	if (!page || page->kind != A_LINK)
		return false;
	strcpy(rest, end);
	return snprintf(path, PATH_ROOM, "%s%s", page->target, rest) <
	    PATH_ROOM;
}

const struct page *
site_find(const char *path)
{
	const struct page *page = look_up(path);
	char room[PATH_ROOM];

	if ((page && page->kind != A_LINK) || link_count == 0 ||
	    strlen(path) >= sizeof room)
		return page;
	strcpy(room, path);
	for (int i = 0; i < LINKS_MAX && follow(room); i++)
		;
	page = *room ? look_up(room) : &root_page;
	return page && page->kind != A_LINK ? page : NULL;
}

size_t
site_number(const struct page *page)
{
	return (size_t)(page - pages);
}

const struct page *
site_content(uint64_t content, size_t *number)
{
	if (*number < page_count && pages[*number].content == content)
		return &pages[*number];
	for (size_t i = 0; i < page_count; i++) {
		if (pages[i].content != content)
			continue;
		*number = i;
		return &pages[i];
	}
	return NULL;
}
