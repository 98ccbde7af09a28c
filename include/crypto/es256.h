/* ES256: ECDSA on P-256 with SHA-256, signatures as r and s of 32 bytes each. */
#ifndef CRYPTO_ES256_H
#define CRYPTO_ES256_H
#include "base/base.h"

#define ES256_KEY_BYTES 32	/* the private number, big endian: what is stored */
#define ES256_SIG_BYTES 64

struct es256_key;
struct es256_key *es256_generate(void) MUST_USE;
struct es256_key *es256_import(struct str raw) MUST_USE;	/* NULL: wrong length or not a key */
void es256_export(const struct es256_key *k, uint8_t out[ES256_KEY_BYTES]);
void es256_free(struct es256_key *k);				/* wipes; NULL is fine */
void es256_sign(const struct es256_key *k, struct str msg, uint8_t sig[ES256_SIG_BYTES]);
bool es256_verify(const struct es256_key *k, struct str msg, struct str sig) MUST_USE;
#endif
