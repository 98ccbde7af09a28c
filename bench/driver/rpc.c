#include "rpc.h"

#include "base/strb.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNS_MAX = 1024, READ_BYTES = 262144, WINDOW = 16 << 20, MESSAGE_BYTES_MAX = 64 << 20, HEAD_BYTES = 5 };

struct rpc_call {
	struct rpc_conn *conn;
	rpc_msg_fn *on_msg;
	rpc_done_fn *done;
	void *arg;
	struct strb in;
	int status;
	char status_text[256];
	size_t n, off;		/* request */
	char request[];
};

struct rpc_conn {
	nghttp2_session *h2;
	int fd;
	struct strb out;
	size_t out_off;
	bool wants_write;
};

static struct {
	struct addrinfo *address;
	char authority[300], authorization[4096];
	int epoll;
	struct rpc_conn *conns[CONNS_MAX];
	size_t n_conns;
} rpc;

static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "driver: %s: %s\n", what, why);
	exit(1);
}

int64_t rpc_now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void rpc_init(const char *host, const char *port, const char *token)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	int rc = getaddrinfo(host, port, &hints, &rpc.address);

	if (rc)
		die(host, gai_strerror(rc));
	(void)snprintf(rpc.authority, sizeof(rpc.authority), "%.200s:%.20s", host, port);
	(void)snprintf(rpc.authorization, sizeof(rpc.authorization), "Bearer %.4000s", token);
	rpc.epoll = epoll_create1(EPOLL_CLOEXEC);
}

/* --- nghttp2 callbacks ---------------------------------------------------------------------------------------------------- */

static void take_messages(struct rpc_call *k)
{
	size_t off = 0;

	while (k->on_msg && k->in.n - off >= HEAD_BYTES) {
		const unsigned char *p = (const unsigned char *)k->in.p + off;
		size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];

		if (k->in.n - off - HEAD_BYTES < n)
			break;
		k->on_msg(k->arg, (struct str){(const char *)p + HEAD_BYTES, n});
		off += HEAD_BYTES + n;
	}
	if (off > 0) {
		size_t rest = k->in.n - off;

		if (rest)
			memmove(k->in.p, k->in.p + off, rest);
		k->in.n = rest;
	}
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct rpc_call *k = nghttp2_session_get_stream_user_data(h2, id);

	if (!k)
		return 0;
	strb_put(&k->in, p, n);
	if (k->in.overflow)
		die("answer", "too large");
	take_messages(k);
	return 0;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *f, const uint8_t *name, size_t name_n, const uint8_t *value, size_t n,
		     uint8_t flags, void *arg)
{
	struct rpc_call *k = nghttp2_session_get_stream_user_data(h2, f->hd.stream_id);

	if (!k)
		return 0;
	if (name_n == 11 && memcmp(name, "grpc-status", 11) == 0)
		k->status = atoi((const char *)value);
	else if (name_n == 12 && memcmp(name, "grpc-message", 12) == 0)
		(void)snprintf(k->status_text, sizeof(k->status_text), "%.*s", (int)n, (const char *)value);
	else if (name_n == 7 && memcmp(name, ":status", 7) == 0 && (n != 3 || memcmp(value, "200", 3) != 0))
		die(":status", (const char *)value);
	return 0;
}

static int on_close(nghttp2_session *h2, int32_t id, uint32_t code, void *arg)
{
	struct rpc_call *k = nghttp2_session_get_stream_user_data(h2, id);
	struct str msg;

	if (!k)
		return 0;
	if (k->status < 0) {
		k->status = 14;
		(void)snprintf(k->status_text, sizeof(k->status_text), "stream ended with code %u and no status", code);
	}
	msg = k->status ? str_c(k->status_text) : k->in.n >= HEAD_BYTES ? (struct str){k->in.p + HEAD_BYTES, k->in.n - HEAD_BYTES} : STR("");
	k->done(k->arg, k->status, msg);
	strb_fini(&k->in);
	free(k);
	return 0;
}

