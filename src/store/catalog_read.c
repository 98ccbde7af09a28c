/* Rows of the dictionaries into memory.
 *
 * A reload is a list of statements run one after the other on lane DB_WRITE, the same connection that writes definitions:
 * so what is read is never older than what was written before.  Only when all answers are there are they taken, in one go,
 * and an object is never seen half. */
#include "catalog_int.h"
#include "sql.h"

#include <stdlib.h>

#define STEPS_MAX 12
#define ARENA_BYTES_MAX ((size_t)1 << 30)

typedef void take_fn(struct catalog *c, const struct db_rows *rows);
struct reading {
	int sql_id;
	take_fn *take;
};
struct job {
	struct list node;	/* catalog.jobs */
	struct catalog *c;
	struct arena *a;
	struct op op;
	const struct reading *steps;
	unsigned n, at;
	struct db_query *q[STEPS_MAX];
	int32_t no;		/* 0: all */
	struct uuid token;
	bool has_token;
	reload_fn *fn;
	void *arg;
};

static struct str uuid_key(const struct uuid *u)
{
	return (struct str){(const char *)u->b, sizeof(u->b)};
}

/* strings are copied once; the same text again costs nothing */
static void keep(struct catalog *c, struct str *dst, struct str s)
{
	if (!dst->p || !str_eq(*dst, s))
		*dst = arena_dup(c->a, s.p ? s : STR(""));
}

static int32_t i32(const struct db_rows *rows, unsigned row, unsigned col)
{
	return (int32_t)db_get_int(rows, row, col);
}

static void take_instance(struct catalog *c, const struct db_rows *rows)
{
	struct str s = db_rows_n(rows) ? db_get_text(rows, 0, 0) : STR_NULL;

	if (s.n == sizeof(c->id_secret.key))
		memcpy(c->id_secret.key, s.p, s.n);
}

static void take_key(struct catalog *c, const struct db_rows *rows)
{
	if (db_rows_n(rows))
		keep(c, &c->signing_key, db_get_text(rows, 0, 0));
}

static void take_tenants(struct catalog *c, const struct db_rows *rows)
{
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		int32_t no = i32(rows, i, 0);
		struct cat_tenant *t = imap_get(&c->tenants, no);

		if (!t) {
			t = ARENA_NEW(c->a, struct cat_tenant);
			t->tenant_no = no;
			t->uuid = db_get_uuid(rows, i, 1);
			t->created_at = db_get_time(rows, i, 5);
			imap_put(&c->tenants, no, t);
			smap_put(&c->tenants_by_id, uuid_key(&t->uuid), t);
		}
		keep(c, &t->name, db_get_text(rows, i, 2));
		keep(c, &t->slug, db_get_text(rows, i, 3));
		t->retention_hours = i32(rows, i, 4);
	}
}

static void take_slot_types(struct catalog *c, const struct db_rows *rows)
{
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		struct str *name;

		if (imap_get(&c->slot_types, i32(rows, i, 0)))
			continue;
		name = ARENA_NEW(c->a, struct str);
		keep(c, name, db_get_text(rows, i, 1));
		imap_put(&c->slot_types, i32(rows, i, 0), name);
	}
}

static struct cat_action *take_action(struct catalog *c, const struct db_rows *rows, unsigned i, unsigned col)
{
	int32_t no = i32(rows, i, col);
	struct cat_action *a = imap_get(&c->actions, no);

	if (!a) {
		a = ARENA_NEW(c->a, struct cat_action);
		a->action_no = no;
		a->tenant_no = i32(rows, i, col + 1);
		keep(c, &a->name, db_get_text(rows, i, col + 2));
		imap_put(&c->actions, no, a);
	}
	return a;
}

static void take_actions(struct catalog *c, const struct db_rows *rows)
{
	for (unsigned i = 0; i < db_rows_n(rows); i++)
		take_action(c, rows, i, 0);
}

static void name_workflow(struct catalog *c, struct cat_workflow *w)
{
	struct arena *a = arena_new(w->name.n + 4096);
	struct str key = catalog_name_key(a, w->tenant_no, w->name);

	if (!w->deleted)
		smap_put(&c->workflows_by_name, key, w);
	else if (smap_get(&c->workflows_by_name, key) == w)
		smap_del(&c->workflows_by_name, key);
	arena_free(a);
}

