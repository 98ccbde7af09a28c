/* The relay of pgnode.h: a thread that moves bytes between clients and the server's unix socket and loses some when told. */
#include "pgnode.h"

#include "tap.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAIRS_MAX 32
enum lose { LOSE_NOTHING, LOSE_REQUEST, LOSE_HALF, LOSE_REPLY };
struct pair {
	int client, server;	/* -1: free */
};
struct pgproxy {
	char dir[64], upstream[108];
	int listener;
	struct pair pairs[PAIRS_MAX];
	pthread_t thread;
	atomic_int lose;
	atomic_bool refuses;
	atomic_uint losses;
	atomic_size_t bytes_min;
};

static int unix_socket(const char *path, bool is_server)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (is_server ? bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, 16) != 0
		      : connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k <= 0)
			return;
		p += k;
		n -= (size_t)k;
	}
}

static void end_pair(struct pair *pr)
{
	close(pr->client);
	close(pr->server);
	pr->client = pr->server = -1;
}

static void take_client(struct pgproxy *p)
{
	int fd = accept(p->listener, NULL, NULL);

	for (int i = 0; fd >= 0 && !p->refuses && i < PAIRS_MAX; i++) {
		if (p->pairs[i].client >= 0)
			continue;
		p->pairs[i].server = unix_socket(p->upstream, false);
		if (p->pairs[i].server < 0)
			break;
		p->pairs[i].client = fd;
		return;
	}
	close(fd);
}

static void lost(struct pgproxy *p, struct pair *pr)
{
	p->lose = LOSE_NOTHING;
	end_pair(pr);
	p->losses++;
}

static void move(struct pgproxy *p, struct pair *pr, bool is_request)
{
	static char buf[1 << 20];
	ssize_t n = recv(is_request ? pr->client : pr->server, buf, sizeof(buf), 0);
	int lose = p->lose;

	if (n <= 0) {
		end_pair(pr);
		return;
	}
	if ((size_t)n >= p->bytes_min) {
		if (is_request && (lose == LOSE_REQUEST || lose == LOSE_HALF)) {
			if (lose == LOSE_HALF)
				write_all(pr->server, buf, (size_t)n / 2);
			lost(p, pr);
			return;
		}
		if (!is_request && lose == LOSE_REPLY) {
			lost(p, pr);
			return;
		}
	}
	write_all(is_request ? pr->server : pr->client, buf, (size_t)n);
}

static void *relay(void *arg)
{
	struct pgproxy *p = arg;

	for (;;) {
		struct pollfd fds[1 + 2 * PAIRS_MAX];

		fds[0] = (struct pollfd){.fd = p->listener, .events = POLLIN};
		for (int i = 0; i < PAIRS_MAX; i++) {
			fds[1 + 2 * i] = (struct pollfd){.fd = p->pairs[i].client, .events = POLLIN};
			fds[2 + 2 * i] = (struct pollfd){.fd = p->pairs[i].server, .events = POLLIN};
		}
		if (poll(fds, ARRAY_LEN(fds), -1) < 0)
			continue;
		for (int i = 0; i < PAIRS_MAX; i++) {
			if (p->pairs[i].client >= 0 && fds[1 + 2 * i].revents)
				move(p, &p->pairs[i], true);
			if (p->pairs[i].client >= 0 && fds[2 + 2 * i].revents)
				move(p, &p->pairs[i], false);
		}
		if (fds[0].revents)
			take_client(p);
	}
	return NULL;
}

static struct pgproxy *last;

static void clean(void)
{
	char path[108];

	snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", last->dir);
	unlink(path);
	rmdir(last->dir);
}

struct pgproxy *pgproxy_new(void)
{
	struct pgproxy *p = xcalloc(1, sizeof(*p));
	char path[108];
	const char *host = strstr(pgnode_url("postgres", NULL), "host=") + 5;

	snprintf(p->upstream, sizeof(p->upstream), "%.*s/.s.PGSQL.5432", (int)strcspn(host, " "), host);
	snprintf(p->dir, sizeof(p->dir), "/tmp/pgproxy-XXXXXX");
	if (!mkdtemp(p->dir))
		tap_fail(__FILE__, __LINE__, "mkdtemp");
	snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", p->dir);
	p->listener = unix_socket(path, true);
	for (int i = 0; i < PAIRS_MAX; i++)
		p->pairs[i] = (struct pair){-1, -1};
	p->bytes_min = 1;
	if (p->listener < 0 || pthread_create(&p->thread, NULL, relay, p) != 0)
		tap_fail(__FILE__, __LINE__, "relay");
	last = p;
	atexit(clean);
	return p;
}

const char *pgproxy_url(struct pgproxy *p, const char *url)
{
	return pgnode_keep("host=%s %s", p->dir, strstr(url, "port="));
}

void pgproxy_lose_request(struct pgproxy *p)
{
	p->lose = LOSE_REQUEST;
}

void pgproxy_lose_half(struct pgproxy *p)
{
	p->lose = LOSE_HALF;
}

void pgproxy_lose_reply(struct pgproxy *p)
{
	p->lose = LOSE_REPLY;
}

void pgproxy_refuse(struct pgproxy *p, bool on)
{
	p->refuses = on;
}

void pgproxy_only(struct pgproxy *p, size_t bytes_min)
{
	p->bytes_min = bytes_min;
}

unsigned pgproxy_losses(struct pgproxy *p)
{
	return p->losses;
}
