/* Addresses: what is read, what is shown, what covers what. */
#include "lib/base/address.h"

#include <arpa/inet.h>
#include <string.h>

#include "check.h"

static bool
reads(const char *text, struct address *address)
{
	return !address_parse(text, address);
}

static void
reads_and_shows(const char *text, const char *shown)
{
	struct address address;

	CHECK(reads(text, &address));
	CHECK(strcmp(address_format(&address).text, shown) == 0);
}

static void
good_ones_are_read(void)
{
	reads_and_shows("127.0.0.1:7", "127.0.0.1:7");
	reads_and_shows("0.0.0.0:8080", "0.0.0.0:8080");
	reads_and_shows("[::]:8080", "[::]:8080");
	reads_and_shows("[::1]:65535", "[::1]:65535");
	reads_and_shows(":8080", "[::]:8080");
	reads_and_shows("127.0.0.1:0", "127.0.0.1:0");
	reads_and_shows("[::ffff:10.1.2.3]:80", "10.1.2.3:80");
	reads_and_shows("[fe80::1%lo]:80", "[fe80::1%lo]:80");
	reads_and_shows("[fe80::1%1]:80", "[fe80::1%1]:80");
	reads_and_shows("[fe80::1%no-such]:80", "[fe80::1%no-such]:80");
}

static void
bad_ones_are_not(void)
{
	static const char *const bad[] = { "", ":", "8080", "127.0.0.1",
		"127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1",
		"127.0.0.1:8o80", "127.0.0.1: 80", "127.0.0.256:80", "127.1:80",
		"::1:80", "[::1]", "[::1:80", "::1]:80", "[]:80",
		"[127.0.0.1]:80", "localhost:80",
		"[fe80::1%no-such-interface]:80", "[fe80::1%]:80",
		"[fe80::1]:80", "127.0.0.1:999999999999" };
	char endless[4096];
	struct address address;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(!reads(bad[i], &address));
	memset(endless, 'a', sizeof endless);
	strcpy(endless + sizeof endless - 4, ":80");
	CHECK(!reads(endless, &address));
}

static bool
overlap(const char *a, const char *b)
{
	struct address first, second;

	CHECK(reads(a, &first) && reads(b, &second));
	CHECK(address_overlaps(&first, &second) ==
	    address_overlaps(&second, &first));
	return address_overlaps(&first, &second);
}

static void
overlaps_are_seen(void)
{
	CHECK(overlap("127.0.0.1:80", "127.0.0.1:80"));
	CHECK(overlap("0.0.0.0:80", "127.0.0.1:80"));
	CHECK(overlap("[::]:80", "127.0.0.1:80"));
	CHECK(overlap(":80", "[::1]:80"));
	CHECK(overlap("[::ffff:127.0.0.1]:80", "127.0.0.1:80"));
	CHECK(overlap("[::ffff:127.0.0.1]:80", "0.0.0.0:80"));
	CHECK(overlap("[::ffff:0.0.0.0]:80", "127.0.0.1:80"));
	CHECK(!overlap("0.0.0.0:80", "[::1]:80"));
	CHECK(!overlap("127.0.0.1:80", "127.0.0.1:81"));
	CHECK(!overlap("127.0.0.1:80", "127.0.0.2:80"));
	CHECK(!overlap("127.0.0.1:0", "127.0.0.1:0"));
}

static void
equal_means_bound_alike(void)
{
	struct address a, b;

	CHECK(reads(":80", &a) && reads("[::]:80", &b));
	CHECK(address_equal(&a, &b));
	CHECK(reads(":81", &b) && !address_equal(&a, &b));
	CHECK(reads("0.0.0.0:80", &b) && !address_equal(&a, &b));
}

static void
peers_are_mapped(void)
{
	struct sockaddr_storage storage = { 0 };
	struct sockaddr_in v4 = { .sin_family = AF_INET,
		.sin_port = htons(4711) };
	struct in6_addr ip;
	in_port_t port;

	CHECK(inet_pton(AF_INET, "192.0.2.1", &v4.sin_addr) == 1);
	memcpy(&storage, &v4, sizeof v4);
	address_peer(&storage, &ip, &port);
	CHECK(IN6_IS_ADDR_V4MAPPED(&ip));
	CHECK(
	    strcmp(address_format_peer(&ip, port).text, "192.0.2.1:4711") == 0);
}

static void
zones_are_found_and_compared(void)
{
	struct address a, b;

	CHECK(reads("[fe80::1%1]:80", &a) && a.socket.v6.sin6_scope_id == 1);
	CHECK(reads("[fe80::1%lo]:80", &b) && address_equal(&a, &b));
	CHECK(address_find_zone(&b));
	CHECK(reads("[fe80::1%none]:80", &b) && !address_find_zone(&b));
	CHECK(!address_equal(&a, &b));
	CHECK(reads("[fe80::1%gone]:80", &a) && !address_equal(&a, &b));
	CHECK(reads("[fe80::1%none]:80", &a) && address_equal(&a, &b));
}

static void
peers_keep_their_zone(void)
{
	struct sockaddr_storage storage = { 0 };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
		.sin6_port = htons(4711),
		.sin6_scope_id = 1 };
	struct in6_addr ip;
	in_port_t port;

	CHECK(inet_pton(AF_INET6, "fe80::2", &v6.sin6_addr) == 1);
	memcpy(&storage, &v6, sizeof v6);
	address_peer(&storage, &ip, &port);
	CHECK(strcmp(address_format_peer(&ip, port).text,
		  "[fe80::2%lo]:4711") == 0);
	v6.sin6_scope_id = 99999; /* an interface that has gone */
	memcpy(&storage, &v6, sizeof v6);
	address_peer(&storage, &ip, &port);
	CHECK(strcmp(address_format_peer(&ip, port).text,
		  "[fe80::2%99999]:4711") == 0);
}

int
main(void)
{
	good_ones_are_read();
	bad_ones_are_not();
	overlaps_are_seen();
	equal_means_bound_alike();
	peers_are_mapped();
	zones_are_found_and_compared();
	peers_keep_their_zone();
	return 0;
}
