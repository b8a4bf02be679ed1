/*
 * text: what comes from outside, made fit for a terminal, a log and a message
 * to systemd.
 *
 * A printing character is one that a reader sees: well-formed UTF-8 (RFC 3629),
 * no control (C0, DEL, C1), no line or paragraph separator, nothing invisible
 * that reorders what stands around it, and nothing that Unicode says is no
 * character. journald stores a line that has others as a blob.
 */
#ifndef PREFORKD_TEXT_H
#define PREFORKD_TEXT_H

#include <stdarg.h>
#include <stddef.h>

/* Puts `?` for each byte that is not part of a printing character. */
void text_make_printable(char *text);

/* How many bytes of TEXT, at most MOST, can be shown without cutting a
 * character in two; for "%.*s". */
int text_cut(const char *text, size_t most);

/* The same for the end of TEXT: where its last bytes begin. */
const char *text_tail(const char *text, size_t most);

/* As vsnprintf(3), but printing characters only, and none cut in two. Returns
 * the length of what TEXT holds. */
size_t text_format(char *text, size_t size, const char *format, va_list)
    __attribute__((format(printf, 3, 0)));

/* The name that is meant, as far as that can be guessed from what was typed.
 * Begins with `typed` alone. */
struct text_guess {
	const char *typed;
	const char *nearest; /* NULL: none is near */
	unsigned distance;
};

/* Considers NAME, one of those that could have been typed. */
void text_consider(struct text_guess *, const char *name);

#endif
