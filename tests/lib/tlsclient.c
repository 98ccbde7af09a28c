#include "tlsclient.h"

#include "crypto/random.h"

#include <mbedtls/oid.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>
#include <stdlib.h>
#include <time.h>

struct tlsclient {
	mbedtls_ssl_config conf;
	mbedtls_ssl_context ssl;
	mbedtls_x509_crt ca, cert;
	mbedtls_pk_context key;
	struct str in;
	struct strb *to;
	bool is_up, is_over;
	int why;
};

static int rng(void *arg, unsigned char *out, size_t n)
{
	random_bytes(out, n);
	return 0;
}

static void must(int rc)
{
	if (rc != 0)
		abort();
}

static int bio_recv(void *arg, unsigned char *buf, size_t n)
{
	struct tlsclient *t = arg;
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
	strb_put(((struct tlsclient *)arg)->to, buf, n);
	return (int)n;
}

static const unsigned char *pem(struct str s)
{
	return (const unsigned char *)s.p;
}

struct tlsclient *tlsclient_new(const struct tlsclient_conf *conf)
{
	struct tlsclient *t = xcalloc(1, sizeof(*t));

	mbedtls_ssl_config_init(&t->conf);
	mbedtls_ssl_init(&t->ssl);
	mbedtls_x509_crt_init(&t->ca);
	mbedtls_x509_crt_init(&t->cert);
	mbedtls_pk_init(&t->key);
	must((int)psa_crypto_init());
	must(mbedtls_ssl_config_defaults(&t->conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT));
	mbedtls_ssl_conf_rng(&t->conf, rng, NULL);
	mbedtls_ssl_conf_authmode(&t->conf, conf->ca.n ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
	if (conf->ca.n) {
		must(mbedtls_x509_crt_parse(&t->ca, pem(conf->ca), conf->ca.n + 1));
		mbedtls_ssl_conf_ca_chain(&t->conf, &t->ca, NULL);
	}
	if (conf->cert.n) {
		must(mbedtls_x509_crt_parse(&t->cert, pem(conf->cert), conf->cert.n + 1));
		must(mbedtls_pk_parse_key(&t->key, pem(conf->key), conf->key.n + 1, NULL, 0, rng, NULL));
		must(mbedtls_ssl_conf_own_cert(&t->conf, &t->cert, &t->key));
	}
	if (conf->alpn)
		must(mbedtls_ssl_conf_alpn_protocols(&t->conf, conf->alpn));
	if (conf->suites)
		mbedtls_ssl_conf_ciphersuites(&t->conf, conf->suites);
	if (conf->only_12)
		mbedtls_ssl_conf_max_tls_version(&t->conf, MBEDTLS_SSL_VERSION_TLS1_2);
	if (conf->only_13)
		mbedtls_ssl_conf_min_tls_version(&t->conf, MBEDTLS_SSL_VERSION_TLS1_3);
	must(mbedtls_ssl_setup(&t->ssl, &t->conf));
	must(mbedtls_ssl_set_hostname(&t->ssl, conf->name));
	mbedtls_ssl_set_bio(&t->ssl, t, bio_send, bio_recv, NULL);
	return t;
}

void tlsclient_free(struct tlsclient *t)
{
	mbedtls_ssl_free(&t->ssl);
	mbedtls_ssl_config_free(&t->conf);
	mbedtls_x509_crt_free(&t->ca);
	mbedtls_x509_crt_free(&t->cert);
	mbedtls_pk_free(&t->key);
	free(t);
}

static bool over(struct tlsclient *t, int why)
{
	t->is_over = true;
	t->why = why;
	return false;
}

bool tlsclient_step(struct tlsclient *t, struct str in, struct strb *to, struct strb *got)
{
	unsigned char buf[4096];
	int n;

	if (t->is_over)
		return false;
	t->in = in;
	t->to = to;
	if (!t->is_up) {
		n = mbedtls_ssl_handshake(&t->ssl);
		if (n == MBEDTLS_ERR_SSL_WANT_READ)
			return true;
		if (n != 0)
			return over(t, n);
		t->is_up = true;
	}
	do {
		n = mbedtls_ssl_read(&t->ssl, buf, sizeof(buf));
		if (n > 0)
			strb_put(got, buf, (size_t)n);
	} while (n > 0 || n == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
	return n == MBEDTLS_ERR_SSL_WANT_READ || over(t, n == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY ? 0 : n);
}

void tlsclient_write(struct tlsclient *t, struct str plain, struct strb *to)
{
	t->to = to;
	while (plain.n) {
		int n = mbedtls_ssl_write(&t->ssl, pem(plain), plain.n);

		if (n <= 0)
			abort();
		plain.p += n;
		plain.n -= (size_t)n;
	}
}

void tlsclient_close(struct tlsclient *t, struct strb *to)
{
	t->to = to;
	must(mbedtls_ssl_close_notify(&t->ssl));
}

bool tlsclient_up(const struct tlsclient *t)
{
	return t->is_up;
}

int tlsclient_why(const struct tlsclient *t)
{
	return t->why;
}

const char *tlsclient_version(const struct tlsclient *t)
{
	return mbedtls_ssl_get_version(&t->ssl);
}

const char *tlsclient_suite(const struct tlsclient *t)
{
	return mbedtls_ssl_get_ciphersuite(&t->ssl);
}

const char *tlsclient_alpn(const struct tlsclient *t)
{
	const char *p = mbedtls_ssl_get_alpn_protocol(&t->ssl);

	return p ? p : "";
}

static const char *day(int64_t s, char out[16])
{
	time_t t = (time_t)s;
	struct tm tm;

	(void)gmtime_r(&t, &tm);
	(void)strftime(out, 16, "%Y%m%d%H%M%S", &tm);
	return out;
}

void tlsclient_make_cert(struct arena *a, struct str ca_cert, struct str ca_key, int64_t from_s, int64_t to_s, struct str *ret_cert,
			 struct str *ret_key)
{
	mbedtls_asn1_sequence use = {.buf = {MBEDTLS_ASN1_OID, MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH),
					     (unsigned char *)(uintptr_t)MBEDTLS_OID_CLIENT_AUTH}};
	unsigned char serial[] = {7}, text[4096];
	char issued_by[256], from[16], to[16];
	mbedtls_x509write_cert w;
	mbedtls_pk_context key, issuer;
	mbedtls_x509_crt ca;

	mbedtls_x509write_crt_init(&w);
	mbedtls_pk_init(&key);
	mbedtls_pk_init(&issuer);
	mbedtls_x509_crt_init(&ca);
	must(mbedtls_x509_crt_parse(&ca, pem(ca_cert), ca_cert.n + 1));
	must(mbedtls_pk_parse_key(&issuer, pem(ca_key), ca_key.n + 1, NULL, 0, rng, NULL));
	must(mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)));
	must(mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key), rng, NULL));
	if (mbedtls_x509_dn_gets(issued_by, sizeof(issued_by), &ca.subject) <= 0)
		abort();
	mbedtls_x509write_crt_set_md_alg(&w, MBEDTLS_MD_SHA256);
	mbedtls_x509write_crt_set_subject_key(&w, &key);
	mbedtls_x509write_crt_set_issuer_key(&w, &issuer);
	must(mbedtls_x509write_crt_set_serial_raw(&w, serial, sizeof(serial)));
	must(mbedtls_x509write_crt_set_validity(&w, day(from_s, from), day(to_s, to)));
	must(mbedtls_x509write_crt_set_subject_name(&w, "CN=worker"));
	must(mbedtls_x509write_crt_set_issuer_name(&w, issued_by));
	must(mbedtls_x509write_crt_set_ext_key_usage(&w, &use));
	must(mbedtls_x509write_crt_pem(&w, text, sizeof(text), rng, NULL));
	*ret_cert = arena_dup(a, str_c((char *)text));
	must(mbedtls_pk_write_key_pem(&key, text, sizeof(text)));
	*ret_key = arena_dup(a, str_c((char *)text));
	mbedtls_x509write_crt_free(&w);
	mbedtls_pk_free(&key);
	mbedtls_pk_free(&issuer);
	mbedtls_x509_crt_free(&ca);
}
