/* Replay: tasks that have ended, or wait, run again as their next attempt, and with them what was cancelled because of them.
 *
 * One task is replayed by one call at a time: what was read of it cannot be older than its last replay. */
#include "svc_int.h"

#include <stdlib.h>

enum { SLICE = 1000 };

struct replayed {			/* one task of a slice */
	struct op op;
	struct replay *of;
	int64_t id;
	bool ok;
	size_t asked;			/* index in the call's ids, SIZE_MAX: comes along with its parent */
};

struct replay {
	struct svc *s;
	struct arena *a;		/* of the slice */
	struct op op, *outer;
	int32_t tenant_no;
	const int64_t *ids;		/* the caller's */
	bool *ret_ok;
	size_t n, next;			/* next: of ids */
	VEC(int64_t) children;		/* of what was replayed, still to come */
	uint64_t engine_no;
	struct read_live rows;
	struct replayed *slice;
	uint32_t n_slice, left, n_looks;
	struct idem_look *looks, **look_of;	/* for those of its rows that need their key again; by row */
	struct read_children found;
	struct err err;
};

static void slice_next(struct replay *p);

static void finish(struct replay *p)
{
	struct op *outer = p->outer;
	struct err err = p->err;

	vec_fini(&p->children);
	arena_free(p->a);
	free(p);
	op_done(outer, err.code == ERR_OK ? NULL : &err);
}

static void release_slice(struct replay *p)
{
	for (uint32_t i = 0; i < p->n_slice; i++)
		(void)imap_del(&p->s->replaying, p->slice[i].id);
	p->n_slice = 0;
}

static void children_read(struct op *op, const struct err *err)
{
	struct replay *p = op->arg;

	if (err)
		p->err = *err;
	for (uint32_t i = 0; !err && i < p->found.n; i++)
		vec_push(&p->children, p->found.p[i].id);
	if (p->err.code != ERR_OK)
		finish(p);
	else
		slice_next(p);
}

/* All of the slice have their answer: now those that were cancelled with them. */
static void slice_done(struct replay *p)
{
	int64_t *ids = ARENA_ARRAY(p->a, int64_t, p->n_slice + 1);
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->n_slice; i++) {
		struct replayed *t = &p->slice[i];

		if (t->ok && t->asked != SIZE_MAX)
			p->ret_ok[t->asked] = true;
		if (t->ok)
			ids[n++] = t->id;
	}
	release_slice(p);
	if (n == 0 || p->err.code != ERR_OK) {
		if (p->err.code != ERR_OK)
			finish(p);
		else
			slice_next(p);
		return;
	}
	p->op = (struct op){.fn = children_read, .arg = p};
	read_cancelled_children(p->s->db, p->a, p->tenant_no, ids, n, &p->found, &p->op);
}

static void one_done(struct op *op, const struct err *err)
{
	struct replayed *t = op->arg;
	struct replay *p = t->of;

	t->ok = !err;
	idem_reclaim_end(p->s, t->id, t->ok);
	if (err && err->code != ERR_PRECONDITION && err->code != ERR_NOT_FOUND && p->err.code == ERR_OK)
		p->err = *err;
	if (--p->left == 0)
		slice_done(p);
}

static bool is_replayable(struct svc *s, const struct live_row *r)
{
	const struct cat_step *step = cat_step(s->catalog, r->step_no);

	return step && r->lane >= 0 && r->attempt > 0 && (step->n_strategies == 0 || r->keys.n > 0) &&
	       (step->batch.max_size == 0 || r->batch_key.p);
}

static void replay_event(struct svc *s, struct replayed *t, const struct live_row *r)
{
	struct call *c = call_new(s, CALL_REPLAY, &t->op);
	struct ev *ev = svc_event(s, EV_REPLAY);

	ev->ref = c;
	ev->id = r->id;
	ev->tenant_no = r->tenant_no;
	ev->attempt = -1;
	ev->on = r->lane == 1;
	ev->restore = (struct ev_restore){.id = r->id, .tenant_no = r->tenant_no, .step_no = r->step_no, .state = LIVE_QUEUED,
		.user_rank = (int8_t)rank_of_priority(r->priority), .attempt = r->attempt, .schedule_ms = r->schedule_ms,
		.exec_ms = r->exec_ms, .parent_id = r->parent_id, .place = svc_place_stored(s, r->desired_no, r->labels)};
	keys_stored(cat_step(s->catalog, r->step_no), r->keys, r->key_limits, r->n_key_limits, ev->restore.entries);
	limits_stored(s, cat_step(s->catalog, r->step_no), r->limits, &ev->restore.limits, &ev->restore.n_limits);
	ev->restore.batch = batch_hash(cat_step(s->catalog, r->step_no), r->batch_key);
	ev->restore.bytes = batch_bytes(r->n_input);
}

static void slice_go(struct replay *p);

