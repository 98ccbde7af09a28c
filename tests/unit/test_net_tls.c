/* TLS in memory: handshakes, what is refused, certificates; and the same behind a connection. */
#include "../../src/net/net_int.h"
#include "../../src/net/tls_conn.h"
#include "crypto/cert.h"
#include "netserver.h"
#include "tap.h"
#include "tlsclient.h"

#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define H2 "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
/* HEADERS, literal: POST, https, /t.S/Echo, application/grpc; then an empty message and the end */
#define CALL                                                                                                               \
	"\0\0\x23\1\4\0\0\0\1" "\x83\x87\x04\x09/t.S/Echo\x01\x01x\x0f\x10\x10" "application/grpc" "\0\0\5\0\1\0\0\0\1\0\0\0\0\0"
enum { DAY = 86400, MS = 1000 };
static const char *const localhost[] = {"localhost", "127.0.0.1", "::1"};
static const char *h2_only[] = {"h2", NULL}, *h1_only[] = {"http/1.1", NULL}, *both[] = {"http/1.1", "h2", NULL}, *foo[] = {"foo", NULL};

struct pair {
	struct arena *a;
	struct str ca, ca_key, cert, key;
	struct tls_ctx *ctx;
	struct tls *s;
	struct tlsclient *c;
	struct strb to_server, at_client, at_server;
	enum tls_got got;
	char plain[TLS_PLAIN_MAX];
};

static int64_t now(void)
{
	return (int64_t)time(NULL);
}

static struct pair *pair_new(bool need_client, bool only_13)
{
	struct pair *p = xcalloc(1, sizeof(*p));
	struct tls_conf conf = {.need_client_cert = need_client, .only_13 = only_13};
	struct err err;

	p->a = arena_new(1 << 20);
	strb_init(&p->to_server, 64 << 20);
	strb_init(&p->at_client, 64 << 20);
	strb_init(&p->at_server, 64 << 20);
	cert_make_authority(p->a, "test, with=syntax", now() - DAY, now() + DAY, &p->ca, &p->ca_key);
	CHECK(cert_make_server(p->a, p->ca, p->ca_key, localhost, 3, now() - DAY, now() + DAY, &p->cert, &p->key, &err));
	conf.cert = (struct tls_text){p->cert, "cert"};
	conf.key = (struct tls_text){p->key, "key"};
	if (need_client)
		conf.client_ca = (struct tls_text){p->ca, "ca"};
	p->ctx = tls_ctx_new(&conf, &err);
	CHECK(p->ctx);
	return p;
}

static void pair_begin(struct pair *p, const struct tlsclient_conf *conf)
{
	if (p->s) {
		tls_free(p->s);
		tlsclient_free(p->c);
	}
	strb_reset(&p->to_server);
	strb_reset(&p->at_client);
	strb_reset(&p->at_server);
	p->s = tls_new(p->ctx);
	p->c = tlsclient_new(conf);
	p->got = TLS_OPEN;
}

/* To and fro in pieces of @step bytes until both are silent. */
static void pump(struct pair *p, size_t step)
{
	bool moved = true;

	while (moved) {
		struct str out = tls_unsent(p->s);
		size_t n = MIN(out.n, step), off = 0;

		moved = out.n > 0;
		(void)tlsclient_step(p->c, (struct str){out.p, n}, &p->to_server, &p->at_client);
		tls_sent(p->s, n);
		while (off < p->to_server.n && p->got == TLS_OPEN) {
			struct str in = {p->to_server.p + off, MIN(step, p->to_server.n - off)};

			in.n = MIN(in.n, (size_t)READ_BUF_BYTES);
			p->got = tls_in(p->s, in, p->plain, &n);
			strb_put(&p->at_server, p->plain, n);
			off += in.n;
			moved = true;
		}
		strb_reset(&p->to_server);
	}
}

static void pair_free(struct pair *p)
{
	if (p->s) {
		tls_free(p->s);
		tlsclient_free(p->c);
	}
	tls_ctx_unref(p->ctx);
	strb_fini(&p->to_server);
	strb_fini(&p->at_client);
	strb_fini(&p->at_server);
	arena_free(p->a);
	free(p);
}

