/* Tasks and runs for the API and for recovery.
 *
 * Each call is one statement, so what it shows is one moment; its rows come task by task, attempts ascending, and become
 * views on the caller's arena.  Status is computed by the one function of the model from what the same statement saw.
 * Writes nothing. */
#include "store/read.h"

#include "base/config.h"

#include "model/id.h"
#include "sql.h"

#include <stdlib.h>

#define COUNT_EXACT_MAX 10000

struct reading {
	struct arena *a;
	struct db_query *q;
	struct op op;
	struct op *user;
	void *ret;
	int64_t *ret_next_due;
	struct live_row of;	/* what all rows of a tail share */
	/* for the second statement of counts */
	struct db *db;
	const struct run_filter *f;
};

static struct reading *reading_new(struct arena *a, int sql_id, op_fn *fn, void *ret, struct op *user)
{
	struct reading *r = ARENA_NEW(a, struct reading);

	r->a = a;
	r->q = db_query_new(a, sql_id);
	r->op = (struct op){fn, r};
	r->user = user;
	r->ret = ret;
	return r;
}

static int32_t i32(const struct db_rows *rows, unsigned row, unsigned col)
{
	return (int32_t)db_get_int(rows, row, col);
}

static int16_t i16(const struct db_rows *rows, unsigned row, unsigned col)
{
	return (int16_t)db_get_int(rows, row, col);
}

static void free_col(void *col)
{
	db_col_free(col);
}

static void bind_ints(struct reading *r, enum db_type type, const void *p, uint32_t n)
{
	struct db_col *c = db_col_new(type);

	arena_own(r->a, c, free_col);
	for (uint32_t i = 0; i < n; i++)
		db_col_int(c, type == DB_INT8 ? ((const int64_t *)p)[i] : ((const int32_t *)p)[i]);
	db_bind_col(r->q, c);
}

/* --- tasks --------------------------------------------------------------------------------------------------------------- */

static void take_task(const struct db_rows *rows, unsigned i, struct task_view *t)
{
	*t = (struct task_view){
		.id = db_get_int(rows, i, 0), .run_id = db_get_int(rows, i, 1), .parent_id = db_get_int(rows, i, 2),
		.tenant_no = i32(rows, i, 3), .workflow_no = i32(rows, i, 4), .version_no = i32(rows, i, 5),
		.step_no = i32(rows, i, 6), .action_no = i32(rows, i, 7), .priority = i16(rows, i, 8),
		.input = db_get_text(rows, i, 9), .metadata = db_get_text(rows, i, 10), .live_state = i32(rows, i, 11),
		.in_tail = db_get_bool(rows, i, 12), .live_attempt = i16(rows, i, 13), .live_worker_no = i32(rows, i, 14),
		.live_queued_at = db_get_time(rows, i, 15), .live_assigned_at = db_get_time(rows, i, 16),
		.live_started_at = db_get_time(rows, i, 17), .live_due_at = db_get_time(rows, i, 18),
		.rank = i16(rows, i, 19), .app_retries = i16(rows, i, 20), .internal_retries = i16(rows, i, 21)};
}

static void take_attempt(const struct db_rows *rows, unsigned i, struct attempt_view *v)
{
	*v = (struct attempt_view){
		.attempt = i16(rows, i, 22), .status = i16(rows, i, 23), .worker_no = i32(rows, i, 24),
		.queued_at = db_get_time(rows, i, 25), .assigned_at = db_get_time(rows, i, 26),
		.started_at = db_get_time(rows, i, 27), .finished_at = db_get_time(rows, i, 28),
		.output = db_get_text(rows, i, 29), .error = db_get_text(rows, i, 30)};
}