static void take_workflows(struct catalog *c, const struct db_rows *rows)
{
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		int32_t no = i32(rows, i, 0);
		struct workflow_rec *r = imap_get(&c->workflows, no);

		if (!r) {
			r = ARENA_NEW(c->a, struct workflow_rec);
			r->w.workflow_no = no;
			r->w.tenant_no = i32(rows, i, 1);
			r->w.uuid = db_get_uuid(rows, i, 2);
			r->w.created_at = db_get_time(rows, i, 8);
			keep(c, &r->w.name, db_get_text(rows, i, 3));
			imap_put(&c->workflows, no, r);
			smap_put(&c->workflows_by_id, uuid_key(&r->w.uuid), r);
		}
		keep(c, &r->w.description, db_get_text(rows, i, 4));
		r->latest_no = i32(rows, i, 5);
		r->w.pause = (struct cat_pause){.is_paused = db_get_bool(rows, i, 6), .paused_at = db_get_time(rows, i, 9),
			.unpaused_at = db_get_time(rows, i, 10), .ttl_ms = db_get_int(rows, i, 11), .drops_cron = db_get_bool(rows, i, 12),
			.drops_scheduled = db_get_bool(rows, i, 13)};
		r->w.deleted = db_get_bool(rows, i, 7);
		name_workflow(c, &r->w);
	}
}

static void take_versions(struct catalog *c, const struct db_rows *rows)
{
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		int32_t no = i32(rows, i, 0);
		struct workflow_rec *r = imap_get(&c->workflows, i32(rows, i, 1));
		struct cat_version *v = imap_get(&c->versions, no);

		if (!r)
			continue;
		if (!v) {
			v = ARENA_NEW(c->a, struct cat_version);
			v->version_no = no;
			v->workflow = &r->w;
			v->uuid = db_get_uuid(rows, i, 2);
			v->ordinal = i32(rows, i, 3);
			keep(c, &v->checksum, db_get_text(rows, i, 4));
			v->default_priority = (int16_t)db_get_int(rows, i, 5);
			v->is_dag = db_get_bool(rows, i, 6);
			keep(c, &v->unsupported, db_get_text(rows, i, 7));
			v->created_at = db_get_time(rows, i, 8);
			v->sticky = (enum sticky)db_get_int(rows, i, 9);
			keep(c, &v->idempotency.expression, db_get_text(rows, i, 10));
			v->idempotency.ttl_ms = db_get_int(rows, i, 11);
			v->idempotency.is_status = db_get_bool(rows, i, 12);
			imap_put(&c->versions, no, v);
			smap_put(&c->versions_by_id, uuid_key(&v->uuid), v);
		}
		if (r->latest_no == no)
			r->w.latest = v;
	}
}

static void take_slots(const struct db_rows *rows, unsigned i, unsigned col, struct cat_slot slots[CAT_SLOTS])
{
	struct arena *a = arena_new(1u << 20);
	int64_t *types, *units;
	size_t n = db_get_ints(rows, i, col, a, &types), m = db_get_ints(rows, i, col + 1, a, &units);

	memset(slots, 0, sizeof(slots[0]) * CAT_SLOTS);
	for (size_t k = 0; k < n && k < m && k < CAT_SLOTS; k++)
		slots[k] = (struct cat_slot){(int32_t)types[k], (int32_t)units[k]};
	arena_free(a);
}

static void take_strategies(struct catalog *c, const struct db_rows *rows)
{
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		int32_t no = i32(rows, i, 0);
		struct cat_strategy *s = imap_get(&c->strategies, no);

		if (!s) {
			s = ARENA_NEW(c->a, struct cat_strategy);
			s->strategy_no = no;
			s->tenant_no = i32(rows, i, 1);
			if (!db_is_null(rows, i, 2))
				keep(c, &s->name, db_get_text(rows, i, 2));
			imap_put(&c->strategies, no, s);
		}
		s->kind = (enum conc)db_get_int(rows, i, 3);
		s->max_runs = i32(rows, i, 4);
		keep(c, &s->expression, db_get_text(rows, i, 5));
		keep(c, &s->max_runs_expression, db_get_text(rows, i, 6));
	}
}

