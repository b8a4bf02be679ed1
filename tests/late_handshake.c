/*
 * late_handshake: clients whose part of a handshake comes when it is told to.
 * They are made by hand on a TUN device, in a network namespace of their own,
 * where the server has 10.77.0.1 and they have 10.77.0.2.
 *
 * late_handshake COUNT reads from stdin, a line each: a port, to which COUNT
 * clients then begin a handshake; and anything, upon which they end it and send
 * "hello". Says "up"; "begun N"; "answered N reset M".
 */
#include <sys/ioctl.h>

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLIENTS = 256, FIRST_PORT = 20000, ISN = 1000, QUIET_MS = 1500 };

static const in_addr_t SERVER = 0x0a4d0001, PEER = 0x0a4d0002;

struct packet {
	struct iphdr ip;
	struct tcphdr tcp;
	char bytes[1500];
};

struct client {
	uint32_t server_seq; /* the next byte's */
	bool begun, answered, reset;
};

static struct client clients[CLIENTS];
static unsigned count, port;
static int tun;

/* Behind an odd LENGTH comes one byte more: zero, as the checksum wants it. */
static uint32_t
sum(const void *bytes, size_t length)
{
	uint32_t total = 0;
	uint16_t word;

	for (size_t i = 0; i < length; i += sizeof word) {
		memcpy(&word, (const char *)bytes + i, sizeof word);
		total += ntohs(word);
	}
	return total;
}

static uint16_t
fold(uint32_t total)
{
	while (total > 0xffff)
		total = (total & 0xffff) + (total >> 16);
	return htons((uint16_t)~total);
}

static void
emit(unsigned i, uint32_t seq, bool syn, const char *text)
{
	size_t length = strlen(text), tcp = sizeof(struct tcphdr) + length;
	struct packet p = {
		.ip = { .version = 4,
		    .ihl = 5,
		    .ttl = 64,
		    .protocol = IPPROTO_TCP },
	};

	p.ip.tot_len = htons((uint16_t)(sizeof p.ip + tcp));
	p.ip.saddr = htonl(PEER);
	p.ip.daddr = htonl(SERVER);
	p.ip.check = fold(sum(&p.ip, sizeof p.ip));
	p.tcp.source = htons((uint16_t)(FIRST_PORT + i));
	p.tcp.dest = htons((uint16_t)port);
	p.tcp.seq = htonl(seq);
	p.tcp.doff = 5;
	p.tcp.window = htons(65535);
	p.tcp.syn = syn;
	p.tcp.ack = p.tcp.psh = !syn;
	p.tcp.ack_seq = htonl(syn ? 0 : clients[i].server_seq);
	memcpy(p.bytes, text, length);
	p.tcp.check = fold(sum(&p.ip.saddr, 8) + IPPROTO_TCP + (uint32_t)tcp +
	    sum(&p.tcp, tcp));
	if (write(tun, &p, sizeof p.ip + tcp) < 0)
		perror("write");
}

static void
take(const struct packet *p, size_t length)
{
	unsigned i = ntohs(p->tcp.dest) - FIRST_PORT;
	size_t head = sizeof p->ip + p->tcp.doff * sizeof(uint32_t);

	if (p->ip.version != 4 || p->ip.protocol != IPPROTO_TCP || i >= count)
		return;
	if (p->tcp.rst)
		clients[i].reset = true;
	else if (p->tcp.syn)
		clients[i].server_seq = ntohl(p->tcp.seq) + 1;
	else if (length >= head + 5 &&
	    memcmp((const char *)p + head, "hello", 5) == 0)
		clients[i].answered = true;
	clients[i].begun |= p->tcp.syn;
}

static bool
all_begun(void)
{
	for (unsigned i = 0; i < count; i++)
		if (!clients[i].begun)
			return false;
	return true;
}

/* Until nothing has come for a while; or all SYN-ACKs have, if only those are
 * waited for. */
static void
hear(bool only_begun)
{
	struct pollfd watched = { .fd = tun, .events = POLLIN };
	struct packet p;
	ssize_t length;

	while (
	    !(only_begun && all_begun()) && poll(&watched, 1, QUIET_MS) > 0) {
		length = read(tun, &p, sizeof p);
		if (length >= (ssize_t)(sizeof p.ip + sizeof p.tcp))
			take(&p, (size_t)length);
	}
}

static void
must(int result)
{
	if (result < 0) {
		perror("late0");
		exit(2);
	}
}

static void
set_address(struct sockaddr *address, in_addr_t ip)
{
	const struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(ip) };

	memcpy(address, &in, sizeof in);
}

/* A point-to-point device, whose other end the clients are. */
static void
open_tun(void)
{
	struct ifreq request = { .ifr_name = "late0" };
	int any = socket(AF_INET, SOCK_DGRAM, 0);

	tun = open("/dev/net/tun", O_RDWR);
	request.ifr_flags = IFF_TUN | IFF_NO_PI;
	must(ioctl(tun, TUNSETIFF, &request));
	set_address(&request.ifr_addr, SERVER);
	must(ioctl(any, SIOCSIFADDR, &request));
	set_address(&request.ifr_dstaddr, PEER);
	must(ioctl(any, SIOCSIFDSTADDR, &request));
	request.ifr_flags = IFF_UP;
	must(ioctl(any, SIOCSIFFLAGS, &request));
	strcpy(request.ifr_name, "lo");
	must(ioctl(any, SIOCSIFFLAGS, &request));
	close(any);
}

static unsigned
total(size_t field)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++)
		n += *(const bool *)((const char *)&clients[i] + field);
	return n;
}

int
main(int argc, char **argv)
{
	char line[64];

	count = argc == 2 ? (unsigned)atoi(argv[1]) : 0;
	if (count == 0 || count > CLIENTS)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	open_tun();
	puts("up");
	if (!fgets(line, sizeof line, stdin))
		return 2;
	port = (unsigned)atoi(line);
	for (unsigned i = 0; i < count; i++)
		emit(i, ISN, true, "");
	hear(true);
	printf("begun %u\n", total(offsetof(struct client, begun)));
	if (!fgets(line, sizeof line, stdin))
		return 2;
	for (unsigned i = 0; i < count; i++)
		emit(i, ISN + 1, false, "hello");
	hear(false);
	printf("answered %u reset %u\n",
	    total(offsetof(struct client, answered)),
	    total(offsetof(struct client, reset)));
	return 0;
}