static void say(struct pair *p, struct str s, size_t step)
{
	while (s.n) {
		size_t n = tls_out(p->s, s);

		s.p += n;
		s.n -= n;
		CHECK(tls_unsent(p->s).n <= TLS_OUT_WAIT + 17000);
		pump(p, step);
	}
}

static void talk(struct pair *p, size_t step, size_t much)
{
	char *big = xmalloc(much);

	for (size_t i = 0; i < much; i++)
		big[i] = (char)(i * 7 + i / 251);
	pump(p, step);
	CHECK(tlsclient_up(p->c) && tls_is_up(p->s));
	tlsclient_write(p->c, STR("hello"), &p->to_server);
	pump(p, step);
	CHECK_STR(strb_str(&p->at_server), "hello");
	tlsclient_write(p->c, (struct str){big, much}, &p->to_server);
	pump(p, step);
	CHECK_EQ(p->at_server.n, 5 + much);
	CHECK(memcmp(p->at_server.p + 5, big, much) == 0);
	say(p, (struct str){big, much}, step);
	CHECK_EQ(p->at_client.n, much);
	CHECK(memcmp(p->at_client.p, big, much) == 0);
	free(big);
}

TEST(both_versions_carry_both_ways)
{
	struct pair *p = pair_new(false, false);

	for (int v = 0; v < 2; v++) {
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0, .ca = p->ca, .name = "localhost"});
		talk(p, SIZE_MAX, 1 << 20);
		CHECK_STR(tlsclient_version(p->c), v ? "TLSv1.3" : "TLSv1.2");
		CHECK(strstr(tlsclient_suite(p->c), v ? "TLS1-3-" : "TLS-ECDHE-ECDSA-"));
		CHECK(!tls_is_h2(p->s) && !tls_lacks_client(p->s));
		tlsclient_close(p->c, &p->to_server);
		pump(p, SIZE_MAX);
		CHECK_EQ(p->got, TLS_ENDED);
		tls_end(p->s);
		tls_end(p->s);
		pump(p, SIZE_MAX);
		CHECK_EQ(tlsclient_why(p->c), 0);
		CHECK(!tlsclient_step(p->c, STR(""), &p->to_server, &p->at_client));
	}
	pair_free(p);
}

TEST(byte_by_byte)
{
	struct pair *p = pair_new(false, false);

	for (int v = 0; v < 2; v++) {
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0, .ca = p->ca, .name = "localhost", .alpn = both});
		talk(p, 1, 40000);
	}
	pair_free(p);
}

TEST(our_goodbye_reaches_the_client)
{
	struct pair *p = pair_new(false, false);

	pair_begin(p, &(struct tlsclient_conf){.ca = p->ca, .name = "localhost"});
	talk(p, SIZE_MAX, 10);
	tls_end(p->s);
	CHECK(tls_unsent(p->s).n > 0);
	pump(p, SIZE_MAX);
	CHECK_EQ(tlsclient_why(p->c), 0);
	CHECK(!tlsclient_step(p->c, STR(""), &p->to_server, &p->at_client));
	CHECK_EQ(tls_out(p->s, STR("too late")), 8);
	CHECK_EQ(tls_unsent(p->s).n, 0);
	pair_free(p);
}

TEST(alpn)
{
	struct pair *p = pair_new(false, false);

	for (int v = 0; v < 2; v++) {
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0, .alpn = h2_only});
		pump(p, SIZE_MAX);
		CHECK(tls_is_up(p->s) && tls_is_h2(p->s));
		CHECK_STR(tlsclient_alpn(p->c), "h2");
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0, .alpn = h1_only});
		pump(p, SIZE_MAX);
		CHECK(tls_is_up(p->s) && !tls_is_h2(p->s));
		CHECK_STR(tlsclient_alpn(p->c), "http/1.1");
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0, .alpn = both});	/* ours comes first */
		pump(p, SIZE_MAX);
		CHECK_STR(tlsclient_alpn(p->c), "h2");
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0, .alpn = foo});
		pump(p, SIZE_MAX);
		CHECK_EQ(p->got, TLS_FAILED);
		CHECK_EQ(tlsclient_why(p->c), MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE);
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0});
		pump(p, SIZE_MAX);
		CHECK(tls_is_up(p->s) && !tls_is_h2(p->s));
	}
	pair_free(p);
}

