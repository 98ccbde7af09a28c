/* What the files of net share: connections, exchanges, requests. */
#ifndef NET_NET_INT_H
#define NET_NET_INT_H
#include "base/strb.h"

#include "base/config.h"
#include "base/vec.h"
#include "net/server.h"

struct header {
	struct str name, value;		/* name lower case */
};

/* --- a request's way out: implemented by h1.c and h2.c ------------------------------------------------------------------- */
struct reply {
	unsigned status;
	const char *content_type;
	struct str body;
	struct buf *own;		/* keeps body alive; NULL: body is copied or static */
	bool is_static;			/* body outlives everything: not copied */
	struct str etag;
	bool is_gzip;
};
struct exchange;
struct exchange_ops {
	void (*http)(struct exchange *x, struct req *r, const struct reply *rep);
	void (*grpc)(struct exchange *x, struct req *r, struct str msg);		/* unary OK */
	void (*grpc_fail)(struct exchange *x, struct req *r, unsigned status, const char *msg, struct str details);
	bool (*open)(struct exchange *x, struct req *r, struct stream *st);		/* false: gone */
};
/* Embedded in whatever carries one request; `req` is NULL once the peer is gone or the reply is out. */
struct exchange {
	const struct exchange_ops *ops;
	struct req *req;
};

/* --- requests (req.c) ------------------------------------------------------------------------------------------------------ */
struct req_start {
	struct server *server;
	struct exchange *x;
	struct arena *arena;		/* owned by the request from here on; holds all texts below */
	bool is_grpc;
	struct str method, path, query, body;
	const struct header *headers;
	size_t n_headers;
	int64_t timeout_us;		/* 0: none */
	const struct rpc_method *rpc;
	enum bar { BAR_NONE, BAR_IN_CLEAR, BAR_NO_CERT } bar;	/* came without TLS, or without the certificate it needs */
};
void req_begin(const struct req_start *s);
void req_gone(struct req *r);		/* the peer is gone: no further step, no reply */
void req_set_params(struct req *r, struct header *params, size_t n);
bool req_is_head(const struct req *r);
struct header *req_reply_headers(struct req *r, size_t *n);

/* --- streams (stream.c) ---------------------------------------------------------------------------------------------------- */
struct stream {
	struct exchange *x;		/* NULL: gone */
	const struct stream_ops *ops;
	void *arg;
	struct loop *loop;
	struct defer closing;
	bool is_full, is_ended, is_closed;
	/* of the carrier (h2.c) */
	enum stream_sent (*send)(struct exchange *x, struct buf *msg);
	void (*end)(struct exchange *x, unsigned status, const char *msg);
};
struct stream *stream_make(struct server *s, const struct stream_ops *ops, void *arg);
void stream_gone(struct stream *st);	/* carrier: over; on_close follows, deferred */
void stream_msg(struct stream *st, struct str msg);
void stream_half_closed(struct stream *st);
void stream_drained(struct stream *st);

/* --- grpc framing (grpc.c) ------------------------------------------------------------------------------------------------- */
struct grpc_in {
	struct strb buf;		/* from off on: bytes not yet a whole message */
	size_t off;
	uint32_t msg_max;
	bool gzip;			/* grpc-encoding: gzip */
};
void grpc_in_init(struct grpc_in *g, uint32_t msg_max);
void grpc_in_fini(struct grpc_in *g);
static inline size_t grpc_in_left(const struct grpc_in *g)
{
	return g->buf.n - g->off;
}
enum grpc_got { GRPC_MORE, GRPC_MSG, GRPC_BAD };
/* Adds @in (all of it) and takes the next whole message: call with empty @in for the following ones.  *ret lives on @a. */
enum grpc_got grpc_in_next(struct grpc_in *g, struct arena *a, struct str in, struct str *ret, struct err *err);
bool grpc_timeout_parse(struct str s, int64_t *ret_us) MUST_USE;
struct str grpc_message_encode(struct arena *a, struct str msg);

