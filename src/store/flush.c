/* One flush: rows collected by kind, sent as one statement per kind that has rows.
 *
 * Invariant: the order of the statements is fixed and the caller's order of calls is kept inside a kind; what
 * has to happen in another order belongs into two flushes.  Columns are filled as rows come, so that sending costs no copy;
 * only what may be changed later (starts, touches) or is summed up (minutes) waits in structs.
 * Does not decide anything about tasks and does not know whether it was committed. */
#include "flush_int.h"

#include "base/map.h"
#include "base/vec.h"
#include "model/id.h"
#include "sql.h"

#include <stdlib.h>

enum kind {
	KIND_TAKEN_UP, KIND_ATTEMPT, KIND_LIVE_DELETE, KIND_TAIL_DELETE, KIND_STAT, KIND_RETRY, KIND_TASK, KIND_INBOX, KIND_LIVE, KIND_TAIL,
	KIND_CLAIM, KIND_UNCLAIM,
	KIND_LOAD,	/* one query each, not columns */
	KIND_REQUEUE, KIND_ASSIGN, KIND_START, KIND_TOUCH, KIND_NOTE, KIND_BUCKET, KIND_BUCKET_DELETE, KINDS
};
#define COLS_MAX 25

/* columns: 2 4 8 ints, b bool, t text, y bytea, j jsonb, w time, u uuid */
static const struct {
	int sql_id;
	const char *cols;
} kinds[KINDS] = {
	[KIND_TAKEN_UP] = {SQL_STAT_TAKEN_UP, "48"},
	[KIND_ATTEMPT] = {SQL_ATTEMPT_INSERT, "48224wwwwyy4"},
	[KIND_LIVE_DELETE] = {SQL_LIVE_DELETE, "48"},
	[KIND_TAIL_DELETE] = {SQL_QUEUE_ITEM_DELETE, "44284"},
	[KIND_STAT] = {SQL_STAT_MINUTE, "4w4288"},
	[KIND_RETRY] = {SQL_LIVE_RETRY, "4822222ww"},
	[KIND_TASK] = {SQL_TASK_INSERT, "488444422484t88yj4jtt8jtt"},
	[KIND_INBOX] = {SQL_INBOX_TAKEN, "4u8"},
	[KIND_LIVE] = {SQL_LIVE_INSERT, "4822222444wwww"},
	[KIND_TAIL] = {SQL_QUEUE_ITEM_INSERT, "4428222ww84"},
	[KIND_CLAIM] = {SQL_IDEMPOTENCY_PUT, "4t8bw"},
	[KIND_UNCLAIM] = {SQL_IDEMPOTENCY_RELEASE, "48"},
	[KIND_LOAD] = {SQL_WINDOW_LOAD, ""},
	[KIND_REQUEUE] = {SQL_LIVE_REQUEUE, "48ww"},
	[KIND_ASSIGN] = {SQL_LIVE_ASSIGN, "484ww8"},
	[KIND_START] = {SQL_LIVE_START, "48w"},
	[KIND_TOUCH] = {SQL_LIVE_TOUCH, "48wb"},
	[KIND_NOTE] = {SQL_NOTE_INSERT, "482w2t"},
	[KIND_BUCKET] = {SQL_RATE_LIMIT_PUT, "48t44w4b"},
	[KIND_BUCKET_DELETE] = {SQL_RATE_LIMIT_DELETE, "48"},
};

struct start {
	int32_t tenant_no;
	int64_t id, at;
	bool is_void;
};
struct touch {
	int32_t tenant_no;
	int64_t id, due_at;
	bool released;
};
struct stat {
	int32_t tenant_no, workflow_no;
	int64_t minute, n, run_us;
	int16_t status;
};
struct load {
	int32_t tenant_no, action_no;
	int16_t rank;
	int64_t lane;
	uint32_t limit;
	struct db_query *q;	/* of the last sending */
};

