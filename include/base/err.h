/* The one shape of an expected failure: a code of gRPC's list and a sentence for people. */
#ifndef BASE_ERR_H
#define BASE_ERR_H
#include "base/base.h"

/* X(name, gRPC status, HTTP status) */
#define ERR_TABLE(X)              \
	X(OK, 0, 200)             \
	X(CANCELLED, 1, 499)      \
	X(INVALID, 3, 400)        \
	X(DEADLINE, 4, 504)       \
	X(NOT_FOUND, 5, 404)      \
	X(EXISTS, 6, 409)         \
	X(DENIED, 7, 403)         \
	X(EXHAUSTED, 8, 429)      \
	X(PRECONDITION, 9, 412)   \
	X(ABORTED, 10, 409)       \
	X(UNIMPLEMENTED, 12, 501) \
	X(INTERNAL, 13, 500)      \
	X(UNAVAILABLE, 14, 503)   \
	X(UNAUTHENTICATED, 16, 403) \
	X(UNCERTAIN, 13, 500)	/* connection lost after sending; must not reach a client */

enum err_code {
#define ERR_X(name, grpc, http) ERR_##name,
	ERR_TABLE(ERR_X)
#undef ERR_X
};

struct err {
	enum err_code code;
	char msg[300];	/* may reach clients: no SQL, hosts or secrets */
};

/* Fills @err (which may be NULL) and returns false, so that a failing function can return it. */
bool err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF(3, 4);
unsigned err_grpc_status(enum err_code code);
unsigned err_http_status(enum err_code code);
const char *err_name(enum err_code code);	/* "NOT_FOUND" */
#endif
