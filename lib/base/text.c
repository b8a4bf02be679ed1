#include "lib/base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Unicode's ranges that show nothing by themselves, or are no characters. */
static const struct {
	uint32_t first, last;
} hidden[] = {
	{ 0x00, 0x1f },	      /* C0 */
	{ 0x7f, 0x9f },	      /* DEL, C1 */
	{ 0x061c, 0x061c },   /* Arabic letter mark: reorders */
	{ 0x180e, 0x180e },   /* Mongolian vowel separator */
	{ 0x200b, 0x200f },   /* zero width; marks of direction */
	{ 0x2028, 0x202e },   /* separators of lines; embeddings */
	{ 0x2060, 0x206f },   /* invisible operators; isolates */
	{ 0xd800, 0xdfff },   /* surrogates: RFC 3629, 3 */
	{ 0xfdd0, 0xfdef },   /* no characters */
	{ 0xfeff, 0xfeff },   /* byte order mark */
	{ 0xfff9, 0xfffb },   /* annotations */
	{ 0xe0000, 0xe0fff }, /* tags, variation selectors */
};

static bool
is_printing(uint32_t character)
{
	if ((character & 0xfffe) == 0xfffe || character > 0x10ffff)
		return false;
	for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
		if (character >= hidden[i].first && character <= hidden[i].last)
			return false;
	return true;
}

/* The length that a character has by its first byte; 0: none begins so. */
static size_t
length_by_first(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc2) /* a later byte, or an overlong form */
		return 0;
	if (first < 0xe0)
		return 2;
	return first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

/* Returns the length of the character that TEXT begins with, or 0 where that is
 * none that prints. TEXT is not empty. */
static size_t
printing_length(const char *text)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *byte = (const unsigned char *)text;
	size_t length = length_by_first(*byte);
	uint32_t character;

	if (length == 0)
		return 0;
	character = length == 1 ? *byte : *byte & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | (byte[i] & 0x3f);
	}
	return character >= least[length] && is_printing(character) ? length
								    : 0;
}

void
text_make_printable(char *text)
{
	while (*text) {
		size_t length = printing_length(text);

		if (length == 0)
			*text = '?';
		text += length ? length : 1;
	}
}

static bool
is_later_byte(char byte)
{
	return ((unsigned char)byte & 0xc0) == 0x80;
}

/* How many of the first LENGTH bytes are whole characters: the beginning of one
 * that goes on behind them does not count. */
static size_t
whole(const char *text, size_t length)
{
	size_t last = length;

	while (last > 0 && length - last < 3 && is_later_byte(text[last - 1]))
		last--;
	if (last > 0 &&
	    last - 1 + length_by_first((unsigned char)text[last - 1]) > length)
		return last - 1;
	return length;
}

int
text_cut(const char *text, size_t most)
{
	size_t length = strnlen(text, most + 1);

	return (int)(length <= most ? length : whole(text, most));
}

const char *
text_tail(const char *text, size_t most)
{
	size_t length = strlen(text);

	if (length <= most)
		return text;
	text += length - most;
	for (int i = 0; i < 3 && is_later_byte(*text); i++)
		text++;
	return text;
}

size_t
text_format(char *text, size_t size, const char *format, va_list arguments)
{
	int length = vsnprintf(text, size, format, arguments);

	if (length < 0)
		*text = '\0';
	else if ((size_t)length >= size)
		text[whole(text, size - 1)] = '\0';
	text_make_printable(text);
	return strlen(text);
}

enum { GUESSED = 32 }; /* names are shorter */

static unsigned
least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* How many letters are missing, too many, wrong, or swapped with the next
 * (optimal string alignment). Both are shorter than GUESSED. */
static unsigned
distance(const char *a, const char *b)
{
	unsigned table[GUESSED][GUESSED];
	size_t m = strlen(a), n = strlen(b);

	for (size_t i = 0; i <= m; i++)
		for (size_t k = 0; k <= n; k++) {
			unsigned *at = &table[i][k];

			if (i == 0 || k == 0) {
				*at = (unsigned)(i + k);
				continue;
			}
			*at = least(table[i - 1][k], table[i][k - 1]) + 1;
			*at = least(
			    *at, table[i - 1][k - 1] + (a[i - 1] != b[k - 1]));
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] &&
			    a[i - 2] == b[k - 1])
				*at = least(*at, table[i - 2][k - 2] + 1);
		}
	return table[m][n];
}

void
text_consider(struct text_guess *guess, const char *name)
{
	size_t length = strlen(guess->typed);
	unsigned steps;

	if (length >= GUESSED || strlen(name) >= GUESSED)
		return;
	steps = distance(guess->typed, name);
	if (steps > 1 + length / 4 ||
	    (guess->nearest && steps >= guess->distance))
		return;
	guess->nearest = name;
	guess->distance = steps;
}