struct flush {
	struct db_col *cols[KINDS][COLS_MAX];
	VEC(struct start) starts;
	VEC(struct touch) touches;
	struct imap touched;	/* id -> 1 + index in touches */
	VEC(struct stat) stats;
	VEC(struct flush_bucket) buckets;
	struct arena *texts;	/* their keys */
	struct imap bucketed;	/* hash -> 1 + index in buckets */
	VEC(struct load) loads;
	const struct db_rows *back;	/* WindowLoaded, after a lost reply */
	size_t n_void, rows;
};

static enum db_type col_type(char c)
{
	switch (c) {
	case '2':
		return DB_INT2;
	case '4':
		return DB_INT4;
	case '8':
		return DB_INT8;
	case 'b':
		return DB_BOOL;
	case 't':
		return DB_TEXT;
	case 'y':
		return DB_BYTEA;
	case 'j':
		return DB_JSONB;
	case 'u':
		return DB_UUID;
	default:
		return DB_TIME;
	}
}

struct flush *flush_new(void)
{
	struct flush *f = xcalloc(1, sizeof(*f));

	f->texts = arena_new(1u << 30);
	for (int k = 0; k < KINDS; k++)
		for (unsigned i = 0; kinds[k].cols[i]; i++)
			f->cols[k][i] = db_col_new(col_type(kinds[k].cols[i]));
	return f;
}

void flush_free(struct flush *f)
{
	if (!f)
		return;
	for (int k = 0; k < KINDS; k++)
		for (unsigned i = 0; kinds[k].cols[i]; i++)
			db_col_free(f->cols[k][i]);
	vec_fini(&f->starts);
	vec_fini(&f->touches);
	imap_fini(&f->touched);
	vec_fini(&f->stats);
	vec_fini(&f->buckets);
	arena_free(f->texts);
	imap_fini(&f->bucketed);
	vec_fini(&f->loads);
	free(f);
}

void flush_reset(struct flush *f)
{
	for (int k = 0; k < KINDS; k++)
		for (unsigned i = 0; kinds[k].cols[i]; i++)
			db_col_reset(f->cols[k][i]);
	vec_clear(&f->starts);
	vec_clear(&f->touches);
	if (f->touched.n)
		imap_fini(&f->touched);
	vec_clear(&f->stats);
	vec_clear(&f->buckets);
	arena_reset(f->texts);
	if (f->bucketed.n)
		imap_fini(&f->bucketed);
	vec_clear(&f->loads);
	f->back = NULL;
	f->n_void = f->rows = 0;
}

size_t flush_rows(const struct flush *f)
{
	return f->rows - f->n_void;
}

/* --- rows ---------------------------------------------------------------------------------------------------------------- */

static int64_t minute_of(int64_t wall_us)
{
	return wall_us - wall_us % 60000000;
}

/* What one flush counts is mostly of few workflows and minutes: with the last few it is summed at once, the rest when it is sent. */
static void put_stat(struct flush *f, const struct stat *s)
{
	for (size_t i = f->stats.n; i > 0 && f->stats.n - i < 4; i--) {
		struct stat *l = &f->stats.p[i - 1];

		if (l->status == s->status && l->workflow_no == s->workflow_no && l->minute == s->minute && l->tenant_no == s->tenant_no) {
			l->n += s->n;
			l->run_us += s->run_us;
			return;
		}
	}
	vec_push(&f->stats, *s);
}

/* @status: STAT_MADE, or with it how it ended */
static void count_made(struct flush *f, int32_t tenant_no, int64_t id, int32_t workflow_no, int status, int64_t n)
{
	put_stat(f, &(struct stat){.tenant_no = tenant_no, .workflow_no = workflow_no, .n = n, .status = (int16_t)status,
		.minute = minute_of(id_unix_ms(id) * 1000)});
}

