/* Writes of definitions, workers and their states.
 *
 * Each is one statement on lane DB_WRITE that may be sent twice: puts are equal by checksum, workers carry an id made here,
 * the rest sets values.  So an uncertain end is simply tried again and never reaches a caller.  Memory changes only after the
 * commit, by reading the rows back (new objects) or in place (states). */
#include "catalog_int.h"

#include "crypto/random.h"
#include "io/loop.h"
#include "sql.h"

#include <stdlib.h>

#define TRIES 3
#define ARENA_SLACK (1u << 20)

/* One write: how to build its query (again), what to do with its rows. */
struct write {
	struct list node;		/* catalog.writes */
	struct catalog *c;
	struct arena *a;
	struct op op;			/* of the query */
	struct op *user;
	struct db_query *(*build)(struct write *w);
	void (*done)(struct write *w, const struct db_rows *rows);	/* ends with write_end */
	struct db_query *q;
	struct defer defer;
	unsigned tries;
	/* put and register */
	struct cat_put put;
	struct cat_version **ret_version;
	bool *ret_is_new, is_new, has_shared;
	int32_t no;
	struct cat_worker_new reg;
	struct uuid uuid;
	struct cat_worker **ret_worker;
	/* columns, in the order of the statement */
	struct db_col *cols[20];
	unsigned n_cols;
	/* states */
	struct cat_workflow *workflow;
	struct cat_pause pause;
	struct worker_rec *rec;
	struct cat_label *labels;
	uint32_t n_labels;
	bool on;
	struct cat_token **ret_token;
};

static void write_done(struct op *op, const struct err *err);

static struct write *write_new(struct catalog *c, size_t bytes, struct op *user)
{
	struct write *w = xcalloc(1, sizeof(*w));

	w->c = c;
	w->a = arena_new(bytes + ARENA_SLACK);
	w->user = user;
	w->op = (struct op){write_done, w};
	list_push_back(&c->writes, &w->node);
	return w;
}

static void write_free(struct write *w)
{
	list_del(&w->node);
	defer_cancel(&w->defer);
	for (unsigned i = 0; i < w->n_cols; i++)
		db_col_free(w->cols[i]);
	arena_free(w->a);
	free(w);
}

static void write_end(struct write *w, const struct err *err)
{
	struct op *user = w->user;
	struct err copy;

	if (err)
		copy = *err;
	write_free(w);
	op_done(user, err ? &copy : NULL);
}

static void write_end_arg(void *arg)
{
	write_end(arg, NULL);
}

static void write_send(struct write *w)
{
	w->tries++;
	w->q = w->build(w);
	db_submit(w->c->db, DB_WRITE, w->q, &w->op);
}

static void write_done(struct op *op, const struct err *err)
{
	struct write *w = op->arg;
	struct err out;

	if (!err) {
		w->done(w, db_query_rows(w->q));
		return;
	}
	if ((err->code == ERR_UNCERTAIN || err->code == ERR_ABORTED) && w->tries < TRIES) {
		write_send(w);
		return;
	}
	out = *err;
	if (out.code == ERR_UNCERTAIN || out.code == ERR_ABORTED)
		out.code = ERR_UNAVAILABLE;
	write_end(w, &out);
}

static struct db_col *col(struct write *w, enum db_type type)
{
	assert(w->n_cols < ARRAY_LEN(w->cols));
	return w->cols[w->n_cols++] = db_col_new(type);
}

static struct str or_empty(struct str s)
{
	return s.p ? s : STR("");
}

/* --- workflows ----------------------------------------------------------------------------------------------------------- */

