/* TLS on mbedTLS, without a socket.
 *
 * The library reads from a span and writes into a buffer, so it never has to wait in the middle of a record it writes, many
 * records leave with one system call, and tests and fuzzers need no network.
 *
 * No renegotiation, no tickets, no resumption, no early data: connections are few and live long, and each of these has been a
 * hole before.  Only suites with forward secrecy and authenticated encryption. */
#include "tls_conn.h"

#include "base/strb.h"
#include "crypto/random.h"

#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>
#include <stdio.h>
#include <stdlib.h>

/* What is encrypted at once, and alerts a peer provokes meanwhile; one that does not read them is cut off. */
enum { OUT_MAX = TLS_OUT_WAIT + (32 << 10), RSA_BITS_MIN = 2048 };

struct tls_ctx {
	unsigned refs;
	mbedtls_ssl_config conf;
	mbedtls_x509_crt cert, client_ca;
	mbedtls_pk_context key;
	bool need_client_cert;
};

struct tls {
	struct tls_ctx *ctx;
	mbedtls_ssl_context ssl;
	struct str in;
	struct strb out;
	size_t out_off;
	int why;
	uint32_t verdict;	/* on the client's certificate, when that was the reason */
	bool is_up, is_over, has_client;
};

static const int suites[] = {
	MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS1_3_AES_256_GCM_SHA384, MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, 0};
static const uint16_t groups[] = {MBEDTLS_SSL_IANA_TLS_GROUP_X25519, MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
	MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_NONE};
static const uint16_t signatures[] = {MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
	MBEDTLS_TLS1_3_SIG_ECDSA_SECP521R1_SHA512, MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256, MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,
	MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512, MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256, MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,
	MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512, MBEDTLS_TLS1_3_SIG_NONE};
static const char *protocols[] = {"h2", "http/1.1", NULL};

static int rng(void *arg, unsigned char *out, size_t n)
{
	random_bytes(out, n);
	return 0;
}

/* --- contexts ---------------------------------------------------------------------------------------------------------------- */

static bool load_certs(mbedtls_x509_crt *crt, const struct tls_text *t, struct err *err)
{
	int bad = mbedtls_x509_crt_parse(crt, (const unsigned char *)t->pem.p, t->pem.n + 1);

	if (bad < 0 && memmem(t->pem.p, t->pem.n, "-----BEGIN CERTIFICATE", 22))
		return err_set(err, ERR_INVALID, "the certificate in %s cannot be used: RSA or ECDSA, whole and in PEM form is needed", t->from);
	if (bad < 0 || !crt->raw.p)
		return err_set(err, ERR_INVALID, "%s holds no certificate in PEM form", t->from);
	return bad == 0 || err_set(err, ERR_INVALID, "%s: %d of its certificates cannot be read", t->from, bad);
}

static bool load_key(struct tls_ctx *c, const struct tls_conf *conf, struct err *err)
{
	const struct tls_text *t = &conf->key;
	int bad = mbedtls_pk_parse_key(&c->key, (const unsigned char *)t->pem.p, t->pem.n + 1, NULL, 0, rng, NULL);

	if (bad == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || bad == MBEDTLS_ERR_PK_PASSWORD_MISMATCH)
		return err_set(err, ERR_INVALID, "the private key in %s is protected by a password: store it without one", t->from);
	if (bad)
		return err_set(err, ERR_INVALID, "%s holds no private key that can be used: RSA or ECDSA in PEM form is needed", t->from);
	if (mbedtls_pk_check_pair(&c->cert.pk, &c->key, rng, NULL) != 0)
		return err_set(err, ERR_INVALID, "the private key in %s does not belong to the certificate in %s", t->from, conf->cert.from);
	return mbedtls_pk_get_type(&c->key) != MBEDTLS_PK_RSA || mbedtls_pk_get_bitlen(&c->key) >= RSA_BITS_MIN ||
	       err_set(err, ERR_INVALID, "the RSA key in %s has fewer than %d bits; clients will not accept it", t->from, RSA_BITS_MIN);
}