static void take_tasks(struct reading *r)
{
	const struct db_rows *rows = db_query_rows(r->q);
	unsigned n = db_rows_n(rows), end;
	struct read_tasks *ret = r->ret;
	struct attempt_view *attempts = ARENA_ARRAY(r->a, struct attempt_view, n + 1);

	ret->tasks = ARENA_ARRAY(r->a, struct task_view, n + 1);
	ret->n = 0;
	for (unsigned i = 0; i < n; i = end) {
		struct task_view *t = &ret->tasks[ret->n++];

		take_task(rows, i, t);
		t->attempts = attempts;
		for (end = i; end < n && db_get_int(rows, end, 0) == t->id; end++) {
			t->is_cut |= db_get_bool(rows, end, 31);
			if (!db_is_null(rows, end, 22))
				take_attempt(rows, end, &t->attempts[t->n_attempts++]);
		}
		attempts += t->n_attempts;
		t->status = run_status_of(t->live_state, t->in_tail,
					  t->n_attempts ? t->attempts[t->n_attempts - 1].status : -1);
	}
}

static void tasks_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;

	if (!err)
		take_tasks(r);
	op_done(r->user, err);
}

void read_tasks(struct db *db, struct arena *a, int32_t tenant_no, const int64_t *ids, uint32_t n, unsigned flags,
		struct read_tasks *ret, struct op *op)
{
	struct reading *r = reading_new(a, tenant_no ? SQL_TASKS_BY_IDS : SQL_TASKS_BY_IDS_ANY, tasks_done, ret, op);

	assert(n <= 1000);
	db_bind_i64(r->q, flags & READ_PAYLOADS ? CONF_PAYLOAD_READ_BYTES : 0);
	db_bind_bool(r->q, flags & READ_ALL_ATTEMPTS);
	db_bind_i32(r->q, tenant_no);
	bind_ints(r, DB_INT8, ids, n);
	db_submit(db, DB_READ, r->q, &r->op);
}

/* --- runs ---------------------------------------------------------------------------------------------------------------- */

static int64_t id_at(int64_t wall_us)
{
	int64_t ms = wall_us / 1000 - ID_EPOCH_MS;

	return ms <= 0 ? 0 : ms >= (int64_t)1 << 41 ? INT64_MAX : ms << 22;
}

static void bind_id_bounds(struct reading *r, int64_t since_us, int64_t until_us)
{
	/* @until is meant to be in: the end is the first id of the next ms */
	db_bind_i64(r->q, id_at(since_us));
	db_bind_i64(r->q, until_us >= INT64_MAX - 1000 ? INT64_MAX : id_at(until_us + 1000));
}

/* "key:value" apart at the first colon */
static void bind_meta(struct reading *r, const struct str *pairs, uint32_t n)
{
	struct db_col *keys, *values;

	if (!n) {
		db_bind_null(r->q);
		db_bind_null(r->q);
		return;
	}
	keys = db_col_new(DB_TEXT);
	values = db_col_new(DB_TEXT);
	arena_own(r->a, keys, free_col);
	arena_own(r->a, values, free_col);
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

static void bind_workflows(struct reading *r, const struct run_filter *f)
{
	if (f->n_workflows)
		bind_ints(r, DB_INT4, f->workflow_nos, f->n_workflows);
	else
		db_bind_null(r->q);
}

void read_runs(struct db *db, struct arena *a, const struct run_filter *f, struct read_tasks *ret, struct op *op)
{
	unsigned mask = f->status_mask & 31 ? f->status_mask & 31 : 31;
	int sql_id = f->parent_id ? SQL_RUNS_OF_PARENT : mask & (1u << RUN_COMPLETED) ? SQL_RUNS : SQL_RUNS_NOT_COMPLETED;
	struct reading *r = reading_new(a, sql_id, tasks_done, ret, op);

	db_bind_i64(r->q, f->flags & READ_PAYLOADS ? CONF_PAYLOAD_READ_BYTES : 0);
	db_bind_bool(r->q, f->flags & READ_ALL_ATTEMPTS);
	db_bind_i32(r->q, f->tenant_no);
	bind_id_bounds(r, f->since_us, f->until_us);
	bind_workflows(r, f);
	db_bind_i32(r->q, f->worker_no);
	bind_meta(r, f->meta_pairs, f->n_meta);
	db_bind_bool(r->q, f->meta_and);
	db_bind_i32(r->q, (int32_t)mask);
	db_bind_i32(r->q, (int32_t)MIN(f->offset, 10000));
	db_bind_i32(r->q, (int32_t)MIN(f->limit, 1000));
	if (f->parent_id)
		db_bind_i64(r->q, f->parent_id);
	db_submit(db, DB_READ, r->q, &r->op);
}

static void take_counts(const struct db_rows *rows, unsigned mask, struct status_counts *ret)
{
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		int64_t s = db_get_int(rows, i, 0);

		if (s >= 0 && s < (int64_t)ARRAY_LEN(ret->n) && (mask >> s & 1))
			ret->n[s] += db_get_int(rows, i, 1);
	}
}

