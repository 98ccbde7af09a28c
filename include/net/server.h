/* Listening sockets that speak everything: TLS, HTTP/1.1, HTTP/2 clear text by prior knowledge, told apart by the first bytes. */
#ifndef NET_SERVER_H
#define NET_SERVER_H
#include "io/loop.h"
#include "net/req.h"
#include "net/tls.h"

enum rpc_kind { RPC_UNARY, RPC_SERVER_STREAM, RPC_BIDI };
enum done_kind { DONE, PARTLY, NOT_YET };	/* for docs/compatibility.md, generated from the tables */
struct rpc_method {
	const char *path;	/* "/Dispatcher/Register" */
	enum rpc_kind kind;
	req_fn *fn;		/* NULL: answers UNIMPLEMENTED */
	enum done_kind done;
	const char *remark;	/* for the docs, may be NULL */
};
struct rest_route {
	const char *method;	/* "GET" also serves HEAD */
	const char *pattern;	/* "/api/v1/tenants/{tenant}/worker" ; "/{path*}" matches the rest */
	req_fn *fn;		/* NULL: answers 501 */
	enum done_kind done;
	const char *remark;
	bool is_public;		/* gate not called */
	bool in_clear;		/* answered without TLS where that is asked for, too: for probes */
};

struct server_limits {
	uint32_t conns_max;			/* 10000 */
	uint32_t streams_per_conn_max;		/* 1000: SETTINGS_MAX_CONCURRENT_STREAMS */
	uint32_t header_list_bytes_max;		/* 32 KiB */
	uint32_t msg_bytes_max;			/* 4 MiB, decompressed; over it: RESOURCE_EXHAUSTED for that call, naming both sizes */
	uint32_t stream_send_bytes_max;		/* 8 MiB queued per stream before STREAM_FULL */
	uint32_t http_body_bytes_max;		/* 4 MiB */
	uint32_t header_timeout_ms;		/* 10 s for a slow client's header */
	uint32_t body_timeout_ms;		/* 30 s without progress */
	uint32_t idle_timeout_ms;		/* 75 s HTTP/1.1 keep-alive */
	uint32_t conn_in_bytes_max;		/* 64 MiB of requests not yet whole on one HTTP/2 connection: RESOURCE_EXHAUSTED */
	uint32_t ping_after_ms, ping_answer_ms;	/* 30 s of silence on HTTP/2: PING; 20 s without answer: close */
	uint32_t resets_per_s_max;		/* 200 RST_STREAM per connection and second, sent or provoked, then GOAWAY ENHANCE_YOUR_CALM */
};
extern const struct server_limits server_limits_default;

struct server;
struct server_conf {
	struct loop *loop;
	void *app;				/* req_app() */
	const struct rpc_method *rpcs;		/* ends with path NULL */
	const struct rest_route *rests;		/* ends with pattern NULL; first match wins */
	/* Called before every gRPC handler and every REST handler that is not public.  Checks who asks, then returns next(r),
	 * or awaits and ends with it. */
	struct step *(*gate)(struct req *r, req_fn *next);
	const char *server_header;		/* "hatchet/0.1.0" */
	struct server_limits limits;
};
struct server *server_new(const struct server_conf *conf) MUST_USE;
/* Bind and listen; port 0 takes any free one.  ret_port gets the port in use. */
bool server_listen(struct server *s, const char *host, uint16_t port, uint16_t *ret_port, struct err *err) MUST_USE;
/* Graceful end: stop accepting, GOAWAY on every HTTP/2 connection, running streams end with UNAVAILABLE, unary calls may finish
 * until @deadline_mono_us; then @done. */
void server_drain(struct server *s, int64_t deadline_mono_us, struct op *done);
void server_free(struct server *s);
/* From now on new connections may speak TLS as @ctx says (a reference is taken), and must, unless @clear_too; those that are open
 * stay as they are. */
void server_set_tls(struct server *s, struct tls_ctx *ctx, bool clear_too);
/* Before every handshake: the moment to look whether the certificates have changed. */
void server_on_handshake(struct server *s, void (*fn)(void *arg), void *arg);
struct server_stats { uint64_t conns, streams, requests, bytes_in, bytes_out, handshakes_failed; };
struct server_stats server_stats(const struct server *s);
#endif