static void set_rules(struct tls_ctx *c, bool only_13)
{
	mbedtls_ssl_config *conf = &c->conf;

	if (psa_crypto_init() != PSA_SUCCESS ||
	    mbedtls_ssl_config_defaults(conf, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
	    mbedtls_ssl_conf_alpn_protocols(conf, protocols) != 0)
		abort();
	mbedtls_ssl_conf_rng(conf, rng, NULL);
	mbedtls_ssl_conf_min_tls_version(conf, only_13 ? MBEDTLS_SSL_VERSION_TLS1_3 : MBEDTLS_SSL_VERSION_TLS1_2);
	mbedtls_ssl_conf_max_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_ciphersuites(conf, suites);
	mbedtls_ssl_conf_groups(conf, groups);
	mbedtls_ssl_conf_sig_algs(conf, signatures);
	mbedtls_ssl_conf_renegotiation(conf, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
	mbedtls_ssl_conf_legacy_renegotiation(conf, MBEDTLS_SSL_LEGACY_NO_RENEGOTIATION);
	mbedtls_ssl_conf_tls13_key_exchange_modes(conf, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
	mbedtls_ssl_conf_session_tickets(conf, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
	/* a certificate that is shown must be good; whether one must be shown is decided call by call */
	mbedtls_ssl_conf_authmode(conf, c->client_ca.raw.p ? MBEDTLS_SSL_VERIFY_OPTIONAL : MBEDTLS_SSL_VERIFY_NONE);
	if (c->client_ca.raw.p)
		mbedtls_ssl_conf_ca_chain(conf, &c->client_ca, NULL);
	if (mbedtls_ssl_conf_own_cert(conf, &c->cert, &c->key) != 0)
		abort();
}

struct tls_ctx *tls_ctx_new(const struct tls_conf *conf, struct err *err)
{
	struct tls_ctx *c = xcalloc(1, sizeof(*c));
	bool ok;

	c->refs = 1;
	c->need_client_cert = conf->need_client_cert;
	mbedtls_ssl_config_init(&c->conf);
	mbedtls_x509_crt_init(&c->cert);
	mbedtls_x509_crt_init(&c->client_ca);
	mbedtls_pk_init(&c->key);
	ok = load_certs(&c->cert, &conf->cert, err) && load_key(c, conf, err) &&
	     (!conf->client_ca.pem.n || load_certs(&c->client_ca, &conf->client_ca, err));
	if (ok) {
		set_rules(c, conf->only_13);
		return c;
	}
	tls_ctx_unref(c);
	return NULL;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c)
{
	c->refs++;
	return c;
}

void tls_ctx_unref(struct tls_ctx *c)
{
	if (!c || --c->refs > 0)
		return;
	mbedtls_ssl_config_free(&c->conf);
	mbedtls_x509_crt_free(&c->cert);
	mbedtls_x509_crt_free(&c->client_ca);
	mbedtls_pk_free(&c->key);
	free(c);
}

/* --- connections ------------------------------------------------------------------------------------------------------------- */

static int bio_recv(void *arg, unsigned char *buf, size_t n)
{
	struct tls *t = arg;
	size_t take = MIN(n, t->in.n);

	if (!take)
		return MBEDTLS_ERR_SSL_WANT_READ;
	memcpy(buf, t->in.p, take);
	t->in.p += take;
	t->in.n -= take;
	return (int)take;
}

static int bio_send(void *arg, const unsigned char *buf, size_t n)
{
	struct tls *t = arg;

	strb_put(&t->out, buf, n);
	return t->out.overflow ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : (int)n;
}

struct tls *tls_new(struct tls_ctx *ctx)
{
	struct tls *t = xcalloc(1, sizeof(*t));

	t->ctx = tls_ctx_ref(ctx);
	strb_init(&t->out, OUT_MAX);
	mbedtls_ssl_init(&t->ssl);
	if (mbedtls_ssl_setup(&t->ssl, &ctx->conf) != 0)
		abort();	/* no memory */
	mbedtls_ssl_set_bio(&t->ssl, t, bio_send, bio_recv, NULL);
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	mbedtls_ssl_free(&t->ssl);
	strb_fini(&t->out);
	tls_ctx_unref(t->ctx);
	free(t);
}

static enum tls_got failed(struct tls *t, int why)
{
	t->is_over = true;
	t->why = why;
	t->in = STR_NULL;
	return TLS_FAILED;
}

static unsigned char alert_of(uint32_t verdict)
{
	if (verdict & MBEDTLS_X509_BADCERT_EXPIRED)
		return MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED;
	if (verdict & MBEDTLS_X509_BADCERT_NOT_TRUSTED)
		return MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA;
	return MBEDTLS_SSL_ALERT_MSG_BAD_CERT;
}

/* The handshake is over: is what the client showed any good? */
static bool judge_client(struct tls *t)
{
	uint32_t verdict = t->ctx->client_ca.raw.p ? mbedtls_ssl_get_verify_result(&t->ssl) : MBEDTLS_X509_BADCERT_MISSING;

	if (verdict & (MBEDTLS_X509_BADCERT_MISSING | MBEDTLS_X509_BADCERT_SKIP_VERIFY))
		return true;
	t->has_client = verdict == 0;
	t->verdict = verdict;
	if (verdict)
		(void)mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert_of(verdict));
	return verdict == 0;
}

enum tls_got tls_in(struct tls *t, struct str in, char *plain, size_t *ret_n)
{
	int n;

	*ret_n = 0;
	if (t->is_over)
		return TLS_FAILED;
	t->in = in;
	if (!t->is_up) {
		n = mbedtls_ssl_handshake(&t->ssl);
		if (n == MBEDTLS_ERR_SSL_WANT_READ)
			return TLS_OPEN;
		if (n != 0)
			return failed(t, n);
		t->is_up = true;
		if (!judge_client(t))
			return failed(t, MBEDTLS_ERR_X509_CERT_VERIFY_FAILED);
	}
	while ((n = mbedtls_ssl_read(&t->ssl, (unsigned char *)plain + *ret_n, TLS_PLAIN_MAX - *ret_n)) > 0) {
		*ret_n += (size_t)n;
		assert(*ret_n < TLS_PLAIN_MAX);
	}
	t->in = STR_NULL;
	if (n == MBEDTLS_ERR_SSL_WANT_READ)
		return TLS_OPEN;
	if (n == 0 || n == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
		t->is_over = true;
		return TLS_ENDED;
	}
	return failed(t, n);
}

size_t tls_out(struct tls *t, struct str plain)
{
	size_t done = 0;

	if (tls_unsent(t).n)
		return 0;
	while (done < plain.n && !t->is_over && t->out.n < TLS_OUT_WAIT) {
		int n = mbedtls_ssl_write(&t->ssl, (const unsigned char *)plain.p + done, plain.n - done);

		if (n <= 0) {
			(void)failed(t, n);
			break;
		}
		done += (size_t)n;
	}
	return t->is_over ? plain.n : done;
}

void tls_end(struct tls *t)
{
	if (t->is_up && !t->why)
		(void)mbedtls_ssl_close_notify(&t->ssl);
	t->is_up = false;
	t->is_over = true;
}

struct str tls_unsent(const struct tls *t)
{
	return t->out.p ? (struct str){t->out.p + t->out_off, t->out.n - t->out_off} : STR_NULL;
}

void tls_sent(struct tls *t, size_t n)
{
	t->out_off += n;
	if (t->out_off < t->out.n)
		return;
	t->out_off = 0;
	if (t->out.cap > 8192) {	/* thousands of silent connections: what they hold counts */
		strb_fini(&t->out);
		strb_init(&t->out, OUT_MAX);
	} else {
		strb_reset(&t->out);
	}
}

bool tls_is_up(const struct tls *t)
{
	return t->is_up;
}

bool tls_is_h2(const struct tls *t)
{
	const char *p = mbedtls_ssl_get_alpn_protocol(&t->ssl);

	return p && strcmp(p, "h2") == 0;
}

bool tls_lacks_client(const struct tls *t)
{
	return t->ctx->need_client_cert && !t->has_client;
}

const char *tls_why(const struct tls *t)
{
	static char text[160];
	int n;

	if (!t->why)
		return NULL;
	if (t->why == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED && t->verdict) {
		n = mbedtls_x509_crt_verify_info(text, sizeof(text), "", t->verdict);
		text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
		return text;
	}
	mbedtls_strerror(t->why, text, sizeof(text));
	return text;
}
