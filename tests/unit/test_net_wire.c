/* The wire on real sockets: limits, timeouts, flow control, deadlines, the way down.  The peer is nghttp2's client, or bytes. */
#include "netserver.h"
#include "tap.h"

#include "base/strb.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

enum { MS = 1000, STREAMS = 64 };

struct call {			/* what came back on one stream */
	char http[8], status[8], message[200], details[200];
	struct strb body;
	uint32_t code;		/* of its end */
	bool ended;
	const char *send;
	size_t left;
};

struct client {
	struct netserver *n;
	int fd;
	nghttp2_session *h2;
	struct call calls[STREAMS];
	uint32_t goaway;	/* error code + 1 */
	bool pong, eof;
	struct strb raw;	/* HTTP/1.1 */
};

static struct server_limits fast(void)
{
	struct server_limits l = server_limits_default;

	l.header_timeout_ms = l.body_timeout_ms = 150;
	l.idle_timeout_ms = 300;
	l.msg_bytes_max = l.http_body_bytes_max = 100000;
	l.stream_send_bytes_max = 200000;
	l.resets_per_s_max = 20;
	return l;
}

/* --- the client ------------------------------------------------------------------------------------------------------------ */

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
	return 0;
}

static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *buf, size_t room, uint32_t *flags, nghttp2_data_source *src, void *arg)
{
	struct call *k = src->ptr;
	size_t n = MIN(room, k->left);

	memcpy(buf, k->send, n);
	k->send += n;
	k->left -= n;
	if (k->left == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static struct client *client_new(const struct server_limits *l, bool h2)
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

static void client_free(struct client *c)
{
	nghttp2_session_del(c->h2);
	(void)close(c->fd);
	netserver_free(c->n);
	for (size_t i = 0; i < STREAMS; i++)
		strb_fini(&c->calls[i].body);
	strb_fini(&c->raw);
	free(c);
}

static void put(struct client *c, const void *p, size_t n)
{
	if (n && send(c->fd, p, n, MSG_NOSIGNAL) < 0)
		c->eof = true;
}

/* Both sides act until nothing comes for @us. */
static void turn(struct client *c, int64_t us)
{
	static uint8_t in[1 << 17];
	ssize_t n;
	const uint8_t *out;

	while (c->h2 && (n = nghttp2_session_mem_send(c->h2, &out)) > 0)
		put(c, out, (size_t)n);
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
		put(c, out, (size_t)n);
}

#define UNTIL(c, cond)                                                      \
	do {                                                                \
		for (int i_ = 0; i_ < 2000 && !(cond); i_++)                \
			turn(c, 2 * MS);                                    \
		CHECK(cond);                                                \
	} while (0)

static nghttp2_nv pair(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

/* A gRPC call with one message, or with @raw bytes as its body; more: a further header or NULL. */
static struct call *rpc_raw(struct client *c, const char *path, struct str raw, const char *name, const char *value)
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
	CHECK(nghttp2_submit_request(c->h2, NULL, nv, n, &dp, NULL) > 0);
	return k;
}

static struct str framed(struct strb *b, int flag, struct str msg)
{
	strb_init(b, 1 << 20);
	strb_putc(b, (char)flag);
	strb_be32(b, (uint32_t)msg.n);
	strb_puts(b, msg);
	return strb_str(b);
}

static struct call *rpc(struct client *c, const char *path, struct str msg)
{
	struct strb b;
	struct call *k = rpc_raw(c, path, framed(&b, 0, msg), NULL, NULL);

	turn(c, 0);
	strb_fini(&b);
	return k;
}

/* --- HTTP/2 and gRPC --------------------------------------------------------------------------------------------------------- */

TEST(unary_and_its_errors)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, true);
	struct call *k = rpc(c, "/t.S/Echo", STR("hello"));

	UNTIL(c, k->ended);
	CHECK_STR(k->status, "0");
	CHECK_EQ(k->body.n, 10);
	CHECK(memcmp(k->body.p, "\0\0\0\0\5hello", 10) == 0);
	k = rpc(c, "/t.S/Fail", STR(""));
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "9");
	CHECK_STR(k->message, "no %E2%80%93 100%25%0A");
	CHECK_STR(k->details, "CAlkZXRhaWxz");
	k = rpc(c, "/t.S/None", STR(""));
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "12");
	k = rpc(c, "/no/such", STR(""));
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "12");
	client_free(c);
}

