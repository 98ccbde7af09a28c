/* The wire on real sockets: calls, flow control, deadlines, ports, the way down. */
#include "../../src/net/net_int.h"
#include "h2client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

/* --- HTTP/2 and gRPC ----------------------------------------------------------------------------------------------- */

TEST(unary_and_its_errors)
{
	struct server_limits l = limits_for_tests();
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
	struct server_limits l = limits_for_tests();
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
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);
	struct strb zip, b;
	struct call *k;

	k = rpc_raw(c, "/t.S/Echo", rpc_framed(&b, 1, gzipped(&zip, 5000)), "grpc-encoding", "gzip");
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "0");
	CHECK_EQ(k->body.n, 5005);
	strb_fini(&zip);
	strb_fini(&b);
	/* a bomb: small on the wire, over the limit unpacked */
	k = rpc_raw(c, "/t.S/Echo", rpc_framed(&b, 1, gzipped(&zip, 5000000)), "grpc-encoding", "gzip");
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "8");
	strb_fini(&zip);
	strb_fini(&b);
	k = rpc_raw(c, "/t.S/Echo", rpc_framed(&b, 1, STR("not gzip")), "grpc-encoding", "gzip");
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "13");
	strb_fini(&b);
	client_free(c);
}

TEST(deadline)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);
	struct strb b;
	struct call *k = rpc_raw(c, "/t.S/Wait", rpc_framed(&b, 0, STR("")), "grpc-timeout", "50m");

	client_turn(c, 200 * MS);	/* the handler answers only when this is over */
	CHECK(k->ended);
	CHECK_STR(k->status, "4");
	strb_fini(&b);
	client_free(c);
}

/* A client that does not read: what is queued for it stays within its bound, and goes on when it reads again. */
TEST(flow_control_by_pull)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);
	struct call *k = rpc(c, "/t.S/Many", STR(""));
	uint64_t sent;

	UNTIL(c, k->body.n >= 65535);
	client_turn(c, 20 * MS);
	sent = c->n->sent;
	CHECK(sent * 1000 < l.stream_send_bytes_max + 65535 + 20000);
	client_turn(c, 20 * MS);
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
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);
	struct strb b;
	struct call *k;

	(void)rpc_framed(&b, 0, STR("one"));
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
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);

	CHECK(nghttp2_submit_ping(c->h2, 0, NULL) == 0);
	UNTIL(c, c->pong);
	client_free(c);
}

/* A client that says it goes may say more before it hears that we have closed: a reset would take from it what we said last. */
TEST(goodbye_of_the_client)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);

	CHECK(nghttp2_submit_ping(c->h2, 0, NULL) == 0);
	UNTIL(c, c->pong);
	CHECK(nghttp2_submit_goaway(c->h2, 0, 0, NGHTTP2_NO_ERROR, NULL, 0) == 0);
	UNTIL(c, c->eof);
	CHECK_EQ(send(c->fd, "more", 4, MSG_NOSIGNAL), 4);
	client_free(c);
}

/* GOAWAY tells the peer, what runs may end: unary calls answer, streams go on until the server's owner ends them. */
TEST(drain)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);
	struct call *many = rpc(c, "/t.S/Many", STR("")), *wait = rpc(c, "/t.S/Wait", STR(""));
	bool done = false;
	struct op op = {.fn = op_sets_flag, .arg = &done};
	size_t had;

	UNTIL(c, many->body.n >= 65535);
	server_drain(c->n->server, loop_mono_us() + 60000000, &op);
	UNTIL(c, c->goaway);
	CHECK_EQ(c->goaway - 1, NGHTTP2_NO_ERROR);
	had = many->body.n;
	CHECK(nghttp2_session_consume(c->h2, 1, 60000) == 0);
	UNTIL(c, wait->ended && many->body.n >= had + 50000);
	CHECK_STR(wait->status, "0");
	CHECK(!many->ended && !c->eof && !done);
	stream_end(c->n->many, ERR_UNAVAILABLE, "going away");
	while (!many->ended) {	/* what was queued still comes */
		had = many->body.n;
		CHECK(nghttp2_session_consume(c->h2, 1, 50000) == 0);
		UNTIL(c, many->ended || many->body.n >= had + 40000);
	}
	CHECK_STR(many->status, "14");
	CHECK_STR(many->message, "going away");
	CHECK_EQ(many->body.n % 1005, 0);
	UNTIL(c, c->eof && done);
	client_free(c);
}