/* --- routes (route.c) ------------------------------------------------------------------------------------------------------- */
struct routes;
struct routes *routes_new(const struct rpc_method *rpcs, const struct rest_route *rests);
void routes_free(struct routes *t);
const struct rpc_method *route_rpc(const struct routes *t, struct str path);
/* NULL: no such path; *ret_method_ok false: the path exists with other methods */
const struct rest_route *route_rest(const struct routes *t, struct arena *a, struct str method, struct str path,
				    struct header **ret_params, size_t *ret_n, bool *ret_other_method);

struct tls;

/* --- connections (conn.c) --------------------------------------------------------------------------------------------------- */
enum conn_proto { CONN_SNIFF, CONN_H1, CONN_H2 };
struct conn {
	struct list node, dirty;
	struct list handshake;		/* linked: in the midst of one */
	struct server *server;
	struct tls *tls;		/* NULL: in clear */
	enum bar bar;			/* what its requests may not */
	int fd;
	struct watch *watch;
	enum conn_proto proto;
	void *p;			/* struct h1 or struct h2 */
	struct strb out;
	size_t out_off;
	struct strb sniff;
	struct timer *timer;
	int64_t last_in_us, last_out_us;
	bool want_close, is_dead, read_paused;
	bool linger, is_lingering;	/* input may be unread when it closes; our side is closed already */
	struct defer reap;
};
void conn_new(struct server *s, int fd);
void conn_dirty(struct conn *c);	/* something to write at the end of the turn */
void conn_close(struct conn *c);	/* at once */
void conn_finish(struct conn *c);	/* when what is queued has been written */
void conn_flush(struct conn *c);
void conn_pause(struct conn *c, bool on);
static inline size_t conn_queued(const struct conn *c)
{
	return c->out.n - c->out_off;
}

struct h1 *h1_new(struct conn *c);
void h1_free(struct h1 *h);
void h1_data(struct h1 *h, struct str in);
void h1_timer(struct h1 *h);
void h1_flushed(struct h1 *h);	/* all that was queued is written */
void h1_drain(struct h1 *h);
struct h2 *h2_new(struct conn *c);
void h2_free(struct h2 *h);
void h2_data(struct h2 *h, struct str in);
void h2_pull(struct h2 *h);		/* frames into conn.out */
void h2_timer(struct h2 *h);
void h2_drain(struct h2 *h);

struct server {
	struct server_conf conf;
	struct routes *routes;
	struct list conns, dirty, listeners;
	size_t n_conns;
	bool draining;
	struct op *drained;
	struct timer *drain_timer;
	struct server_stats stats;
	struct tls_ctx *tls;		/* NULL: in clear only */
	bool clear_too;
	struct list handshakes;		/* oldest first */
	size_t n_handshakes;
	int64_t handshakes_us, handshakes_at_us;	/* what they took of the turn that began then */
	int64_t told_refused_us;
	void (*on_handshake)(void *arg);
	void *on_handshake_arg;
	char *plain_buf;		/* made with the first context */
	char *read_buf;
	char date[40];
	int64_t date_s;
};
/* What one read takes, and the most that a protocol is fed at once: behind TLS also the record that was not whole before. */
enum { READ_BUF_BYTES = 65536, FEED_BYTES_MAX = READ_BUF_BYTES + (20 << 10) };
const char *server_date(struct server *s);
void server_conn_gone(struct server *s);
void server_route(struct server *s, struct req_start *rs);	/* finds the handler and begins the request */
/* The HTTP decision shared by both protocols: 304, 206, 416, HEAD. */
struct http_out {
	unsigned status;
	struct str body;
	struct header extra[4];
	size_t n_extra;
	bool is_packed;			/* body is a copy on the request's arena, not the reply's own */
};
struct str http_trim(struct str s);	/* less blanks around it */
void http_decide(struct arena *a, struct req *r, const struct reply *rep, struct http_out *out);
#endif
