/*
 * dead_peer HOST PORT: a client that dies without a word, as by a power cut or
 * a NAT that forgets it: it asks for an echo, drops whatever comes from then
 * on before its kernel can acknowledge it (a socket's filter is asked first:
 * net/ipv4/tcp_ipv4.c, tcp_v4_rcv), and asks once more.
 */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void
check(int result, const char *what)
{
	if (result >= 0)
		return;
	perror(what);
	exit(1);
}

static void
drop_all(int fd)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog program = { .len = 1, .filter = &nothing };

	check(setsockopt(
		  fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program),
	    "SO_ATTACH_FILTER");
}

int
main(int argc, char *argv[])
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char byte = 'x';

	if (argc != 3 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		return 2;
	to.sin_port = htons((in_port_t)atoi(argv[2]));
	check(fd, "socket");
	check(connect(fd, (struct sockaddr *)&to, sizeof to), "connect");
	check((int)send(fd, &byte, 1, 0), "send");
	check((int)recv(fd, &byte, 1, 0), "recv");
	drop_all(fd);
	check((int)send(fd, &byte, 1, 0), "send");
	pause();
	return 0;
}
