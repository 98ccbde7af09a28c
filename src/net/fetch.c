/* The client's side of HTTP/1.1, for commands: one request, one reply, one connection, blocking.
 * Follows no redirect and takes no packed reply: it speaks to this program's own server, maybe with a proxy between. */
#include "net/fetch.h"

#include "base/strb.h"
#include "crypto/random.h"

#include <errno.h>
#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <netdb.h>
#include <psa/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { HOST_MAX = 256, HEAD_MAX = 64 << 10 };

struct target {
	bool is_tls;
	char host[HOST_MAX], port[8];
	struct str prefix;		/* of the path */
};

struct conn {
	int fd;
	bool is_tls;
	mbedtls_ssl_config conf;
	mbedtls_ssl_context ssl;
	mbedtls_x509_crt ca;
};

static bool parse_url(const char *url, struct target *t, struct err *err)
{
	const char *p = url, *end, *colon;
	int64_t port;

	*t = (struct target){.is_tls = strncmp(url, "https://", 8) == 0};
	if (!t->is_tls && strncmp(url, "http://", 7) != 0)
		return err_set(err, ERR_INVALID, "the server's address must begin with http:// or https://, not \"%.100s\"", url);
	p += t->is_tls ? 8 : 7;
	end = p + strcspn(p, "/?#");
	t->prefix = str_c(end);
	while (t->prefix.n && t->prefix.p[t->prefix.n - 1] == '/')
		t->prefix.n--;
	colon = *p == '[' ? strchr(p, ']') : p;
	colon = colon ? memchr(colon, ':', (size_t)(end - colon)) : NULL;
	(void)snprintf(t->port, sizeof(t->port), "%s", t->is_tls ? "443" : "80");
	if (colon) {
		if (!str_to_i64((struct str){colon + 1, (size_t)(end - colon - 1)}, &port) || port < 1 || port > 65535)
			return err_set(err, ERR_INVALID, "the port in \"%.100s\" is none", url);
		(void)snprintf(t->port, sizeof(t->port), "%d", (int)port);
		end = colon;
	}
	if (*p == '[' && end > p + 2 && end[-1] == ']') {
		p++;
		end--;
	}
	if (end == p || end - p >= HOST_MAX)
		return err_set(err, ERR_INVALID, "\"%.100s\" names no host", url);
	(void)snprintf(t->host, sizeof(t->host), "%.*s", (int)(end - p), p);
	return true;
}

static int rng(void *arg, unsigned char *out, size_t n)
{
	random_bytes(out, n);
	return 0;
}

/* --- the connection ---------------------------------------------------------------------------------------------------------- */

