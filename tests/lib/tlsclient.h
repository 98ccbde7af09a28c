/* A TLS client in memory, for tests and fuzzers of the server's side. */
#ifndef TESTS_TLSCLIENT_H
#define TESTS_TLSCLIENT_H
#include "base/arena.h"
#include "base/strb.h"

struct tlsclient_conf {
	bool only_12, only_13;
	const char **alpn;		/* NULL: none; ends with NULL */
	const int *suites;		/* NULL: the library's choice */
	struct str ca;			/* empty: trusts anybody */
	const char *name;		/* expected of the server */
	struct str cert, key;
};
struct tlsclient;
struct tlsclient *tlsclient_new(const struct tlsclient_conf *conf);
void tlsclient_free(struct tlsclient *t);
/* What the server sent in; what the client has to say is appended to @to, what it was told to @got. false: it is over. */
bool tlsclient_step(struct tlsclient *t, struct str in, struct strb *to, struct strb *got);
void tlsclient_write(struct tlsclient *t, struct str plain, struct strb *to);
void tlsclient_close(struct tlsclient *t, struct strb *to);
bool tlsclient_up(const struct tlsclient *t);
int tlsclient_why(const struct tlsclient *t);		/* of the library; 0: nothing is wrong */
const char *tlsclient_version(const struct tlsclient *t);
const char *tlsclient_suite(const struct tlsclient *t);
const char *tlsclient_alpn(const struct tlsclient *t);
/* A certificate for a client, signed by that authority. */
void tlsclient_make_cert(struct arena *a, struct str ca_cert, struct str ca_key, int64_t from_s, int64_t to_s, struct str *ret_cert,
			 struct str *ret_key);
#endif