TEST(weak_suites_are_refused)
{
	static const int weak[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, MBEDTLS_TLS1_3_AES_128_CCM_SHA256,
		MBEDTLS_TLS_DHE_RSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_RSA_WITH_AES_128_GCM_SHA256,
		MBEDTLS_TLS_ECDHE_ECDSA_WITH_ARIA_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_GCM_SHA256};
	struct pair *p = pair_new(false, false);

	for (size_t i = 0; i < ARRAY_LEN(weak); i++) {
		int one[] = {weak[i], 0};

		pair_begin(p, &(struct tlsclient_conf){.suites = one, .only_12 = weak[i] != MBEDTLS_TLS1_3_AES_128_CCM_SHA256});
		pump(p, SIZE_MAX);
		CHECK_EQ(p->got, TLS_FAILED);
		CHECK(tls_why(p->s));
		CHECK(!tlsclient_up(p->c));
	}
	pair_free(p);
}

TEST(only_13)
{
	struct pair *p = pair_new(false, true);

	pair_begin(p, &(struct tlsclient_conf){.only_12 = true});
	pump(p, SIZE_MAX);
	CHECK_EQ(p->got, TLS_FAILED);
	pair_begin(p, &(struct tlsclient_conf){.only_13 = true});
	talk(p, SIZE_MAX, 10);
	pair_free(p);
}

TEST(names_are_verified_by_clients)
{
	static const char *const good[] = {"localhost", "127.0.0.1", "::1"};
	struct pair *p = pair_new(false, false);

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		pair_begin(p, &(struct tlsclient_conf){.ca = p->ca, .name = good[i]});
		pump(p, SIZE_MAX);
		CHECK(tlsclient_up(p->c));
	}
	pair_begin(p, &(struct tlsclient_conf){.ca = p->ca, .name = "elsewhere.example"});
	pump(p, SIZE_MAX);
	CHECK(!tlsclient_up(p->c));
	CHECK_EQ(p->got, TLS_FAILED);
	pair_free(p);
}

TEST(garbage_fails_and_stays_failed)
{
	struct pair *p = pair_new(false, false);
	size_t n;

	for (unsigned i = 0; i < 500; i++) {
		char junk[200];

		srandom(i);
		for (size_t k = 0; k < sizeof(junk); k++)
			junk[k] = (char)random();
		memcpy(junk, "\x16\x03\x01", 3);
		junk[3] = 0;
		pair_begin(p, &(struct tlsclient_conf){0});
		if (tls_in(p->s, (struct str){junk, sizeof(junk)}, p->plain, &n) == TLS_OPEN)
			continue;	/* waits for the rest of what looks like a record */
		CHECK_EQ(n, 0);
		CHECK_EQ(tls_in(p->s, STR("more"), p->plain, &n), TLS_FAILED);
		CHECK_EQ(n, 0);
	}
	pair_free(p);
}

/* A record too long, and one that was changed on the way: an alert, and nothing of it comes through. */
TEST(bad_records_after_the_handshake)
{
	struct pair *p = pair_new(false, false);

	for (int v = 0; v < 2; v++) {
		char head[] = {0x17, 3, 3, 0x48, 0x01};

		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0});
		talk(p, SIZE_MAX, 10);
		strb_put(&p->to_server, head, sizeof(head));
		pump(p, SIZE_MAX);
		CHECK_EQ(p->got, TLS_FAILED);
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0});
		talk(p, SIZE_MAX, 10);
		strb_reset(&p->at_server);
		tlsclient_write(p->c, STR("changed"), &p->to_server);
		p->to_server.p[p->to_server.n - 1] ^= 1;
		pump(p, SIZE_MAX);
		CHECK_EQ(p->got, TLS_FAILED);
		CHECK_EQ(p->at_server.n, 0);
		CHECK_EQ(tlsclient_why(p->c), MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE);
	}
	pair_free(p);
}