static void take_chain(struct catalog *c, const struct db_rows *rows, unsigned i, unsigned col, struct cat_step *s)
{
	struct arena *a = arena_new(1u << 20);
	int64_t *nos;
	size_t n = db_get_ints(rows, i, col, a, &nos);

	s->strategies = ARENA_ARRAY(c->a, struct cat_strategy *, n + 1);
	for (size_t k = 0; k < n; k++)
		s->strategies[k] = imap_get(&c->strategies, nos[k]);
	s->n_strategies = (uint32_t)n;
	arena_free(a);
}

static struct cat_step *take_step(struct catalog *c, const struct db_rows *rows, unsigned i, struct cat_version *v)
{
	struct cat_step *s = ARENA_NEW(c->a, struct cat_step);

	s->version = v;
	s->step_no = i32(rows, i, 1);
	s->uuid = db_get_uuid(rows, i, 2);
	keep(c, &s->readable_id, db_get_text(rows, i, 3));
	s->retries = i32(rows, i, 4);
	s->backoff_milli = i32(rows, i, 5);
	s->backoff_max_s = i32(rows, i, 6);
	s->exec_ms = db_get_int(rows, i, 7);
	s->schedule_ms = db_get_int(rows, i, 8);
	take_slots(rows, i, 9, s->slots);
	s->is_durable = db_get_bool(rows, i, 11);
	s->is_on_failure = db_get_bool(rows, i, 12);
	s->action = take_action(c, rows, i, 13);
	s->n_wants = cat_wants_parse(c->a, db_get_text(rows, i, 16), &s->wants);
	take_chain(c, rows, i, 17, s);
	s->n_limits = cat_limits_parse(c->a, db_get_text(rows, i, 18), &s->limits);
	cat_batch_parse(c->a, db_get_text(rows, i, 19), &s->batch);
	imap_put(&c->steps, s->step_no, s);
	return s;
}

/* rows are ordered by version and position; a version's steps never change */
static void take_steps(struct catalog *c, const struct db_rows *rows)
{
	unsigned n = db_rows_n(rows), end;

	for (unsigned i = 0; i < n; i = end) {
		struct cat_version *v = imap_get(&c->versions, i32(rows, i, 0));

		for (end = i + 1; end < n && db_get_int(rows, end, 0) == db_get_int(rows, i, 0);)
			end++;
		if (!v || v->n_steps)
			continue;
		v->steps = ARENA_ARRAY(c->a, struct cat_step *, end - i);
		for (unsigned k = i; k < end; k++)
			v->steps[k - i] = take_step(c, rows, k, v);
		v->n_steps = end - i;
	}
}

static struct worker_rec *new_worker(struct catalog *c, const struct db_rows *rows, unsigned i)
{
	struct worker_rec *r = ARENA_NEW(c->a, struct worker_rec);
	struct cat_worker *w = &r->w;
	struct arena *a = arena_new(64u << 20);
	int64_t *actions;
	size_t n = db_get_ints(rows, i, 6, a, &actions);

	w->worker_no = i32(rows, i, 0);
	w->tenant_no = i32(rows, i, 1);
	w->uuid = db_get_uuid(rows, i, 2);
	w->actions = ARENA_ARRAY(c->a, struct cat_action *, n + 1);
	for (size_t k = 0; k < n; k++) {
		struct cat_action *act = imap_get(&c->actions, actions[k]);

		if (act)
			w->actions[w->n_actions++] = act;
	}
	arena_free(a);
	imap_put(&c->workers, w->worker_no, r);
	smap_put(&c->workers_by_id, uuid_key(&w->uuid), r);
	return r;
}

