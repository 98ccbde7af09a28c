/* API tokens: JSON web tokens signed with ES256. */
#ifndef CRYPTO_JWT_H
#define CRYPTO_JWT_H
#include "base/arena.h"
#include "crypto/es256.h"

#define JWT_MAX_BYTES 8192
#define JWT_SKEW_S 60		/* an engine's clock may be this far ahead of another's */

struct jwt_claims {
	struct str sub;		/* tenant UUID as text */
	struct str token_id;	/* UUID of the api_token row as text */
	struct str iss, aud;	/* server URL */
	struct str server_url, grpc_broadcast_address;
	int64_t iat, exp;	/* seconds since 1970 */
};
struct str jwt_sign(struct arena *a, const struct es256_key *key, struct str kid, const struct jwt_claims *c);

/* X(name, sentence for a log) */
#define JWT_TABLE(X)                                                   \
	X(OK, "valid")                                                 \
	X(MALFORMED, "not a token of three base64url parts")           \
	X(ALG, "the algorithm is not ES256")                           \
	X(KEY, "signed with an unknown key")                           \
	X(SIGNATURE, "the signature is wrong")                         \
	X(CLAIMS, "a claim is missing or has the wrong type")          \
	X(EXPIRED, "expired")                                          \
	X(NOT_YET, "issued in the future")                             \
	X(ISSUER, "another issuer")                                    \
	X(AUDIENCE, "another audience")
enum jwt_reason {
#define JWT_X(name, text) JWT_##name,
	JWT_TABLE(JWT_X)
#undef JWT_X
};
const char *jwt_reason_text(enum jwt_reason r);

struct jwt_key {
	struct str kid;
	const struct es256_key *key;
};
struct jwt_expect {
	int64_t now_s;
	struct str iss, aud;	/* empty: any */
};
/* *ret is filled only for JWT_OK; its strings live as long as @a. */
enum jwt_reason jwt_verify(struct arena *a, struct str token, const struct jwt_key *keys, size_t n_keys,
			   const struct jwt_expect *expect, struct jwt_claims *ret) MUST_USE;
#endif