TEST(client_certificates)
{
	struct pair *p = pair_new(true, false);
	struct str cert, key, other_ca, other_key;

	cert_make_authority(p->a, "foreign", now() - DAY, now() + DAY, &other_ca, &other_key);
	for (int v = 0; v < 2; v++) {
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0});
		talk(p, SIZE_MAX, 10);
		CHECK(tls_lacks_client(p->s));
		tlsclient_make_cert(p->a, p->ca, p->ca_key, now() - DAY, now() + DAY, &cert, &key);
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0, .cert = cert, .key = key});
		talk(p, SIZE_MAX, 10);
		CHECK(!tls_lacks_client(p->s));
		tlsclient_make_cert(p->a, p->ca, p->ca_key, now() - 2 * DAY, now() - DAY, &cert, &key);
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0, .cert = cert, .key = key});
		pump(p, SIZE_MAX);
		CHECK_EQ(p->got, TLS_FAILED);
		CHECK(strstr(tls_why(p->s), "expired"));
		CHECK_EQ(tlsclient_why(p->c), MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE);
		tlsclient_make_cert(p->a, other_ca, other_key, now() - DAY, now() + DAY, &cert, &key);
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0, .cert = cert, .key = key});
		pump(p, SIZE_MAX);
		CHECK_EQ(p->got, TLS_FAILED);
		CHECK(strstr(tls_why(p->s), "trusted"));
		/* a server's certificate is none of a client */
		pair_begin(p, &(struct tlsclient_conf){.only_12 = v == 0, .cert = p->cert, .key = p->key});
		pump(p, SIZE_MAX);
		CHECK_EQ(p->got, TLS_FAILED);
	}
	pair_free(p);
}

static void refused(const struct tls_conf *conf, const char *part)
{
	struct err err;

	CHECK(!tls_ctx_new(conf, &err));
	if (!strstr(err.msg, part))
		CHECK_STR(err.msg, part);
}

TEST(what_is_wrong_is_said)
{
	static const struct str locked = STR("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n");
	struct pair *p = pair_new(false, false);
	struct tls_text cert = {p->cert, "c.pem"}, key = {p->key, "k.pem"}, ca = {p->ca, "ca.pem"}, junk = {STR("junk"), "j.pem"};
	struct tls_text other = {p->ca_key, "o.pem"}, shut = {locked, "s.pem"}, none = {STR(""), "n.pem"};
	struct str cut = arena_strf(p->a, "%.*s%.*s", STR_FMT(p->cert), STR_FMT(p->ca));

	((char *)(uintptr_t)cut.p)[p->cert.n + 60] = '!';
	refused(&(struct tls_conf){.cert = junk, .key = key}, "j.pem holds no certificate in PEM form");
	refused(&(struct tls_conf){.cert = none, .key = key}, "n.pem holds no certificate");
	refused(&(struct tls_conf){.cert = key, .key = key}, "k.pem holds no certificate");
	refused(&(struct tls_conf){.cert = {cut, "cut.pem"}, .key = key}, "cut.pem: 1 of its certificates cannot be read");
	refused(&(struct tls_conf){.cert = cert, .key = junk}, "j.pem holds no private key");
	refused(&(struct tls_conf){.cert = cert, .key = shut}, "s.pem");
	refused(&(struct tls_conf){.cert = cert, .key = other}, "the private key in o.pem does not belong to the certificate in c.pem");
	refused(&(struct tls_conf){.cert = cert, .key = key, .client_ca = junk}, "j.pem holds no certificate");
	CHECK(!strstr(ca.from, "c.pem"));
	pair_free(p);
}

TEST(authorities)
{
	struct pair *p = pair_new(false, false);
	struct str cert, key;
	struct err err;
	int64_t ends;

	CHECK(cert_ends(p->cert, &ends) && ends >= now() + DAY - 5 && ends <= now() + DAY);
	CHECK(!cert_ends(STR("junk"), &ends));
	CHECK(!cert_make_server(p->a, p->ca, p->key, localhost, 3, now(), now() + DAY, &cert, &key, &err));
	CHECK(!cert_make_server(p->a, STR("junk"), p->ca_key, localhost, 3, now(), now() + DAY, &cert, &key, &err));
	pair_free(p);
}

/* --- behind a connection ------------------------------------------------------------------------------------------------------- */

struct line {			/* a client of TLS on a socket */
	struct netserver *n;
	struct tlsclient *c;
	int fd;
	bool eof;
	struct strb to, got;
};

