/* Listening, the end of the turn, draining. */
#include "net_int.h"
#include "tls_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

const struct server_limits server_limits_default = {.conns_max = CONF_CONNS_MAX,
	.streams_per_conn_max = CONF_STREAMS_MAX, .header_list_bytes_max = CONF_HEADER_BYTES_MAX,
	.msg_bytes_max = CONF_MESSAGE_BYTES_MAX, .stream_send_bytes_max = CONF_STREAM_OUT_BYTES_MAX,
	.http_body_bytes_max = CONF_HTTP_BODY_BYTES_MAX, .header_timeout_ms = CONF_HEADER_TIMEOUT_MS,
	.body_timeout_ms = CONF_BODY_TIMEOUT_MS, .idle_timeout_ms = CONF_IDLE_TIMEOUT_MS, .ping_after_ms = CONF_PING_AFTER_MS,
	.ping_answer_ms = CONF_PING_ANSWER_MS, .conn_in_bytes_max = CONF_CONN_IN_BYTES_MAX,
	.resets_per_s_max = CONF_RESETS_PER_S_MAX};

struct listener {
	struct list node;
	struct server *server;
	struct watch *watch;
	int fd;
};

const char *server_date(struct server *s)
{
	int64_t now = loop_now(s->conf.loop).wall_us / 1000000;
	time_t t = (time_t)now;
	struct tm tm;

	if (now != s->date_s) {
		s->date_s = now;
		(void)gmtime_r(&t, &tm);
		(void)strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	}
	return s->date;
}

static void turn_end(void *arg)
{
	struct server *s = arg;

	while (!list_empty(&s->dirty)) {
		struct conn *c = LIST_ENTRY(s->dirty.next, struct conn, dirty);

		list_del(&c->dirty);
		conn_flush(c);
	}
}

struct server *server_new(const struct server_conf *conf)
{
	struct server *s = xcalloc(1, sizeof(*s));

	s->conf = *conf;
	s->routes = routes_new(conf->rpcs, conf->rests);
	list_init(&s->conns);
	list_init(&s->dirty);
	list_init(&s->listeners);
	list_init(&s->handshakes);
	s->read_buf = xmalloc(READ_BUF_BYTES);
	loop_on_turn_end(conf->loop, turn_end, s);
	return s;
}

static void acceptable(void *arg, int events)
{
	struct listener *l = arg;
	struct server *s = l->server;

	for (int i = 0; i < 64; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		if (s->n_conns >= s->conf.limits.conns_max || s->draining) {
			(void)close(fd);
			continue;
		}
		conn_new(s, fd);
	}
}

static bool listen_on(struct server *s, const struct addrinfo *ai, uint16_t *ret_port, struct err *err)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	struct sockaddr_storage sa;
	socklen_t n = sizeof(sa);
	struct listener *l;

	if (fd < 0)
		return err_set(err, ERR_INTERNAL, "socket: %s", strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, 1024) != 0 || getsockname(fd, (struct sockaddr *)&sa, &n) != 0) {
		int e = errno;

		(void)close(fd);
		return err_set(err, ERR_UNAVAILABLE, "%s", strerror(e));
	}
	*ret_port = ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port : ((struct sockaddr_in *)&sa)->sin_port);
	l = xcalloc(1, sizeof(*l));
	l->server = s;
	l->fd = fd;
	l->watch = watch_new(s->conf.loop, acceptable, l);
	watch_set(l->watch, fd, WATCH_READ);
	list_push_back(&s->listeners, &l->node);
	return true;
}

bool server_listen(struct server *s, const char *host, uint16_t port, uint16_t *ret_port, struct err *err)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *ai;
	struct err why;
	char service[8];
	bool ok;

	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	(void)snprintf(service, sizeof(service), "%u", port);
	if (getaddrinfo(host, service, &hints, &ai) != 0)
		return err_set(err, ERR_INVALID, "cannot listen on \"%s\": not an address", host);
	ok = listen_on(s, ai, ret_port, &why);
	freeaddrinfo(ai);
	return ok || err_set(err, why.code, "cannot listen on %s port %u: %s", host, port, why.msg);
}

static void drain_over(struct server *s)
{
	struct op *op = s->drained;

	if (!op || !list_empty(&s->conns))
		return;
	s->drained = NULL;
	timer_clear(s->drain_timer);
	op_done(op, NULL);
}

void server_conn_gone(struct server *s)
{
	drain_over(s);
}

static void drain_late(void *arg)
{
	struct server *s = arg;

	if (list_empty(&s->conns))
		drain_over(s);
	LIST_FOREACH_SAFE(it, &s->conns)	/* over when they are freed, deferred */
		conn_close(LIST_ENTRY(it, struct conn, node));
}

static void stop_listening(struct server *s)
{
	LIST_FOREACH_SAFE(it, &s->listeners) {
		struct listener *l = LIST_ENTRY(it, struct listener, node);

		list_del(&l->node);
		watch_free(l->watch);
		(void)close(l->fd);
		free(l);
	}
}

void server_drain(struct server *s, int64_t deadline_mono_us, struct op *done)
{
	s->draining = true;
	s->drained = done;
	stop_listening(s);
	s->drain_timer = timer_new(s->conf.loop, drain_late, s);
	timer_set(s->drain_timer, list_empty(&s->conns) ? 0 : deadline_mono_us);
	LIST_FOREACH_SAFE(it, &s->conns) {
		struct conn *c = LIST_ENTRY(it, struct conn, node);

		if (c->proto == CONN_H2)
			h2_drain(c->p);
		else if (c->proto == CONN_H1)
			h1_drain(c->p);
		else
			conn_close(c);
	}
}

void server_free(struct server *s)
{
	stop_listening(s);
	timer_free(s->drain_timer);
	routes_free(s->routes);
	tls_ctx_unref(s->tls);
	free(s->plain_buf);
	free(s->read_buf);
	free(s);
}

void server_set_tls(struct server *s, struct tls_ctx *ctx, bool clear_too)
{
	struct tls_ctx *old = s->tls;

	s->tls = tls_ctx_ref(ctx);
	tls_ctx_unref(old);
	s->clear_too = clear_too;
	if (!s->plain_buf)
		s->plain_buf = xmalloc(TLS_PLAIN_MAX);
}

void server_on_handshake(struct server *s, void (*fn)(void *arg), void *arg)
{
	s->on_handshake = fn;
	s->on_handshake_arg = arg;
}

struct server_stats server_stats(const struct server *s)
{
	return s->stats;
}
