/* TLS to Postgres, the parts that need no libpq: names, reasons, what a file holds. */
#include "tap.h"

#include "../../src/pqtls/pqtls_files.c"
#include "../../src/pqtls/pqtls_names.c"
#include "../../src/pqtls/pqtls_random.c"
#include "../../src/pqtls/pqtls_reasons.c"

static bool matches(const char *name, const char *host)
{
	return pqtls_name_matches(name, strlen(name), host);
}

TEST(names)
{
	CHECK(matches("db.test", "db.test"));
	CHECK(matches("DB.Test", "db.TEST"));
	CHECK(!matches("db.test", "db.tes"));
	CHECK(!matches("db.tes", "db.test"));
	CHECK(!matches("", ""));
	CHECK(!pqtls_name_matches("db.test\0.evil", 13, "db.test"));
	CHECK(matches("*.test", "db.test"));
	CHECK(!matches("*.test", "a.db.test"));
	CHECK(!matches("*.test", ".test"));
	CHECK(!matches("*.test", "test"));
	CHECK(!matches("*", "test"));
	CHECK(!matches("*.", "test."));
	CHECK(!matches("d*.test", "db.test"));
	CHECK(!matches("*.0.0.1", "127.0.0.1"));
	CHECK(matches("127.0.0.1", "127.0.0.1"));
}

TEST(addresses)
{
	CHECK(pqtls_is_ip("127.0.0.1"));
	CHECK(pqtls_is_ip("::1"));
	CHECK(pqtls_is_ip("fe80::12"));
	CHECK(!pqtls_is_ip("db.test"));
	CHECK(!pqtls_is_ip(""));
	CHECK(!pqtls_is_ip("::g"));
}

TEST(the_weightiest_reason)
{
	CHECK_STR(pqtls_reason(MBEDTLS_X509_BADCERT_EXPIRED), "expired");
	CHECK_STR(pqtls_reason(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_REVOKED), "revoked");
	CHECK_STR(pqtls_reason(MBEDTLS_X509_BADCERT_NOT_TRUSTED | MBEDTLS_X509_BADCERT_EXPIRED), "unknown authority");
	CHECK_STR(pqtls_reason(1u << 30), "refused");
	CHECK_STR(pqtls_alert(48), "unknown authority");
	CHECK(pqtls_alert(255) == NULL);
}

/* RFC 5929 4.1: MD5 and SHA-1 become SHA-256, every other hash is itself. */
TEST(hash_of_channel_binding)
{
	CHECK_EQ(pqtls_binding_md(MBEDTLS_MD_MD5), MBEDTLS_MD_SHA256);
	CHECK_EQ(pqtls_binding_md(MBEDTLS_MD_SHA1), MBEDTLS_MD_SHA256);
	CHECK_EQ(pqtls_binding_md(MBEDTLS_MD_SHA256), MBEDTLS_MD_SHA256);
	CHECK_EQ(pqtls_binding_md(MBEDTLS_MD_SHA384), MBEDTLS_MD_SHA384);
	CHECK_EQ(pqtls_binding_md(MBEDTLS_MD_SHA512), MBEDTLS_MD_SHA512);
	CHECK_EQ(pqtls_binding_md(MBEDTLS_MD_NONE), MBEDTLS_MD_NONE);
}

TEST(files_that_hold_nothing)
{
	static const char *const texts[] = {"", "words", "-----BEGIN CERTIFICATE-----\n", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "\x30\x03\x02\x01\x01"};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		mbedtls_x509_crt crt;
		mbedtls_x509_crl crl;
		struct pqtls_why why = {""};

		mbedtls_x509_crt_init(&crt);
		mbedtls_x509_crl_init(&crl);
		CHECK(!pqtls_certs_parse(&crt, (const unsigned char *)texts[i], strlen(texts[i]), &why));
		CHECK(strstr(why.text, "no certificate can be read from it"));
		CHECK(!pqtls_crls_parse(&crl, (const unsigned char *)texts[i], strlen(texts[i]), &why));
		CHECK(strstr(why.text, "no revocation list can be read from it"));
		mbedtls_x509_crt_free(&crt);
		mbedtls_x509_crl_free(&crl);
	}
}

TEST(which_names_are_lists)
{
	CHECK(named_as_list("1a2b3c4d.r0"));
	CHECK(named_as_list("1a2b3c4d.r12"));
	CHECK(named_as_list("authority.crl"));
	CHECK(!named_as_list("1a2b3c4d.0"));
	CHECK(!named_as_list("1a2b3c4d.r"));
	CHECK(!named_as_list("1a2b3c4d.r1x"));
	CHECK(!named_as_list(".crl"));
	CHECK(!named_as_list("README"));
}
