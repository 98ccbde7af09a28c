/* The server's side of TLS 1.2 and 1.3: who it is and whom it believes.
 *
 * A context is made whole or not at all and never changes; connections share it and keep it for their life, so that new
 * certificates (server_set_tls) take nothing away from those that are open. */
#ifndef NET_TLS_H
#define NET_TLS_H
#include "base/err.h"

struct tls_text {
	struct str pem;		/* NUL after its end */
	const char *from;	/* for messages: the file, or the variable */
};
struct tls_conf {
	struct tls_text cert, key;	/* certificate with its chain, private key */
	struct tls_text client_ca;	/* clients' certificates are verified against it; empty: none is asked for */
	bool need_client_cert;		/* gRPC calls need one */
	bool only_13;
};
struct tls_ctx;
struct tls_ctx *tls_ctx_new(const struct tls_conf *conf, struct err *err) MUST_USE;
struct tls_ctx *tls_ctx_ref(struct tls_ctx *c);
void tls_ctx_unref(struct tls_ctx *c);		/* NULL is fine */
#endif