static void step_cols(struct write *w, const struct cat_put *p)
{
	struct db_col *c[15];
	static const enum db_type types[15] = {DB_TEXT, DB_TEXT, DB_INT4, DB_INT4, DB_INT4, DB_INT8, DB_INT8,
					       DB_BOOL, DB_BOOL, DB_JSONB, DB_JSONB, DB_JSONB, DB_INT4, DB_TEXT, DB_INT4};

	for (unsigned i = 0; i < ARRAY_LEN(types); i++)
		c[i] = col(w, types[i]);
	for (uint32_t i = 0; i < p->n_steps; i++) {
		const struct cat_put_step *s = &p->steps[i];

		db_col_text(c[0], s->readable_id);
		db_col_text(c[1], s->action);
		db_col_int(c[2], s->retries);
		db_col_int(c[3], s->backoff_milli);
		db_col_int(c[4], s->backoff_max_s);
		db_col_int(c[5], s->exec_ms);
		db_col_int(c[6], s->schedule_ms);
		db_col_int(c[7], s->is_durable);
		db_col_int(c[8], s->is_on_failure);
		db_col_text(c[9], s->labels);
		db_col_text(c[10], s->limits);
		db_col_text(c[11], s->batch);
		for (unsigned k = 0; k < CAT_SLOTS && s->slot_units[k]; k++) {
			db_col_int(c[12], i + 1);
			db_col_text(c[13], s->slot_names[k]);
			db_col_int(c[14], s->slot_units[k]);
		}
	}
}

static void strategy_cols(struct write *w, const struct cat_put *p)
{
	struct db_col *c[5];
	static const enum db_type types[5] = {DB_TEXT, DB_INT2, DB_INT4, DB_TEXT, DB_TEXT};

	for (unsigned i = 0; i < ARRAY_LEN(types); i++)
		c[i] = col(w, types[i]);
	for (uint32_t i = 0; i < p->n_strategies; i++) {
		const struct cat_put_strategy *s = &p->strategies[i];

		db_col_text(c[0], s->name.n ? s->name : STR_NULL);
		db_col_int(c[1], s->kind);
		db_col_int(c[2], s->max_runs);
		db_col_text(c[3], s->expression);
		db_col_text(c[4], s->max_runs_expression.n ? s->max_runs_expression : STR_NULL);
	}
}

static bool is_same(const struct cat_strategy *s, const struct cat_put_strategy *p)
{
	return s->kind == p->kind && s->max_runs == p->max_runs && str_eq(s->expression, p->expression) &&
	       str_eq(s->max_runs_expression, p->max_runs_expression);
}

/* What is shared is as this workflow last declared it: another may have changed it since. */
static bool shared_are_same(const struct cat_version *v, const struct cat_put *p)
{
	for (uint32_t i = 0; i < p->n_strategies; i++)
		if (p->strategies[i].name.n && (v->n_steps == 0 || i >= v->steps[0]->n_strategies ||
						!is_same(v->steps[0]->strategies[i], &p->strategies[i])))
			return false;
	return true;
}

static struct db_query *build_put(struct write *w)
{
	struct db_query *q = db_query_new(w->a, SQL_PUT_WORKFLOW);
	const struct cat_put *p = &w->put;

	db_bind_i32(q, p->tenant_no);
	db_bind_text(q, p->name);
	db_bind_text(q, p->description);
	db_bind_text(q, p->checksum);
	db_bind_text(q, p->definition);
	db_bind_i16(q, p->default_priority);
	db_bind_i16(q, (int16_t)p->sticky);
	db_bind_bool(q, p->is_dag);
	db_bind_text(q, p->unsupported);
	db_bind_text(q, p->idempotency.expression);
	db_bind_i64(q, p->idempotency.ttl_ms);
	db_bind_bool(q, p->idempotency.is_status);
	for (unsigned i = 0; i < w->n_cols; i++)
		db_bind_col(q, w->cols[i]);
	db_bind_text(q, str_c(w->c->tag));
	return q;
}

static void put_read(void *arg, const struct err *err)
{
	struct write *w = arg;

	if (!err) {
		*w->ret_version = cat_version(w->c, w->no);
		if (w->ret_is_new)
			*w->ret_is_new = w->is_new;
	}
	write_end(w, err);
}

static void put_done(struct write *w, const struct db_rows *rows)
{
	int32_t workflow_no = (int32_t)db_get_int(rows, 0, 0);
	struct cat_workflow *wf = cat_workflow(w->c, workflow_no);

	w->no = (int32_t)db_get_int(rows, 0, 1);
	w->is_new = db_get_bool(rows, 0, 2);
	if (wf && wf->latest && wf->latest->version_no == w->no && !w->has_shared)
		put_read(w, NULL);
	else
		catalog_reload(w->c, RELOAD_WORKFLOW, workflow_no, NULL, put_read, w);
}

