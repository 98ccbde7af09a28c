/* Rate limits: all of them when an engine starts, and a page of a tenant's. */
#include "read_int.h"

static void all_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_limits *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct limit_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (struct limit_row){.tenant_no = i32(rows, i, 0), .hash = db_get_int(rows, i, 1),
				.key = arena_dup(r->a, db_get_text(rows, i, 2)), .limit = i32(rows, i, 3), .value = i32(rows, i, 4),
				.window_start = db_get_time(rows, i, 5), .window_s = i32(rows, i, 6), .is_dynamic = db_get_bool(rows, i, 7)};
	}
	op_done(r->user, err);
}

void read_limits(struct db *db, struct arena *a, struct read_limits *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_RATE_LIMITS, all_done, ret, op);

	db_submit(db, DB_READ, r->q, &r->op);
}

static void page_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_limits *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct limit_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++) {
			ret->p[i] = (struct limit_row){.key = arena_dup(r->a, db_get_text(rows, i, 0)), .limit = i32(rows, i, 1),
				.value = i32(rows, i, 2), .window_s = i32(rows, i, 3), .window_start = db_get_time(rows, i, 4)};
			ret->total = db_get_int(rows, i, 5);
		}
	}
	op_done(r->user, err);
}

void read_limit_page(struct db *db, struct arena *a, const struct limit_filter *f, struct read_limits *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_RATE_LIMIT_LIST, page_done, ret, op);

	db_bind_i32(r->q, f->tenant_no);
	db_bind_text(r->q, f->search.p ? f->search : STR(""));
	db_bind_i32(r->q, f->is_descending ? -(int32_t)f->order : (int32_t)f->order);
	db_bind_i32(r->q, (int32_t)f->offset);
	db_bind_i32(r->q, (int32_t)f->limit);
	db_submit(db, DB_READ, r->q, &r->op);
}