static struct line *line_new(struct netserver *n, const struct tlsclient_conf *conf)
{
	struct line *l = xcalloc(1, sizeof(*l));

	l->n = n;
	l->c = tlsclient_new(conf);
	l->fd = netserver_connect(n);
	strb_init(&l->to, 64 << 20);
	strb_init(&l->got, 64 << 20);
	return l;
}

static void line_turn(struct line *l)
{
	static char buf[65536];
	ssize_t n;

	(void)tlsclient_step(l->c, STR(""), &l->to, &l->got);
	if (l->to.n) {
		(void)!send(l->fd, l->to.p, l->to.n, MSG_NOSIGNAL);
		strb_reset(&l->to);
	}
	netserver_turns(l->n, MS);
	while ((n = recv(l->fd, buf, sizeof(buf), 0)) > 0)
		(void)tlsclient_step(l->c, (struct str){buf, (size_t)n}, &l->to, &l->got);
	l->eof |= n == 0;
}

#define UNTIL(l, cond)                                           \
	do {                                                     \
		for (int i_ = 0; i_ < 2000 && !(cond); i_++)     \
			line_turn(l);                            \
		CHECK(cond);                                     \
	} while (0)

static void line_free(struct line *l)
{
	(void)close(l->fd);
	tlsclient_free(l->c);
	strb_fini(&l->to);
	strb_fini(&l->got);
	free(l);
}

static bool has(const struct strb *b, const char *part)
{
	return b->n && memmem(b->p, b->n, part, strlen(part));
}

TEST(http_over_tls)
{
	struct pair *p = pair_new(false, false);
	struct netserver *n = netserver_new(&server_limits_default);
	struct line *l;

	server_set_tls(n->server, p->ctx, false);
	l = line_new(n, &(struct tlsclient_conf){.ca = p->ca, .name = "localhost", .alpn = h1_only});
	UNTIL(l, tlsclient_up(l->c));
	UNTIL(l, n->server->n_handshakes == 0);
	tlsclient_write(l->c, STR("GET /big HTTP/1.1\r\nhost: x\r\n\r\nGET /file HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"), &l->to);
	UNTIL(l, l->eof);
	CHECK(l->got.n > 1 << 20 && has(&l->got, "A page"));
	CHECK_EQ(tlsclient_why(l->c), 0);	/* said goodbye */
	line_free(l);
	l = line_new(n, &(struct tlsclient_conf){.alpn = foo});
	UNTIL(l, l->eof);
	CHECK_EQ(tlsclient_why(l->c), MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE);
	CHECK_EQ(server_stats(n->server).handshakes_failed, 1);
	line_free(l);
	netserver_free(n);
	pair_free(p);
}

static size_t count(const struct strb *b, const char *part)
{
	const char *p = b->p, *end = b->p + b->n;
	size_t n = 0;

	while (p && (p = memmem(p, (size_t)(end - p), part, strlen(part)))) {
		p++;
		n++;
	}
	return n;
}

/* A read may bring more than it took, when the rest of a record was there before: pipelined requests still have room. */
TEST(what_waits_behind_a_request_has_room)
{
#define ONE "GET /file HTTP/1.1\r\nhost: x\r\n\r\n"
	enum { ALL = 3800, FIRST = 38000, RECORD = 16000 };
	struct pair *p = pair_new(false, false);
	struct netserver *n = netserver_new(&server_limits_default);
	struct strb text, rest;
	struct line *l;
	size_t cut;

	strb_init(&text, 1 << 20);
	strb_init(&rest, 1 << 20);
	for (int i = 0; i < ALL; i++)
		strb_puts(&text, STR(ONE));
	server_set_tls(n->server, p->ctx, false);
	netserver_hold(n, true);
	l = line_new(n, &(struct tlsclient_conf){.alpn = h1_only});
	UNTIL(l, tlsclient_up(l->c) && n->server->n_handshakes == 0);
	tlsclient_write(l->c, STR("GET /wait HTTP/1.1\r\nhost: x\r\n\r\n"), &l->to);
	tlsclient_write(l->c, (struct str){text.p, FIRST}, &l->to);
	line_turn(l);
	line_turn(l);
	tlsclient_write(l->c, (struct str){text.p + FIRST, RECORD}, &rest);
	cut = rest.n - 1;
	tlsclient_write(l->c, (struct str){text.p + FIRST + RECORD, text.n - FIRST - RECORD}, &rest);
	strb_put(&l->to, rest.p, cut);
	line_turn(l);
	strb_put(&l->to, rest.p + cut, rest.n - cut);
	line_turn(l);
	netserver_hold(n, false);
	UNTIL(l, l->eof || count(&l->got, "A page") == ALL);
	CHECK_EQ(count(&l->got, "A page"), ALL);
	line_free(l);
	strb_fini(&text);
	strb_fini(&rest);
	netserver_free(n);
	pair_free(p);
}

