/* Text from outside: what prints, and where it may be cut. */
#include "lib/base/text.h"

#include <stdio.h>
#include <string.h>

#include "check.h"

static void
becomes(const char *text, const char *expected)
{
	char actual[64];

	snprintf(actual, sizeof actual, "%s", text);
	text_make_printable(actual);
	CHECK(strcmp(actual, expected) == 0);
}

static void
what_prints_stays(void)
{
	becomes("", "");
	becomes("plain ~", "plain ~");
	becomes("gr\xc3\xbcn \xe2\x82\xac", "gr\xc3\xbcn \xe2\x82\xac");
	becomes("\xf0\x9f\x90\x9f", "\xf0\x9f\x90\x9f");
}

static void
controls_do_not(void)
{
	becomes("\x1b[31m\n\t\x7f", "?[31m???");
	becomes("\xc2\x9b"
		"31m",
	    "??31m"); /* C1 CSI */
	/* What reorders text is the subject here. */
	/* NOLINTNEXTLINE(misc-misleading-bidirectional) */
	becomes("\xe2\x80\xae", "???");
	becomes("\xe2\x80\xa8", "???"); /* a line's end */
	becomes("\xef\xbb\xbf", "???");
	becomes("\xf3\xa0\x80\x81", "????"); /* a tag */
}

static void
what_is_no_utf8_does_not(void)
{
	becomes("\xff\xfe", "??");
	becomes("\x9b"
		"31m",
	    "?31m");
	becomes("a\xe2\x82", "a??");
	becomes("\xe2\x82z", "??z");
	becomes("\xc0\xaf", "??");	     /* overlong */
	becomes("\xe0\x80\xaf", "???");	     /* overlong */
	becomes("\xf0\x82\x82\xac", "????"); /* overlong */
	becomes("\xed\xa0\x80", "???");	     /* surrogate */
	becomes("\xf4\x90\x80\x80", "????"); /* beyond U+10FFFF */
	becomes("\xef\xbf\xbf", "???");	     /* no character */
	becomes("\xef\xb7\x90", "???");	     /* nor that */
}

static void
cuts_at_characters(void)
{
	const char *text = "ab\xe2\x82\xac"
			   "c";

	CHECK(text_cut(text, 100) == 6);
	CHECK(text_cut(text, 6) == 6);
	CHECK(text_cut(text, 5) == 5);
	CHECK(text_cut(text, 4) == 2);
	CHECK(text_cut(text, 3) == 2);
	CHECK(text_cut(text, 2) == 2);
	CHECK(text_cut(text, 0) == 0);
	CHECK(text_cut("\x82\x82\x82\x82\x82\x82", 5) == 5);

	CHECK(strcmp(text_tail(text, 100), text) == 0);
	CHECK(strcmp(text_tail(text, 4), text + 2) == 0);
	CHECK(strcmp(text_tail(text, 3), "c") == 0);
	CHECK(strcmp(text_tail(text, 2), "c") == 0);
	CHECK(strcmp(text_tail(text, 0), "") == 0);
}

static size_t __attribute__((format(printf, 3, 4)))
format(char *text, size_t size, const char *how, ...)
{
	va_list arguments;
	size_t length;

	va_start(arguments, how);
	length = text_format(text, size, how, arguments);
	va_end(arguments);
	return length;
}

static void
formats_what_fits(void)
{
	char text[6];

	CHECK(format(text, sizeof text, "%s", "a\nb") == 3);
	CHECK(strcmp(text, "a?b") == 0);
	CHECK(format(text, sizeof text, "%s", "abc\xe2\x82\xac") == 3);
	CHECK(strcmp(text, "abc") == 0);
	CHECK(format(text, sizeof text, "%s",
		  "ab\xe2\x82\xac"
		  "c") == 5);
	CHECK(format(text, sizeof text, "%s", "abcd\xe2") == 5);
	CHECK(strcmp(text, "abcd?") == 0);
	CHECK(format(text, sizeof text, "%s", "abcde") == 5);
}

int
main(void)
{
	what_prints_stays();
	controls_do_not();
	what_is_no_utf8_does_not();
	cuts_at_characters();
	formats_what_fits();
	return 0;
}
