/* The audit of the tables: what is stored twice, or counted, computed anew; for a server and for a command without one.
 *
 * A walk is a row of statements, one snapshot each; whoever has a connection runs them: verify_walk_sql(), its rows into
 * verify_walk_take(), until that SQL is 0.  What differs is looked at a second time before it counts, as days may just be dropped. */
#ifndef STORE_VERIFY_H
#define STORE_VERIFY_H
#include "db/db.h"
#include "model/id.h"
#include "store/read.h"

struct verify_diff {
	const char *kind;		/* a word for programs */
	struct str text;		/* a sentence */
	int64_t id;			/* task it is about; 0: none */
};
struct verify_report {
	struct arena *a;
	const struct id_secret *secret;
	uint64_t n_checked, n_unsettled, n_diffs;
	struct verify_diff *diffs;	/* the first VERIFY_DIFFS of them */
};
enum { VERIFY_DIFFS = 1000, VERIFY_SLICE = 20000 };
void verify_report_init(struct verify_report *r, struct arena *a, const struct id_secret *secret);

/* Sentences: %id task, %min minute, %w worker, %t more about it, %a action, %m and %s what is said here and there. */
struct verify_words {
	int64_t id, minute;
	struct str worker, more, action, m, s;
};
void verify_add(struct verify_report *r, const char *kind, const char *sentence, const struct verify_words *w);

struct verify_walk {
	int32_t tenant_no;
	int stage;
	int64_t lo;			/* of the slice */
	bool is_second;
};
int verify_walk_sql(const struct verify_walk *w);	/* sql_id; parameters: tenant, and when verify_walk_sliced(): lo, VERIFY_SLICE */
bool verify_walk_sliced(const struct verify_walk *w);
typedef struct str verify_cell_fn(const struct db_rows *rows, unsigned row, unsigned col);
void verify_walk_take(struct verify_walk *w, const struct db_rows *rows, verify_cell_fn *cell, struct verify_report *r);

/* Rows of live to be compared with memory; columns that do not matter for that are not filled. */
void verify_live_slice(struct db *db, struct arena *a, int32_t tenant_no, int64_t lo, uint32_t limit, struct read_live *ret, struct op *op);
void verify_live_ids(struct db *db, struct arena *a, int32_t tenant_no, const int64_t *ids, uint32_t n, struct read_live *ret, struct op *op);

/* Blocking: all tenants, the tables only. */
bool verify_database(struct db_sync *db, struct verify_report *r, struct err *err) MUST_USE;
#endif
