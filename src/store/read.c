/* Tasks and runs for the API and for recovery.
 *
 * Each call is one statement, so what it shows is one moment; its rows come task by task, attempts ascending, and become
 * views on the caller's arena.  Status is computed by the one function of the model from what the same statement saw.
 * Writes nothing. */
#include "read_int.h"
#include "store/verify.h"

#include "base/text.h"

struct reading *reading_new(struct arena *a, int sql_id, op_fn *fn, void *ret, struct op *user)
{
	struct reading *r = ARENA_NEW(a, struct reading);

	r->a = a;
	r->q = db_query_new(a, sql_id);
	r->op = (struct op){fn, r};
	r->user = user;
	r->ret = ret;
	return r;
}

static void free_col(void *col)
{
	db_col_free(col);
}

struct db_col *reading_col(struct reading *r, enum db_type type)
{
	struct db_col *c = db_col_new(type);

	arena_own(r->a, c, free_col);
	return c;
}

void bind_ints(struct reading *r, enum db_type type, const void *p, uint32_t n)
{
	struct db_col *c = reading_col(r, type);

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
		.rank = i16(rows, i, 19), .app_retries = i16(rows, i, 20), .internal_retries = i16(rows, i, 21), .lane = db_get_int(rows, i, 34),
		.idempotency_key = db_get_text(rows, i, 35)};
}

/* Of an error only the beginning may have been read, up to the middle of a character. */
static struct str whole_chars(struct str s)
{
	for (int i = 0; i < 3 && s.n == READ_ERROR_BYTES - (size_t)i && !utf8_valid(s); i++)
		s.n--;
	return s;
}

static void take_attempt(const struct db_rows *rows, unsigned i, struct attempt_view *v)
{
	*v = (struct attempt_view){
		.attempt = i16(rows, i, 22), .status = i16(rows, i, 23), .worker_no = i32(rows, i, 24),
		.queued_at = db_get_time(rows, i, 25), .assigned_at = db_get_time(rows, i, 26),
		.started_at = db_get_time(rows, i, 27), .finished_at = db_get_time(rows, i, 28),
		.output = db_get_text(rows, i, 29), .error = whole_chars(db_get_text(rows, i, 30)), .is_final = db_get_bool(rows, i, 33)};
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
			t->n_children = i32(rows, end, 32);
			if (!db_is_null(rows, end, 22))
				take_attempt(rows, end, &t->attempts[t->n_attempts++]);
		}
		attempts += t->n_attempts;
		t->status = run_status_of(t->live_state, t->in_tail,
					  t->n_attempts ? t->attempts[t->n_attempts - 1].status : -1);
	}
}

void tasks_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;

	if (!err)
		take_tasks(r);
	op_done(r->user, err);
}

void bind_what(struct reading *r, unsigned flags, int32_t tenant_no)
{
	bool payloads = flags & READ_PAYLOADS;

	db_bind_i64(r->q, payloads ? CONF_PAYLOAD_READ_BYTES : 0);
	db_bind_i32(r->q, (flags & READ_ALL_ATTEMPTS ? 1 : 0) | (flags & READ_ERRORS && !payloads ? 2 : 0) |
		    (flags & READ_CHILDREN ? 4 : 0));
	db_bind_i32(r->q, tenant_no);
}

void read_tasks(struct db *db, struct arena *a, int32_t tenant_no, const int64_t *ids, uint32_t n, unsigned flags,
		struct read_tasks *ret, struct op *op)
{
	struct reading *r = reading_new(a, tenant_no ? SQL_TASKS_BY_IDS : SQL_TASKS_BY_IDS_ANY, tasks_done, ret, op);

	assert(n <= 1000);
	bind_what(r, flags, tenant_no);
	bind_ints(r, DB_INT8, ids, n);
	db_submit(db, DB_READ, r->q, &r->op);
}

void read_tree(struct db *db, struct arena *a, int32_t tenant_no, int64_t root, uint32_t depth, uint32_t limit, struct read_tasks *ret,
	       struct op *op)
{
	struct reading *r = reading_new(a, SQL_TASK_TREE, tasks_done, ret, op);

