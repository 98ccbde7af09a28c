/* Certificates of our own making.
 *
 * The authority may only sign servers' certificates (no further authorities), and its name says which installation made it.
 * Serial numbers are random: the same authority may sign from several processes. */
#include "crypto/cert.h"

#include <arpa/inet.h>
#include <mbedtls/asn1.h>
#include <mbedtls/ecp.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "crypto/random.h"

enum { PEM_MAX = 8192, NAMES_MAX = 16 };

static int rng(void *arg, unsigned char *out, size_t n)
{
	random_bytes(out, n);
	return 0;
}

static void new_key(mbedtls_pk_context *key)
{
	mbedtls_pk_init(key);
	if (mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) != 0 ||
	    mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key), rng, NULL) != 0)
		abort();
}

static struct str key_text(struct arena *a, const mbedtls_pk_context *key)
{
	unsigned char pem[PEM_MAX];
	struct str s;

	if (mbedtls_pk_write_key_pem(key, pem, sizeof(pem)) != 0)
		abort();
	s = arena_dup(a, str_c((const char *)pem));
	explicit_bzero(pem, sizeof(pem));
	return s;
}

static void begin(mbedtls_x509write_cert *w, mbedtls_pk_context *subject, mbedtls_pk_context *issuer, int64_t from_s, int64_t to_s)
{
	unsigned char serial[16];
	char text[2][16];
	time_t t[2] = {(time_t)from_s, (time_t)to_s};
	struct tm tm;

	mbedtls_x509write_crt_init(w);
	random_bytes(serial, sizeof(serial));
	serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40);	/* positive, and of full length */
	for (int i = 0; i < 2; i++) {
		(void)gmtime_r(&t[i], &tm);
		(void)strftime(text[i], sizeof(text[i]), "%Y%m%d%H%M%S", &tm);
	}
	mbedtls_x509write_crt_set_version(w, MBEDTLS_X509_CRT_VERSION_3);
	mbedtls_x509write_crt_set_md_alg(w, MBEDTLS_MD_SHA256);
	mbedtls_x509write_crt_set_subject_key(w, subject);
	mbedtls_x509write_crt_set_issuer_key(w, issuer);
	if (mbedtls_x509write_crt_set_serial_raw(w, serial, sizeof(serial)) != 0 ||
	    mbedtls_x509write_crt_set_validity(w, text[0], text[1]) != 0)
		abort();
}

static struct str sign(struct arena *a, mbedtls_x509write_cert *w)
{
	unsigned char pem[PEM_MAX];

	if (mbedtls_x509write_crt_set_subject_key_identifier(w) != 0 || mbedtls_x509write_crt_set_authority_key_identifier(w) != 0 ||
	    mbedtls_x509write_crt_pem(w, pem, sizeof(pem), rng, NULL) != 0)
		abort();
	return arena_dup(a, str_c((const char *)pem));
}

/* A value inside a distinguished name: nothing that its text form would read as syntax. */
static void name_text(char *out, size_t n, const char *name)
{
	size_t k = (size_t)snprintf(out, n, "O=Hatchet,CN=");

	for (; *name && k + 1 < n && k < 13 + 60; name++)
		out[k++] = strchr(",=+<>#;\"\\", *name) || (unsigned char)*name < 0x20 || (unsigned char)*name > 0x7e ? '-' : *name;
	out[k] = '\0';
}

void cert_make_authority(struct arena *a, const char *name, int64_t from_s, int64_t to_s, struct str *ret_cert, struct str *ret_key)
{
	mbedtls_pk_context key;
	mbedtls_x509write_cert w;
	char text[100];

	name_text(text, sizeof(text), name);
	new_key(&key);
	begin(&w, &key, &key, from_s, to_s);
	if (mbedtls_x509write_crt_set_subject_name(&w, text) != 0 || mbedtls_x509write_crt_set_issuer_name(&w, text) != 0 ||
	    mbedtls_x509write_crt_set_basic_constraints(&w, 1, 0) != 0 ||
	    mbedtls_x509write_crt_set_key_usage(&w, MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN) != 0)
		abort();
	*ret_cert = sign(a, &w);
	*ret_key = key_text(a, &key);
	mbedtls_x509write_crt_free(&w);
	mbedtls_pk_free(&key);
}

