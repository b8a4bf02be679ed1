#define _GNU_SOURCE 1 /* strptime; NOLINT(cert-dcl51-cpp) */
#include "conditions.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

/* ---- entity tags --------------------------------------------------------- */

static bool
skip(struct text *text, const char *literal)
{
	size_t length = strlen(literal);

	if (text->length < length || memcmp(text->start, literal, length) != 0)
		return false;
	text->start += length;
	text->length -= length;
	return true;
}

/* Takes a tag from a list: TAG with its quotes. Returns false where the list
 * goes on with none. A tag may have a comma in it. */
static bool
next_tag(struct text *list, struct text *tag, bool *weak)
{
	const unsigned char *end;

	while (skip(list, " ") || skip(list, "\t") || skip(list, ","))
		;
	*weak = skip(list, "W/");
	if (list->length < 2 || *list->start != '"')
		return false;
	end = memchr(list->start + 1, '"', list->length - 1);
	if (!end)
		return false;
	tag->start = list->start;
	tag->length = (size_t)(end + 1 - list->start);
	list->start += tag->length;
	list->length -= tag->length;
	return true;
}

/* Whether the page is among the tags of all fields of that name; ours are
 * strong, and a weak one may be asked for only where WEAKLY (8.8.3.2). */
static bool
has_tag(const struct request *r, const char *field, const struct page *page,
    bool weakly)
{
	struct text rest = r->fields, name, value, tag;
	bool weak;

	while (request_next_field(&rest, &name, &value)) {
		if (!text_is(name, field))
			continue;
		if (text_is_same(value, "*"))
			return true;
		while (next_tag(&value, &tag, &weak))
			if (text_is_same(tag, page->etag) && (weakly || !weak))
				return true;
	}
	return false;
}

/* ---- dates --------------------------------------------------------------- */

/* One of three formats, two of them obsolete (5.6.7). */
static bool
read_date(struct text value, time_t *time)
{
	static const char *const formats[] = { "%a, %d %b %Y %H:%M:%S GMT",
		"%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y" };
	char date[48] = "";

	if (value.length >= sizeof date)
		return false;
	memcpy(date, value.start, value.length);
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		struct tm tm = { .tm_isdst = 0 };
		const char *end = strptime(date, formats[i], &tm);

		if (!end || *end)
			continue;
		*time = timegm(&tm);
		return true;
	}
	return false;
}

/* A field that comes twice, or tells no date, is as none. */
static bool
has_date(const struct request *r, const char *field, time_t *time)
{
	struct text value;

	return request_field(r, field, &value) == 1 && read_date(value, time);
}

/* ---- ranges -------------------------------------------------------------- */

/* Takes digits; what is too much for a size is as much as there can be. */
static bool
read_number(struct text *text, size_t *number)
{
	const unsigned char *start = text->start;

	*number = 0;
	for (; text->length > 0 && *text->start >= '0' && *text->start <= '9';
	     text->start++, text->length--) {
		size_t digit = *text->start - (size_t)'0';

		*number = *number > (SIZE_MAX - digit) / 10
		    ? SIZE_MAX
		    : *number * 10 + digit;
	}
	return text->start > start;
}

/* What is no range of bytes, or several, is as none: then all is sent. */
static enum status
read_range(struct text value, size_t length, struct range *range)
{
	struct text unit = { value.start, strlen("bytes") };
	size_t first, last = SIZE_MAX;
	bool has_first, has_last;

	if (value.length < unit.length || !text_is(unit, "bytes"))
		return WHOLE;
	value.start += unit.length;
	value.length -= unit.length;
	if (!skip(&value, "="))
		return WHOLE;
	has_first = read_number(&value, &first);
	if (!skip(&value, "-"))
		return WHOLE;
	has_last = read_number(&value, &last);
	if (value.length > 0 || (!has_first && !has_last) || length == 0 ||
	    (has_first && has_last && last < first))
		return WHOLE;
	if (has_first ? first >= length : last == 0)
		return NO_SUCH_RANGE;
	if (!has_first) /* the last bytes */
		first = last < length ? length - last : 0;
	range->from = first;
	range->to = has_first && has_last && last < length ? last + 1 : length;
	return PARTIAL;
}

/* If-Range: a part only of what the client has already (13.1.5). */
static bool
may_range(const struct request *r, const struct page *page)
{
	struct text value;
	unsigned count = request_field(r, "if-range", &value);
	time_t time;

	if (count != 1)
		return count == 0;
	return text_is_same(value, page->etag) ||
	    (read_date(value, &time) && time == page->modified);
}

/* ---- all of them --------------------------------------------------------- */

/* Their order is that of 13.2.2. */
static enum status
judge_validators(const struct request *r, const struct page *page)
{
	struct text value;
	time_t time;

	if (request_field(r, "if-match", &value) > 0) {
		if (!has_tag(r, "if-match", page, false))
			return CHANGED;
	} else if (has_date(r, "if-unmodified-since", &time) &&
	    page->modified > time) {
		return CHANGED;
	}
	if (request_field(r, "if-none-match", &value) > 0)
		return has_tag(r, "if-none-match", page, true) ? NOT_MODIFIED
							       : WHOLE;
	return has_date(r, "if-modified-since", &time) && page->modified <= time
	    ? NOT_MODIFIED
	    : WHOLE;
}

enum status
conditions_judge(
    const struct request *r, const struct page *page, struct range *range)
{
	enum status status = WHOLE;
	struct text value;

	*range = (struct range) { 0, page->length };
	if (r->conditional)
		status = judge_validators(r, page);
	if (status != WHOLE || !r->conditional ||
	    !text_is_same(r->method, "GET") || /* 14.2 */
	    request_field(r, "range", &value) != 1 || !may_range(r, page))
		return status;
	return read_range(value, page->length, range);
}
