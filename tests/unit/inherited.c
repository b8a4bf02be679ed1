/* Inherited descriptors: what the environment may say of them. */
#include "lib/base/inherited.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

static unsigned
count_of(const char *pid, const char *fds)
{
	unsigned count = 77;

	return inherited_parse(pid, fds, 1234, &count) ? count : 99;
}

static void
test_whom_it_is_for(void)
{
	CHECK(count_of("1234", "2") == 2);
	CHECK(count_of(NULL, NULL) == 0);
	CHECK(count_of(NULL, "2") == 0);
	CHECK(count_of("1234", NULL) == 0);
	CHECK(count_of("1235", "2") == 0);
	CHECK(count_of("", "2") == 0);
	CHECK(count_of("-1234", "2") == 0);
	CHECK(count_of(" 1234", "2") == 0);
	CHECK(count_of("1234 ", "2") == 0);
	CHECK(count_of("1234x", "2") == 0);
	/* 1234 + 2^32, and more than any number holds. */
	CHECK(count_of("4294968530", "2") == 0);
	CHECK(count_of("99999999999999999999999999999999", "2") == 0);
	/* Another's may be as senseless as it likes. */
	CHECK(count_of("1", "-1") == 0);
}

static void
test_how_many(void)
{
	CHECK(count_of("1234", "0") == 0);
	CHECK(count_of("1234", "2147483644") == 2147483644);
	CHECK(count_of("1234", "2147483645") == 99);
	CHECK(count_of("1234", "99999999999999999999999999999999") == 99);
	CHECK(count_of("1234", "18446744073709551617") == 99);
	CHECK(count_of("1234", "") == 99);
	CHECK(count_of("1234", "-1") == 99);
	CHECK(count_of("1234", "+1") == 99);
	CHECK(count_of("1234", "1.5") == 99);
	CHECK(count_of("1234", "0x1") == 99);
	CHECK(count_of("1234", "one") == 99);
}

static bool
is_named(const char *names, int fd, const char *text)
{
	const struct inherited in = { .names = names };

	return strcmp(inherited_name(&in, fd).text, text) == 0;
}

static void
test_names(void)
{
	char *huge = malloc(1 << 20);

	CHECK(is_named("", 3, "descriptor 3"));
	CHECK(is_named("web", 3, "descriptor 3 (web)"));
	CHECK(is_named("web:admin", 4, "descriptor 4 (admin)"));
	CHECK(is_named("web::third", 4, "descriptor 4"));
	CHECK(is_named("web::third", 5, "descriptor 5 (third)"));
	CHECK(is_named("web:", 4, "descriptor 4"));
	CHECK(is_named("web", 4, "descriptor 4"));
	CHECK(is_named(":::", 2000000000, "descriptor 2000000000"));
	CHECK(huge);
	memset(huge, 'x', (1 << 20) - 1);
	huge[(1 << 20) - 1] = '\0';
	huge[1000] = ':';
	CHECK(
	    strlen(
		inherited_name(&(struct inherited) { .names = huge }, 3).text) <
	    100);
	CHECK(
	    strlen(
		inherited_name(&(struct inherited) { .names = huge }, 4).text) <
	    100);
	free(huge);
}

static void
test_taking(void)
{
	struct inherited in;

	setenv("LISTEN_PID", "1", 1);
	setenv("LISTEN_FDS", "-5", 1);
	setenv("LISTEN_FDNAMES", "a:b", 1);
	setenv("LISTEN_PIDFDID", "7", 1);
	inherited_take(&in);
	CHECK(in.count == 0 && !*in.error);
	CHECK(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS"));
	CHECK(!getenv("LISTEN_FDNAMES") && !getenv("LISTEN_PIDFDID"));
	inherited_take(&in);
	CHECK(in.count == 0 && !*in.error && !*in.names);
}

int
main(void)
{
	test_whom_it_is_for();
	test_how_many();
	test_names();
	test_taking();
	return 0;
}
