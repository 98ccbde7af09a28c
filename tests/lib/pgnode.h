/* A private Postgres for one test program: started before main, gone with it, whatever ends it.
 *
 * Highest version under /usr/lib/postgresql, or the binaries of PG_BIN.  Unix socket only, own directory under /tmp, no
 * durability.  A template database holds the migrated schema; each test clones it. */
#ifndef TESTS_PGNODE_H
#define TESTS_PGNODE_H
#include "base/op.h"
#include "db/db.h"

const char *pgnode_new_db(void);	/* URL of a fresh clone of the template; strings are never freed */
const char *pgnode_empty_db(void);	/* URL of a database without the schema */
const char *pgnode_url(const char *db, const char *user);	/* user NULL: the superuser */
const char *pgnode_keep(const char *fmt, ...) PRINTF(1, 2);
void pgnode_exec(const char *url, const char *sql);		/* fails the test on error */
int64_t pgnode_int(const char *url, const char *sql);		/* first cell; fails the test on error */
const char *pgnode_text(const char *url, const char *sql);	/* first cell, at most 4 KB */
void pgnode_hba(const char *line);	/* put before all other lines of pg_hba.conf */
void pgnode_crash(void);		/* kill -9 of the whole server */
void pgnode_restart(void);		/* after pgnode_crash; waits until it answers */

/* A relay in front of the server's socket that can lose things. */
struct pgproxy;
struct pgproxy *pgproxy_new(void);
const char *pgproxy_url(struct pgproxy *p, const char *url);	/* the same database through the relay */
void pgproxy_lose_request(struct pgproxy *p);	/* the next bytes of a client never arrive; its connection ends */
void pgproxy_lose_half(struct pgproxy *p);	/* the first half of them arrives */
void pgproxy_lose_reply(struct pgproxy *p);	/* the next answer is swallowed whole; its connection ends */
void pgproxy_refuse(struct pgproxy *p, bool on);	/* new connections end at once */
unsigned pgproxy_losses(struct pgproxy *p);
void pgproxy_only(struct pgproxy *p, size_t bytes_min);	/* what is lost has at least so many bytes; default 1 */

/* Runs the loop until the op fires; a minute without it fails the test. */
struct wait_op {
	struct op op;
	struct loop *loop;
	bool is_done, ok;
	struct err err;
};
void wait_init(struct wait_op *w, struct loop *l);
void wait_for_op(struct wait_op *w);
void wait_ok(struct wait_op *w);	/* and it must have succeeded */
/* Runs the loop until cond(arg), asked every few ms; false after @ms. */
bool wait_until(struct loop *l, bool (*cond)(void *arg), void *arg, int64_t ms);
#endif
