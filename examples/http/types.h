/* types: what a file is, by its suffix and its bytes. */
#ifndef HTTP_TYPES_H
#define HTTP_TYPES_H

#include <stdbool.h>
#include <stddef.h>

enum { TYPE_MAX = 100 }; /* bytes of a media type's name */

/* Reads /etc/mime.types, where that is there. Returns false where there is no
 * memory. */
bool types_load(void);

/* The media type of a file with that name. */
const char *type_of(const char *name);

/* What stands behind a type: "; charset=utf-8" where it is text, and that is
 * what its bytes are; otherwise the client looks into it. */
const char *type_charset(const char *type, const char *bytes, size_t count);

#endif