TEST(drain_has_an_end)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);
	struct call *many = rpc(c, "/t.S/Many", STR(""));
	bool done = false;
	struct op op = {.fn = op_sets_flag, .arg = &done};
	int64_t from;

	UNTIL(c, many->body.n >= 65535);
	from = loop_mono_us();
	server_drain(c->n->server, from + 200 * MS, &op);
	UNTIL(c, done);
	CHECK(loop_mono_us() - from >= 200 * MS);
	UNTIL(c, c->eof && c->n->closed == 1);
	client_free(c);
}

/* --- ports ------------------------------------------------------------------------------------------------------- */

static int dial(uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		(void)close(fd);
		return -1;
	}
	CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	return fd;
}

/* -1: nothing yet, 0: closed, else bytes */
static ssize_t hear(struct netserver *n, int fd, char *buf, size_t room)
{
	ssize_t got = -1;

	for (int i = 0; i < 100 && got < 0; i++) {
		netserver_turns(n, MS);
		got = recv(fd, buf, room, 0);
		if (got < 0 && errno == ECONNRESET)
			got = 0;
	}
	return got;
}

TEST(a_port_speaks_both)
{
	struct server_limits l = limits_for_tests();
	struct netserver *n = netserver_new(&l);
	static const char get[] = "GET /file HTTP/1.1\r\nHost: x\r\n\r\n",
		preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
	char in[4096];
	uint16_t port, other;
	struct err err;
	int fd;

	CHECK(server_listen(n->server, "127.0.0.1", 0, &port, &err));
	CHECK(port != 0);
	CHECK(!server_listen(n->server, "127.0.0.1", port, &other, &err));
	CHECK_EQ(err.code, ERR_UNAVAILABLE);
	CHECK(strstr(err.msg, "cannot listen on 127.0.0.1 port "));
	CHECK(!server_listen(n->server, "no address", 0, &other, &err));
	CHECK_EQ(err.code, ERR_INVALID);
	for (size_t cut = 1; cut < 24; cut++) {	/* wherever the first bytes are cut */
		fd = dial(port);
		CHECK(send(fd, preface, cut, 0) == (ssize_t)cut);
		netserver_turns(n, 0);
		CHECK(send(fd, preface + cut, sizeof(preface) - cut, 0) > 0);
		CHECK(hear(n, fd, in, sizeof(in)) >= 9);
		CHECK_EQ(in[3], 4);	/* SETTINGS */
		(void)close(fd);
		fd = dial(port);
		CHECK(send(fd, get, cut, 0) == (ssize_t)cut);
		netserver_turns(n, 0);
		CHECK(send(fd, get + cut, sizeof(get) - 1 - cut, 0) > 0);
		CHECK(hear(n, fd, in, sizeof(in)) > 12);
		CHECK(memcmp(in, "HTTP/1.1 200", 12) == 0);
		(void)close(fd);
	}
	netserver_free(n);
}

TEST(more_connections_than_allowed_are_closed)
{
	struct server_limits l = limits_for_tests();
	struct netserver *n;
	char in[4096];
	uint16_t port;
	struct err err;
	int fd[3];
	bool done = false;
	struct op op = {.fn = op_sets_flag, .arg = &done};

	l.conns_max = 2;
	l.header_timeout_ms = 60000;
	n = netserver_new(&l);
	CHECK(server_listen(n->server, "127.0.0.1", 0, &port, &err));
	for (int i = 0; i < 3; i++)
		fd[i] = dial(port);
	CHECK_EQ(hear(n, fd[2], in, sizeof(in)), 0);
	CHECK_EQ(n->server->n_conns, 2);
	(void)close(fd[2]);
	(void)close(fd[1]);
	for (int i = 0; i < 100 && n->server->n_conns > 1; i++)
		netserver_turns(n, MS);
	fd[1] = dial(port);	/* there is room again */
	CHECK(send(fd[1], "GET /file HTTP/1.0\r\n\r\n", 22, 0) == 22);
	CHECK(hear(n, fd[1], in, sizeof(in)) > 0);
	server_drain(n->server, loop_mono_us() + 60000000, &op);
	CHECK_EQ(dial(port), -1);
	CHECK_EQ(hear(n, fd[0], in, sizeof(in)), 0);	/* has asked for nothing */
	(void)close(fd[0]);
	(void)close(fd[1]);
	for (int i = 0; i < 100 && !done; i++)
		netserver_turns(n, MS);
	CHECK(done);
	netserver_free(n);
}