void flush_task(struct flush *f, const struct flush_task *t)
{
	struct db_col **c = f->cols[KIND_TASK];

	db_col_int(*c++, t->tenant_no);
	db_col_int(*c++, t->id);
	db_col_int(*c++, t->run_id);
	db_col_int(*c++, t->workflow_no);
	db_col_int(*c++, t->version_no);
	db_col_int(*c++, t->step_no);
	db_col_int(*c++, t->action_no);
	db_col_int(*c++, t->priority);
	db_col_int(*c++, t->flags);
	db_col_int(*c++, t->worker_no);
	db_col_int(*c++, t->parent_id);
	db_col_int(*c++, t->child_index);
	db_col_text(*c++, t->child_key);
	db_col_int(*c++, t->schedule_ms);
	db_col_int(*c++, t->exec_ms);
	db_col_text(*c++, t->input);
	db_col_text(*c++, t->metadata);
	db_col_int(*c++, t->desired_no);
	db_col_text(*c++, t->labels);
	db_col_text(*c++, t->keys);
	db_col_text(*c++, t->key_limits);
	db_col_int(*c++, t->lane);
	db_col_text(*c++, t->limits);
	db_col_text(*c++, t->idempotency_key);
	db_col_text(*c++, t->batch_key);
	count_made(f, t->tenant_no, t->id, t->workflow_no, STAT_MADE, 1);
	f->rows++;
}

void flush_request(struct flush *f, int32_t tenant_no, const struct uuid *request, int64_t run_id)
{
	struct db_col **c = f->cols[KIND_INBOX];

	db_col_int(*c++, tenant_no);
	db_col_uuid(*c++, request);
	db_col_int(*c++, run_id);
	f->rows++;
}

void flush_claim(struct flush *f, const struct flush_claim *k)
{
	struct db_col **c = f->cols[KIND_CLAIM];

	db_col_int(*c++, k->tenant_no);
	db_col_text(*c++, k->key);
	db_col_int(*c++, k->run_id);
	db_col_int(*c++, k->is_status);
	db_col_time(*c++, k->expires_at);
	f->rows++;
}

void flush_unclaim(struct flush *f, int32_t tenant_no, int64_t run_id)
{
	db_col_int(f->cols[KIND_UNCLAIM][0], tenant_no);
	db_col_int(f->cols[KIND_UNCLAIM][1], run_id);
	f->rows++;
}

void flush_live(struct flush *f, const struct flush_live *l)
{
	struct db_col **c = f->cols[KIND_LIVE];

	db_col_int(*c++, l->tenant_no);
	db_col_int(*c++, l->id);
	db_col_int(*c++, l->state);
	db_col_int(*c++, l->attempt);
	db_col_int(*c++, l->app_retries);
	db_col_int(*c++, l->internal_retries);
	db_col_int(*c++, l->rank);
	db_col_int(*c++, l->action_no);
	db_col_int(*c++, l->step_no);
	db_col_int(*c++, l->worker_no);
	db_col_time(*c++, l->queued_at);
	db_col_time(*c++, l->assigned_at);
	db_col_time(*c++, l->started_at);
	db_col_time(*c++, l->due_at);
	f->rows++;
}

void flush_tail(struct flush *f, const struct flush_live *l)
{
	struct db_col **c = f->cols[KIND_TAIL];

	db_col_int(*c++, l->tenant_no);
	db_col_int(*c++, l->action_no);
	db_col_int(*c++, l->rank);
	db_col_int(*c++, l->id);
	db_col_int(*c++, l->attempt);
	db_col_int(*c++, l->app_retries);
	db_col_int(*c++, l->internal_retries);
	db_col_time(*c++, l->queued_at);
	db_col_time(*c++, l->due_at);
	db_col_int(*c++, l->lane);
	db_col_int(*c++, l->step_no);
	f->rows++;
}