static unsigned mask_of(const struct run_filter *f)
{
	return f->status_mask & 31 ? f->status_mask & 31 : 31;
}

static void minutes_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;

	if (!err)
		take_counts(db_query_rows(r->q), mask_of(r->f), r->ret);
	op_done(r->user, err);
}

static bool is_narrow(const struct run_filter *f)
{
	return f->n_meta || f->worker_no || f->parent_id;
}

static void count_minutes(struct reading *r)
{
	int64_t until = r->f->until_us;

	r->q = db_query_new(r->a, SQL_COUNTS_BY_MINUTE);
	r->op.fn = minutes_done;
	db_bind_i32(r->q, r->f->tenant_no);
	db_bind_time(r->q, MAX(r->f->since_us, 0));
	db_bind_time(r->q, MIN(until, 4102444800000000LL));	/* year 2100: the end of ids is later, that of timestamps not */
	bind_workflows(r, r->f);
	db_submit(r->db, DB_READ, r->q, &r->op);
}

static void counts_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	int64_t sum = 0;
	struct status_counts got = {{0}};

	if (err) {
		op_done(r->user, err);
		return;
	}
	take_counts(db_query_rows(r->q), 31, &got);
	for (size_t i = 0; i < ARRAY_LEN(got.n); i++)
		sum += got.n[i];
	if (sum >= COUNT_EXACT_MAX && !is_narrow(r->f)) {
		count_minutes(r);
		return;
	}
	take_counts(db_query_rows(r->q), mask_of(r->f), r->ret);
	op_done(r->user, NULL);
}

/* the filter is needed again for a second statement, the caller's may be gone by then */
static const struct run_filter *filter_dup(struct arena *a, const struct run_filter *f)
{
	struct run_filter *d = ARENA_NEW(a, struct run_filter);
	int32_t *nos = ARENA_ARRAY(a, int32_t, f->n_workflows + 1);

	*d = *f;
	for (uint32_t i = 0; i < f->n_workflows; i++)
		nos[i] = f->workflow_nos[i];
	d->workflow_nos = nos;
	d->meta_pairs = NULL;
	return d;
}

void read_counts(struct db *db, struct arena *a, const struct run_filter *f, struct status_counts *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_COUNTS, counts_done, ret, op);

	*ret = (struct status_counts){{0}};
	r->db = db;
	r->f = filter_dup(a, f);
	db_bind_i32(r->q, f->tenant_no);
	bind_id_bounds(r, f->since_us, f->until_us);
	bind_workflows(r, f);
	db_bind_i32(r->q, f->worker_no);
	bind_meta(r, f->meta_pairs, f->n_meta);
	db_bind_bool(r->q, f->meta_and);
	db_bind_i64(r->q, f->parent_id);
	if (is_narrow(f))
		db_bind_null(r->q);
	else
		db_bind_i32(r->q, COUNT_EXACT_MAX);
	db_submit(db, DB_READ, r->q, &r->op);
}

static void point_rows_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_minutes *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct minute_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (struct minute_row){.minute_us = db_get_time(rows, i, 0),
				.workflow_no = i32(rows, i, 1), .status = (enum run_status)i16(rows, i, 2),
				.n = db_get_int(rows, i, 3), .run_us = db_get_int(rows, i, 4)};
	}
	op_done(r->user, err);
}

