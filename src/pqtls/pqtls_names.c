/* Is this certificate the host's?  The rules are those that libpq documents for verify-full. */
#include "pqtls.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <mbedtls/oid.h>

enum { SAN_DNS = 2, SAN_IP = 7 };	/* choices of GeneralName, RFC 5280 4.2.1.6 */

bool pqtls_is_ip(const char *host)
{
	struct in6_addr six;
	struct in_addr four;

	return inet_aton(host, &four) || inet_pton(AF_INET6, host, &six) == 1;
}

static bool same(const char *name, const char *host, size_t n)
{
	return strncasecmp(name, host, n) == 0;
}

bool pqtls_name_matches(const char *name, size_t n, const char *host)
{
	size_t h = strlen(host);

	if (n == 0 || memchr(name, 0, n))
		return false;
	if (n == h && same(name, host, n))
		return true;
	/* the numbers of an address are no labels that a star could stand for */
	if (n < 3 || name[0] != '*' || name[1] != '.' || pqtls_is_ip(host))
		return false;
	const char *dot = strchr(host, '.');

	return dot && dot > host && n - 1 == h - (size_t)(dot - host) && same(name + 1, dot, n - 1);
}

static void note(struct pqtls_names *seen, const char *name, size_t n)
{
	if (seen->n++ > 0)
		return;
	if (n > sizeof(seen->first) - 1)
		n = sizeof(seen->first) - 1;
	for (size_t i = 0; i < n; i++)
		seen->first[i] = name[i] >= ' ' && name[i] < 127 ? name[i] : '?';
	seen->first[n] = 0;
}

static enum pqtls_match match_dns(const mbedtls_x509_buf *b, const char *host, struct pqtls_names *seen)
{
	const char *name = (const char *)b->p;

	note(seen, name, b->len);
	if (b->len && memchr(name, 0, b->len))
		return PQTLS_BAD_NAME;
	return pqtls_name_matches(name, b->len, host) ? PQTLS_YES : PQTLS_NO;
}

static enum pqtls_match match_ip(const mbedtls_x509_buf *b, const char *host, struct pqtls_names *seen)
{
	int family = b->len == 4 ? AF_INET : AF_INET6;
	char text[INET6_ADDRSTRLEN];
	struct in6_addr six;
	struct in_addr four;

	if ((b->len != 4 && b->len != 16) || !inet_ntop(family, b->p, text, sizeof(text)))
		return PQTLS_BAD_IP;
	note(seen, text, strlen(text));
	if (family == AF_INET)
		return inet_aton(host, &four) && memcmp(&four, b->p, 4) == 0 ? PQTLS_YES : PQTLS_NO;
	return inet_pton(AF_INET6, host, &six) == 1 && memcmp(&six, b->p, 16) == 0 ? PQTLS_YES : PQTLS_NO;
}

enum pqtls_match pqtls_match(const mbedtls_x509_crt *crt, const char *host, struct pqtls_names *seen)
{
	bool ip = pqtls_is_ip(host), common_name = true;

	memset(seen, 0, sizeof(*seen));
	for (const mbedtls_x509_sequence *s = &crt->subject_alt_names; s && s->buf.p; s = s->next) {
		int kind = s->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK;

		if (kind != SAN_DNS && kind != SAN_IP)
			continue;
		/* names of the host's kind are the certificate's last word: the common name is for old certificates without */
		if ((kind == SAN_IP) == ip)
			common_name = false;
		enum pqtls_match m = kind == SAN_DNS ? match_dns(&s->buf, host, seen) : match_ip(&s->buf, host, seen);

		if (m != PQTLS_NO)
			return m;
	}
	for (const mbedtls_x509_name *n = common_name ? &crt->subject : NULL; n; n = n->next)
		if (n->oid.p && n->val.p && MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &n->oid) == 0)
			return match_dns(&n->val, host, seen);
	return PQTLS_NO;
}