void cat_put_workflow(struct catalog *c, const struct cat_put *p, struct cat_version **ret_version, bool *ret_is_new, struct op *op)
{
	struct cat_workflow *wf = cat_workflow_by_name(c, p->tenant_no, p->name);
	struct write *w = write_new(c, p->name.n + p->description.n + p->checksum.n + p->definition.n + p->unsupported.n + p->idempotency.expression.n,
				    op);

	w->ret_version = ret_version;
	w->ret_is_new = ret_is_new;
	if (wf && wf->latest && str_eq(wf->latest->checksum, p->checksum) && str_eq(wf->latest->unsupported, or_empty(p->unsupported)) &&
	    shared_are_same(wf->latest, p)) {
		*ret_version = wf->latest;
		if (ret_is_new)
			*ret_is_new = false;
		loop_defer(db_loop(c->db), &w->defer, write_end_arg, w);
		return;
	}
	w->put = *p;
	w->put.steps = NULL;
	w->put.name = arena_dup(w->a, p->name);
	w->put.description = arena_dup(w->a, or_empty(p->description));
	w->put.checksum = arena_dup(w->a, or_empty(p->checksum));
	w->put.definition = arena_dup(w->a, or_empty(p->definition));
	w->put.unsupported = arena_dup(w->a, or_empty(p->unsupported));
	if (p->idempotency.expression.p)
		w->put.idempotency.expression = arena_dup(w->a, p->idempotency.expression);
	w->put.strategies = NULL;
	for (uint32_t i = 0; i < p->n_strategies; i++)
		w->has_shared = w->has_shared || p->strategies[i].name.n > 0;
	step_cols(w, p);
	strategy_cols(w, p);
	w->build = build_put;
	w->done = put_done;
	write_send(w);
}

static struct db_query *build_delete(struct write *w)
{
	struct db_query *q = db_query_new(w->a, SQL_WORKFLOW_DELETE);

	db_bind_i32(q, w->workflow->workflow_no);
	db_bind_text(q, str_c(w->c->tag));
	return q;
}

static void read_back(void *arg, const struct err *err)
{
	write_end(arg, err);
}

static void delete_done(struct write *w, const struct db_rows *rows)
{
	(void)rows;
	catalog_reload(w->c, RELOAD_WORKFLOW, w->workflow->workflow_no, NULL, read_back, w);
}

void cat_delete_workflow(struct catalog *c, struct cat_workflow *wf, struct op *op)
{
	struct write *w = write_new(c, 0, op);

	w->workflow = wf;
	w->build = build_delete;
	w->done = delete_done;
	write_send(w);
}

/* --- workers ------------------------------------------------------------------------------------------------------------- */

static void label_cols(struct write *w, const struct cat_label *labels, uint32_t n)
{
	struct db_col *keys = col(w, DB_TEXT), *strs = col(w, DB_TEXT), *ints = col(w, DB_INT4);

	for (uint32_t i = 0; i < n; i++) {
		db_col_text(keys, or_empty(labels[i].key));
		db_col_text(strs, labels[i].is_int ? STR_NULL : or_empty(labels[i].str_value));
		db_col_int(ints, labels[i].int_value);
	}
}

static struct db_query *build_register(struct write *w)
{
	struct db_query *q = db_query_new(w->a, SQL_WORKER_REGISTER);
	const struct cat_worker_new *n = &w->reg;

	db_bind_uuid(q, &w->uuid);
	db_bind_i32(q, n->tenant_no);
	db_bind_text(q, n->name);
	for (unsigned i = 0; i < w->n_cols; i++)
		db_bind_col(q, w->cols[i]);
	db_bind_text(q, n->sdk_version);
	db_bind_text(q, n->language_version);
	db_bind_text(q, n->os);
	db_bind_text(q, n->extra);
	db_bind_i32(q, n->language);
	db_bind_text(q, str_c(w->c->tag));
	return q;
}

static void register_read(void *arg, const struct err *err)
{
	struct write *w = arg;

	if (!err)
		*w->ret_worker = cat_worker(w->c, w->no);
	write_end(w, err);
}

static void register_done(struct write *w, const struct db_rows *rows)
{
	w->no = (int32_t)db_get_int(rows, 0, 0);
	catalog_reload(w->c, RELOAD_WORKER, w->no, NULL, register_read, w);
}

