/* Certificates, revocation lists and host names that come from files and from a server we do not trust yet.  The first byte says
 * what the rest is. */
#include "fuzz.h"

#include "../../src/pqtls/pqtls_files.c"
#include "../../src/pqtls/pqtls_names.c"
#include "../../src/pqtls/pqtls_random.c"
#include "../../src/pqtls/pqtls_reasons.c"

static void names(const mbedtls_x509_crt *crt)
{
	static const char *const hosts[] = {"db.test", "a.db.test", "127.0.0.1", "::1", ""};

	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		struct pqtls_names seen;
		enum pqtls_match m = pqtls_match(crt, hosts[i], &seen);

		FUZZ_MUST(strlen(seen.first) < sizeof(seen.first));
		FUZZ_MUST(m != PQTLS_YES || seen.n > 0);
		for (const char *p = seen.first; *p; p++)
			FUZZ_MUST(*p >= ' ' && *p < 127);
	}
}

static void certificates(const unsigned char *text, size_t n)
{
	struct pqtls_why why = {""};
	mbedtls_x509_crt crt;

	mbedtls_x509_crt_init(&crt);
	if (pqtls_certs_parse(&crt, text, n, &why))
		for (const mbedtls_x509_crt *c = &crt; c; c = c->next) {
			names(c);
			(void)pqtls_binding_md(c->MBEDTLS_PRIVATE(sig_md));
			(void)pqtls_crl_covers(NULL, c);
		}
	else
		FUZZ_MUST(why.text[0] && memchr(why.text, 0, sizeof(why.text)));
	mbedtls_x509_crt_free(&crt);
}

static void lists(const unsigned char *text, size_t n)
{
	struct pqtls_why why = {""};
	mbedtls_x509_crl crl;

	mbedtls_x509_crl_init(&crl);
	if (!pqtls_crls_parse(&crl, text, n, &why))
		FUZZ_MUST(why.text[0] && memchr(why.text, 0, sizeof(why.text)));
	mbedtls_x509_crl_free(&crl);
}

/* name, zero, host: a match means that the name is the host's, or a star before all but its first label */
static void one_name(const char *text, size_t n)
{
	const char *zero = memchr(text, 0, n), *host = zero ? zero + 1 : "db.test";
	size_t len = zero ? (size_t)(zero - text) : n;

	if (!pqtls_name_matches(text, len, host))
		return;
	FUZZ_MUST(len > 0);
	FUZZ_MUST((len == strlen(host) && strncasecmp(text, host, len) == 0) ||
		  (text[0] == '*' && strchr(host, '.') && strncasecmp(text + 1, strchr(host, '.'), len - 1) == 0 && !pqtls_is_ip(host)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	unsigned char *text;

	if (n == 0)
		return 0;
	text = malloc(n);	/* with the zero that the files' reader puts there */
	FUZZ_MUST(text);
	memcpy(text, data + 1, n - 1);
	text[n - 1] = 0;
	if (data[0] % 3 == 0)
		certificates(text, n - 1);
	else if (data[0] % 3 == 1)
		lists(text, n - 1);
	else
		one_name((const char *)text, n - 1);
	free(text);
	return 0;
}
