/* One connection's whole life for the fuzzers: everything in, as much as the peer would take out, then its end. */
#ifndef TESTS_FUZZ_SESSION_H
#define TESTS_FUZZ_SESSION_H
#include "../lib/netserver.h"
#include "fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

static struct netserver *session_server;

static void session_run(struct str head, const uint8_t *data, size_t n)
{
	static char sink[65536];
	struct server_limits lim = server_limits_default;
	int fd;

	lim.msg_bytes_max = lim.http_body_bytes_max = 65536;
	if (!session_server)
		session_server = netserver_new(&lim);
	fd = netserver_connect(session_server);
	if (head.n && send(fd, head.p, head.n, MSG_NOSIGNAL) < 0)
		abort();
	/* in two pieces, so that frames and lines are cut somewhere */
	for (size_t off = 0, k = 0; off < n && k < 8; k++) {
		size_t piece = k == 0 && n > 1 ? 1 + data[0] % (n - 1) : n - off;
		ssize_t got = send(fd, data + off, piece, MSG_NOSIGNAL);

		if (got <= 0)
			break;
		off += (size_t)got;
		netserver_turns(session_server, 0);
		while (recv(fd, sink, sizeof(sink), 0) > 0)
			;
	}
	for (int i = 0; i < 3; i++) {
		netserver_turns(session_server, 0);
		while (recv(fd, sink, sizeof(sink), 0) > 0)
			;
	}
	(void)close(fd);
	netserver_turns(session_server, 0);
	netserver_turns(session_server, 0);
}
#endif
