/* Numbers of TLS in words, and the hash of channel binding. */
#include "pqtls.h"

const char *pqtls_reason(uint32_t flags)
{
	/* what comes first says most about what to do */
	static const struct {
		uint32_t flag;
		const char *text;
	} reasons[] = {
		{MBEDTLS_X509_BADCERT_REVOKED, "revoked"},
		{MBEDTLS_X509_BADCERT_NOT_TRUSTED, "unknown authority"},
		{MBEDTLS_X509_BADCERT_EXPIRED, "expired"},
		{MBEDTLS_X509_BADCERT_FUTURE, "not valid yet"},
		{MBEDTLS_X509_BADCRL_NOT_TRUSTED, "the revocation list is not signed by the authority"},
		{MBEDTLS_X509_BADCRL_EXPIRED, "the revocation list is out of date"},
		{MBEDTLS_X509_BADCRL_FUTURE, "the revocation list is not valid yet"},
		{MBEDTLS_X509_BADCRL_BAD_MD, "the revocation list is signed with a weak hash"},
		{MBEDTLS_X509_BADCRL_BAD_PK | MBEDTLS_X509_BADCRL_BAD_KEY, "the revocation list is signed with a weak key"},
		{MBEDTLS_X509_BADCERT_OTHER, "no revocation list of its authority was given"},
		{MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE | MBEDTLS_X509_BADCERT_NS_CERT_TYPE,
		 "not made for a server"},
		{MBEDTLS_X509_BADCERT_BAD_MD, "signed with a weak hash"},
		{MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY, "its key is too weak"},
		{MBEDTLS_X509_BADCERT_CN_MISMATCH, "name mismatch"},
		{MBEDTLS_X509_BADCERT_MISSING, "the server sent none"},
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (flags & reasons[i].flag)
			return reasons[i].text;
	return "refused";
}

const char *pqtls_alert(int description)
{
	/* RFC 8446 6.2, RFC 7301 */
	switch (description) {
	case 0: return "close notify";
	case 10: return "unexpected message";
	case 20: return "bad record";
	case 22: return "record overflow";
	case 40: return "handshake failure";
	case 42: return "bad certificate";
	case 43: return "unsupported certificate";
	case 44: return "certificate revoked";
	case 45: return "certificate expired";
	case 46: return "certificate unknown";
	case 47: return "illegal parameter";
	case 48: return "unknown authority";
	case 49: return "access denied";
	case 50: return "decode error";
	case 51: return "decrypt error";
	case 70: return "protocol version";
	case 71: return "insufficient security";
	case 80: return "internal error";
	case 86: return "inappropriate fallback";
	case 90: return "user canceled";
	case 109: return "missing extension";
	case 110: return "unsupported extension";
	case 112: return "unrecognized name";
	case 116: return "certificate required";
	case 120: return "no application protocol";
	default: return NULL;
	}
}

mbedtls_md_type_t pqtls_binding_md(mbedtls_md_type_t sig)
{
	if (sig == MBEDTLS_MD_MD5 || sig == MBEDTLS_MD_SHA1)
		return MBEDTLS_MD_SHA256;
	return mbedtls_md_info_from_type(sig) ? sig : MBEDTLS_MD_NONE;
}
