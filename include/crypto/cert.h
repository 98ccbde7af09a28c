/* Certificates of our own making, for local use: a small authority and what it signs.  ECDSA P-256, PEM. */
#ifndef CRYPTO_CERT_H
#define CRYPTO_CERT_H
#include "base/arena.h"
#include "base/err.h"

/* A new authority.  Both texts live on @a, NUL-terminated. */
void cert_make_authority(struct arena *a, const char *name, int64_t from_s, int64_t to_s, struct str *ret_cert, struct str *ret_key);
/* A server's certificate, signed by that authority, for host names and IP addresses. false: the authority is unusable. */
bool cert_make_server(struct arena *a, struct str ca_cert, struct str ca_key, const char *const *names, size_t n, int64_t from_s,
		      int64_t to_s, struct str *ret_cert, struct str *ret_key, struct err *err) MUST_USE;
/* When the first certificate of a PEM text ends. */
bool cert_ends(struct str pem, int64_t *ret_s) MUST_USE;
#endif
