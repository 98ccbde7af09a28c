/* The audit of a running server.
 *
 * Rows of live are read a slice at a time and compared with memory when they come back.  Every task that an effect names from the
 * moment the read is sent, or that stood in a flush not known to be stored then, is unsettled: it is left out and looked at again,
 * alone.  Of all others the row is what memory stored last, and memory has not touched them since: both must be the same, and
 * nothing was held up.  Then tails, rate limits, the counters of memory, and what the tables say of themselves (store/verify.h). */
#include "svc/verify.h"

#include "svc_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/audit.h"

enum { LIVE_SLICE = 5000, ROUNDS_MAX = 50, AGAIN_MAX = 1000, WAITING_MAX = 200000 };

enum stage { STAGE_LIVE, STAGE_AGAIN, STAGE_TAILS, STAGE_LANES, STAGE_LIMITS, STAGE_TABLES };

struct verify {
	struct svc *s;
	struct verify_report *r;
	struct op *user;
	int32_t tenant_no;
	uint64_t engine_no;
	enum stage stage;
	int rounds;
	int64_t lo;
	struct imap touched;		/* tasks; actions as -no */
	struct imap buckets;		/* touched, too */
	bool touched_any;
	VEC(int64_t) waiting;		/* unsettled tasks */
	size_t n_asked;			/* of them, the last ones */
	struct arena *a;		/* of the read in flight */
	struct read_live rows;
	struct read_tails tails;
	struct read_limits limits;
	struct verify_walk walk;
	struct db_query *q;
	struct op op;
};

static void next(struct verify *v);

/* --- what is on its way ---------------------------------------------------------------------------------------------------------- */

void verify_touch(struct svc *s, const struct fx *fx)
{
	struct verify *v = s->verify;

	if (!v || fx->kind > FX_NOTE)
		return;
	if (fx->kind == FX_BUCKET)
		(void)imap_put(&v->buckets, fx->lane, v);
	else if (fx->kind != FX_LOAD)
		(void)imap_put(&v->touched, fx->id, v);
	if (fx->kind == FX_LOAD || (fx->kind == FX_INSERT && fx->place == PLACE_TAIL) || (fx->kind == FX_END && fx->in_tail))
		(void)imap_put(&v->touched, -(int64_t)fx->action_no, v);
}

void verify_loaded(struct svc *s, int64_t id, int32_t action_no)
{
	if (!s->verify)
		return;
	if (id)
		(void)imap_put(&s->verify->touched, id, s->verify);
	(void)imap_put(&s->verify->touched, -(int64_t)action_no, s->verify);
}

static void touch_pend(struct svc *s, const struct pend *p)
{
	for (size_t i = 0; p && i < p->fx.n; i++)
		verify_touch(s, &p->fx.p[i]);
}

static void read_begins(struct verify *v)
{
	imap_fini(&v->touched);
	imap_fini(&v->buckets);
	v->touched = v->buckets = (struct imap){0};
	arena_free(v->a);
	v->a = arena_new((size_t)1 << 30);
	touch_pend(v->s, v->s->inflight);
	LIST_FOREACH(it, &v->s->pends)
		touch_pend(v->s, LIST_ENTRY(it, const struct pend, node));
}

static bool is_unsettled(void *arg, int64_t id, bool may_load)
{
	struct verify *v = arg;

	if (!may_load && !imap_get(&v->touched, id))
		return false;
	v->touched_any = true;
	if (id > 0 && v->stage == STAGE_LIVE) {
		if (v->waiting.n < WAITING_MAX)
			vec_push(&v->waiting, id);
		else
			v->r->n_unsettled++;
	}
	return true;
}

/* --- what differs ---------------------------------------------------------------------------------------------------------------- */

static struct str number(struct arena *a, int64_t v)
{
	return arena_strf(a, "%lld", (long long)v);
}

static void differs(void *arg, const struct eng_diff *d)
{
	static const char *const names[] = {
#define X(name, text) #name,
		ENG_DIFF_TABLE(X)
#undef X
	};
	static const char *const texts[] = {
#define X(name, text) text,
		ENG_DIFF_TABLE(X)
#undef X
	};
	struct verify *v = arg;
	struct arena *a = v->r->a;
	const struct cat_worker *w = d->worker_no ? cat_worker(v->s->catalog, d->worker_no) : NULL;
	struct verify_words words = {.id = d->id, .action = number(a, d->action_no), .m = number(a, d->memory), .s = number(a, d->tables)};

	words.worker = w ? arena_strf(a, "worker \"%.*s\" (%d)", STR_FMT(w->name), d->worker_no) : arena_strf(a, "worker %d", d->worker_no);
	words.more = d->kind == DIFF_SLOTS || d->kind == DIFF_SLOTS_LIMIT ? cat_slot_type_name(v->s->catalog, d->type_no) : number(a, d->type_no);
	verify_add(v->r, names[d->kind], texts[d->kind], &words);
}