void read_minutes(struct db *db, struct arena *a, int32_t tenant_no, int64_t since_us, int64_t until_us,
		  struct read_minutes *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_MINUTES, point_rows_done, ret, op);

	db_bind_i32(r->q, tenant_no);
	db_bind_time(r->q, MAX(since_us, 0));
	db_bind_time(r->q, MIN(until_us, 4102444800000000LL));
	db_submit(db, DB_READ, r->q, &r->op);
}

/* --- timeline ------------------------------------------------------------------------------------------------------------ */

static void notes_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_notes *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct note_view, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (struct note_view){.at = db_get_time(rows, i, 0), .attempt = i16(rows, i, 1),
						       .kind = i16(rows, i, 2), .body = db_get_text(rows, i, 3)};
	}
	op_done(r->user, err);
}

void read_notes(struct db *db, struct arena *a, int32_t tenant_no, int64_t task_id, struct read_notes *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_NOTES, notes_done, ret, op);

	db_bind_i32(r->q, tenant_no);
	db_bind_i64(r->q, task_id);
	db_submit(db, DB_READ, r->q, &r->op);
}

/* --- recovery ------------------------------------------------------------------------------------------------------------ */

static void live_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_live *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct live_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (struct live_row){
				.id = db_get_int(rows, i, 0), .tenant_no = i32(rows, i, 1), .step_no = i32(rows, i, 2),
				.worker_no = i32(rows, i, 3), .state = i16(rows, i, 4), .rank = i16(rows, i, 5),
				.attempt = i16(rows, i, 6), .app_retries = i16(rows, i, 7),
				.internal_retries = i16(rows, i, 8), .queued_at = db_get_time(rows, i, 9),
				.assigned_at = db_get_time(rows, i, 10), .started_at = db_get_time(rows, i, 11),
				.due_at = db_get_time(rows, i, 12), .schedule_ms = db_get_int(rows, i, 13),
				.exec_ms = db_get_int(rows, i, 14), .released = db_get_bool(rows, i, 15),
				.desired_no = i32(rows, i, 16), .labels = arena_dup(r->a, db_get_text(rows, i, 17)),
				.parent_id = db_get_int(rows, i, 18), .is_orphan = db_get_bool(rows, i, 19)};
	}
	op_done(r->user, err);
}

void read_live(struct db *db, struct arena *a, struct read_live *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_LIVE_ALL, live_done, ret, op);

	db_submit(db, DB_READ, r->q, &r->op);
}

static void tails_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_tails *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct tail_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (struct tail_row){.tenant_no = i32(rows, i, 0), .action_no = i32(rows, i, 1),
						      .rank = i16(rows, i, 2), .due_at = db_get_time(rows, i, 3)};
	}
	op_done(r->user, err);
}

void read_tails(struct db *db, struct arena *a, struct read_tails *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_TAILS, tails_done, ret, op);

	db_submit(db, DB_READ, r->q, &r->op);
}

static void max_id_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;

	if (!err)
		*(int64_t *)r->ret = db_get_int(db_query_rows(r->q), 0, 0);
	op_done(r->user, err);
}

void read_max_id(struct db *db, struct arena *a, int64_t *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_MAX_ID, max_id_done, ret, op);

	db_submit(db, DB_READ, r->q, &r->op);
}

/* The columns that both statements about tails begin with. */
static struct live_row tail_live(const struct db_rows *rows, unsigned i)
{
	return (struct live_row){.id = db_get_int(rows, i, 0), .step_no = i32(rows, i, 1), .state = LIVE_QUEUED,
		.attempt = i16(rows, i, 2), .app_retries = i16(rows, i, 3), .internal_retries = i16(rows, i, 4),
		.queued_at = db_get_time(rows, i, 5), .assigned_at = INT64_MIN, .started_at = INT64_MIN,
		.due_at = db_get_time(rows, i, 6), .schedule_ms = db_get_int(rows, i, 7), .exec_ms = db_get_int(rows, i, 8)};
}

