/* A gRPC client on nghttp2: connections on one epoll set, calls with callbacks.  Clear text, one thread, no timeouts of its own.
 *
 * Errors of a call come with its callback; a lost connection or a protocol error ends the program, since a figure taken over
 * a broken run is worthless. */
#ifndef BENCH_RPC_H
#define BENCH_RPC_H
#include "base/base.h"

struct rpc_conn;
struct rpc_call;

/* @status: gRPC status; @msg: the one message of a unary answer, or what the server says about the failure. */
typedef void rpc_done_fn(void *arg, int status, struct str msg);
typedef void rpc_msg_fn(void *arg, struct str msg);

void rpc_init(const char *host, const char *port, const char *token);
struct rpc_conn *rpc_connect(void);
/* Copies @request.  @done runs once, from rpc_turn(). */
void rpc_unary(struct rpc_conn *c, const char *path, struct str request, rpc_done_fn *done, void *arg);
/* @on_msg for each message of the answer, then @done. */
void rpc_listen(struct rpc_conn *c, const char *path, struct str request, rpc_msg_fn *on_msg, rpc_done_fn *done, void *arg);
/* One round: write what is queued, wait at most @wait_us (-1: for ever), read, run callbacks. */
void rpc_turn(int64_t wait_us);
int64_t rpc_now_us(void);	/* monotonic */
void rpc_fini(void);
#endif
