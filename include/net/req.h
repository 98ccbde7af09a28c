/* The life of one request, gRPC or HTTP/1.1, as handlers see it.
 *
 * A handler is a chain of steps.  Every step returns a `struct step *`, which only req_await, req_reply*, req_fail* and
 * req_open_stream produce: forgetting to answer, or answering twice, does not compile.
 *   start:  req_op(r, next) hands out the op to pass to asynchronous work; then `return req_await(r);`
 *   next:   runs when every op handed out is done.  If one failed the request fails with its error by itself.
 * The request arena lives until the request is answered *and* the last op has come back: a client that disconnects only
 * marks the request, later steps are not run.  No step runs before the call that started its work has returned. */
#ifndef NET_REQ_H
#define NET_REQ_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/op.h"

struct req;
struct step;	/* never defined */
typedef struct step *req_fn(struct req *r);

struct arena *req_arena(struct req *r);
void *req_app(struct req *r);			/* server_conf.app */
bool req_is_grpc(const struct req *r);
struct str req_body(const struct req *r);	/* gRPC: the one request message, decompressed; HTTP: the body */
bool req_header(const struct req *r, const char *lower_name, struct str *ret);	/* metadata or header, first value */
struct str req_param(const struct req *r, const char *name);	/* {name} of the REST pattern, percent-decoded; empty if none */
bool req_query(const struct req *r, const char *name, unsigned nth, struct str *ret);	/* nth value of a repeated parameter */
void req_set_user(struct req *r, void *user);	/* who asks; set by the gate, lives on the request arena */
void *req_user(const struct req *r);
void *req_state_(struct req *r, size_t bytes);	/* zeroed on first call; one struct per handler */
#define REQ_STATE(r, type) ((type *)req_state_((r), sizeof(type)))

struct op *req_op(struct req *r, req_fn *next);	/* several before one await: all must finish */
struct step *req_await(struct req *r) MUST_USE;

struct step *req_reply(struct req *r, struct str msg) MUST_USE;		/* gRPC unary: the message (copied), status OK */
struct step *req_reply_http(struct req *r, unsigned status, const char *content_type, struct str body) MUST_USE;
/* HTTP only: bytes of static duration or owned by @own (unref'd when sent); handles HEAD, Range, If-None-Match by @etag */
struct step *req_reply_file(struct req *r, const char *content_type, struct str body, struct buf *own, struct str etag,
			    bool is_gzip) MUST_USE;
void req_set_header(struct req *r, const char *name, struct str value);	/* before the reply; HTTP header or gRPC leading metadata */
/* gRPC: status code and message.  HTTP: err_http_status with body {"errors":[{"description":msg}]}. */
struct step *req_fail(struct req *r, enum err_code code, const char *fmt, ...) MUST_USE PRINTF(3, 4);
struct step *req_fail_err(struct req *r, const struct err *err) MUST_USE;
/* gRPC only: as req_fail, with the serialized google.rpc.Status in grpc-status-details-bin */
struct step *req_fail_details(struct req *r, const struct err *err, struct str status_proto) MUST_USE;

/* Streams: server streaming and bidirectional.  on_msg and on_half_close fire for bidirectional methods only. */
struct stream;
struct stream_ops {
	void (*on_msg)(struct stream *st, struct str msg, void *arg);	/* msg borrowed for the call */
	void (*on_half_close)(struct stream *st, void *arg);		/* client will send no more */
	void (*on_drain)(struct stream *st, void *arg);			/* after STREAM_FULL: there is room again */
	void (*on_close)(struct stream *st, void *arg);			/* exactly once, last, for whatever end; @st dies after it */
};
enum stream_sent { STREAM_SENT, STREAM_FULL, STREAM_GONE };
struct step *req_open_stream(struct req *r, const struct stream_ops *ops, void *arg, struct stream **ret) MUST_USE;
/* Takes no reference of the caller's: refs @msg itself.  SENT: queued within the stream's bound (config).  FULL: not queued.
 * GONE: closed or closing.  Never calls back before returning. */
enum stream_sent stream_send(struct stream *st, struct buf *msg);
void stream_end(struct stream *st, enum err_code code, const char *msg);	/* queued messages go out first; then on_close */
#endif