static void tail_due_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_live *ret = r->ret;
	unsigned n = db_rows_n(rows);

	if (!err) {
		ret->n = 0;
		ret->p = ARENA_ARRAY(r->a, struct live_row, n + 1);
		*r->ret_next_due = INT64_MIN;
		for (unsigned i = 0; i < n; i++) {
			if (db_is_null(rows, i, 0)) {
				*r->ret_next_due = db_get_time(rows, i, 6);
				continue;
			}
			ret->p[ret->n] = tail_live(rows, i);
			ret->p[ret->n].tenant_no = r->of.tenant_no;
			ret->p[ret->n++].rank = r->of.rank;
		}
	}
	op_done(r->user, err);
}

void read_tail_due(struct db *db, struct arena *a, int32_t tenant_no, int32_t action_no, int16_t rank, int64_t due_at, uint32_t limit,
		   struct read_live *ret, int64_t *ret_next_due, struct op *op)
{
	struct reading *r = reading_new(a, SQL_TAIL_DUE, tail_due_done, ret, op);

	r->ret_next_due = ret_next_due;
	r->of = (struct live_row){.tenant_no = tenant_no, .rank = rank};
	db_bind_i32(r->q, tenant_no);
	db_bind_i32(r->q, action_no);
	db_bind_i16(r->q, rank);
	db_bind_time(r->q, due_at);
	db_bind_i32(r->q, (int32_t)limit);
	db_submit(db, DB_READ, r->q, &r->op);
}

static void inputs_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_inputs *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct input_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (struct input_row){
				.id = db_get_int(rows, i, 0), .input = db_get_text(rows, i, 1),
				.metadata = db_get_text(rows, i, 2), .priority = i32(rows, i, 3),
				.parent_id = db_get_int(rows, i, 4),
				.child_index = db_is_null(rows, i, 5) ? -1 : i32(rows, i, 5),
				.child_key = db_get_text(rows, i, 6), .is_cut = db_get_bool(rows, i, 7)};
	}
	op_done(r->user, err);
}

void read_inputs(struct db *db, struct arena *a, const int64_t *ids, const int32_t *tenant_nos, uint32_t n, struct read_inputs *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_INPUTS, inputs_done, ret, op);

	bind_ints(r, DB_INT8, ids, n);
	bind_ints(r, DB_INT4, tenant_nos, n);
	db_bind_i64(r->q, CONF_PAYLOAD_READ_BYTES);
	db_submit(db, DB_READ, r->q, &r->op);
}

static void children_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_children *ret = r->ret;

	unsigned n = db_rows_n(rows);

	if (!err) {
		*ret = (struct read_children){.p = ARENA_ARRAY(r->a, struct child_row, n + 1)};
		for (unsigned i = 0; i < n; i++)
			if (db_is_null(rows, i, 0))
				ret->parent_is_cancelled = i32(rows, i, 1) == ATTEMPT_CANCELLED;
			else
				ret->p[ret->n++] = (struct child_row){.id = db_get_int(rows, i, 0),
					.child_index = db_is_null(rows, i, 1) ? -1 : i32(rows, i, 1), .child_key = db_get_text(rows, i, 2)};
	}
	op_done(r->user, err);
}

void read_children(struct db *db, struct arena *a, int32_t tenant_no, int64_t parent_id, struct read_children *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_CHILDREN, children_done, ret, op);

	db_bind_i32(r->q, tenant_no);
	db_bind_i64(r->q, parent_id);
	db_submit(db, DB_READ, r->q, &r->op);
}

static void children_in_tail_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_live *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct live_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++) {
			ret->p[i] = tail_live(rows, i);
			ret->p[i].tenant_no = i32(rows, i, 9);
			ret->p[i].action_no = i32(rows, i, 10);
			ret->p[i].rank = i16(rows, i, 11);
		}
	}
	op_done(r->user, err);
}

void read_children_in_tail(struct db *db, struct arena *a, const int32_t *tenant_nos, const int64_t *parent_ids, uint32_t n, uint32_t limit,
			   struct read_live *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_CHILDREN_IN_TAIL, children_in_tail_done, ret, op);

	bind_ints(r, DB_INT4, tenant_nos, n);
	bind_ints(r, DB_INT8, parent_ids, n);
	db_bind_i32(r->q, (int32_t)limit);
	db_submit(db, DB_READ, r->q, &r->op);
}
