/* Hashes.  The calls below cannot fail on memory input; if the library says otherwise the process ends. */
#include "crypto/hash.h"

#include <mbedtls/constant_time.h>
#include <mbedtls/md.h>
#include <mbedtls/sha256.h>
#include <stdlib.h>

static const unsigned char *bytes(struct str s)
{
	return (const unsigned char *)(s.n ? s.p : "");
}

void sha256(struct str in, uint8_t out[SHA256_BYTES])
{
	if (mbedtls_sha256(bytes(in), in.n, out, 0) != 0)
		abort();
}

void hmac_sha256(struct str key, struct str in, uint8_t out[SHA256_BYTES])
{
	const mbedtls_md_info_t *md = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);

	if (mbedtls_md_hmac(md, bytes(key), key.n, bytes(in), in.n, out) != 0)
		abort();
}

bool ct_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || mbedtls_ct_memcmp(a.p, b.p, a.n) == 0);
}