static void put_attempt(struct flush *f, const struct flush_end *e, bool is_final)
{
	struct db_col **c = f->cols[KIND_ATTEMPT];

	db_col_int(*c++, e->tenant_no);
	db_col_int(*c++, e->id);
	db_col_int(*c++, e->attempt);
	db_col_int(*c++, e->status);
	db_col_int(*c++, e->worker_no);
	db_col_time(*c++, e->queued_at);
	db_col_time(*c++, e->assigned_at);
	db_col_time(*c++, e->started_at);
	db_col_time(*c++, e->finished_at);
	db_col_text(*c++, e->output);
	db_col_text(*c++, e->error);
	db_col_int(*c++, is_final ? 8 * e->workflow_no + (int32_t)run_status_of(-1, false, e->status) : 0);
}

static void count_end(struct flush *f, const struct flush_end *e)
{
	int status = (int)run_status_of(-1, false, e->status);
	bool ran = e->started_at != INT64_MIN && e->finished_at > e->started_at;

	put_stat(f, &(struct stat){.tenant_no = e->tenant_no, .workflow_no = e->workflow_no, .n = 1, .status = (int16_t)status,
		.minute = minute_of(e->finished_at), .run_us = ran ? e->finished_at - e->started_at : 0});
	count_made(f, e->tenant_no, e->id, e->workflow_no, STAT_MADE + status, 1);
}

void flush_taken_up(struct flush *f, int32_t tenant_no, int64_t id)
{
	db_col_int(f->cols[KIND_TAKEN_UP][0], tenant_no);
	db_col_int(f->cols[KIND_TAKEN_UP][1], id);
	f->rows++;
}

void flush_end(struct flush *f, const struct flush_end *e)
{
	struct db_col **c;

	put_attempt(f, e, true);
	count_end(f, e);
	if (e->in_tail) {
		c = f->cols[KIND_TAIL_DELETE];
		db_col_int(*c++, e->tenant_no);
		db_col_int(*c++, e->action_no);
		db_col_int(*c++, e->rank);
		db_col_int(*c++, e->id);
		db_col_int(*c++, e->step_no);
	} else {
		c = f->cols[KIND_LIVE_DELETE];
		db_col_int(*c++, e->tenant_no);
		db_col_int(*c++, e->id);
	}
	f->rows++;
}

void flush_retry(struct flush *f, const struct flush_end *e, const struct flush_live *next)
{
	struct db_col **c = f->cols[KIND_RETRY];

	put_attempt(f, e, false);
	db_col_int(*c++, next->tenant_no);
	db_col_int(*c++, next->id);
	db_col_int(*c++, next->state);
	db_col_int(*c++, next->attempt);
	db_col_int(*c++, next->app_retries);
	db_col_int(*c++, next->internal_retries);
	db_col_int(*c++, next->rank);
	db_col_time(*c++, next->queued_at);
	db_col_time(*c++, next->due_at);
	f->rows++;
}

void flush_assign(struct flush *f, int32_t tenant_no, int64_t id, int32_t worker_no, int64_t assigned_at, int64_t due_at, int64_t batch_id)
{
	struct db_col **c = f->cols[KIND_ASSIGN];

	db_col_int(*c++, tenant_no);
	db_col_int(*c++, id);
	db_col_int(*c++, worker_no);
	db_col_time(*c++, assigned_at);
	db_col_time(*c++, due_at);
	db_col_int(*c++, batch_id);
	f->rows++;
}

uint32_t flush_start(struct flush *f, int32_t tenant_no, int64_t id, int64_t started_at)
{
	vec_push(&f->starts, ((struct start){.tenant_no = tenant_no, .id = id, .at = started_at}));
	f->rows++;
	return (uint32_t)f->starts.n - 1;
}

void flush_void_start(struct flush *f, uint32_t index)
{
	if (f->starts.p[index].is_void)
		return;
	f->starts.p[index].is_void = true;
	f->n_void++;
}

void flush_requeue(struct flush *f, int32_t tenant_no, int64_t id, int64_t queued_at, int64_t due_at)
{
	struct db_col **c = f->cols[KIND_REQUEUE];

	db_col_int(*c++, tenant_no);
	db_col_int(*c++, id);
	db_col_time(*c++, queued_at);
	db_col_time(*c++, due_at);
	f->rows++;
}

