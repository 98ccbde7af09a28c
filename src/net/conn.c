/* One connection: bytes in to its protocol, bytes out once per turn.
 *
 * The first bytes tell what it is.  Behind TLS the protocol is told by ALPN, or again by the first bytes. */
#include "net_int.h"
#include "tls_conn.h"

#include "base/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SNIFF_MAX = 24, LINGER_US = 2000000, TLS_HANDSHAKE = 0x16, HANDSHAKES_US_MAX = 5000 };
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void reap(void *arg)
{
	struct conn *c = arg;
	struct server *s = c->server;

	if (c->proto == CONN_H1)
		h1_free(c->p);
	else if (c->proto == CONN_H2)
		h2_free(c->p);
	strb_fini(&c->out);
	strb_fini(&c->sniff);
	tls_free(c->tls);
	timer_free(c->timer);
	free(c);
	server_conn_gone(s);
}

static void handshake_over(struct conn *c)
{
	if (!list_linked(&c->handshake))
		return;
	list_del(&c->handshake);
	c->server->n_handshakes--;
}

void conn_close(struct conn *c)
{
	if (c->is_dead)
		return;
	c->is_dead = true;
	watch_free(c->watch);
	c->watch = NULL;
	(void)close(c->fd);
	list_del(&c->node);
	list_del(&c->dirty);
	handshake_over(c);
	c->server->n_conns--;
	loop_defer(c->server->conf.loop, &c->reap, reap, c);
}

void conn_finish(struct conn *c)
{
	c->want_close = true;
	conn_dirty(c);
}

void conn_dirty(struct conn *c)
{
	if (!c->is_dead && !list_linked(&c->dirty))
		list_push_back(&c->server->dirty, &c->dirty);
}

static void set_watch(struct conn *c, bool write)
{
	watch_set(c->watch, c->fd, (c->read_paused ? 0 : WATCH_READ) | (write ? WATCH_WRITE : 0));
}

void conn_pause(struct conn *c, bool on)
{
	if (c->is_dead || c->read_paused == on)
		return;
	c->read_paused = on;
	set_watch(c, conn_queued(c) > 0 || (c->tls && tls_unsent(c->tls).n));
}

/* Closing with input unread makes the kernel throw away what the peer has not yet read: our last words.  So only our side is
 * closed, and what still comes is dropped for a moment. */
static void linger(struct conn *c)
{
	if (c->is_lingering)
		return;
	c->is_lingering = true;
	c->read_paused = false;
	(void)shutdown(c->fd, SHUT_WR);
	set_watch(c, false);
	timer_set(c->timer, loop_now(c->server->conf.loop).mono_us + LINGER_US);
}

static void written(struct conn *c, size_t n)
{
	c->out_off += n;
	if (conn_queued(c)) {
		/* a peer that always leaves something for later must not make it grow without end */
		if (c->out_off >= 65536 && c->out_off >= conn_queued(c)) {
			memmove(c->out.p, c->out.p + c->out_off, conn_queued(c));
			c->out.n -= c->out_off;
			c->out_off = 0;
		}
		return;
	}
	c->out_off = 0;
	if (c->out.cap > 65536) {
		strb_fini(&c->out);
		strb_init(&c->out, CONF_CONN_OUT_BYTES_MAX);
	} else {
		strb_reset(&c->out);
	}
}

/* What the socket is to take next. */
static struct str unsent(struct conn *c)
{
	struct str queued = conn_queued(c) ? (struct str){c->out.p + c->out_off, conn_queued(c)} : STR_NULL;

	if (!c->tls)
		return queued;
	if (queued.n)
		written(c, tls_out(c->tls, queued));
	else if (c->want_close)
		tls_end(c->tls);
	return tls_unsent(c->tls);
}

/* Pull, write, and again while the socket takes all of it. */
void conn_flush(struct conn *c)
{
	for (;;) {
		struct str out;
		ssize_t n;

		if (c->proto == CONN_H2)
			h2_pull(c->p);
		if (c->is_dead)
			return;
		out = unsent(c);
		if (out.n == 0)
			break;
		n = send(c->fd, out.p, out.n, MSG_NOSIGNAL);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN || errno == EWOULDBLOCK) {
				set_watch(c, true);
				return;
			}
			conn_close(c);
			return;
		}
		c->server->stats.bytes_out += (uint64_t)n;
		c->last_out_us = loop_now(c->server->conf.loop).mono_us;
		if (c->tls)
			tls_sent(c->tls, (size_t)n);
		else
			written(c, (size_t)n);
	}
	set_watch(c, false);
	if (c->proto == CONN_H1)
		h1_flushed(c->p);
	if (c->want_close && c->linger)
		linger(c);
	else if (c->want_close)
		conn_close(c);
}

static void become(struct conn *c, enum conn_proto proto)
{
	/* refused request by request: a client whose whole connection is refused comes again at once, and never says why */
	if (c->server->tls && !c->tls && !c->server->clear_too)
		c->bar = BAR_IN_CLEAR;
	c->proto = proto;
	c->p = proto == CONN_H2 ? (void *)h2_new(c) : (void *)h1_new(c);
}

static void feed(struct conn *c, struct str in)
{
	if (c->proto == CONN_H2)
		h2_data(c->p, in);
	else
		h1_data(c->p, in);
}