static struct eng_audit audit_of(struct verify *v)
{
	return (struct eng_audit){.tenant_no = v->tenant_no, .differs = differs, .is_unsettled = is_unsettled, .arg = v};
}

static struct eng_audit_row row_of(struct verify *v, const struct live_row *l)
{
	const struct cat_step *step = cat_step(v->s->catalog, l->step_no);
	struct eng_entry entries[ENG_STEP_ENTRIES] = {0};
	struct eng_audit_row row = {.id = l->id, .tenant_no = l->tenant_no, .step_no = l->step_no, .worker_no = l->worker_no,
		.state = (int8_t)l->state, .rank = (int8_t)l->rank, .attempt = l->attempt, .app_retries = l->app_retries,
		.internal_retries = l->internal_retries, .released = l->released, .n_keys = step ? step->n_strategies : 0};

	keys_stored(step, l->keys, l->key_limits, l->n_key_limits, entries);
	for (uint32_t i = 0; i < row.n_keys; i++)
		row.keys[i] = entries[i].key;
	return row;
}

static void compare_slice(struct verify *v)
{
	struct eng_audit a = audit_of(v);
	struct eng_audit_row *rows = ARENA_ARRAY(v->a, struct eng_audit_row, v->rows.n + 1);
	bool is_last = v->rows.n < LIVE_SLICE;
	int64_t hi = is_last ? INT64_MAX : v->rows.p[v->rows.n - 1].id;

	for (uint32_t i = 0; i < v->rows.n; i++)
		rows[i] = row_of(v, &v->rows.p[i]);
	engine_audit_rows(v->s->engine, &a, v->lo, hi, rows, v->rows.n);
	v->r->n_checked += a.n_checked;
	v->lo = hi;
	if (is_last)
		v->stage = STAGE_AGAIN;
}

static void compare_again(struct verify *v)
{
	struct eng_audit a = audit_of(v);
	size_t from = v->waiting.n - v->n_asked, kept = from;
	uint32_t k = 0;

	for (size_t i = from; i < v->waiting.n; i++) {
		int64_t id = v->waiting.p[i];
		uint64_t before = a.n_checked;
		struct eng_audit_row row;

		while (k < v->rows.n && v->rows.p[k].id < id)
			k++;
		if (k < v->rows.n && v->rows.p[k].id == id) {
			row = row_of(v, &v->rows.p[k]);
			engine_audit_task(v->s->engine, &a, id, &row);
		} else {
			engine_audit_task(v->s->engine, &a, id, NULL);
		}
		if (a.n_checked == before)
			v->waiting.p[kept++] = id;
	}
	v->waiting.n = kept;
	v->r->n_checked += a.n_checked;
	v->rounds = v->n_asked == kept - from ? v->rounds + 1 : 0;
}

static void compare_tails(struct verify *v)
{
	uint64_t diffs = v->r->n_diffs;
	struct eng_audit a = audit_of(v);

	v->touched_any = false;
	for (uint32_t i = 0; i < v->tails.n; i++) {
		const struct tail_row *t = &v->tails.p[i];

		engine_audit_tail(v->s->engine, &a, t->tenant_no, t->action_no, (int8_t)t->rank, t->lane);
	}
	if (v->touched_any && v->rounds++ < ROUNDS_MAX) {	/* all of them once more */
		v->r->n_diffs = diffs;
		return;
	}
	v->r->n_checked += a.n_checked;
	v->r->n_unsettled += v->touched_any;
	v->rounds = 0;
	v->stage++;
}

static void compare_limits(struct verify *v)
{
	int64_t now = loop_now(v->s->loop).wall_us;

	for (uint32_t i = 0; i < v->limits.n; i++) {
		const struct limit_row *l = &v->limits.p[i];
		struct eng_diff d = {.kind = DIFF_LIMIT_UNKNOWN, .key = (uint64_t)l->hash};
		struct eng_bucket_view b;
		bool is_over = l->window_start == INT64_MIN || l->window_start + (int64_t)l->window_s * 1000000 <= now;

		if (l->tenant_no != v->tenant_no)
			continue;
		if (imap_get(&v->buckets, l->hash)) {
			v->r->n_unsettled++;
			continue;
		}
		v->r->n_checked++;
		if (!engine_bucket(v->s->engine, (uint64_t)l->hash, &b)) {
			differs(v, &d);
			continue;
		}
		d.kind = DIFF_LIMIT_LIMIT;
		d.memory = b.limit;
		d.tables = l->limit;
		if (d.memory != d.tables)
			differs(v, &d);
		d.kind = DIFF_LIMIT_VALUE;
		d.memory = b.value;
		d.tables = l->value;
		if (d.memory != d.tables && !is_over)
			differs(v, &d);
	}
	v->stage = STAGE_TABLES;
}