void cat_register_worker(struct catalog *c, const struct cat_worker_new *n, struct cat_worker **ret, struct op *op)
{
	struct write *w = write_new(c, n->name.n + n->sdk_version.n + n->language_version.n + n->os.n + n->extra.n, op);
	struct db_col *names = col(w, DB_TEXT), *units = col(w, DB_INT4), *actions;

	for (unsigned i = 0; i < CAT_SLOTS && n->slot_units[i]; i++) {
		db_col_text(names, n->slot_names[i]);
		db_col_int(units, n->slot_units[i]);
	}
	label_cols(w, n->labels, n->n_labels);
	actions = col(w, DB_TEXT);
	for (uint32_t i = 0; i < n->n_actions; i++)
		db_col_text(actions, n->actions[i]);
	w->reg = *n;
	w->reg.labels = NULL;
	w->reg.actions = NULL;
	w->reg.name = arena_dup(w->a, or_empty(n->name));
	w->reg.sdk_version = arena_dup(w->a, or_empty(n->sdk_version));
	w->reg.language_version = arena_dup(w->a, or_empty(n->language_version));
	w->reg.os = arena_dup(w->a, or_empty(n->os));
	w->reg.extra = arena_dup(w->a, or_empty(n->extra));
	random_uuid(&w->uuid);
	w->ret_worker = ret;
	w->build = build_register;
	w->done = register_done;
	write_send(w);
}

static struct db_query *build_labels(struct write *w)
{
	struct db_query *q = db_query_new(w->a, SQL_WORKER_LABELS);

	db_bind_i32(q, w->rec->w.worker_no);
	for (unsigned i = 0; i < w->n_cols; i++)
		db_bind_col(q, w->cols[i]);
	db_bind_text(q, str_c(w->c->tag));
	return q;
}

static void labels_done(struct write *w, const struct db_rows *rows)
{
	(void)rows;
	catalog_reload(w->c, RELOAD_WORKER, w->rec->w.worker_no, NULL, read_back, w);
}

void cat_worker_labels(struct catalog *c, struct cat_worker *worker, const struct cat_label *merge, uint32_t n, struct op *op)
{
	struct write *w = write_new(c, 0, op);

	w->rec = (struct worker_rec *)worker;
	label_cols(w, merge, n);
	w->build = build_labels;
	w->done = labels_done;
	write_send(w);
}

static struct db_query *build_pause(struct write *w)
{
	struct db_query *q = db_query_new(w->a, SQL_WORKFLOW_PAUSE);

	db_bind_i32(q, w->workflow->workflow_no);
	db_bind_bool(q, w->pause.is_paused);
	db_bind_time(q, w->pause.paused_at);
	db_bind_time(q, w->pause.unpaused_at);
	db_bind_i64(q, w->pause.ttl_ms);
	db_bind_bool(q, w->pause.drops_cron);
	db_bind_bool(q, w->pause.drops_scheduled);
	db_bind_text(q, str_c(w->c->tag));
	return q;
}

static void pause_done(struct write *w, const struct db_rows *rows)
{
	(void)rows;
	w->workflow->pause = w->pause;
	write_end(w, NULL);
}

void cat_pause_workflow(struct catalog *c, struct cat_workflow *workflow, const struct cat_pause *p, struct op *op)
{
	struct write *w = write_new(c, 0, op);

	w->workflow = workflow;
	w->pause = *p;
	w->build = build_pause;
	w->done = pause_done;
	write_send(w);
}

static struct db_query *build_paused(struct write *w)
{
	struct db_query *q = db_query_new(w->a, SQL_WORKER_PAUSED);

	db_bind_i32(q, w->rec->w.worker_no);
	db_bind_bool(q, w->on);
	db_bind_text(q, str_c(w->c->tag));
	return q;
}

static void paused_done(struct write *w, const struct db_rows *rows)
{
	(void)rows;
	w->rec->w.paused = w->on;
	write_end(w, NULL);
}

void cat_worker_paused(struct catalog *c, struct cat_worker *worker, bool paused, struct op *op)
{
	struct write *w = write_new(c, 0, op);

	w->rec = (struct worker_rec *)worker;
	w->on = paused;
	w->build = build_paused;
	w->done = paused_done;
	write_send(w);
}

/* --- times of workers, batched ------------------------------------------------------------------------------------------- */

static void times_send(void *arg);

static struct times_batch *batch_new(struct catalog *c)
{
	static const enum db_type types[4] = {DB_INT4, DB_TIME, DB_TIME, DB_TIME};
	struct times_batch *b = xcalloc(1, sizeof(*b));

