/* Lists of runs.
 *
 * Which index gives the rows of a list in their order depends on the filter; the statement is chosen here.  Each list is one
 * statement, so what it shows is one moment; where a second one is needed, its rows count and not those of the first. */
#include "read_int.h"

int64_t read_id_at(int64_t wall_us)
{
	int64_t ms = wall_us / 1000 - ID_EPOCH_MS;

	return ms <= 0 ? 0 : ms >= (int64_t)1 << 41 ? INT64_MAX : ms << 22;
}

void bind_id_bounds(struct reading *r, int64_t since_us, int64_t until_us, int64_t before_id)
{
	/* @until is meant to be in: the end is the first id of the next ms */
	int64_t end = until_us >= INT64_MAX - 1000 ? INT64_MAX : read_id_at(until_us + 1000);

	db_bind_i64(r->q, read_id_at(since_us));
	db_bind_i64(r->q, before_id ? MIN(end, before_id) : end);
}

/* "key:value" apart at the first colon */
void bind_meta(struct reading *r, const struct str *pairs, uint32_t n)
{
	struct db_col *keys, *values;

	if (!n) {
		db_bind_null(r->q);
		db_bind_null(r->q);
		return;
	}
	keys = reading_col(r, DB_TEXT);
	values = reading_col(r, DB_TEXT);
	for (uint32_t i = 0; i < n; i++) {
		struct str s = pairs[i];
		const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
		size_t k = colon ? (size_t)(colon - s.p) : s.n;

		db_col_text(keys, (struct str){s.p ? s.p : "", k});
		db_col_text(values, colon ? (struct str){colon + 1, s.n - k - 1} : STR(""));
	}
	db_bind_col(r->q, keys);
	db_bind_col(r->q, values);
}

void bind_workflows(struct reading *r, const struct run_filter *f)
{
	if (f->n_workflows)
		bind_ints(r, DB_INT4, f->workflow_nos, f->n_workflows);
	else
		db_bind_null(r->q);
}

/* the filter is needed again for a second statement, the caller's may be gone by then */
const struct run_filter *filter_dup(struct arena *a, const struct run_filter *f)
{
	struct run_filter *d = ARENA_NEW(a, struct run_filter);
	int32_t *nos = ARENA_ARRAY(a, int32_t, f->n_workflows + 1);
	struct str *pairs = ARENA_ARRAY(a, struct str, f->n_meta + 1), *keys = ARENA_ARRAY(a, struct str, f->n_keys + 1);

	*d = *f;
	for (uint32_t i = 0; i < f->n_keys; i++)
		keys[i] = f->idempotency_keys[i].n ? arena_dup(a, f->idempotency_keys[i]) : STR("");
	for (uint32_t i = 0; i < f->n_workflows; i++)
		nos[i] = f->workflow_nos[i];
	d->workflow_nos = nos;
	for (uint32_t i = 0; i < f->n_meta; i++)
		pairs[i] = f->meta_pairs[i].n ? arena_dup(a, f->meta_pairs[i]) : STR_NULL;
	d->meta_pairs = pairs;
	d->idempotency_keys = keys;
	return d;
}

static unsigned mask_of(const struct run_filter *f)
{
	return f->status_mask & 31 ? f->status_mask & 31 : 31;
}

static void bind_keys(struct reading *r, const struct run_filter *f)
{
	struct db_col *keys = reading_col(r, DB_TEXT);

	for (uint32_t i = 0; i < f->n_keys; i++)
		db_col_text(keys, f->idempotency_keys[i]);
	db_bind_col(r->q, keys);
}

static void list(struct reading *r, int sql_id, bool by_workflow)
{
	const struct run_filter *f = r->f;

	r->q = db_query_new(r->a, sql_id);
	bind_what(r, f->flags, f->tenant_no);
	bind_id_bounds(r, f->since_us, f->until_us, f->before_id);
	bind_workflows(r, f);
	db_bind_i32(r->q, f->worker_no);
	bind_meta(r, f->meta_pairs, f->n_meta);
	db_bind_bool(r->q, f->meta_and);
	db_bind_i32(r->q, (int32_t)mask_of(f));
	db_bind_i32(r->q, (int32_t)MIN(f->offset, 10000));
	db_bind_i32(r->q, (int32_t)MIN(f->limit, READ_RUNS_MAX));
	if (sql_id == SQL_RUNS_OF_KEYS)
		bind_keys(r, f);
	if (sql_id == SQL_RUNS_OF_PARENT || sql_id == SQL_RUNS_OF_KEYS)
		db_bind_i64(r->q, f->parent_id);
	else if (sql_id == SQL_RUNS_BY_STATE)
		db_bind_bool(r->q, by_workflow);
	db_submit(r->db, DB_READ, r->q, &r->op);
}

/* A short page of completed runs may have ended at the newest attempts that were looked at. */
static void newest_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;

	if (err || db_rows_n(db_query_rows(r->q)) >= r->f->limit) {
		tasks_done(op, err);
		return;
	}
	r->op.fn = tasks_done;
	list(r, SQL_RUNS_BY_STATE, true);
}

void read_runs(struct db *db, struct arena *a, const struct run_filter *f, struct read_tasks *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_RUNS, tasks_done, ret, op);
	bool by_state = mask_of(f) != 31 || f->n_workflows;

	r->db = db;
	r->f = filter_dup(a, f);
	if (f->n_keys) {
		list(r, SQL_RUNS_OF_KEYS, false);
	} else if (f->parent_id) {
		list(r, SQL_RUNS_OF_PARENT, false);
	} else if (f->worker_no) {
		list(r, SQL_RUNS_OF_WORKER, false);
	} else if (by_state) {
		if (!f->n_workflows && mask_of(f) & 1u << RUN_COMPLETED)
			r->op.fn = newest_done;
		list(r, SQL_RUNS_BY_STATE, f->n_workflows > 0);
	} else {
		list(r, SQL_RUNS, false);
	}
}