static ssize_t read_request(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t room, uint32_t *flags, nghttp2_data_source *src, void *arg)
{
	struct rpc_call *k = src->ptr;
	size_t n = MIN(room, k->n - k->off);

	memcpy(buf, k->request + k->off, n);
	k->off += n;
	if (k->off == k->n)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* --- connections ---------------------------------------------------------------------------------------------------------- */

struct rpc_conn *rpc_connect(void)
{
	nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
		{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1 << 20}};
	struct rpc_conn *c = calloc(1, sizeof(*c));
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	nghttp2_session_callbacks *cb;
	int one = 1;

	if (!c || rpc.n_conns == CONNS_MAX)
		die("connection", "too many");
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(c->fd, rpc.address->ai_addr, rpc.address->ai_addrlen) != 0)
		die("connect", strerror(errno));
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	strb_init(&c->out, (size_t)1 << 30);
	(void)nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	(void)nghttp2_session_client_new(&c->h2, cb, c);
	nghttp2_session_callbacks_del(cb);
	(void)nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
	(void)nghttp2_session_set_local_window_size(c->h2, NGHTTP2_FLAG_NONE, 0, WINDOW);
	(void)epoll_ctl(rpc.epoll, EPOLL_CTL_ADD, c->fd, &ev);
	rpc.conns[rpc.n_conns++] = c;
	return c;
}

#define NV(n, v) {(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE}

static void submit(struct rpc_conn *c, const char *path, struct str request, rpc_msg_fn *on_msg, rpc_done_fn *done, void *arg)
{
	nghttp2_nv nv[] = {NV(":method", "POST"), NV(":scheme", "http"), NV(":path", path), NV(":authority", rpc.authority),
		NV("content-type", "application/grpc"), NV("te", "trailers"), NV("authorization", rpc.authorization)};
	struct rpc_call *k = calloc(1, sizeof(*k) + HEAD_BYTES + request.n);
	nghttp2_data_provider body = {.read_callback = read_request};
	int32_t id;

	if (!k)
		die("call", "out of memory");
	k->conn = c;
	k->on_msg = on_msg;
	k->done = done;
	k->arg = arg;
	k->status = -1;
	strb_init(&k->in, MESSAGE_BYTES_MAX);
	k->n = HEAD_BYTES + request.n;
	for (int i = 0; i < 4; i++)
		k->request[1 + i] = (char)(request.n >> (24 - 8 * i));
	if (request.n)
		memcpy(k->request + HEAD_BYTES, request.p, request.n);
	body.source.ptr = k;
	id = nghttp2_submit_request(c->h2, NULL, nv, ARRAY_LEN(nv), &body, k);
	if (id < 0)
		die("submit", nghttp2_strerror(id));
}

void rpc_unary(struct rpc_conn *c, const char *path, struct str request, rpc_done_fn *done, void *arg)
{
	submit(c, path, request, NULL, done, arg);
}

void rpc_listen(struct rpc_conn *c, const char *path, struct str request, rpc_msg_fn *on_msg, rpc_done_fn *done, void *arg)
{
	submit(c, path, request, on_msg, done, arg);
}

static void flush(struct rpc_conn *c)
{
	bool wants;

	for (;;) {
		const uint8_t *p;
		ssize_t n;

		while (c->out.n - c->out_off < READ_BYTES && (n = nghttp2_session_mem_send(c->h2, &p)) > 0)
			strb_put(&c->out, p, (size_t)n);
		if (c->out.n == c->out_off)
			break;
		n = send(c->fd, c->out.p + c->out_off, c->out.n - c->out_off, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0)
			die("send", strerror(errno));
		c->out_off += (size_t)n;
		if (c->out_off == c->out.n)
			c->out.n = c->out_off = 0;
	}
	wants = c->out.n > c->out_off;
	if (wants != c->wants_write) {
		struct epoll_event ev = {.events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = c};

		c->wants_write = wants;
		(void)epoll_ctl(rpc.epoll, EPOLL_CTL_MOD, c->fd, &ev);
	}
}

static void receive(struct rpc_conn *c)
{
	static uint8_t buf[READ_BYTES];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		die("receive", n ? strerror(errno) : "the server closed the connection");
	if (nghttp2_session_mem_recv(c->h2, buf, (size_t)n) < 0)
		die("receive", "not HTTP/2");
}

void rpc_turn(int64_t wait_us)
{
	struct epoll_event evs[64];
	struct timespec t = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
	int n;

	for (size_t i = 0; i < rpc.n_conns; i++)
		flush(rpc.conns[i]);
	n = epoll_pwait2(rpc.epoll, evs, ARRAY_LEN(evs), wait_us < 0 ? NULL : &t, NULL);
	for (int i = 0; i < n; i++)
		if (evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			receive(evs[i].data.ptr);
	for (size_t i = 0; i < rpc.n_conns; i++)
		flush(rpc.conns[i]);
}

void rpc_fini(void)
{
	for (size_t i = 0; i < rpc.n_conns; i++) {
		struct rpc_conn *c = rpc.conns[i];

		nghttp2_session_del(c->h2);
		strb_fini(&c->out);
		(void)close(c->fd);
		free(c);
	}
	freeaddrinfo(rpc.address);
	(void)close(rpc.epoll);
}