	b->a = arena_new(ARENA_SLACK);
	for (int i = 0; i < 4; i++)
		b->cols[i] = db_col_new(types[i]);
	b->op.arg = c;
	return b;
}

static void batch_free(struct times_batch *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->v.n; i++) {
		vec_fini(&b->v.p[i]->ops);
		free(b->v.p[i]);
	}
	vec_fini(&b->v);
	for (int i = 0; i < 4; i++)
		db_col_free(b->cols[i]);
	arena_free(b->a);
	free(b);
}

void catalog_writes_free(struct catalog *c)
{
	LIST_FOREACH_SAFE(it, &c->writes)
		write_free(LIST_ENTRY(it, struct write, node));
	defer_cancel(&c->times_defer);
	batch_free(c->filling);
	batch_free(c->flying);
	c->filling = c->flying = NULL;
}

static void set_if(int64_t *dst, int64_t v)
{
	if (v != INT64_MIN)
		*dst = v;
}

static void times_done(struct op *op, const struct err *err)
{
	struct catalog *c = op->arg;
	struct times_batch *b = c->flying;
	struct err out;

	if (err) {
		out = *err;
		if (out.code == ERR_UNCERTAIN)
			out.code = ERR_UNAVAILABLE;
	}
	c->flying = NULL;
	for (size_t i = 0; i < b->v.n; i++) {
		struct times *t = b->v.p[i];

		if (!err) {
			set_if(&t->rec->w.session_at, t->session_at);
			set_if(&t->rec->w.last_seen_at, t->last_seen_at);
			set_if(&t->rec->w.ended_at, t->ended_at);
		}
		for (size_t k = 0; k < t->ops.n; k++)
			op_done(t->ops.p[k], err ? &out : NULL);
	}
	batch_free(b);
	times_send(c);
}

static void times_send(void *arg)
{
	struct catalog *c = arg;
	struct times_batch *b = c->filling;

	if (c->flying || !b)
		return;
	c->filling = NULL;
	c->flying = b;
	for (size_t i = 0; i < b->v.n; i++) {
		struct times *t = b->v.p[i];

		t->rec->times = NULL;
		db_col_int(b->cols[0], t->rec->w.worker_no);
		db_col_time(b->cols[1], t->session_at);
		db_col_time(b->cols[2], t->last_seen_at);
		db_col_time(b->cols[3], t->ended_at);
	}
	b->q = db_query_new(b->a, SQL_WORKER_TIMES);
	for (int i = 0; i < 4; i++)
		db_bind_col(b->q, b->cols[i]);
	b->op.fn = times_done;
	db_submit(c->db, DB_WRITE, b->q, &b->op);
}

void cat_worker_times(struct catalog *c, struct cat_worker *worker, int64_t session_at, int64_t last_seen_at, int64_t ended_at,
		      struct op *op)
{
	struct worker_rec *r = (struct worker_rec *)worker;
	struct times *t = r->times;

	if (!c->filling)
		c->filling = batch_new(c);
	if (!t) {
		t = r->times = xcalloc(1, sizeof(*t));
		*t = (struct times){.rec = r, .session_at = INT64_MIN, .last_seen_at = INT64_MIN, .ended_at = INT64_MIN};
		vec_push(&c->filling->v, t);
	}
	set_if(&t->session_at, session_at);
	set_if(&t->last_seen_at, last_seen_at);
	set_if(&t->ended_at, ended_at);
	if (op)
		vec_push(&t->ops, op);
	loop_defer(db_loop(c->db), &c->times_defer, times_send, c);
}

/* --- tokens -------------------------------------------------------------------------------------------------------------- */

static void token_read(void *arg, const struct err *err)
{
	struct write *w = arg;

	if (!err)
		*w->ret_token = cat_token_cached(w->c, &w->uuid);
	write_end(w, err);
}

void cat_token_find(struct catalog *c, const struct uuid *u, struct cat_token **ret, struct op *op)
{
	struct write *w = write_new(c, 0, op);

	w->uuid = *u;
	w->ret_token = ret;
	*ret = cat_token_cached(c, u);
	if (*ret)
		loop_defer(db_loop(c->db), &w->defer, write_end_arg, w);
	else
		catalog_reload(c, RELOAD_TOKENS, 0, u, token_read, w);
}
