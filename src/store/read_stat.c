/* How many tasks there are of each status, and how many ended when.
 *
 * Counts are exact: what is not looked at row by row was counted in the flush that stored it.  Each answer is of one statement;
 * where a second one is needed, its figures count and not those of the first. */
#include "read_int.h"

/* --- by status ------------------------------------------------------------------------------------------------------------ */

static void each_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct status_counts *ret = r->ret;

	for (unsigned i = 0; !err && i < db_rows_n(rows); i++)
		ret->n[db_get_int(rows, i, 0)] = db_get_int(rows, i, 1);
	op_done(r->user, err);
}

static void count_each(struct reading *r)
{
	const struct run_filter *f = r->f;

	r->q = db_query_new(r->a, SQL_COUNTS);
	r->op.fn = each_done;
	db_bind_i32(r->q, f->tenant_no);
	bind_id_bounds(r, f->since_us, f->until_us, 0);
	bind_workflows(r, f);
	bind_meta(r, f->meta_pairs, f->n_meta);
	db_bind_bool(r->q, f->meta_and);
	db_bind_i64(r->q, f->parent_id);
	db_submit(r->db, DB_READ, r->q, &r->op);
}

enum { KIND_MADE = 0, KIND_RUNNING = 1, KIND_PART_MADE = 10, KIND_PART_OPEN = 12, KIND_PART_ENDS = 20, KINDS = 32 };

static void count_minutes(struct reading *r, bool each_of_parts);

static void minutes_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	int64_t n[KINDS] = {0}, part_ends = 0, ends = 0;
	struct status_counts *ret = r->ret;

	if (err) {
		op_done(r->user, err);
		return;
	}
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		int64_t kind = db_get_int(rows, i, 0);

		assert(kind >= 0 && kind < KINDS);
		n[kind] += db_get_int(rows, i, 1);
	}
	for (int s = RUN_COMPLETED; s <= RUN_CANCELLED; s++) {
		ret->n[s] = n[s] + n[KIND_PART_ENDS + s];
		part_ends += n[KIND_PART_ENDS + s];
		ends += ret->n[s];
	}
	if (!r->is_second && n[KIND_PART_MADE] != n[KIND_PART_OPEN] + part_ends) {
		r->is_second = true;
		count_minutes(r, true);
		return;
	}
	ret->n[RUN_RUNNING] = n[KIND_RUNNING];
	ret->n[RUN_QUEUED] = n[KIND_MADE] + n[KIND_PART_MADE] - ends - n[KIND_RUNNING];
	op_done(r->user, NULL);
}

static void count_minutes(struct reading *r, bool each_of_parts)
{
	const int64_t max = INT64_MAX - (60000LL << 22);	/* SQL adds up to a minute */
	const struct run_filter *f = r->f;

	r->q = db_query_new(r->a, SQL_COUNTS_BY_MINUTE);
	r->op.fn = minutes_done;
	db_bind_i32(r->q, f->tenant_no);
	db_bind_i64(r->q, MIN(read_id_at(f->since_us), max));
	db_bind_i64(r->q, f->until_us >= INT64_MAX - 1000 ? max : MIN(read_id_at(f->until_us + 1000), max));
	bind_workflows(r, f);
	db_bind_bool(r->q, each_of_parts);
	db_submit(r->db, DB_READ, r->q, &r->op);
}

void read_counts(struct db *db, struct arena *a, const struct run_filter *f, struct status_counts *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_COUNTS, each_done, ret, op);

	*ret = (struct status_counts){{0}};
	r->db = db;
	r->f = filter_dup(a, f);
	if (f->n_meta || f->parent_id)
		count_each(r);
	else
		count_minutes(r, false);
}

/* --- by the time of the end ------------------------------------------------------------------------------------------------ */

static void points_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_points *ret = r->ret;

	for (unsigned i = 0; !err && i < db_rows_n(rows); i++) {
		int64_t at = db_get_int(rows, i, 0), status = db_get_int(rows, i, 1);

		if (at >= 0 && at < ret->n && status >= 0 && status < (int64_t)ARRAY_LEN(ret->p->n))
			ret->p[at].n[status] += db_get_int(rows, i, 2);
	}
	op_done(r->user, err);
}

void read_points(struct db *db, struct arena *a, int32_t tenant_no, int64_t from_us, uint32_t seconds, struct read_points *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_POINTS, points_done, ret, op);

	ret->p = ARENA_ARRAY(a, struct status_counts, ret->n + 1);
	memset(ret->p, 0, sizeof(*ret->p) * (ret->n + 1));
	db_bind_i32(r->q, tenant_no);
	db_bind_time(r->q, from_us);
	db_bind_time(r->q, from_us + (int64_t)ret->n * seconds * 1000000);
	db_bind_i32(r->q, (int32_t)seconds);
	db_submit(db, DB_READ, r->q, &r->op);
}

/* --- what is unfinished ----------------------------------------------------------------------------------------------------- */

static void depths_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_depths *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct depth_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++) {
			int64_t class = db_get_int(rows, i, 1);

			assert(class >= 0 && class < DEPTH_CLASSES);
			ret->p[i] = (struct depth_row){.step_no = i32(rows, i, 0)};
			ret->p[i].n[class] = db_get_int(rows, i, 2);
			ret->p[i].oldest[class] = db_get_int(rows, i, 3);
			ret->p[i].oldest_first[class] = db_get_int(rows, i, 4);
		}
	}
	op_done(r->user, err);
}

void read_depths(struct db *db, struct arena *a, int32_t tenant_no, const struct str *meta_pairs, uint32_t n_meta, struct read_depths *ret,
		 struct op *op)
{
	struct reading *r = reading_new(a, n_meta ? SQL_DEPTHS_OF_META : SQL_DEPTHS, depths_done, ret, op);

	db_bind_i32(r->q, tenant_no);
	if (n_meta)
		bind_meta(r, meta_pairs, n_meta);
	db_submit(db, DB_READ, r->q, &r->op);
}