/* New certificates take nothing away from those who are connected. */
TEST(contexts_change_under_connections)
{
	struct pair *p = pair_new(false, false), *q = pair_new(false, false);
	struct netserver *n = netserver_new(&server_limits_default);
	struct line *old, *new;

	server_set_tls(n->server, p->ctx, false);
	old = line_new(n, &(struct tlsclient_conf){.ca = p->ca, .name = "localhost"});
	UNTIL(old, tlsclient_up(old->c));
	server_set_tls(n->server, q->ctx, false);
	new = line_new(n, &(struct tlsclient_conf){.ca = q->ca, .name = "localhost"});
	UNTIL(new, tlsclient_up(new->c));
	tls_ctx_unref(p->ctx);
	p->ctx = NULL;
	tlsclient_write(old->c, STR("GET /file HTTP/1.1\r\nhost: x\r\n\r\n"), &old->to);
	UNTIL(old, has(&old->got, "A page"));
	line_free(old);
	line_free(new);
	netserver_free(n);
	pair_free(p);
	pair_free(q);
}

static size_t ask_in_clear(struct netserver *n, struct str what, char *ret, size_t room)
{
	int fd = netserver_connect(n);
	size_t got = 0;

	CHECK(send(fd, what.p, what.n, MSG_NOSIGNAL) == (ssize_t)what.n);
	for (int i = 0; i < 50; i++) {
		ssize_t k;

		netserver_turns(n, MS);
		while ((k = recv(fd, ret + got, room - got, 0)) > 0)
			got += (size_t)k;
	}
	(void)close(fd);
	return got;
}

/* Does any frame with headers hold this grpc-status? */
static bool tells_status(const struct strb *b, const char *want)
{
	nghttp2_hd_inflater *hd;
	size_t off = 0;
	bool found = false;

	CHECK(nghttp2_hd_inflate_new(&hd) == 0);
	while (off + 9 <= b->n) {
		const uint8_t *p = (const uint8_t *)b->p + off;
		size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
		int flags = NGHTTP2_HD_INFLATE_EMIT;

		if (off + 9 + n > b->n)
			break;
		for (size_t at = 0; p[3] == NGHTTP2_HEADERS && !(flags & NGHTTP2_HD_INFLATE_FINAL);) {
			nghttp2_nv nv;
			ssize_t k = nghttp2_hd_inflate_hd2(hd, &nv, &flags, p + 9 + at, n - at, 1);

			CHECK(k >= 0);
			at += (size_t)k;
			if (flags & NGHTTP2_HD_INFLATE_EMIT)
				found |= nv.namelen == 11 && memcmp(nv.name, "grpc-status", 11) == 0 && nv.valuelen == strlen(want) &&
					 memcmp(nv.value, want, nv.valuelen) == 0;
		}
		if (p[3] == NGHTTP2_HEADERS)
			(void)nghttp2_hd_inflate_end_headers(hd);
		off += 9 + n;
	}
	nghttp2_hd_inflate_del(hd);
	return found;
}

