#include "h2client.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct server_limits limits_for_tests(void)
{
	struct server_limits l = server_limits_default;

	l.header_timeout_ms = l.body_timeout_ms = 150;
	l.idle_timeout_ms = 300;
	l.msg_bytes_max = l.http_body_bytes_max = 100000;
	l.stream_send_bytes_max = 200000;
	l.resets_per_s_max = 20;
	return l;
}

static struct call *call_of(struct client *c, int32_t id)
{
	CHECK(id / 2 < STREAMS);
	return &c->calls[id / 2];
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nn, const uint8_t *value, size_t vn,
		     uint8_t flags, void *arg)
{
	struct call *k = call_of(arg, f->hd.stream_id);
	struct str key = {(const char *)name, nn};
	char *to = str_eq(key, STR(":status")) ? k->http : str_eq(key, STR("grpc-status")) ? k->status :
		   str_eq(key, STR("grpc-message")) ? k->message : str_eq(key, STR("grpc-status-details-bin")) ? k->details : NULL;
	size_t room = to == k->http || to == k->status ? sizeof(k->http) : sizeof(k->message);

	if (to)
		(void)snprintf(to, room, "%.*s", (int)vn, (const char *)value);
	return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	strb_put(&call_of(arg, id)->body, p, n);
	return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
	call_of(arg, id)->code = code;
	call_of(arg, id)->ended = true;
	return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct client *c = arg;

	if (f->hd.type == NGHTTP2_GOAWAY)
		c->goaway = f->goaway.error_code + 1;
	if (f->hd.type == NGHTTP2_PING && (f->hd.flags & NGHTTP2_FLAG_ACK))
		c->pong = true;
	if (f->hd.type == NGHTTP2_PING && !(f->hd.flags & NGHTTP2_FLAG_ACK))
		c->pings++;
	return 0;
}

static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *buf, size_t room, uint32_t *flags, nghttp2_data_source *src, void *arg)
{
	struct call *k = src->ptr;
	size_t n = MIN(room, k->left);

	memcpy(buf, k->send, n);
	k->send += n;
	k->left -= n;
	if (n == 0 && k->open)
		return NGHTTP2_ERR_DEFERRED;
	if (k->left == 0 && !k->open)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

struct client *client_new(const struct server_limits *l, bool h2)
{
	struct client *c = xcalloc(1, sizeof(*c));
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;

	c->n = netserver_new(l);
	c->fd = netserver_connect(c->n);
	strb_init(&c->raw, 4 << 20);
	for (size_t i = 0; i < STREAMS; i++)
		strb_init(&c->calls[i].body, 16 << 20);
	if (!h2)
		return c;
	CHECK(nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&opt) == 0);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_option_set_no_auto_window_update(opt, 1);	/* a test that reads says so */
	CHECK(nghttp2_session_client_new2(&c->h2, cb, c, opt) == 0);
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	CHECK(nghttp2_submit_settings(c->h2, 0, NULL, 0) == 0);
	return c;
}

void client_free(struct client *c)
{
	nghttp2_session_del(c->h2);
	(void)close(c->fd);
	netserver_free(c->n);
	for (size_t i = 0; i < STREAMS; i++)
		strb_fini(&c->calls[i].body);
	strb_fini(&c->raw);
	free(c);
}

void client_put(struct client *c, const void *p, size_t n)
{
	if (n && send(c->fd, p, n, MSG_NOSIGNAL) < 0)
		c->eof = true;
}

void client_turn(struct client *c, int64_t us)
{
	static uint8_t in[1 << 17];
	ssize_t n;
	const uint8_t *out;

	while (c->h2 && (n = nghttp2_session_mem_send(c->h2, &out)) > 0)
		client_put(c, out, (size_t)n);
	netserver_turns(c->n, us);
	while ((n = recv(c->fd, in, sizeof(in), 0)) > 0) {
		if (c->h2)
			CHECK(nghttp2_session_mem_recv(c->h2, in, (size_t)n) >= 0);
		else
			strb_put(&c->raw, in, (size_t)n);
	}
	if (n == 0)
		c->eof = true;
	while (c->h2 && (n = nghttp2_session_mem_send(c->h2, &out)) > 0)
		client_put(c, out, (size_t)n);
}

static nghttp2_nv pair(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static struct call *rpc_any(struct client *c, const char *path, struct str raw, const char *name, const char *value, bool open)
{
	nghttp2_nv nv[8] = {pair(":method", "POST"), pair(":scheme", "http"), pair(":path", path), pair(":authority", "x"),
		pair("content-type", "application/grpc"), pair("te", "trailers")};
	size_t n = 6;
	struct call *k = call_of(c, (int32_t)nghttp2_session_get_next_stream_id(c->h2));
	nghttp2_data_provider dp = {.source.ptr = k, .read_callback = read_body};

	if (name)
		nv[n++] = pair(name, value);
	k->send = raw.p;
	k->left = raw.n;
	k->open = open;
	CHECK(nghttp2_submit_request(c->h2, NULL, nv, n, &dp, NULL) > 0);
	return k;
}

struct call *rpc_raw(struct client *c, const char *path, struct str raw, const char *name, const char *value)
{
	return rpc_any(c, path, raw, name, value, false);
}

struct call *rpc_open(struct client *c, const char *path, struct str raw)
{
	return rpc_any(c, path, raw, NULL, NULL, true);
}

struct str rpc_framed(struct strb *b, int flag, struct str msg)
{
	strb_init(b, 1 << 20);
	strb_putc(b, (char)flag);
	strb_be32(b, (uint32_t)msg.n);
	strb_puts(b, msg);
	return strb_str(b);
}

struct call *rpc(struct client *c, const char *path, struct str msg)
{
	struct strb b;
	struct call *k = rpc_raw(c, path, rpc_framed(&b, 0, msg), NULL, NULL);

	client_turn(c, 0);
	strb_fini(&b);
	return k;
}

void op_sets_flag(struct op *op, const struct err *err)
{
	*(bool *)op->arg = true;
}