/* one UPDATE takes a row once, so two touches of a task become one */
void flush_touch(struct flush *f, int32_t tenant_no, int64_t id, int64_t due_at, bool released)
{
	size_t known = (size_t)(uintptr_t)imap_get(&f->touched, id);

	if (known) {
		struct touch *t = &f->touches.p[known - 1];

		t->due_at = due_at == INT64_MIN ? t->due_at : due_at;
		t->released = t->released || released;
		return;
	}
	vec_push(&f->touches, ((struct touch){tenant_no, id, due_at, released}));
	imap_put(&f->touched, id, (void *)(uintptr_t)f->touches.n);
	f->rows++;
}

void flush_note(struct flush *f, int32_t tenant_no, int64_t task_id, int16_t attempt, int64_t at, int kind, struct str body)
{
	struct db_col **c = f->cols[KIND_NOTE];

	db_col_int(*c++, tenant_no);
	db_col_int(*c++, task_id);
	db_col_int(*c++, attempt);
	db_col_time(*c++, at);
	db_col_int(*c++, kind);
	db_col_text(*c++, body.p ? body : STR(""));
	f->rows++;
}

void flush_bucket(struct flush *f, const struct flush_bucket *b)
{
	size_t known = (size_t)(uintptr_t)imap_get(&f->bucketed, b->hash);

	if (known) {
		struct str key = f->buckets.p[known - 1].key;

		f->buckets.p[known - 1] = *b;
		f->buckets.p[known - 1].key = key.p ? key : arena_dup(f->texts, b->key);
		return;
	}
	vec_push(&f->buckets, *b);
	f->buckets.p[f->buckets.n - 1].key = arena_dup(f->texts, b->key);
	(void)imap_put(&f->bucketed, b->hash, (void *)(uintptr_t)f->buckets.n);
	f->rows++;
}

void flush_load(struct flush *f, int32_t tenant_no, int32_t action_no, int16_t rank, int64_t lane, uint32_t limit)
{
	vec_push(&f->loads, ((struct load){tenant_no, action_no, rank, lane, limit, NULL}));
	f->rows++;
}

/* --- sending ------------------------------------------------------------------------------------------------------------- */

static void add_cols(struct flush *f, struct arena *a, struct db_tx *tx, enum kind k)
{
	struct db_query *q;

	if (db_col_n(f->cols[k][0]) == 0)
		return;
	q = db_query_new(a, kinds[k].sql_id);
	for (unsigned i = 0; kinds[k].cols[i]; i++)
		db_bind_col(q, f->cols[k][i]);
	db_tx_add(tx, q);
}

static void reset_cols(struct flush *f, enum kind k)
{
	for (unsigned i = 0; kinds[k].cols[i]; i++)
		db_col_reset(f->cols[k][i]);
}

static void fill_starts(struct flush *f)
{
	struct db_col **c = f->cols[KIND_START];

	reset_cols(f, KIND_START);
	for (size_t i = 0; i < f->starts.n; i++) {
		if (f->starts.p[i].is_void)
			continue;
		db_col_int(c[0], f->starts.p[i].tenant_no);
		db_col_int(c[1], f->starts.p[i].id);
		db_col_time(c[2], f->starts.p[i].at);
	}
}

static void fill_touches(struct flush *f)
{
	struct db_col **c = f->cols[KIND_TOUCH];

	reset_cols(f, KIND_TOUCH);
	for (size_t i = 0; i < f->touches.n; i++) {
		db_col_int(c[0], f->touches.p[i].tenant_no);
		db_col_int(c[1], f->touches.p[i].id);
		db_col_time(c[2], f->touches.p[i].due_at);
		db_col_int(c[3], f->touches.p[i].released);
	}
}