TEST(in_clear_only_when_allowed)
{
	struct str get = STR("GET /file HTTP/1.1\r\nhost: x\r\n\r\n");
	struct pair *p = pair_new(false, false);
	struct netserver *n = netserver_new(&server_limits_default);
	char buf[4096];
	size_t k;

	server_set_tls(n->server, p->ctx, false);
	k = ask_in_clear(n, get, buf, sizeof(buf));
	CHECK(k > 12 && memcmp(buf, "HTTP/1.1 400", 12) == 0 && memmem(buf, k, "https://", 8));
	{
		struct strb b = {.p = buf, .n = ask_in_clear(n, STR(H2 CALL), buf, sizeof(buf))};

		CHECK(tells_status(&b, "16"));
	}
	server_set_tls(n->server, p->ctx, true);
	k = ask_in_clear(n, get, buf, sizeof(buf));
	CHECK(memmem(buf, k, "A page", 6));
	{
		struct strb b = {.p = buf, .n = ask_in_clear(n, STR(H2 CALL), buf, sizeof(buf))};

		CHECK(tells_status(&b, "0"));
	}
	netserver_free(n);
	pair_free(p);
}

/* Many that begin and do not go on hold only so much, and those who do go on get through between them. */
TEST(half_open_handshakes_are_bounded)
{
	enum { N = CONF_TLS_HANDSHAKES_MAX + 200 };
	struct pair *p = pair_new(false, false);
	struct netserver *n = netserver_new(&server_limits_default);
	struct rlimit lim = {4096, 4096};
	int fds[N];
	struct line *l;

	(void)setrlimit(RLIMIT_NOFILE, &lim);
	server_set_tls(n->server, p->ctx, false);
	for (int i = 0; i < N; i++) {
		fds[i] = netserver_connect(n);
		CHECK(send(fds[i], "\x16\x03\x01", 3, MSG_NOSIGNAL) == 3);
		if (i % 50 == 0)
			netserver_turns(n, 0);
	}
	for (int i = 0; i < 100 && n->server->n_conns > CONF_TLS_HANDSHAKES_MAX; i++)
		netserver_turns(n, 10 * MS);
	CHECK_EQ(n->server->n_handshakes, CONF_TLS_HANDSHAKES_MAX);
	CHECK_EQ(n->server->n_conns, CONF_TLS_HANDSHAKES_MAX);
	l = line_new(n, &(struct tlsclient_conf){.ca = p->ca, .name = "localhost"});
	UNTIL(l, tlsclient_up(l->c));
	line_free(l);
	for (int i = 0; i < N; i++)
		(void)close(fds[i]);
	for (int i = 0; i < 100 && n->server->n_handshakes; i++)
		netserver_turns(n, 10 * MS);
	CHECK_EQ(n->server->n_handshakes, 0);
	netserver_free(n);
	pair_free(p);
}

TEST(slow_handshakes_are_cut)
{
	struct server_limits lim = server_limits_default;
	struct pair *p = pair_new(false, false);
	struct netserver *n;
	struct line *l;

	lim.header_timeout_ms = 100;
	n = netserver_new(&lim);
	server_set_tls(n->server, p->ctx, false);
	l = line_new(n, &(struct tlsclient_conf){0});
	strb_reset(&l->to);
	CHECK(send(l->fd, "\x16\x03\x01\x01", 4, MSG_NOSIGNAL) == 4);
	for (int i = 0; i < 500 && recv(l->fd, p->plain, 10, 0) != 0; i++)
		netserver_turns(n, 2 * MS);
	CHECK_EQ(n->server->n_conns, 0);
	CHECK_EQ(n->server->n_handshakes, 0);
	line_free(l);
	netserver_free(n);
	pair_free(p);
}

TEST(grpc_needs_the_certificate)
{
	struct pair *p = pair_new(true, false);
	struct netserver *n = netserver_new(&server_limits_default);
	struct line *l;

	server_set_tls(n->server, p->ctx, false);
	l = line_new(n, &(struct tlsclient_conf){.alpn = h1_only});
	UNTIL(l, tlsclient_up(l->c));
	tlsclient_write(l->c, STR("GET /file HTTP/1.1\r\nhost: x\r\n\r\n"), &l->to);	/* people come without */
	UNTIL(l, has(&l->got, "A page"));
	line_free(l);
	l = line_new(n, &(struct tlsclient_conf){.alpn = h2_only});
	UNTIL(l, tlsclient_up(l->c));
	tlsclient_write(l->c, STR(H2), &l->to);
	tlsclient_write(l->c, STR(CALL), &l->to);
	UNTIL(l, tells_status(&l->got, "16"));
	line_free(l);
	netserver_free(n);
	pair_free(p);
}
