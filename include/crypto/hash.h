/* SHA-256, HMAC and the comparison that takes the same time whatever the bytes. */
#ifndef CRYPTO_HASH_H
#define CRYPTO_HASH_H
#include "base/base.h"

#define SHA256_BYTES 32
void sha256(struct str in, uint8_t out[SHA256_BYTES]);
void hmac_sha256(struct str key, struct str in, uint8_t out[SHA256_BYTES]);
bool ct_eq(struct str a, struct str b);	/* lengths are no secret, bytes are */
#endif