static void fill_buckets(struct flush *f)
{
	struct db_col **c = f->cols[KIND_BUCKET], **d = f->cols[KIND_BUCKET_DELETE];

	reset_cols(f, KIND_BUCKET);
	reset_cols(f, KIND_BUCKET_DELETE);
	for (size_t i = 0; i < f->buckets.n; i++) {
		const struct flush_bucket *b = &f->buckets.p[i];

		if (b->limit < 0) {
			db_col_int(d[0], b->tenant_no);
			db_col_int(d[1], b->hash);
			continue;
		}
		db_col_int(c[0], b->tenant_no);
		db_col_int(c[1], b->hash);
		db_col_text(c[2], b->key);
		db_col_int(c[3], b->limit);
		db_col_int(c[4], b->value);
		db_col_time(c[5], b->window_start);
		db_col_int(c[6], b->window_s);
		db_col_int(c[7], b->is_dynamic);
	}
}

static int stat_cmp(const void *pa, const void *pb)
{
	const struct stat *a = pa, *b = pb;

	if (a->tenant_no != b->tenant_no)
		return a->tenant_no < b->tenant_no ? -1 : 1;
	if (a->minute != b->minute)
		return a->minute < b->minute ? -1 : 1;
	if (a->workflow_no != b->workflow_no)
		return a->workflow_no < b->workflow_no ? -1 : 1;
	return (a->status > b->status) - (a->status < b->status);
}

static void fill_stats(struct flush *f)
{
	struct db_col **c = f->cols[KIND_STAT];
	size_t i = 0;

	reset_cols(f, KIND_STAT);
	if (f->stats.n > 1)
		qsort(f->stats.p, f->stats.n, sizeof(f->stats.p[0]), stat_cmp);
	while (i < f->stats.n) {
		struct stat s = f->stats.p[i++];

		for (; i < f->stats.n && stat_cmp(&s, &f->stats.p[i]) == 0; i++) {
			s.n += f->stats.p[i].n;
			s.run_us += f->stats.p[i].run_us;
		}
		db_col_int(c[0], s.tenant_no);
		db_col_time(c[1], s.minute);
		db_col_int(c[2], s.workflow_no);
		db_col_int(c[3], s.status);
		db_col_int(c[4], s.n);
		db_col_int(c[5], s.run_us);
	}
}

/* live.flags of rows moved by flush @flush_no; bit 0 is "slot released", 0 stands for "not loaded" */
static int32_t load_mark(int64_t flush_no)
{
	return (int32_t)(1 + flush_no % ((1 << 30) - 1)) << 1;
}

static void add_loads(struct flush *f, struct arena *a, struct db_tx *tx, int64_t flush_no)
{
	for (size_t i = 0; i < f->loads.n; i++) {
		struct load *l = &f->loads.p[i];

		l->q = db_query_new(a, l->lane ? SQL_LANE_LOAD : SQL_WINDOW_LOAD);
		db_bind_i32(l->q, l->tenant_no);
		db_bind_i32(l->q, l->action_no);
		db_bind_i16(l->q, l->rank);
		db_bind_i32(l->q, (int32_t)l->limit);
		db_bind_i32(l->q, load_mark(flush_no));
		if (l->lane)
			db_bind_i64(l->q, l->lane);
		db_tx_add(tx, l->q);
	}
}

void flush_add_to(struct flush *f, struct arena *a, struct db_tx *tx, int32_t engine_id, int64_t epoch, int64_t flush_no)
{
	struct db_query *fence = db_query_new(a, SQL_FENCE);

	db_bind_i32(fence, engine_id);
	db_bind_i64(fence, epoch);
	db_bind_i64(fence, flush_no);
	db_tx_add(tx, fence);
	f->back = NULL;
	fill_stats(f);
	fill_starts(f);
	fill_touches(f);
	fill_buckets(f);
	for (int k = 0; k < KINDS; k++) {
		if (k == KIND_LOAD)
			add_loads(f, a, tx, flush_no);
		else
			add_cols(f, a, tx, (enum kind)k);
	}
}

/* --- after the commit ---------------------------------------------------------------------------------------------------- */

size_t flush_loads(const struct flush *f)
{
	return f->loads.n;
}

