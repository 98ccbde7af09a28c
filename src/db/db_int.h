/* Inside of src/db: queries, units, connections, lanes. */
#ifndef DB_INT_H
#define DB_INT_H
#include "base/list.h"
#include "base/strb.h"
#include "base/vec.h"
#include "db/db.h"
#include "sql.h"

#include <libpq-fe.h>

struct db_rows {
	PGresult *res;
};

/* What goes out with one Sync and is one implicit transaction: one query, or those of a db_tx. */
struct unit {
	struct list node;	/* on a lane's queue or db->done; off both while in flight */
	struct list queries;	/* db_query.node */
	unsigned n;
	struct op *op;
	int lane;		/* enum db_lane */
	bool is_sent;		/* the server may have seen it */
	bool is_again;		/* already lost one connection */
	bool has_err;
	char sqlstate[6];
	struct err err;
};

struct db_query {
	struct list node;
	struct arena *a;
	int sql_id;		/* SQL_NONE: @text, sent unprepared */
	const char *text;
	const char **values;
	int *lengths;
	int n, cap;
	bool is_running;
	struct db_rows rows;
	struct unit unit;	/* when submitted alone */
};

struct db_tx {
	struct db *db;
	struct unit unit;
};

enum pgconn_state { PGCONN_OFF, PGCONN_RESOLVING, PGCONN_CONNECTING, PGCONN_SETUP, PGCONN_READY };
enum { EXPECT_PREPARE, EXPECT_QUERY, EXPECT_SYNC };
struct expect {
	int kind, sql_id;
	struct db_query *q;
};
struct resolve;

/* One connection.  Its owner is told by the four functions, from inside I/O callbacks: they may send, never free it. */
struct pgconn {
	struct loop *loop;
	const struct db_conf *conf;
	int setup_id;				/* first statement of a session */
	enum pgconn_state state;
	PGconn *pg;
	struct watch *watch;
	struct timer *timer;			/* limits an attempt to connect */
	struct resolve *resolve;		/* while RESOLVING */
	struct unit *unit;			/* in flight */
	VEC(struct expect) expects;		/* answers of @unit still to come, from @at on */
	size_t at;
	bool has_result;			/* of expects[at]: what follows is its end mark */
	uint8_t prepared[SQL_IDS];		/* 1: the server has said yes */
	uint8_t asked[SQL_IDS];			/* sent in this unit */
	int64_t idle_since_us;
	void (*on_up)(struct pgconn *c);
	/* back to OFF; @u: the unit that was in flight or NULL; @msg: why */
	void (*on_down)(struct pgconn *c, struct unit *u, bool was_up, const char *msg, const char *sqlstate);
	void (*on_done)(struct pgconn *c, struct unit *u);
	void (*on_notify)(struct pgconn *c, struct str payload);
	void *arg;
};
void pgconn_init(struct pgconn *c, struct loop *loop, const struct db_conf *conf, int setup_id);
void pgconn_fini(struct pgconn *c);
void pgconn_open(struct pgconn *c);		/* OFF only; ends in on_up or on_down, never before it returns */
void pgconn_close(struct pgconn *c);		/* silent; no unit may be in flight */
void pgconn_send(struct pgconn *c, struct unit *u);	/* READY without a unit */

/* conninfo.c: the parameters of a connection, names of hosts resolved by whoever calls (may block). */
struct conninfo {
	const char *keys[64];
	char *values[64];
	unsigned n;
};
bool conninfo_has_names(const char *url);	/* some host needs a resolver */
bool conninfo_make(const char *url, const char *app_name, struct conninfo *ret, struct err *err) MUST_USE;
void conninfo_fini(struct conninfo *ci);
/* The failure of an attempt in one sentence that names what to change; @sqlstate may be "". */
void conninfo_explain(const char *libpq_msg, const char *sqlstate, struct err *err);
/* Takes "FATAL:  28P01: text" apart (verbosity verbose): text on its first line, state. */
void pgmsg_split(const char *msg, char state[6], char *text, size_t text_max);

void unit_init(struct unit *u, int lane);
void unit_fail(struct unit *u, enum err_code code, const char *sqlstate, const char *msg);
void unit_refused(struct unit *u, const struct db_query *q, const PGresult *res);	/* by the server; keeps the first */
enum err_code sqlstate_code(const char *sqlstate);
void query_set_result(struct db_query *q, PGresult *res);

#define PG_EPOCH_US 946684800000000LL	/* 2000-01-01 */
#endif
