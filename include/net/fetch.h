/* One HTTP request to a server, for commands: blocking, http and https, HTTP/1.1. */
#ifndef NET_FETCH_H
#define NET_FETCH_H
#include "base/arena.h"
#include "base/err.h"

struct fetch {
	const char *method;		/* "GET", "POST" */
	const char *url;		/* http(s)://host[:port][/...]; what follows the port is put before the path */
	const char *path;		/* begins with a slash, encoded already */
	const char *token;		/* bearer; NULL: none */
	const char *ca_file;		/* PEM, whom to believe over https; NULL: those whom the machine believes */
	struct str body;		/* JSON; p NULL: none */
	int timeout_s;			/* of silence */
};
enum { FETCH_BYTES_MAX = 64 << 20 };
/* The reply whole, whatever its status, on @a. */
bool http_fetch(const struct fetch *f, struct arena *a, unsigned *ret_status, struct str *ret_body, struct err *err) MUST_USE;
#endif
