/* TLS, the server's side.  The first byte says where the input goes:
 *  0  raw, from the first byte of a connection on
 *  1  a real client, whose bytes are changed on the way: position (2), mask (1), ...
 *  2  raw, behind a finished handshake: without its keys nothing may come through
 *  3  through a connection, as the client's own data, in pieces of all sizes
 * The second one picks version, ALPN and whether client certificates are asked for. */
#include "../../src/net/tls_conn.h"
#include "../lib/netserver.h"
#include "../lib/tlsclient.h"
#include "crypto/cert.h"
#include "fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct tls_ctx *contexts[2];
static struct netserver *server;
static char plain[TLS_PLAIN_MAX];

static void once(void)
{
	static const char *const names[] = {"localhost"};
	struct arena *a = arena_new(1 << 20);
	struct str ca, ca_key, cert, key;
	int64_t now = (int64_t)time(NULL);
	struct err err;

	cert_make_authority(a, "fuzz", now - 86400, now + 86400 * 30, &ca, &ca_key);
	FUZZ_MUST(cert_make_server(a, ca, ca_key, names, 1, now - 86400, now + 86400 * 30, &cert, &key, &err));
	for (int i = 0; i < 2; i++) {
		contexts[i] = tls_ctx_new(&(struct tls_conf){.cert = {cert, "cert"}, .key = {key, "key"}, .client_ca = {i ? ca : STR(""), "ca"},
					  .need_client_cert = i == 1}, &err);
		FUZZ_MUST(contexts[i]);
	}
	server = netserver_new(&server_limits_default);
	server_set_tls(server->server, contexts[0], false);
	arena_free(a);
}

static struct tlsclient *client_of(uint8_t how)
{
	static const char *h2[] = {"h2", NULL}, *both[] = {"http/1.1", "h2", NULL}, *other[] = {"foo", NULL};
	static const char **const alpn[] = {NULL, h2, both, other};

	return tlsclient_new(&(struct tlsclient_conf){.only_12 = how & 1, .only_13 = !(how & 1) && (how & 2), .alpn = alpn[how >> 2 & 3]});
}

/* In pieces, so that records are cut somewhere; gives how much came out in plain. */
static size_t put(struct tls *t, const uint8_t *p, size_t n, uint8_t cut)
{
	size_t all = 0, got, room = cut ? (size_t)cut * 3 : n;
	bool failed = false;

	for (size_t off = 0; off < n; off += room) {
		enum tls_got g = tls_in(t, (struct str){(const char *)p + off, MIN(room, n - off)}, plain, &got);

		FUZZ_MUST(!failed || (g == TLS_FAILED && got == 0));
		FUZZ_MUST(got < TLS_PLAIN_MAX && tls_unsent(t).n < 200000);
		failed |= g != TLS_OPEN;
		all += got;
	}
	return all;
}

static void change(struct strb *b, const uint8_t **p, size_t *n)
{
	for (int i = 0; i < 4 && *n >= 3 && b->n; i++) {
		size_t at = ((size_t)(*p)[0] << 8 | (*p)[1]) % b->n;

		b->p[at] = (char)(b->p[at] ^ (*p)[2]);
		*p += 3;
		*n -= 3;
	}
}

static void handshake(struct tls *t, struct tlsclient *c, const uint8_t **p, size_t *n)
{
	struct strb to, got;

	strb_init(&to, 1 << 20);
	strb_init(&got, 1 << 20);
	for (int i = 0; i < 6; i++) {
		struct str out = tls_unsent(t);

		(void)tlsclient_step(c, out, &to, &got);
		tls_sent(t, out.n);
		if (p)
			change(&to, p, n);
		if (to.n)
			(void)put(t, (const uint8_t *)to.p, to.n, 0);
		strb_reset(&to);
	}
	strb_fini(&to);
	strb_fini(&got);
}

static void in_memory(uint8_t mode, uint8_t how, const uint8_t *p, size_t n)
{
	struct tls *t = tls_new(contexts[how >> 4 & 1]);
	struct tlsclient *c = mode ? client_of(how) : NULL;

	if (mode)
		handshake(t, c, mode == 1 ? &p : NULL, mode == 1 ? &n : NULL);
	if (mode != 1 && n)
		FUZZ_MUST(put(t, p + 1, n - 1, p[0]) == 0);
	FUZZ_MUST(tls_out(t, STR("hello")) <= 5 || !tls_is_up(t));
	tls_end(t);
	tls_sent(t, tls_unsent(t).n);
	tls_free(t);
	if (c)
		tlsclient_free(c);
}

static void connected(uint8_t how, const uint8_t *p, size_t n)
{
	static char sink[65536];
	struct tlsclient *c = client_of(how);
	int fd = netserver_connect(server);
	struct strb to, got;
	bool open = true;

	strb_init(&to, 1 << 20);
	strb_init(&got, 8 << 20);
	for (int i = 0; i < 12 && open; i++) {
		ssize_t k;

		if (tlsclient_up(c) && n) {
			size_t take = MIN((size_t)p[0] * 16 + 1, n - 1);

			tlsclient_write(c, (struct str){(const char *)p + 1, take}, &to);
			p += 1 + take;
			n -= 1 + take;
		}
		open = tlsclient_step(c, STR(""), &to, &got);
		if (to.n)
			(void)!send(fd, to.p, to.n, MSG_NOSIGNAL);
		strb_reset(&to);
		netserver_turns(server, 0);
		while ((k = recv(fd, sink, sizeof(sink), 0)) > 0)
			open &= tlsclient_step(c, (struct str){sink, (size_t)k}, &to, &got);
	}
	(void)close(fd);
	netserver_turns(server, 0);
	netserver_turns(server, 0);
	tlsclient_free(c);
	strb_fini(&to);
	strb_fini(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (!server)
		once();
	if (n < 3 || n > 40000)
		return 0;
	if (data[0] % 4 == 3)
		connected(data[1], data + 2, n - 2);
	else
		in_memory(data[0] % 4, data[1], data + 2, n - 2);
	return 0;
}
