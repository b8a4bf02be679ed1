#include "types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct type {
	const char *suffix, *name;
};

/* What the web is made of, as it is registered now: systems have other ideas of
 * some of it, and some have no /etc/mime.types. */
static const struct type common[] = {
	{ "7z", "application/x-7z-compressed" },
	{ "atom", "application/atom+xml" },
	{ "avif", "image/avif" },
	{ "bmp", "image/bmp" },
	{ "bz2", "application/x-bzip2" },
	{ "css", "text/css" },
	{ "csv", "text/csv" },
	{ "eot", "application/vnd.ms-fontobject" },
	{ "epub", "application/epub+zip" },
	{ "flac", "audio/flac" },
	{ "gif", "image/gif" },
	{ "gz", "application/gzip" },
	{ "htm", "text/html" },
	{ "html", "text/html" },
	{ "ico", "image/vnd.microsoft.icon" },
	{ "ics", "text/calendar" },
	{ "jpeg", "image/jpeg" },
	{ "jpg", "image/jpeg" },
	{ "js", "text/javascript" },
	{ "json", "application/json" },
	{ "jsonld", "application/ld+json" },
	{ "jxl", "image/jxl" },
	{ "m4a", "audio/mp4" },
	{ "m4v", "video/mp4" },
	{ "map", "application/json" },
	{ "md", "text/markdown" },
	{ "mjs", "text/javascript" },
	{ "mov", "video/quicktime" },
	{ "mp3", "audio/mpeg" },
	{ "mp4", "video/mp4" },
	{ "mpeg", "video/mpeg" },
	{ "oga", "audio/ogg" },
	{ "ogg", "audio/ogg" },
	{ "ogv", "video/ogg" },
	{ "opus", "audio/ogg" },
	{ "otf", "font/otf" },
	{ "pdf", "application/pdf" },
	{ "png", "image/png" },
	{ "rss", "application/rss+xml" },
	{ "rtf", "application/rtf" },
	{ "svg", "image/svg+xml" },
	{ "tar", "application/x-tar" },
	{ "tif", "image/tiff" },
	{ "tiff", "image/tiff" },
	{ "ttf", "font/ttf" },
	{ "txt", "text/plain" },
	{ "vtt", "text/vtt" },
	{ "wasm", "application/wasm" },
	{ "wav", "audio/wav" },
	{ "weba", "audio/webm" },
	{ "webm", "video/webm" },
	{ "webmanifest", "application/manifest+json" },
	{ "webp", "image/webp" },
	{ "woff", "font/woff" },
	{ "woff2", "font/woff2" },
	{ "xht", "application/xhtml+xml" },
	{ "xhtml", "application/xhtml+xml" },
	{ "xml", "application/xml" },
	{ "xz", "application/x-xz" },
	{ "zip", "application/zip" },
	{ "zst", "application/zstd" },
};

enum { COMMON = sizeof common / sizeof common[0] };

/* ---- /etc/mime.types ----------------------------------------------------- */

static struct type *others; /* sorted by suffix */
static size_t other_count;

static int
compare(const void *a, const void *b)
{
	return strcasecmp(
	    ((const struct type *)a)->suffix, ((const struct type *)b)->suffix);
}

static bool
add(const char *suffix, const char *name)
{
	struct type *type = others;

	if ((other_count & (other_count - 1)) == 0) /* doubles at powers of 2 */
		type = realloc(others, (other_count * 2 + 1) * sizeof *others);
	if (!type)
		return false;
	others = type;
	type += other_count++;
	type->suffix = strdup(suffix);
	type->name = strdup(name);
	return type->suffix && type->name;
}

/* A type, and the suffixes of its files. */
static bool
read_line(char *line)
{
	static const char blank[] = " \t\r\n";
	char *rest, *suffix, *name;

	line[strcspn(line, "#")] = '\0';
	name = strtok_r(line, blank, &rest);
	if (!name || strlen(name) > TYPE_MAX || !strchr(name, '/'))
		return true;
	while ((suffix = strtok_r(NULL, blank, &rest)))
		if (!add(suffix, name))
			return false;
	return true;
}

bool
types_load(void)
{
	FILE *file = fopen("/etc/mime.types", "re");
	char *line = NULL;
	size_t size = 0;
	bool loaded = true;

	while (file && loaded && getline(&line, &size, file) > 0)
		loaded = read_line(line);
	free(line);
	if (file)
		fclose(file);
	if (other_count > 0)
		qsort(others, other_count, sizeof *others, compare);
	return loaded;
}

/* ---- one file ------------------------------------------------------------ */

const char *
type_of(const char *name)
{
	const char *dot = strrchr(name, '.');
	const struct type key = { .suffix = dot ? dot + 1 : "" };
	const struct type *found =
	    bsearch(&key, common, COMMON, sizeof key, compare);

	if (!found && other_count > 0)
		found = bsearch(&key, others, other_count, sizeof key, compare);
	return found ? found->name : "application/octet-stream";
}

/* Bytes of the character at AT, or 0 where it is none (RFC 3629, 4). */
static size_t
character(const unsigned char *at, size_t count)
{
	size_t length = *at < 0x80 ? 1
	    : *at < 0xc2	   ? 0
	    : *at < 0xe0	   ? 2
	    : *at < 0xf0	   ? 3
	    : *at < 0xf5	   ? 4
				   : 0;

	if (length > count)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f) ||
	    (*at == 0xf0 && at[1] < 0x90) || (*at == 0xf4 && at[1] > 0x8f))
		return 0;
	return length;
}

/* NUL and ESC are of UTF-16 and ISO-2022, which are no text in UTF-8. */
static bool
is_utf8(const unsigned char *at, size_t count)
{
	size_t length;

	for (; count > 0; at += length, count -= length) {
		length = character(at, count);
		if (length == 0 || *at == '\0' || *at == 0x1b)
			return false;
	}
	return true;
}

const char *
type_charset(const char *type, const char *bytes, size_t count)
{
	bool text = strncasecmp(type, "text/", strlen("text/")) == 0;

	return text && is_utf8((const unsigned char *)bytes, count)
	    ? "; charset=utf-8"
	    : "";
}