static void set_names(mbedtls_x509write_cert *w, const char *const *names, size_t n)
{
	mbedtls_x509_san_list list[NAMES_MAX] = {0};
	struct in6_addr ip[NAMES_MAX];
	mbedtls_asn1_sequence use = {0};

	assert(n > 0 && n <= NAMES_MAX);
	for (size_t i = 0; i < n; i++) {
		mbedtls_x509_subject_alternative_name *s = &list[i].node;
		int v4 = inet_pton(AF_INET, names[i], &ip[i]) == 1, v6 = !v4 && inet_pton(AF_INET6, names[i], &ip[i]) == 1;

		s->type = v4 || v6 ? MBEDTLS_X509_SAN_IP_ADDRESS : MBEDTLS_X509_SAN_DNS_NAME;
		s->san.unstructured_name.p = v4 || v6 ? (unsigned char *)&ip[i] : (unsigned char *)(uintptr_t)names[i];
		s->san.unstructured_name.len = v4 ? 4 : v6 ? 16 : strlen(names[i]);
		list[i].next = i + 1 < n ? &list[i + 1] : NULL;
	}
	use.buf.tag = MBEDTLS_ASN1_OID;
	use.buf.p = (unsigned char *)(uintptr_t)MBEDTLS_OID_SERVER_AUTH;
	use.buf.len = MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH);
	if (mbedtls_x509write_crt_set_subject_alternative_name(w, list) != 0 || mbedtls_x509write_crt_set_ext_key_usage(w, &use) != 0)
		abort();
}

/* The library's PEM reader wants the NUL counted; texts on arenas have one. */
static int parse_cert(mbedtls_x509_crt *crt, struct str pem)
{
	return mbedtls_x509_crt_parse(crt, (const unsigned char *)pem.p, pem.n + 1);
}

bool cert_make_server(struct arena *a, struct str ca_cert, struct str ca_key, const char *const *names, size_t n, int64_t from_s,
		      int64_t to_s, struct str *ret_cert, struct str *ret_key, struct err *err)
{
	mbedtls_pk_context key, issuer;
	mbedtls_x509_crt ca;
	mbedtls_x509write_cert w;
	char issued_by[256], text[100];
	bool ok;

	mbedtls_pk_init(&issuer);
	mbedtls_x509_crt_init(&ca);
	ok = parse_cert(&ca, ca_cert) == 0 &&
	     mbedtls_pk_parse_key(&issuer, (const unsigned char *)ca_key.p, ca_key.n + 1, NULL, 0, rng, NULL) == 0 &&
	     mbedtls_pk_check_pair(&ca.pk, &issuer, rng, NULL) == 0 &&
	     mbedtls_x509_dn_gets(issued_by, sizeof(issued_by), &ca.subject) > 0;
	if (ok) {
		name_text(text, sizeof(text), names[0]);
		new_key(&key);
		begin(&w, &key, &issuer, from_s, to_s);
		if (mbedtls_x509write_crt_set_subject_name(&w, text) != 0 || mbedtls_x509write_crt_set_issuer_name(&w, issued_by) != 0 ||
		    mbedtls_x509write_crt_set_basic_constraints(&w, 0, -1) != 0 ||
		    mbedtls_x509write_crt_set_key_usage(&w, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0)
			abort();
		set_names(&w, names, n);
		*ret_cert = sign(a, &w);
		*ret_key = key_text(a, &key);
		mbedtls_x509write_crt_free(&w);
		mbedtls_pk_free(&key);
	}
	mbedtls_pk_free(&issuer);
	mbedtls_x509_crt_free(&ca);
	return ok || err_set(err, ERR_INVALID, "the certificate authority is damaged");
}

bool cert_ends(struct str pem, int64_t *ret_s)
{
	mbedtls_x509_crt crt;
	struct tm tm;
	bool ok;

	mbedtls_x509_crt_init(&crt);
	ok = parse_cert(&crt, pem) >= 0;
	if (ok) {
		tm = (struct tm){.tm_year = crt.valid_to.year - 1900, .tm_mon = crt.valid_to.mon - 1, .tm_mday = crt.valid_to.day,
			.tm_hour = crt.valid_to.hour, .tm_min = crt.valid_to.min, .tm_sec = crt.valid_to.sec};
		*ret_s = (int64_t)timegm(&tm);
	}
	mbedtls_x509_crt_free(&crt);
	return ok;
}
