/* A server with a few handlers for tests of the wire: no database, no tokens.
 *
 * GET /file a static page with an ETag; POST /echo the body; GET /big much text; /t.S/Echo answers its message, /t.S/Fail
 * fails with details, /t.S/Many sends messages for ever as the client reads them, /t.S/Bidi answers each message,
 * /t.S/Wait and GET /wait answer when netserver_turns() returns, unless held; GET /say/{what} tells its parameters. */
#ifndef TESTS_NETSERVER_H
#define TESTS_NETSERVER_H
#include "base/vec.h"
#include "net/server.h"

struct netserver {
	struct loop *loop;
	struct server *server;
	uint64_t sent;			/* messages of Many that were taken */
	struct stream *many;		/* the last Many */
	uint64_t closed;		/* streams that ended */
	VEC(struct op *) waits;
	bool holding;
};
struct netserver *netserver_new(const struct server_limits *limits);
int netserver_connect(struct netserver *n);	/* our end of a connection of its own, non-blocking */
void netserver_turns(struct netserver *n, int64_t us);	/* run the loop so long */
void netserver_hold(struct netserver *n, bool on);	/* let Wait wait */
void netserver_free(struct netserver *n);
#endif