static bool connect_to(const struct target *t, int timeout_s, int *ret, struct err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all, *it;
	struct timeval tv = {.tv_sec = timeout_s};
	int bad = getaddrinfo(t->host, t->port, &hints, &all), fd = -1, why = 0;

	if (bad)
		return err_set(err, ERR_UNAVAILABLE, "cannot find %s: %s", t->host, gai_strerror(bad));
	for (it = all; it && fd < 0; it = it->ai_next) {
		fd = socket(it->ai_family, it->ai_socktype | SOCK_CLOEXEC, it->ai_protocol);
		if (fd < 0)
			continue;
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
		if (connect(fd, it->ai_addr, it->ai_addrlen) != 0) {
			why = errno;
			(void)close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(all);
	*ret = fd;
	return fd >= 0 || err_set(err, ERR_UNAVAILABLE, "cannot reach %s:%s: %s", t->host, t->port, strerror(why));
}

static int bio_send(void *arg, const unsigned char *buf, size_t n)
{
	ssize_t done = send(*(int *)arg, buf, n, MSG_NOSIGNAL);

	return done >= 0 ? (int)done : MBEDTLS_ERR_SSL_TIMEOUT;
}

static int bio_recv(void *arg, unsigned char *buf, size_t n)
{
	ssize_t got = recv(*(int *)arg, buf, n, 0);

	return got > 0 ? (int)got : got == 0 ? MBEDTLS_ERR_SSL_CONN_EOF : MBEDTLS_ERR_SSL_TIMEOUT;
}

static bool load_ca(struct conn *c, const char *file, struct err *err)
{
	static const char *const usual[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
		"/var/lib/ca-certificates/ca-bundle.pem"};

	for (size_t i = 0; !file && i < ARRAY_LEN(usual); i++)
		if (access(usual[i], R_OK) == 0)
			file = usual[i];
	if (!file)
		return err_set(err, ERR_PRECONDITION, "this machine has no list of authorities; name one by --ca-file");
	return mbedtls_x509_crt_parse_file(&c->ca, file) >= 0 ||
	       err_set(err, ERR_INVALID, "%s cannot be read as certificates", file);
}

static bool tls_failed(struct conn *c, const struct target *t, int bad, struct err *err)
{
	char text[128];
	uint32_t verdict = mbedtls_ssl_get_verify_result(&c->ssl);

	if (bad == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED && verdict && mbedtls_x509_crt_verify_info(text, sizeof(text), "", verdict) > 0) {
		text[strcspn(text, "\n")] = '\0';
		return err_set(err, ERR_UNAVAILABLE, "%s:%s shows a certificate that is not believed: %s", t->host, t->port, text);
	}
	mbedtls_strerror(bad, text, sizeof(text));
	return err_set(err, ERR_UNAVAILABLE, "no TLS with %s:%s: %s", t->host, t->port, text);
}

static bool conn_open(struct conn *c, const struct target *t, const struct fetch *f, struct err *err)
{
	int bad;

	if (!connect_to(t, f->timeout_s, &c->fd, err))
		return false;
	if (!t->is_tls)
		return true;
	c->is_tls = true;
	mbedtls_ssl_config_init(&c->conf);
	mbedtls_ssl_init(&c->ssl);
	mbedtls_x509_crt_init(&c->ca);
	if (!load_ca(c, f->ca_file, err))
		return false;
	if (psa_crypto_init() != PSA_SUCCESS ||
	    mbedtls_ssl_config_defaults(&c->conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0)
		abort();
	mbedtls_ssl_conf_rng(&c->conf, rng, NULL);
	mbedtls_ssl_conf_authmode(&c->conf, MBEDTLS_SSL_VERIFY_REQUIRED);
	mbedtls_ssl_conf_ca_chain(&c->conf, &c->ca, NULL);
	if (mbedtls_ssl_setup(&c->ssl, &c->conf) != 0 || mbedtls_ssl_set_hostname(&c->ssl, t->host) != 0)
		abort();
	mbedtls_ssl_set_bio(&c->ssl, &c->fd, bio_send, bio_recv, NULL);
	bad = mbedtls_ssl_handshake(&c->ssl);
	return bad == 0 || tls_failed(c, t, bad, err);
}

static void conn_close(struct conn *c)
{
	if (c->is_tls) {
		mbedtls_ssl_free(&c->ssl);
		mbedtls_ssl_config_free(&c->conf);
		mbedtls_x509_crt_free(&c->ca);
	}
	if (c->fd >= 0)
		(void)close(c->fd);
}

static bool conn_write(struct conn *c, struct str s, struct err *err)
{
	while (s.n) {
		ssize_t n = c->is_tls ? (ssize_t)mbedtls_ssl_write(&c->ssl, (const unsigned char *)s.p, s.n) :
					send(c->fd, s.p, s.n, MSG_NOSIGNAL);

		if (n <= 0)
			return err_set(err, ERR_UNAVAILABLE, "the server does not take the request");
		s.p += n;
		s.n -= (size_t)n;
	}
	return true;
}

/* Until the server closes. */
static bool conn_read_all(struct conn *c, struct strb *b, struct err *err)
{
	char buf[16384];

	for (;;) {
		ssize_t n = c->is_tls ? (ssize_t)mbedtls_ssl_read(&c->ssl, (unsigned char *)buf, sizeof(buf)) :
					recv(c->fd, buf, sizeof(buf), 0);

		if (n == 0 || (c->is_tls && (n == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || n == MBEDTLS_ERR_SSL_CONN_EOF)))
			return true;
		if (c->is_tls && (n == MBEDTLS_ERR_SSL_WANT_READ || n == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET))
			continue;
		if (n < 0)
			return err_set(err, ERR_UNAVAILABLE, "the server does not answer in time, or went away");
		strb_put(b, buf, (size_t)n);
		if (b->overflow)
			return err_set(err, ERR_EXHAUSTED, "the answer has more than %d bytes", FETCH_BYTES_MAX);
	}
}

/* --- the reply --------------------------------------------------------------------------------------------------------------- */

static bool header_is(struct str head, const char *name, struct str *ret)
{
	size_t n = strlen(name);

	for (const char *p = head.p, *end = head.p + head.n; p < end;) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((eol ? eol : end) - p);

		if (len > n && p[n] == ':' && str_ieq((struct str){p, n}, str_c(name))) {
			const char *v = p + n + 1, *stop = p + len;

			while (v < stop && (*v == ' ' || *v == '\t'))
				v++;
			while (stop > v && (stop[-1] == '\r' || stop[-1] == ' '))
				stop--;
			*ret = (struct str){v, (size_t)(stop - v)};
			return true;
		}
		p += len + 1;
	}
	return false;
}

static bool cut_short(struct err *err)
{
	return err_set(err, ERR_UNAVAILABLE, "the answer ends in the middle");
}

static bool unchunk(struct arena *a, struct str in, struct str *ret, struct err *err)
{
	char *out = arena_alloc(a, in.n + 1);
	size_t n = 0;

	for (;;) {
		const char *eol = memchr(in.p, '\n', in.n);
		size_t size = 0, used, digits = 0;

		if (!eol)
			return cut_short(err);
		used = (size_t)(eol - in.p) + 1;
		for (const char *p = in.p; p < eol; p++, digits++) {
			int v = *p >= '0' && *p <= '9' ? *p - '0' : (*p | 32) >= 'a' && (*p | 32) <= 'f' ? (*p | 32) - 'a' + 10 : -1;

			if (v < 0)
				break;
			if (size > FETCH_BYTES_MAX)
				return cut_short(err);
			size = size * 16 + (size_t)v;
		}
		in.p += used;
		in.n -= used;
		if (!digits || size > in.n)
			return cut_short(err);
		if (size == 0)
			break;
		memcpy(out + n, in.p, size);
		n += size;
		used = MIN(size + 2, in.n);
		in.p += used;
		in.n -= used;
	}
	*ret = (struct str){out, n};
	return true;
}

static bool parse_reply(struct arena *a, struct str all, unsigned *ret_status, struct str *ret_body, struct err *err)
{
	const char *end = all.n > 12 ? memmem(all.p, all.n, "\r\n\r\n", 4) : NULL;
	struct str head, body, v;
	int64_t n;

	if (!end || !str_starts(all, STR("HTTP/1.")) || !str_to_i64((struct str){all.p + 9, 3}, &n) || n < 100 || n > 599)
		return err_set(err, ERR_UNAVAILABLE, "what answers there does not speak HTTP/1.1");
	*ret_status = (unsigned)n;
	head = (struct str){all.p, (size_t)(end - all.p)};
	body = (struct str){end + 4, all.n - head.n - 4};
	if (header_is(head, "transfer-encoding", &v) && str_ieq(v, STR("chunked")))
		return unchunk(a, body, ret_body, err);
	if (header_is(head, "content-length", &v)) {
		if (!str_to_i64(v, &n) || n < 0 || (uint64_t)n > body.n)
			return cut_short(err);
		body.n = (size_t)n;
	}
	*ret_body = arena_dup(a, body);
	return true;
}

bool http_fetch(const struct fetch *f, struct arena *a, unsigned *ret_status, struct str *ret_body, struct err *err)
{
	struct conn c = {.fd = -1};
	struct strb out, in;
	struct target t;
	bool ok;

	if (!parse_url(f->url, &t, err))
		return false;
	strb_init(&out, HEAD_MAX + f->body.n);
	strb_init(&in, FETCH_BYTES_MAX);
	strb_putf(&out, "%s %.*s%s HTTP/1.1\r\nHost: %s%s%s:%s\r\nAccept: application/json\r\nConnection: close\r\n", f->method,
		  STR_FMT(t.prefix), f->path, strchr(t.host, ':') ? "[" : "", t.host, strchr(t.host, ':') ? "]" : "", t.port);
	if (f->token)
		strb_putf(&out, "Authorization: Bearer %s\r\n", f->token);
	if (f->body.p)
		strb_putf(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", f->body.n);
	else if (strcmp(f->method, "GET") != 0)
		strb_putf(&out, "Content-Length: 0\r\n");
	strb_puts(&out, STR("\r\n"));
	strb_puts(&out, f->body);
	ok = !out.overflow || err_set(err, ERR_INVALID, "the request is too long");
	ok = ok && conn_open(&c, &t, f, err) && conn_write(&c, strb_str(&out), err) && conn_read_all(&c, &in, err) &&
	     parse_reply(a, strb_str(&in), ret_status, ret_body, err);
	conn_close(&c);
	strb_fini(&out);
	strb_fini(&in);
	return ok;
}
