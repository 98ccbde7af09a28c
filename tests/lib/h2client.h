/* A peer for tests of the wire: nghttp2's client on one connection, or plain bytes. */
#ifndef TESTS_H2CLIENT_H
#define TESTS_H2CLIENT_H
#include "netserver.h"
#include "tap.h"

#include "base/strb.h"

#include <nghttp2/nghttp2.h>

enum { MS = 1000, STREAMS = 64 };

struct call {			/* what came back on one stream */
	char http[8], status[8], message[200], details[200];
	struct strb body;
	uint32_t code;		/* of its end */
	bool ended;
	const char *send;
	size_t left;
	bool open;
};

struct client {
	struct netserver *n;
	int fd;
	nghttp2_session *h2;
	struct call calls[STREAMS];
	uint32_t goaway;	/* error code + 1 */
	bool pong, eof;
	unsigned pings;		/* the server's */
	struct strb raw;	/* HTTP/1.1 */
};

struct server_limits limits_for_tests(void);	/* short times, small sizes */
struct client *client_new(const struct server_limits *l, bool h2);	/* h2 false: plain bytes */
void client_free(struct client *c);
void client_put(struct client *c, const void *p, size_t n);
/* Both sides act until nothing comes for @us. */
void client_turn(struct client *c, int64_t us);
#define UNTIL(c, cond)                                                      \
	do {                                                                \
		for (int i_ = 0; i_ < 2000 && !(cond); i_++)                \
			client_turn(c, 2 * MS);                                    \
		CHECK(cond);                                                \
	} while (0)

/* A call with @raw as its body; name: a further header, or NULL. */
struct call *rpc_raw(struct client *c, const char *path, struct str raw, const char *name, const char *value);
struct call *rpc_open(struct client *c, const char *path, struct str raw);	/* the client's side does not end */
struct call *rpc(struct client *c, const char *path, struct str msg);	/* with one message */
struct str rpc_framed(struct strb *b, int flag, struct str msg);
void op_sets_flag(struct op *op, const struct err *err);	/* op.arg: bool */
#endif