static void take_workers(struct catalog *c, const struct db_rows *rows)
{
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		struct worker_rec *r = imap_get(&c->workers, i32(rows, i, 0));
		struct cat_worker *w;

		if (!r)
			r = new_worker(c, rows, i);
		w = &r->w;
		keep(c, &w->name, db_get_text(rows, i, 3));
		take_slots(rows, i, 4, w->slots);
		keep(c, &w->sdk_version, db_get_text(rows, i, 7));
		keep(c, &w->language_version, db_get_text(rows, i, 8));
		keep(c, &w->os, db_get_text(rows, i, 9));
		keep(c, &w->extra, db_get_text(rows, i, 10));
		w->language = i32(rows, i, 11);
		w->paused = db_get_bool(rows, i, 12);
		w->created_at = db_get_time(rows, i, 13);
		w->session_at = db_get_time(rows, i, 14);
		w->last_seen_at = db_get_time(rows, i, 15);
		w->ended_at = db_get_time(rows, i, 16);
	}
}

/* One heap block per worker, replaced whole: labels change often and must not pile up in the arena. */
void catalog_set_labels(struct worker_rec *r, const struct cat_label *labels, uint32_t n)
{
	size_t bytes = sizeof(*labels) * (n + 1);
	struct cat_label *out;
	char *p;

	for (uint32_t i = 0; i < n; i++)
		bytes += labels[i].key.n + labels[i].str_value.n;
	out = xmalloc(bytes);
	p = (char *)(out + n + 1);
	for (uint32_t i = 0; i < n; i++) {
		struct str key = labels[i].key, val = labels[i].str_value;

		out[i] = labels[i];
		out[i].key.p = memcpy(p, key.n ? key.p : "", key.n);
		p += key.n;
		out[i].str_value.p = memcpy(p, val.n ? val.p : "", val.n);
		p += val.n;
	}
	free(r->label_block);
	r->label_block = r->w.labels = out;
	r->w.n_labels = n;
}

/* rows are ordered by worker; the text of a number is the number */
static void take_labels(struct catalog *c, const struct db_rows *rows)
{
	unsigned n = db_rows_n(rows), end;

	for (unsigned i = 0; i < n; i = end) {
		struct worker_rec *r = imap_get(&c->workers, i32(rows, i, 0));
		VEC(struct cat_label) v = {0};

		for (end = i; end < n && db_get_int(rows, end, 0) == db_get_int(rows, i, 0); end++) {
			struct cat_label l = {.key = db_get_text(rows, end, 1), .is_int = db_get_bool(rows, end, 3)};
			int64_t num;

			if (l.is_int && str_to_i64(db_get_text(rows, end, 2), &num))
				l.int_value = (int32_t)num;
			else
				l.str_value = db_get_text(rows, end, 2);
			vec_push(&v, l);
		}
		if (r)
			catalog_set_labels(r, v.p, (uint32_t)v.n);
		vec_fini(&v);
	}
}

static void take_tokens(struct catalog *c, const struct db_rows *rows)
{
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		struct uuid u = db_get_uuid(rows, i, 0);
		struct cat_token *t = smap_get(&c->tokens, uuid_key(&u));

		if (!t) {
			t = ARENA_NEW(c->a, struct cat_token);
			t->uuid = u;
			t->tenant = imap_get(&c->tenants, i32(rows, i, 1));
			keep(c, &t->name, db_get_text(rows, i, 2));
			if (!t->tenant)
				continue;
			smap_put(&c->tokens, uuid_key(&u), t);
		}
		t->expires_at = db_get_time(rows, i, 3);
		t->revoked_at = db_get_time(rows, i, 4);
	}
}

/* --- running ------------------------------------------------------------------------------------------------------------- */