static void slice_looked(struct op *op, const struct err *err)
{
	struct replay *p = op->arg;

	if (err)
		p->err = *err;
	slice_go(p);
}

static const struct cat_idempotency *key_of(struct svc *s, const struct live_row *r)
{
	const struct cat_step *step = cat_step(s->catalog, r->step_no);

	return step && r->lane == 0 && r->idempotency_key.p && step->version->idempotency.is_status ? &step->version->idempotency : NULL;
}

/* What gave its key back when it ended has to take it again. */
static void slice_read(struct op *op, const struct err *err)
{
	struct replay *p = op->arg;
	struct svc *s = p->s;

	if (err)
		p->err = *err;
	else if (p->engine_no != s->engine_no || !s->loaded)
		err_set(&p->err, ERR_UNAVAILABLE, "this server is no longer the active engine; try again");
	p->looks = ARENA_ARRAY(p->a, struct idem_look, p->rows.n + 1);
	p->look_of = ARENA_ARRAY(p->a, struct idem_look *, p->rows.n + 1);
	p->n_looks = 0;
	for (uint32_t i = 0; p->err.code == ERR_OK && i < p->rows.n; i++)
		if (key_of(s, &p->rows.p[i])) {
			p->look_of[i] = &p->looks[p->n_looks++];
			*p->look_of[i] = (struct idem_look){.of = {.tenant_no = p->tenant_no, .key = p->rows.p[i].idempotency_key}};
		}
	p->op = (struct op){.fn = slice_looked, .arg = p};
	if (p->n_looks)
		idem_look(s, p->looks, p->n_looks, &p->op);
	else
		slice_go(p);
}

static void slice_go(struct replay *p)
{
	struct svc *s = p->s;

	p->left = 1;
	for (uint32_t i = 0; p->err.code == ERR_OK && i < p->rows.n; i++) {
		const struct live_row *r = &p->rows.p[i];
		int64_t holder = p->look_of[i] ? idem_holder(s, p->look_of[i]) : 0;
		struct replayed *t = NULL;

		for (uint32_t k = 0; k < p->n_slice && !t; k++)
			t = p->slice[k].id == r->id ? &p->slice[k] : NULL;
		if (!t || !is_replayable(s, r) || (holder && holder != r->id))
			continue;
		if (p->look_of[i])
			idem_reclaim(s, p->tenant_no, r->idempotency_key, r->id, key_of(s, r));
		p->left++;
		replay_event(s, t, r);
	}
	if (--p->left == 0)
		slice_done(p);
}

static void slice_add(struct replay *p, int64_t id, size_t asked)
{
	struct replayed *t = &p->slice[p->n_slice];

	if (imap_get(&p->s->replaying, id))
		return;		/* by another call, or twice in this one */
	(void)imap_put(&p->s->replaying, id, p);
	*t = (struct replayed){.of = p, .id = id, .asked = asked};
	t->op = (struct op){.fn = one_done, .arg = t};
	p->n_slice++;
}

/* false: nothing is left that another call does not replay already. */
static bool slice_begin(struct replay *p)
{
	int64_t *ids;

	arena_reset(p->a);
	p->slice = ARENA_ARRAY(p->a, struct replayed, SLICE);
	p->n_slice = 0;
	while (p->n_slice < SLICE && p->children.n > 0)
		slice_add(p, p->children.p[--p->children.n], SIZE_MAX);
	while (p->n_slice < SLICE && p->next < p->n) {
		slice_add(p, p->ids[p->next], p->next);
		p->next++;
	}
	if (p->n_slice == 0)
		return false;
	ids = ARENA_ARRAY(p->a, int64_t, p->n_slice);
	for (uint32_t i = 0; i < p->n_slice; i++)
		ids[i] = p->slice[i].id;
	p->engine_no = p->s->engine_no;
	p->op = (struct op){.fn = slice_read, .arg = p};
	read_replayable(p->s->db, p->a, p->tenant_no, ids, p->n_slice, &p->rows, &p->op);
	return true;
}

static void slice_next(struct replay *p)
{
	if (!slice_begin(p))
		finish(p);
}

void svc_replay(struct svc *s, int32_t tenant_no, const int64_t *ids, size_t n, bool *ret_ok, struct op *op)
{
	struct replay *p;
	struct err err;

	if (!svc_accepts(s, &err) || n == 0) {
		svc_fail_later(s, op, n == 0 ? NULL : &err);
		return;
	}
	p = xcalloc(1, sizeof(*p));
	p->s = s;
	p->a = arena_new((size_t)1 << 30);
	p->outer = op;
	p->tenant_no = tenant_no;
	p->ids = ids;
	p->n = n;
	p->ret_ok = ret_ok;
	memset(ret_ok, 0, n * sizeof(*ret_ok));
	if (slice_begin(p))
		return;
	arena_free(p->a);
	free(p);
	svc_fail_later(s, op, NULL);
}
