/* One connection's TLS, in memory only: what the peer sent goes in, what is to be sent comes out; conn.c has the socket. */
#ifndef NET_TLS_CONN_H
#define NET_TLS_CONN_H
#include "net/tls.h"

/* Unsent bytes at which nothing more is encrypted; and the most that can come out of as much of the peer's as READ_BUF_BYTES. */
enum { TLS_OUT_WAIT = 64 << 10, TLS_PLAIN_MAX = (64 << 10) + (20 << 10) };

struct tls;
enum tls_got {
	TLS_OPEN,
	TLS_ENDED,	/* the peer has said goodbye */
	TLS_FAILED,	/* nothing more will come out of it; an alert may wait to be sent */
};
struct tls *tls_new(struct tls_ctx *ctx);
void tls_free(struct tls *t);
/* Takes all of @in and decrypts into @plain, which has room for TLS_PLAIN_MAX.  Also carries the handshake on. */
enum tls_got tls_in(struct tls *t, struct str in, char *plain, size_t *ret_n);
/* Encrypts from the front of @plain what there is room for; returns how much. */
size_t tls_out(struct tls *t, struct str plain);
void tls_end(struct tls *t);			/* says goodbye, once */
struct str tls_unsent(const struct tls *t);
void tls_sent(struct tls *t, size_t n);
bool tls_is_up(const struct tls *t);		/* the handshake is over */
bool tls_is_h2(const struct tls *t);		/* what ALPN chose */
bool tls_lacks_client(const struct tls *t);	/* a certificate is needed and none was shown */
const char *tls_why(const struct tls *t);	/* after TLS_FAILED, for the log; NULL: we had ended it */
#endif