static const struct reading all[] = {
	{SQL_CAT_INSTANCE, take_instance},     {SQL_CAT_KEY, take_key},
	{SQL_CAT_TENANTS, take_tenants},       {SQL_CAT_SLOT_TYPES, take_slot_types},
	{SQL_CAT_ACTIONS, take_actions},       {SQL_CAT_WORKFLOWS, take_workflows},
	{SQL_CAT_VERSIONS, take_versions},     {SQL_CAT_STRATEGIES, take_strategies}, {SQL_CAT_STEPS, take_steps},
	{SQL_CAT_WORKERS, take_workers},       {SQL_CAT_WORKER_LABELS, take_labels},
	{SQL_CAT_TOKENS, take_tokens},
};
static const struct reading one_workflow[] = {
	{SQL_CAT_SLOT_TYPES, take_slot_types}, {SQL_CAT_WORKFLOWS, take_workflows},
	{SQL_CAT_VERSIONS, take_versions},     {SQL_CAT_STRATEGIES, take_strategies}, {SQL_CAT_STEPS, take_steps},
};
static const struct reading one_worker[] = {
	{SQL_CAT_SLOT_TYPES, take_slot_types}, {SQL_CAT_WORKER_ACTIONS, take_actions},
	{SQL_CAT_WORKERS, take_workers},       {SQL_CAT_WORKER_LABELS, take_labels},
};
static const struct reading tenants[] = {{SQL_CAT_TENANTS, take_tenants}, {SQL_CAT_KEY, take_key}};
static const struct reading tokens[] = {{SQL_CAT_TENANTS, take_tenants}, {SQL_CAT_TOKENS, take_tokens}};

static void run_step(struct job *j);

static void job_end(struct job *j, const struct err *err)
{
	reload_fn *fn = j->fn;
	void *arg = j->arg;

	for (unsigned i = 0; !err && i < j->n; i++)
		j->steps[i].take(j->c, db_query_rows(j->q[i]));
	list_del(&j->node);
	arena_free(j->a);
	free(j);
	fn(arg, err);
}

void catalog_jobs_free(struct catalog *c)
{
	LIST_FOREACH_SAFE(it, &c->jobs) {
		struct job *j = LIST_ENTRY(it, struct job, node);

		list_del(&j->node);
		arena_free(j->a);
		free(j);
	}
}

static void step_done(struct op *op, const struct err *err)
{
	struct job *j = op->arg;
	struct err again;

	if (err && err->code == ERR_UNCERTAIN) {
		/* only read, so nothing is uncertain */
		err_set(&again, ERR_UNAVAILABLE, "%s", err->msg);
		err = &again;
	}
	j->at++;
	if (err || j->at == j->n)
		job_end(j, err);
	else
		run_step(j);
}

static void free_col(void *col)
{
	db_col_free(col);
}

static void run_step(struct job *j)
{
	struct db_query *q = db_query_new(j->a, j->steps[j->at].sql_id);

	j->q[j->at] = q;
	if (j->steps[j->at].sql_id == SQL_CAT_TOKENS) {
		if (j->has_token)
			db_bind_uuid(q, &j->token);
		else
			db_bind_null(q);
	} else if (sql_stmts[j->steps[j->at].sql_id].n_params) {
		struct db_col *col;

		if (j->no) {
			col = db_col_new(DB_INT4);
			db_col_int(col, j->no);
			db_bind_col(q, col);
			/* bound bytes are borrowed until the job ends */
			arena_own(j->a, col, free_col);
		} else {
			db_bind_null(q);
		}
	}
	db_submit(j->c->db, DB_WRITE, q, &j->op);
}

void catalog_reload(struct catalog *c, enum reload what, int32_t no, const struct uuid *token, reload_fn *fn, void *arg)
{
	static const struct {
		const struct reading *steps;
		unsigned n;
	} lists[] = {
		[RELOAD_ALL] = {all, ARRAY_LEN(all)},
		[RELOAD_WORKFLOW] = {one_workflow, ARRAY_LEN(one_workflow)},
		[RELOAD_WORKER] = {one_worker, ARRAY_LEN(one_worker)},
		[RELOAD_TENANTS] = {tenants, ARRAY_LEN(tenants)},
		[RELOAD_TOKENS] = {tokens, ARRAY_LEN(tokens)},
	};
	struct job *j = xcalloc(1, sizeof(*j));

	*j = (struct job){.c = c, .a = arena_new(ARENA_BYTES_MAX), .steps = lists[what].steps, .n = lists[what].n, .no = no,
			  .fn = fn, .arg = arg};
	j->op = (struct op){step_done, j};
	list_push_back(&c->jobs, &j->node);
	if (token) {
		j->token = *token;
		j->has_token = true;
	}
	run_step(j);
}
