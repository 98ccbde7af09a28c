/* Peers that are slow, silent, greedy or hostile: each is cut or held back, and the server keeps its bounds. */
#include "../../src/net/net_int.h"
#include "h2client.h"

#include <stdlib.h>
#include <sys/socket.h>

/* A silent peer is asked whether it lives; nghttp2's client answers and stays, one that does not is cut. */
TEST(silence_is_pinged)
{
	struct server_limits l = limits_for_tests();
	struct client *c;

	l.ping_after_ms = 50;
	l.ping_answer_ms = 100;
	c = client_new(&l, true);
	UNTIL(c, c->pings >= 5);
	CHECK(!c->eof);
	for (int i = 0; i < 200 && c->n->server->n_conns; i++)
		netserver_turns(c->n, 10 * MS);
	CHECK_EQ(c->n->server->n_conns, 0);
	client_free(c);
}

TEST(rapid_resets_end_the_connection)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);

	netserver_hold(c->n, true);
	for (int i = 0; i < 40 && !c->goaway; i++) {
		struct call *k = rpc(c, "/t.S/Wait", STR(""));

		CHECK(nghttp2_submit_rst_stream(c->h2, 0, (int32_t)(2 * (k - c->calls) + 1), NGHTTP2_CANCEL) == 0);
		client_turn(c, 0);
	}
	UNTIL(c, c->goaway);
	CHECK_EQ(c->goaway - 1, NGHTTP2_ENHANCE_YOUR_CALM);
	UNTIL(c, c->eof);
	client_free(c);
}

/* Resets that the peer does not send but provokes, by a window beyond what there is: the same work for nothing. */
TEST(provoked_resets_end_the_connection)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);

	netserver_hold(c->n, true);
	for (int i = 0; i < 40 && !c->goaway; i++) {
		struct call *k = rpc(c, "/t.S/Wait", STR(""));
		char frame[13] = {0, 0, 4, 8, 0, 0, 0, 0, (char)(2 * (k - c->calls) + 1), 0x7f, (char)0xff, (char)0xff, (char)0xff};

		client_put(c, frame, sizeof(frame));
		UNTIL(c, k->ended || c->goaway);
		CHECK(c->goaway || k->code == NGHTTP2_FLOW_CONTROL_ERROR);
	}
	CHECK(server_stats(c->n->server).requests > l.resets_per_s_max / 2);
	UNTIL(c, c->goaway);
	CHECK_EQ(c->goaway - 1, NGHTTP2_ENHANCE_YOUR_CALM);
	UNTIL(c, c->eof);
	client_free(c);
}

/* A head that never ends, in pieces of nothing. */
TEST(endless_continuation)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);
	static const char head[9] = {0, 0, 0, 1, 0, 0, 0, 0, 1}, more[9] = {0, 0, 0, 9, 0, 0, 0, 0, 1};

	client_turn(c, 0);
	client_put(c, head, sizeof(head));
	for (int i = 0; i < 1000 && !c->eof; i++) {
		client_put(c, more, sizeof(more));
		if (i % 50 == 0)
			client_turn(c, 0);
	}
	UNTIL(c, c->eof);
	CHECK_EQ(server_stats(c->n->server).requests, 0);
	client_free(c);
}

/* Pings by the thousand from a peer that reads no answer: it is cut, and nothing piles up. */
TEST(flood_of_pings)
{
	struct server_limits l = limits_for_tests();
	struct client *c;
	static const char ping[17] = {0, 0, 8, 6};
	size_t most = 0;

	l.ping_after_ms = l.ping_answer_ms = 200;
	c = client_new(&l, true);
	client_turn(c, 0);
	for (int i = 0; i < 400000 && c->n->server->n_conns; i++) {
		if (send(c->fd, ping, sizeof(ping), MSG_NOSIGNAL) != sizeof(ping) || i % 100 == 0) {
			netserver_turns(c->n, 1 * MS);
			if (c->n->server->n_conns)
				most = MAX(most, conn_queued(LIST_ENTRY(c->n->server->conns.next, struct conn, node)));
		}
	}
	CHECK_EQ(c->n->server->n_conns, 0);
	CHECK(most < 300000);
	client_free(c);
}

/* Requests that are begun and never ended: what one connection may leave lying about is bounded, and given free again. */
TEST(unfinished_requests)
{
	struct server_limits l = limits_for_tests();
	struct client *c;
	static char half[90000];
	struct call *k = NULL;

	l.conn_in_bytes_max = 1000000;
	memcpy(half, "\0\0\1\x86\x9f", 5);	/* 99999 bytes are announced */
	c = client_new(&l, true);
	for (int i = 0; i < 11; i++) {
		k = rpc_open(c, "/t.S/Echo", (struct str){half, sizeof(half)});
		UNTIL(c, k->left == 0);
		client_turn(c, MS);
		CHECK(!k->ended);
	}
	k = rpc_open(c, "/t.S/Echo", (struct str){half, sizeof(half)});
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "8");
	for (int i = 0; i < 11; i++)
		CHECK(!c->calls[i].ended);
	CHECK(nghttp2_submit_rst_stream(c->h2, 0, 1, NGHTTP2_CANCEL) == 0);
	client_turn(c, MS);
	client_turn(c, MS);
	k = rpc(c, "/t.S/Fail", (struct str){half + 10, 80000});
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "9");	/* heard, and failed as it does */
	client_free(c);
}