static void loaded_row(const struct db_rows *rows, unsigned i, struct arena *a, struct loaded_row *r)
{
	*r = (struct loaded_row){
		.id = db_get_int(rows, i, 0), .tenant_no = (int32_t)db_get_int(rows, i, 1),
		.action_no = (int32_t)db_get_int(rows, i, 2), .step_no = (int32_t)db_get_int(rows, i, 3),
		.rank = (int16_t)db_get_int(rows, i, 4), .attempt = (int16_t)db_get_int(rows, i, 5),
		.app_retries = (int16_t)db_get_int(rows, i, 6), .internal_retries = (int16_t)db_get_int(rows, i, 7),
		.queued_at = db_get_time(rows, i, 8), .due_at = db_get_time(rows, i, 9),
		.schedule_ms = db_get_int(rows, i, 10), .exec_ms = db_get_int(rows, i, 11), .has_payload = db_get_bool(rows, i, 12),
		.input = db_get_text(rows, i, 13), .metadata = db_get_text(rows, i, 14), .priority = (int16_t)db_get_int(rows, i, 15),
		.parent_id = db_get_int(rows, i, 16), .child_index = db_is_null(rows, i, 17) ? -1 : (int32_t)db_get_int(rows, i, 17),
		.child_key = db_get_text(rows, i, 18), .desired_no = db_is_null(rows, i, 19) ? 0 : (int32_t)db_get_int(rows, i, 19),
		.labels = db_get_text(rows, i, 20), .is_orphan = db_get_bool(rows, i, 21),
		.keys = db_get_text(rows, i, 22), .lane = db_get_int(rows, i, 24),
		.limits = db_get_text(rows, i, 25), .batch_key = db_get_text(rows, i, 26), .n_input = (uint32_t)db_get_int(rows, i, 27)};
	r->n_key_limits = r->keys.n ? db_get_ints(rows, i, 23, a, &r->key_limits) : 0;
}

/* two loads of one queue in one flush: after a lost reply the first is given the rows of both */
static bool is_repeated(const struct flush *f, size_t load)
{
	const struct load *l = &f->loads.p[load];

	for (size_t i = 0; i < load; i++)
		if (f->loads.p[i].tenant_no == l->tenant_no && f->loads.p[i].action_no == l->action_no &&
		    f->loads.p[i].rank == l->rank && f->loads.p[i].lane == l->lane)
			return true;
	return false;
}

size_t flush_loaded(const struct flush *f, size_t load, struct arena *a, struct loaded_row **ret)
{
	const struct load *l = &f->loads.p[load];
	const struct db_rows *rows = f->back ? f->back : l->q ? db_query_rows(l->q) : NULL;
	unsigned n = db_rows_n(rows), kept = 0;

	*ret = ARENA_ARRAY(a, struct loaded_row, n + 1);
	if (f->back && is_repeated(f, load))
		return 0;
	for (unsigned i = 0; i < n; i++) {
		struct loaded_row r;

		loaded_row(rows, i, a, &r);
		if (r.tenant_no == l->tenant_no && r.action_no == l->action_no && r.rank == l->rank && (!f->back || r.lane == l->lane))
			(*ret)[kept++] = r;
	}
	return kept;
}

static void free_col(void *col)
{
	db_col_free(col);
}

struct db_query *flush_ask_loaded(const struct flush *f, struct arena *a, int64_t flush_no)
{
	struct db_query *q;
	struct db_col *tenants;

	if (!f->loads.n)
		return NULL;
	tenants = db_col_new(DB_INT4);
	for (size_t i = 0; i < f->loads.n; i++)
		db_col_int(tenants, f->loads.p[i].tenant_no);
	arena_own(a, tenants, free_col);
	q = db_query_new(a, SQL_WINDOW_LOADED);
	db_bind_col(q, tenants);
	db_bind_i32(q, load_mark(flush_no));
	return q;
}

void flush_take_loaded(struct flush *f, const struct db_rows *rows)
{
	f->back = rows;
}
