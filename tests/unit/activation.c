/* Activation: which socket is for which address, and for which slot. */
#include "lib/master/activation.h"

#include <string.h>

#include "check.h"

enum { MOST = 8 };

static struct activation_socket sockets[MOST];
static struct activation all = { .sockets = sockets };
static struct config config;

static void
pass(const char *bound)
{
	CHECK(all.count < MOST);
	sockets[all.count].fd = INHERITED_FIRST + (int)all.count;
	CHECK(!address_parse(bound, &sockets[all.count].bound));
	sockets[all.count++].bound.any_family = false;
}

static void
configure(const char *asked)
{
	CHECK(!address_parse(
	    asked, &config.listen[config.listen_count++].address));
}

static void
begin(void)
{
	all.count = 0;
	config.listen_count = 0;
}

/* Where the sockets for what is ASKED are bound, or "". */
static const char *
bound_for(const char *asked, unsigned count)
{
	static struct address_text text;
	struct address address, bound;

	CHECK(!address_parse(asked, &address));
	CHECK(activation_count(&all, &address, &bound) == count);
	if (count == 0)
		return "";
	text = address_format(&bound);
	return text.text;
}

static int
fd_of(const char *bound, unsigned slot)
{
	struct address address;

	CHECK(!address_parse(bound, &address));
	return activation_of(&all, &address, slot)->fd;
}

static void
test_by_address(void)
{
	begin();
	CHECK(!*bound_for("127.0.0.1:80", 0));
	pass("127.0.0.1:80");
	pass("[::1]:80");
	CHECK(strcmp(bound_for("127.0.0.1:80", 1), "127.0.0.1:80") == 0);
	CHECK(
	    strcmp(bound_for("[::ffff:127.0.0.1]:80", 1), "127.0.0.1:80") == 0);
	CHECK(strcmp(bound_for("[::1]:80", 1), "[::1]:80") == 0);
	CHECK(!*bound_for("127.0.0.1:81", 0));
	CHECK(!*bound_for("127.0.0.2:80", 0));
	CHECK(!*bound_for("127.0.0.1:0", 0));
	CHECK(!*bound_for("0.0.0.0:80", 0));
	CHECK(!*bound_for(":80", 0));
}

static void
test_any_family(void)
{
	begin();
	pass("0.0.0.0:80");
	CHECK(strcmp(bound_for(":80", 1), "0.0.0.0:80") == 0);
	CHECK(!*bound_for("[::]:80", 0));
	pass("[::]:80");
	CHECK(strcmp(bound_for(":80", 1), "[::]:80") == 0);
	CHECK(strcmp(bound_for("[::]:80", 1), "[::]:80") == 0);
	configure(":80");
	CHECK(!activation_is_wanted(&all, &sockets[0], &config));
	CHECK(activation_is_wanted(&all, &sockets[1], &config));
}

static void
test_slots(void)
{
	begin();
	pass("127.0.0.1:80");
	pass("127.0.0.1:81");
	pass("127.0.0.1:80");
	pass("127.0.0.1:80");
	CHECK(fd_of("127.0.0.1:80", 0) == 3);
	CHECK(fd_of("127.0.0.1:80", 1) == 5);
	CHECK(fd_of("127.0.0.1:80", 2) == 6);
	CHECK(fd_of("127.0.0.1:80", 3) == 3);
	CHECK(fd_of("127.0.0.1:80", 1023) == 3);
	for (unsigned slot = 0; slot < 8; slot++)
		CHECK(fd_of("127.0.0.1:81", slot) == 4);
}

static void
test_workers(void)
{
	begin();
	pass("127.0.0.1:80");
	pass("127.0.0.1:80");
	pass("127.0.0.1:81");
	configure("127.0.0.1:82");
	CHECK(activation_workers(&all, &config) == 1);
	configure("127.0.0.1:81");
	CHECK(activation_workers(&all, &config) == 1);
	configure("127.0.0.1:80");
	CHECK(activation_workers(&all, &config) == 2);
	CHECK(activation_workers(&(struct activation) { 0 }, &config) == 1);
	for (unsigned i = 0; i < all.count; i++)
		CHECK(activation_is_wanted(&all, &sockets[i], &config));
}

int
main(void)
{
	test_by_address();
	test_any_family();
	test_slots();
	test_workers();
	return 0;
}
