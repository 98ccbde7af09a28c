/* What the reads of store share: one statement, its rows made into views on the caller's arena. */
#ifndef STORE_READ_INT_H
#define STORE_READ_INT_H
#include "store/read.h"

#include "base/config.h"
#include "model/id.h"
#include "sql.h"

struct reading {
	struct arena *a;
	struct db_query *q;
	struct op op;
	struct op *user;
	void *ret;
	int64_t *ret_next_due;
	struct live_row of;	/* what all rows of a tail share */
	/* for a second statement */
	struct db *db;
	const struct run_filter *f;
	bool is_second;
};

struct reading *reading_new(struct arena *a, int sql_id, op_fn *fn, void *ret, struct op *user) MUST_USE;
struct db_col *reading_col(struct reading *r, enum db_type type);	/* freed with the arena */
void bind_ints(struct reading *r, enum db_type type, const void *p, uint32_t n);
void bind_what(struct reading *r, unsigned flags, int32_t tenant_no);	/* the first three parameters of all that gives tasks */
void tasks_done(struct op *op, const struct err *err);	/* rows of {{TaskCols}} into struct read_tasks */

/* read_list.c: parameters made of a filter; what is needed for a second statement is copied, the caller's may be gone by then */
int64_t read_id_at(int64_t wall_us);	/* lowest id of that millisecond */
void bind_id_bounds(struct reading *r, int64_t since_us, int64_t until_us, int64_t before_id);
void bind_workflows(struct reading *r, const struct run_filter *f);
void bind_meta(struct reading *r, const struct str *pairs, uint32_t n);
const struct run_filter *filter_dup(struct arena *a, const struct run_filter *f);

static inline int32_t i32(const struct db_rows *rows, unsigned row, unsigned col)
{
	return (int32_t)db_get_int(rows, row, col);
}

static inline int16_t i16(const struct db_rows *rows, unsigned row, unsigned col)
{
	return (int16_t)db_get_int(rows, row, col);
}
#endif