static void sniff(struct conn *c, struct str in)
{
	size_t n;
	struct strb early;

	strb_puts(&c->sniff, in);
	n = MIN(c->sniff.n, sizeof(preface) - 1);
	if (memcmp(c->sniff.p, preface, n) == 0) {
		if (c->sniff.n < sizeof(preface) - 1)
			return;
		become(c, CONN_H2);
	} else {
		become(c, CONN_H1);
	}
	early = c->sniff;
	strb_init(&c->sniff, SNIFF_MAX);
	feed(c, strb_str(&early));
	strb_fini(&early);
}

_Static_assert((int)TLS_PLAIN_MAX == (int)FEED_BYTES_MAX, "what TLS gives at once is what protocols make room for");
static void plain_in(struct conn *c, struct str in)
{
	if (c->proto == CONN_SNIFF)
		sniff(c, in);
	else
		feed(c, in);
}

/* A handshake costs a millisecond of everybody's time, and memory until it is over: only so many at once.  Those who come as
 * usual are through in an instant, so the oldest is the one to go. */
static void start_tls(struct conn *c)
{
	struct server *s = c->server;

	if (s->n_handshakes >= CONF_TLS_HANDSHAKES_MAX)
		conn_close(LIST_ENTRY(s->handshakes.next, struct conn, handshake));
	if (s->on_handshake)
		s->on_handshake(s->on_handshake_arg);
	c->tls = tls_new(s->tls);
	list_push_back(&s->handshakes, &c->handshake);
	s->n_handshakes++;
}

/* More in one turn would be felt by all others; the socket stays readable, and the next turn goes on. */
static bool may_shake_hands(struct server *s)
{
	int64_t now = loop_now(s->conf.loop).mono_us;

	if (s->handshakes_at_us != now) {
		s->handshakes_at_us = now;
		s->handshakes_us = 0;
	}
	return s->handshakes_us < HANDSHAKES_US_MAX;
}

/* A worker with a bad certificate is worth a line; what else knocks at an open port is not. */
static void tls_failed(struct conn *c, bool was_up)
{
	struct server *s = c->server;
	int64_t now = loop_now(s->conf.loop).mono_us;

	if (!was_up)
		s->stats.handshakes_failed++;
	if (!was_up && tls_is_up(c->tls) && now - s->told_refused_us > 1000000) {
		s->told_refused_us = now;
		log_warn("a client's certificate was refused", F_C("why", tls_why(c->tls)));
	} else {
		log_debug("TLS failed", F_C("why", tls_why(c->tls)));
	}
	handshake_over(c);
	c->linger = true;
}

static void tls_fed(struct conn *c, struct str in)
{
	struct server *s = c->server;
	bool was_up = tls_is_up(c->tls);
	struct str plain = {s->plain_buf, 0};
	int64_t began = was_up ? 0 : loop_mono_us();
	enum tls_got got = tls_in(c->tls, in, s->plain_buf, &plain.n);

	if (!was_up)
		s->handshakes_us += loop_mono_us() - began;
	if (!was_up && tls_is_up(c->tls)) {
		handshake_over(c);
		if (tls_lacks_client(c->tls))
			c->bar = BAR_NO_CERT;
		if (tls_is_h2(c->tls))
			become(c, CONN_H2);
	}
	if (plain.n)
		plain_in(c, plain);
	if (got == TLS_OPEN || c->is_dead)
		return;
	if (got == TLS_FAILED && tls_why(c->tls))
		tls_failed(c, was_up);
	conn_finish(c);
}

static void ready(void *arg, int events)
{
	struct conn *c = arg;
	struct server *s = c->server;

	if (events & WATCH_READ) {
		ssize_t n;

		if (list_linked(&c->handshake) && !may_shake_hands(s))
			return;
		n = recv(c->fd, s->read_buf, READ_BUF_BYTES, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			conn_close(c);
			return;
		}
		s->stats.bytes_in += (uint64_t)n;
		if (c->is_lingering)
			return;
		c->last_in_us = loop_now(s->conf.loop).mono_us;
		if (s->tls && !c->tls && c->proto == CONN_SNIFF && c->sniff.n == 0 && s->read_buf[0] == TLS_HANDSHAKE)
			start_tls(c);
		if (c->tls)
			tls_fed(c, (struct str){s->read_buf, (size_t)n});
		else
			plain_in(c, (struct str){s->read_buf, (size_t)n});
	}
	if (!c->is_dead)
		conn_dirty(c);
}

static void timer_fired(void *arg)
{
	struct conn *c = arg;

	if (c->is_lingering)
		conn_close(c);
	else if (c->proto == CONN_H2)
		h2_timer(c->p);
	else if (c->proto == CONN_H1)
		h1_timer(c->p);
	else
		conn_close(c);
}

void conn_new(struct server *s, int fd)
{
	struct conn *c = xcalloc(1, sizeof(*c));
	int one = 1;

	c->server = s;
	c->fd = fd;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	strb_init(&c->out, CONF_CONN_OUT_BYTES_MAX);
	strb_init(&c->sniff, 65536 * 2);
	c->watch = watch_new(s->conf.loop, ready, c);
	c->timer = timer_new(s->conf.loop, timer_fired, c);
	c->last_in_us = loop_now(s->conf.loop).mono_us;
	timer_set(c->timer, c->last_in_us + (int64_t)s->conf.limits.header_timeout_ms * 1000);
	list_push_back(&s->conns, &c->node);
	s->n_conns++;
	s->stats.conns++;
	set_watch(c, false);
}
