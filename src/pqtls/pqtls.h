/* What TLS to Postgres takes besides libpq: files, names, reasons.  Nothing of libpq in here, so that tests and fuzzers reach it
 * alone. */
#ifndef PQTLS_H
#define PQTLS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>

#define PQTLS_FILE_MAX (8u << 20)	/* the largest bundle of authorities known has a quarter of a megabyte, lists grow larger */

/* why a step failed, as one sentence without its end */
struct pqtls_why {
	char text[512];
};

/* --- names.c */
enum pqtls_match {
	PQTLS_NO,
	PQTLS_YES,
	PQTLS_BAD_NAME,		/* a zero byte in a name: such a certificate was made to deceive */
	PQTLS_BAD_IP,		/* an address that has neither 4 nor 16 bytes */
};
struct pqtls_names {
	int n;			/* names that were compared */
	char first[256];	/* the first of them, readable */
};
bool pqtls_is_ip(const char *host);
/* one name of a certificate against a host name: equal but for case, or "*.rest" for one label before the rest */
bool pqtls_name_matches(const char *name, size_t n, const char *host);
enum pqtls_match pqtls_match(const mbedtls_x509_crt *crt, const char *host, struct pqtls_names *seen);

/* --- reasons.c */
const char *pqtls_reason(uint32_t flags);	/* the weightiest of mbedTLS's verdicts on a certificate */
const char *pqtls_alert(int description);	/* what the other side's alert means, NULL when it has no name */
/* the hash that SCRAM's tls-server-end-point takes for a certificate signed with `sig`; NONE when there is none (RFC 5929, 4.1) */
mbedtls_md_type_t pqtls_binding_md(mbedtls_md_type_t sig);

/* --- files.c: PEM or DER; text[n] is 0.  What fails leaves a reason and may leave a part. */
bool pqtls_certs_parse(mbedtls_x509_crt *to, const unsigned char *text, size_t n, struct pqtls_why *why);
bool pqtls_crls_parse(mbedtls_x509_crl *to, const unsigned char *text, size_t n, struct pqtls_why *why);
bool pqtls_certs_file(mbedtls_x509_crt *to, const char *path, struct pqtls_why *why);
bool pqtls_crls_file(mbedtls_x509_crl *to, const char *path, struct pqtls_why *why);
/* the lists among the files of a folder, whatever these are called */
bool pqtls_crls_dir(mbedtls_x509_crl *to, const char *path, struct pqtls_why *why);
bool pqtls_key_file(mbedtls_pk_context *to, const char *path, const char *password, struct pqtls_why *why);
/* is there a list of the authority that signed this certificate */
bool pqtls_crl_covers(const mbedtls_x509_crl *crl, const mbedtls_x509_crt *crt);

/* --- random.c: mbedTLS's f_rng */
int pqtls_random(void *ctx, unsigned char *to, size_t n);
#endif