TEST(messages_over_the_limit_name_both_sizes)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, true);
	struct call *k;

	/* only the prefix is sent: the size is refused before the bytes are there */
	k = rpc_raw(c, "/t.S/Echo", (struct str){"\0\0\1\x86\xa1", 5}, NULL, NULL);
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "8");
	CHECK(strstr(k->message, "100001") && strstr(k->message, "100000"));
	k = rpc_raw(c, "/t.S/Echo", (struct str){"\7\0\0\0\0", 5}, NULL, NULL);
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "13");
	k = rpc(c, "/t.S/Echo", STR("still there"));
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "0");
	client_free(c);
}

static struct str gzipped(struct strb *b, size_t n)
{
	char *text = xcalloc(1, n);
	z_stream z = {.next_in = (Bytef *)text, .avail_in = (uInt)n};

	strb_init(b, 1 << 20);
	CHECK(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	z.avail_out = 65536;
	z.next_out = (Bytef *)strb_grow(b, 65536);
	CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
	b->n = z.total_out;
	(void)deflateEnd(&z);
	free(text);
	return strb_str(b);
}

TEST(gzip_messages)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, true);
	struct strb zip, b;
	struct call *k;

	k = rpc_raw(c, "/t.S/Echo", framed(&b, 1, gzipped(&zip, 5000)), "grpc-encoding", "gzip");
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "0");
	CHECK_EQ(k->body.n, 5005);
	strb_fini(&zip);
	strb_fini(&b);
	/* a bomb: small on the wire, over the limit unpacked */
	k = rpc_raw(c, "/t.S/Echo", framed(&b, 1, gzipped(&zip, 5000000)), "grpc-encoding", "gzip");
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "8");
	strb_fini(&zip);
	strb_fini(&b);
	k = rpc_raw(c, "/t.S/Echo", framed(&b, 1, STR("not gzip")), "grpc-encoding", "gzip");
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "13");
	strb_fini(&b);
	client_free(c);
}

TEST(deadline)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, true);
	struct strb b;
	struct call *k = rpc_raw(c, "/t.S/Wait", framed(&b, 0, STR("")), "grpc-timeout", "50m");

	turn(c, 200 * MS);	/* the handler answers only when this is over */
	CHECK(k->ended);
	CHECK_STR(k->status, "4");
	strb_fini(&b);
	client_free(c);
}

/* A client that does not read: what is queued for it stays within its bound, and goes on when it reads again. */
TEST(flow_control_by_pull)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, true);
	struct call *k = rpc(c, "/t.S/Many", STR(""));
	uint64_t sent;

	UNTIL(c, k->body.n >= 65535);
	turn(c, 20 * MS);
	sent = c->n->sent;
	CHECK(sent * 1000 < l.stream_send_bytes_max + 65535 + 20000);
	turn(c, 20 * MS);
	CHECK_EQ(c->n->sent, sent);
	for (int i = 0; i < 20; i++) {
		size_t had = k->body.n;

		CHECK(nghttp2_session_consume(c->h2, 1, 60000) == 0);
		UNTIL(c, k->body.n >= had + 50000);
	}
	CHECK(c->n->sent > sent + 800);
	CHECK(nghttp2_submit_rst_stream(c->h2, 0, 1, NGHTTP2_CANCEL) == 0);
	UNTIL(c, c->n->closed == 1);
	client_free(c);
}

TEST(bidi)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, true);
	struct strb b;
	struct call *k;

	(void)framed(&b, 0, STR("one"));
	strb_putc(&b, 0);
	strb_be32(&b, 3);
	strb_puts(&b, STR("two"));
	k = rpc_raw(c, "/t.S/Bidi", strb_str(&b), NULL, NULL);
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "0");
	CHECK(k->body.n == 16 && memcmp(k->body.p, "\0\0\0\0\3one\0\0\0\0\3two", 16) == 0);
	CHECK_EQ(c->n->closed, 1);
	strb_fini(&b);
	client_free(c);
}

TEST(ping_is_answered)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, true);

	CHECK(nghttp2_submit_ping(c->h2, 0, NULL) == 0);
	UNTIL(c, c->pong);
	client_free(c);
}