static void compare_counters(struct verify *v)
{
	struct eng_audit a = audit_of(v);

	engine_audit_counters(v->s->engine, &a);
	v->r->n_checked += a.n_checked;
}

/* --- the walk -------------------------------------------------------------------------------------------------------------------- */

static void verify_end(struct verify *v)
{
	v->s->verify = NULL;
	imap_fini(&v->touched);
	imap_fini(&v->buckets);
	vec_fini(&v->waiting);
	arena_free(v->a);
	free(v);
}

void verify_fini(struct svc *s)
{
	if (s->verify)
		verify_end(s->verify);
}

static void finish(struct verify *v, const struct err *err)
{
	struct svc *s = v->s;
	struct op *user = v->user;

	if (!err) {
		s->verified_at = loop_now(s->loop).wall_us;
		s->n_verified = v->r->n_checked;
		s->n_differences = v->r->n_diffs;
	}
	verify_end(v);
	op_done(user, err);
}

static void came(struct op *op, const struct err *err)
{
	struct verify *v = op->arg;
	struct err gone;

	if (!err && (v->engine_no != v->s->engine_no || !v->s->loaded)) {
		(void)err_set(&gone, ERR_UNAVAILABLE, "this server is no longer the active one");
		err = &gone;
	}
	if (err) {
		finish(v, err);
		return;
	}
	switch (v->stage) {
	case STAGE_LIVE:
		compare_slice(v);
		break;
	case STAGE_AGAIN:
		compare_again(v);
		break;
	case STAGE_TAILS:
	case STAGE_LANES:
		compare_tails(v);
		break;
	case STAGE_LIMITS:
		compare_limits(v);
		compare_counters(v);
		break;
	case STAGE_TABLES:
		verify_walk_take(&v->walk, db_query_rows(v->q), db_get_text, v->r);
		break;
	}
	next(v);
}

static struct op *op_of(struct verify *v)
{
	v->op = (struct op){.fn = came, .arg = v};
	return &v->op;
}

static int by_number(const void *a, const void *b)
{
	return (*(const int64_t *)a > *(const int64_t *)b) - (*(const int64_t *)a < *(const int64_t *)b);
}

static void ask_tables(struct verify *v)
{
	v->q = db_query_new(v->a, verify_walk_sql(&v->walk));
	db_bind_i32(v->q, v->tenant_no);
	if (verify_walk_sliced(&v->walk)) {
		db_bind_i64(v->q, v->walk.lo);
		db_bind_i32(v->q, VERIFY_SLICE);
	}
	db_submit(v->s->db, DB_MAINT, v->q, op_of(v));
}

static void next(struct verify *v)
{
	struct db *db = v->s->db;

	if (v->stage == STAGE_AGAIN && (v->waiting.n == 0 || v->rounds >= ROUNDS_MAX)) {
		v->r->n_unsettled += v->waiting.n;
		v->rounds = 0;
		v->stage = STAGE_TAILS;
	}
	if (v->stage == STAGE_TABLES && !verify_walk_sql(&v->walk)) {
		finish(v, NULL);
		return;
	}
	read_begins(v);
	switch (v->stage) {
	case STAGE_LIVE:
		verify_live_slice(db, v->a, v->tenant_no, v->lo, LIVE_SLICE, &v->rows, op_of(v));
		break;
	case STAGE_AGAIN:
		v->n_asked = MIN(v->waiting.n, (size_t)AGAIN_MAX);
		qsort(v->waiting.p, v->waiting.n, sizeof(v->waiting.p[0]), by_number);
		verify_live_ids(db, v->a, v->tenant_no, v->waiting.p + v->waiting.n - v->n_asked, (uint32_t)v->n_asked, &v->rows, op_of(v));
		break;
	case STAGE_TAILS:
		read_tails(db, v->a, &v->tails, op_of(v));
		break;
	case STAGE_LANES:
		read_lanes(db, v->a, &v->tails, op_of(v));
		break;
	case STAGE_LIMITS:
		read_limits(db, v->a, &v->limits, op_of(v));
		break;
	case STAGE_TABLES:
		ask_tables(v);
		break;
	}
}

void svc_verify(struct svc *s, struct arena *a, int32_t tenant_no, struct verify_report *ret, struct op *op)
{
	struct verify *v;
	struct err err;

	if (!svc_is_ready(s, &err)) {
		svc_fail_later(s, op, &err);
		return;
	}
	if (s->verify) {
		(void)err_set(&err, ERR_PRECONDITION, "an audit is under way; there is one at a time");
		svc_fail_later(s, op, &err);
		return;
	}
	v = xcalloc(1, sizeof(*v));
	*v = (struct verify){.s = s, .r = ret, .user = op, .tenant_no = tenant_no, .engine_no = s->engine_no, .walk = {.tenant_no = tenant_no}};
	verify_report_init(ret, a, catalog_id_secret(s->catalog));
	s->verify = v;
	next(v);
}