	bind_what(r, 0, tenant_no);
	bind_ints(r, DB_INT8, &root, 1);
	db_bind_i32(r->q, (int32_t)depth);
	db_bind_i32(r->q, (int32_t)limit);
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
		for (unsigned i = 0; i < ret->n; i++) {
			struct live_row *l = &ret->p[i];

			l->priority = i16(rows, i, 20);
			l->keys = arena_dup(r->a, db_get_text(rows, i, 21));
			l->n_key_limits = l->keys.n ? db_get_ints(rows, i, 22, r->a, &l->key_limits) : 0;
			l->lane = db_get_int(rows, i, 23);
			l->limits = arena_dup(r->a, db_get_text(rows, i, 24));
			l->idempotency_key = arena_dup(r->a, db_get_text(rows, i, 25));
			l->batch_key = arena_dup(r->a, db_get_text(rows, i, 26));
			l->n_input = (uint32_t)db_get_int(rows, i, 27);
			l->batch_id = db_get_int(rows, i, 28);
		}
	}
	op_done(r->user, err);
}

void read_live(struct db *db, struct arena *a, struct read_live *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_LIVE_ALL, live_done, ret, op);

	db_submit(db, DB_READ, r->q, &r->op);
}

void read_replayable(struct db *db, struct arena *a, int32_t tenant_no, const int64_t *ids, uint32_t n, struct read_live *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_REPLAYABLE, live_done, ret, op);

	db_bind_i32(r->q, tenant_no);
	bind_ints(r, DB_INT8, ids, n);
	db_submit(db, DB_READ, r->q, &r->op);
}

void verify_live_slice(struct db *db, struct arena *a, int32_t tenant_no, int64_t lo, uint32_t limit, struct read_live *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_VERIFY_SLICE, live_done, ret, op);

	db_bind_i32(r->q, tenant_no);
	db_bind_i64(r->q, lo);
	db_bind_i32(r->q, (int32_t)limit);
	db_submit(db, DB_READ, r->q, &r->op);
}

void verify_live_ids(struct db *db, struct arena *a, int32_t tenant_no, const int64_t *ids, uint32_t n, struct read_live *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_VERIFY_IDS, live_done, ret, op);

	db_bind_i32(r->q, tenant_no);
	bind_ints(r, DB_INT8, ids, n);
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
						      .rank = i16(rows, i, 2), .due_at = db_get_time(rows, i, 3),
						      .key_limit = -1};
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

static void lanes_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_tails *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct tail_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (struct tail_row){.tenant_no = i32(rows, i, 0), .action_no = i32(rows, i, 1),
				.rank = i16(rows, i, 2), .due_at = db_get_time(rows, i, 3), .lane = db_get_int(rows, i, 4),
				.last_id = db_get_int(rows, i, 5), .step_no = i32(rows, i, 6), .key_limit = i32(rows, i, 7)};
	}
	op_done(r->user, err);
}

void read_lanes(struct db *db, struct arena *a, struct read_tails *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_LANES, lanes_done, ret, op);

	db_submit(db, DB_READ, r->q, &r->op);
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
			ret->p[ret->n].lane = db_get_int(rows, i, 9);
			ret->p[ret->n].tenant_no = r->of.tenant_no;
			ret->p[ret->n++].rank = r->of.rank;
		}
	}
	op_done(r->user, err);
}

void read_tail_due(struct db *db, struct arena *a, int32_t tenant_no, int32_t action_no, int16_t rank, int64_t due_at, uint32_t limit,
		   int64_t after_due, int64_t after_id, struct read_live *ret, int64_t *ret_next_due, struct op *op)
{
	struct reading *r = reading_new(a, SQL_TAIL_DUE, tail_due_done, ret, op);

	r->ret_next_due = ret_next_due;
	r->of = (struct live_row){.tenant_no = tenant_no, .rank = rank};
	db_bind_i32(r->q, tenant_no);
	db_bind_i32(r->q, action_no);
	db_bind_i16(r->q, rank);
	db_bind_time(r->q, due_at);
	db_bind_i32(r->q, (int32_t)limit);
	db_bind_time(r->q, MAX(after_due, 0));
	db_bind_i64(r->q, after_id);
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
				.child_key = db_get_text(rows, i, 6), .is_cut = db_get_bool(rows, i, 7), .batch_key = db_get_text(rows, i, 8)};
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
			ret->p[i].lane = db_get_int(rows, i, 12);
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

void read_cancelled_children(struct db *db, struct arena *a, int32_t tenant_no, const int64_t *parent_ids, uint32_t n,
			     struct read_children *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_CANCELLED_CHILDREN, children_done, ret, op);

	db_bind_i32(r->q, tenant_no);
	bind_ints(r, DB_INT8, parent_ids, n);
	db_bind_text(r->q, STR(CANCEL_BY_PARENT));
	db_submit(db, DB_READ, r->q, &r->op);
}