TEST(headers_over_the_limit)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);
	char *value = xcalloc(1, 60001);
	struct strb b;
	struct call *k;

	for (size_t n = 60000; n > 32700; n -= 13640) {	/* 32720 is below 32 KiB, and above it with the others */
		memset(value, 'v', n);
		value[n] = 0;
		k = rpc_raw(c, "/t.S/Echo", rpc_framed(&b, 0, STR("")), "x-large", value);
		UNTIL(c, k->ended);
		CHECK(k->code != 0);
		CHECK_STR(k->status, "");
		strb_fini(&b);
	}
	value[30000] = 0;
	k = rpc_raw(c, "/t.S/Echo", rpc_framed(&b, 0, STR("")), "x-large", value);
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "0");
	strb_fini(&b);
	k = rpc(c, "/t.S/Echo", STR("next"));
	UNTIL(c, k->ended);
	CHECK_STR(k->status, "0");
	free(value);
	client_free(c);
}

TEST(more_streams_than_allowed_are_refused)
{
	struct server_limits l = limits_for_tests();
	struct client *c;
	struct call *last = NULL;
	int refused = 0;

	l.streams_per_conn_max = 5;
	c = client_new(&l, true);
	for (int i = 0; i < 8; i++)	/* before the settings are read */
		last = rpc_raw(c, "/t.S/Wait", (struct str){"\0\0\0\0\0", 5}, NULL, NULL);
	(void)last;
	client_turn(c, 20 * MS);
	client_turn(c, 20 * MS);
	for (int i = 0; i < 8; i++)
		refused += c->calls[i].ended && c->calls[i].code == NGHTTP2_REFUSED_STREAM;
	CHECK_EQ(refused, 3);
	client_free(c);
}

/* The widest windows and a peer that reads nothing at all: the socket is what holds the server back. */
TEST(a_peer_that_does_not_read)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, true);
	nghttp2_settings_entry wide = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX};
	struct conn *conn = LIST_ENTRY(c->n->server->conns.next, struct conn, node);
	const uint8_t *out;
	uint64_t sent;
	ssize_t n;

	CHECK(nghttp2_submit_settings(c->h2, 0, &wide, 1) == 0);
	CHECK(nghttp2_session_set_local_window_size(c->h2, 0, 0, INT32_MAX) == 0);
	client_turn(c, MS);
	(void)rpc_raw(c, "/t.S/Many", (struct str){"\0\0\0\0", 5}, NULL, NULL);
	while ((n = nghttp2_session_mem_send(c->h2, &out)) > 0)
		client_put(c, out, (size_t)n);
	for (int i = 0; i < 50; i++)
		netserver_turns(c->n, 0);
	sent = c->n->sent;
	CHECK(sent * 1000 > l.stream_send_bytes_max);
	CHECK(sent * 1000 < l.stream_send_bytes_max + (1 << 20));
	CHECK(conn_queued(conn) < 300000);
	for (int i = 0; i < 50; i++)
		netserver_turns(c->n, 0);
	CHECK_EQ(c->n->sent, sent);
	UNTIL(c, c->calls[0].body.n > 5 << 20);	/* it reads after all */
	client_free(c);
}

TEST(slow_head)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, false);
	const char *p = "GET /file HTTP/1.1\r\nHost: x\r\nX-Slow: yes";

	for (; *p && !c->eof; p++) {	/* each byte resets nothing */
		client_put(c, p, 1);
		client_turn(c, 10 * MS);
	}
	CHECK(c->eof);
	CHECK(str_starts(strb_str(&c->raw), STR("HTTP/1.1 408 ")));
	client_free(c);
}

TEST(stalled_body)
{
	struct server_limits l = limits_for_tests();
	struct client *c;
	static const char head[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc";

	l.header_timeout_ms = l.idle_timeout_ms = 60000;
	c = client_new(&l, false);
	client_put(c, head, sizeof(head) - 1);
	UNTIL(c, c->eof);
	CHECK(str_starts(strb_str(&c->raw), STR("HTTP/1.1 408 ")));
	client_free(c);
}

TEST(idle_connection)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, false);
	static const char head[] = "GET /file HTTP/1.1\r\nHost: x\r\n\r\n";

	client_put(c, head, sizeof(head) - 1);
	UNTIL(c, c->raw.n > 0);
	CHECK(str_starts(strb_str(&c->raw), STR("HTTP/1.1 200")));
	CHECK(!c->eof);
	UNTIL(c, c->eof);
	client_free(c);
}

TEST(a_first_byte_that_never_goes_on)
{
	struct server_limits l = limits_for_tests();
	struct client *c = client_new(&l, false);

	client_put(c, "PRI", 3);	/* may become either protocol */
	UNTIL(c, c->eof);
	client_free(c);
}