/* A silent peer is asked whether it lives; nghttp2's client answers, a stopped one does not. */
TEST(silence_is_pinged)
{
	struct server_limits l = fast();
	struct client *c;

	l.ping_after_ms = 50;
	c = client_new(&l, true);
	for (int i = 0; i < 10; i++)
		turn(c, 20 * MS);
	CHECK(!c->eof);
	client_free(c);
}

TEST(rapid_resets_end_the_connection)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, true);

	for (int i = 0; i < 40 && !c->goaway; i++) {
		struct call *k = rpc(c, "/t.S/Wait", STR(""));

		CHECK(nghttp2_submit_rst_stream(c->h2, 0, (int32_t)(2 * (k - c->calls) + 1), NGHTTP2_CANCEL) == 0);
		turn(c, 0);
	}
	UNTIL(c, c->goaway);
	CHECK_EQ(c->goaway - 1, NGHTTP2_ENHANCE_YOUR_CALM);
	UNTIL(c, c->eof);
	client_free(c);
}

TEST(headers_over_the_limit)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, true);
	char *value = xcalloc(1, 60001);
	struct strb b;
	struct call *k;

	memset(value, 'v', 60000);
	k = rpc_raw(c, "/t.S/Echo", framed(&b, 0, STR("")), "x-large", value);
	UNTIL(c, k->ended);
	CHECK(k->code != 0 || strcmp(k->status, "0") != 0);
	strb_fini(&b);
	k = rpc(c, "/t.S/Echo", STR("next"));
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "0");
	free(value);
	client_free(c);
}

TEST(more_streams_than_allowed_are_refused)
{
	struct server_limits l = fast();
	struct client *c;
	struct call *last = NULL;
	int refused = 0;

	l.streams_per_conn_max = 5;
	c = client_new(&l, true);
	for (int i = 0; i < 8; i++)	/* before the settings are read */
		last = rpc_raw(c, "/t.S/Wait", (struct str){"\0\0\0\0\0", 5}, NULL, NULL);
	(void)last;
	turn(c, 20 * MS);
	turn(c, 20 * MS);
	for (int i = 0; i < 8; i++)
		refused += c->calls[i].ended && c->calls[i].code == NGHTTP2_REFUSED_STREAM;
	CHECK_EQ(refused, 3);
	client_free(c);
}

static void drained(struct op *op, const struct err *err)
{
	*(bool *)op->arg = true;
}

/* Streams end with UNAVAILABLE, unary calls may finish, GOAWAY tells the rest. */
TEST(drain)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, true);
	struct call *many = rpc(c, "/t.S/Bidi", STR("x")), *wait = rpc(c, "/t.S/Wait", STR(""));
	bool done = false;
	struct op op = {.fn = drained, .arg = &done};

	UNTIL(c, many->body.n > 0);
	server_drain(c->n->server, loop_mono_us() + 5000000, &op);
	UNTIL(c, c->goaway && wait->ended);
	CHECK_EQ(c->goaway - 1, NGHTTP2_NO_ERROR);
	CHECK_STR(wait->status, "0");
	UNTIL(c, c->eof && done);
	client_free(c);
}

/* --- HTTP/1.1 ------------------------------------------------------------------------------------------------------------------ */

TEST(slow_head)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, false);
	const char *p = "GET /file HTTP/1.1\r\nHost: x\r\nX-Slow: yes";

	for (; *p && !c->eof; p++) {	/* each byte resets nothing */
		put(c, p, 1);
		turn(c, 10 * MS);
	}
	CHECK(c->eof);
	client_free(c);
}

TEST(stalled_body)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, false);
	static const char head[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc";

	put(c, head, sizeof(head) - 1);
	UNTIL(c, c->eof);
	client_free(c);
}

TEST(idle_connection)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, false);
	static const char head[] = "GET /file HTTP/1.1\r\nHost: x\r\n\r\n";

	put(c, head, sizeof(head) - 1);
	UNTIL(c, c->raw.n > 0);
	CHECK(str_starts(strb_str(&c->raw), STR("HTTP/1.1 200")));
	CHECK(!c->eof);
	UNTIL(c, c->eof);
	client_free(c);
}

TEST(a_first_byte_that_never_goes_on)
{
	struct server_limits l = fast();
	struct client *c = client_new(&l, false);

	put(c, "PRI", 3);	/* may become either protocol */
	UNTIL(c, c->eof);
	client_free(c);
}
