/* The turn: events of this turn go into the engine, its effects into the flush that fills, and when that flush has
 * committed, what waited for it leaves: pushes, answers, results.
 *
 * One flush is in flight while the next fills (natural group commit).  Flushes commit in order; a flush without rows
 * "commits" when it becomes the oldest, so an answer never overtakes the commit it depends on.
 * Memory moves ahead of the database; owner.c settles a flush of unknown fate, and lost ownership drops everything here. */
#include "svc_int.h"

#include "base/log.h"

#include <stdio.h>

enum { SHED_RETRY_US = 500000 };

static void flush_next(struct svc *s);

struct ev *svc_event(struct svc *s, enum ev_kind kind)
{
	vec_push(&s->evs, ((struct ev){.kind = kind}));
	return &s->evs.p[s->evs.n - 1];
}

struct call *call_new(struct svc *s, enum call_kind kind, struct op *op)
{
	struct call *c = s->free_calls;

	if (c)
		s->free_calls = c->next_free;
	else
		c = xmalloc(sizeof(*c));
	*c = (struct call){.kind = kind, .op = op, .left = 1};
	return c;
}

void call_end(struct svc *s, struct call *c, const struct err *err)
{
	struct err failed;
	struct op *op;

	if (err && c->err.code == ERR_OK)
		c->err = *err;
	if (--c->left > 0)
		return;
	op = c->op;
	failed = c->err;
	c->next_free = s->free_calls;
	s->free_calls = c;
	op_done(op, failed.code == ERR_OK ? NULL : &failed);
}

bool svc_accepts(struct svc *s, struct err *err)
{
	if (!svc_is_ready(s, err))
		return false;
	if (s->shed)
		return err_set(err, ERR_UNAVAILABLE, "the database refuses writes at the moment; try again later");
	if (s->fx_waiting > CONF_EFFECTS_WAITING_MAX || s->bytes_waiting > CONF_PAYLOADS_WAITING_BYTES_MAX)
		return err_set(err, ERR_EXHAUSTED, "too much work is waiting to be stored; try again later");
	return true;
}

static struct pend *pend_new(void)
{
	struct pend *p = xcalloc(1, sizeof(*p));

	p->texts = arena_new(64u << 20);
	return p;
}

static void pend_free(struct pend *p)
{
	vec_fini(&p->fx);
	arena_free(p->texts);
	free(p);
}

static struct pend *filling(struct svc *s)
{
	if (list_empty(&s->pends))
		list_push_back(&s->pends, &pend_new()->node);
	return LIST_ENTRY(s->pends.prev, struct pend, node);
}

static bool is_storing(enum fx_kind k)
{
	return k <= FX_NOTE;
}

static struct str fx_payload(const struct fx *fx)
{
	if (fx->kind == FX_INSERT)
		return fx->text ? str_c(fx->text) : STR_NULL;
	if (fx->payload)
		return ((const struct call *)fx->payload)->payload;
	return fx->text ? str_c(fx->text) : STR_NULL;
}

/* What the row of @fx weighs beyond its fixed columns. */
static size_t fx_bytes(const struct fx *fx)
{
	const struct svc_trigger_item *it = fx->payload;

	if (fx->kind == FX_INSERT)
		return it->input.n + it->metadata.n + it->child_key.n + it->labels.n + it->keys.n + it->limits.n +
		       2 * it->idempotency_key.n + it->batch_key.n;
	return is_storing(fx->kind) ? fx_payload(fx).n : 0;
}

/* Texts of the engine live on the list's arena only until the next step. */
static void pend_add(struct svc *s, struct pend *p, const struct fx *fx)
{
	struct fx *mine;

	vec_push(&p->fx, *fx);
	mine = &p->fx.p[p->fx.n - 1];
	if (fx->text)
		mine->text = arena_strz(p->texts, str_c(fx->text));
	if (fx->kind == FX_NOTE && fx->note == NOTE_RATE_LIMITED)
		mine->text = limit_note(s, fx, p->texts).p;
	if (is_storing(fx->kind))
		p->n_storing++;
	p->bytes += fx_bytes(mine);
	s->fx_waiting++;
	s->bytes_waiting += fx_bytes(mine);
}

/* What @p holds waits no more. */
static void pend_uncount(struct svc *s, const struct pend *p)
{
	s->fx_waiting -= p->fx.n;
	s->bytes_waiting -= p->bytes;
}

/* --- what is due in the tail --------------------------------------------------------------------------------------------- */

struct scan {
	struct svc *s;
	struct arena *a;
	struct op op;
	struct read_live rows;
	int64_t next_due;
	struct fx fx;
	uint64_t engine_no;	/* the one that asked: answers to a dropped engine are nobody's */
};

static void scan_done(struct op *op, const struct err *err)
{
	struct scan *sc = op->arg;
	struct svc *s = sc->s;
	struct ev *ev;

	if (sc->engine_no == s->engine_no) {
		for (uint32_t i = 0; !err && i < sc->rows.n; i++) {
			const struct live_row *r = &sc->rows.p[i];

			ev = svc_event(s, EV_EXPIRED);
			ev->id = r->id;
			ev->tenant_no = r->tenant_no;
			ev->action_no = sc->fx.action_no;
			ev->rank = sc->fx.rank;
			ev->lane = r->lane;
			ev->tail = true;
			ev->restore = (struct ev_restore){.id = r->id, .tenant_no = r->tenant_no, .step_no = r->step_no,
				.state = LIVE_QUEUED, .rank = sc->fx.rank, .attempt = r->attempt, .app_retries = r->app_retries,
				.internal_retries = r->internal_retries, .queued_at = r->queued_at, .assigned_at = INT64_MIN,
				.started_at = INT64_MIN, .due_at = r->due_at, .schedule_ms = r->schedule_ms, .exec_ms = r->exec_ms};
		}
		ev = svc_event(s, EV_SCAN_DONE);
		ev->tenant_no = sc->fx.tenant_no;
		ev->action_no = sc->fx.action_no;
		ev->rank = sc->fx.rank;
		/* a failed read is tried again in a second */
		ev->due_at = err ? loop_now(s->loop).wall_us + 1000000 : sc->next_due == INT64_MIN ? 0 : sc->next_due;
		ev->n = err ? 0 : sc->rows.n;
		ev->limit = err ? 0 : sc->fx.limit;
	}
	arena_free(sc->a);
	free(sc);
}

static void scan_start(struct svc *s, const struct fx *fx)
{
	struct scan *sc = xcalloc(1, sizeof(*sc));

	sc->s = s;
	sc->engine_no = s->engine_no;
	sc->fx = *fx;
	sc->a = arena_new(16u << 20);
	sc->op = (struct op){.fn = scan_done, .arg = sc};
	read_tail_due(s->db, sc->a, fx->tenant_no, fx->action_no, fx->rank, fx->due_at, fx->limit, fx->started_at,
		      fx->lane, &sc->rows, &sc->next_due, &sc->op);
}

/* --- building the rows of a flush --------------------------------------------------------------------------------------- */

static struct flush_end end_row(struct svc *s, const struct fx *fx)
{
	const struct cat_step *step = cat_step(s->catalog, fx->step_no);
	struct str text = fx_payload(fx);
	bool ok = fx->status == ATTEMPT_COMPLETED;

	return (struct flush_end){.tenant_no = fx->tenant_no, .id = fx->id, .attempt = fx->attempt, .status = fx->status,
		.worker_no = fx->worker_no, .workflow_no = step ? step->version->workflow->workflow_no : 0,
		.queued_at = fx->queued_at, .assigned_at = fx->assigned_at, .started_at = fx->started_at,
		.finished_at = fx->finished_at, .output = ok && text.n ? text : STR_NULL,
		.error = ok || !text.p ? STR_NULL : text, .in_tail = fx->in_tail, .action_no = fx->action_no, .step_no = fx->step_no,
		.rank = fx->rank};
}

static struct flush_live live_row(const struct fx *fx, int state)
{
	return (struct flush_live){.tenant_no = fx->tenant_no, .id = fx->id, .state = (int16_t)state, .attempt = fx->attempt,
		.app_retries = fx->app_retries, .internal_retries = fx->internal_retries, .rank = fx->rank,
		.action_no = fx->action_no, .step_no = fx->step_no, .worker_no = fx->worker_no, .queued_at = fx->queued_at,
		.assigned_at = fx->assigned_at, .started_at = fx->started_at, .due_at = fx->due_at,
		.lane = fx->lane};
}

/* A run that is final gives its idempotency key back, if that is how it holds it. */
static void unclaim(struct svc *s, const struct fx *fx)
{
	const struct cat_step *step = cat_step(s->catalog, fx->step_no);

	if (step && step->version->idempotency.is_status)
		flush_unclaim(s->flush, fx->tenant_no, fx->id);
}

static void build_insert(struct svc *s, const struct fx *fx)
{
	const struct svc_trigger_item *it = fx->payload;
	const struct cat_version *v = it->version;
	const struct cat_step *step = v->steps[0];
	int16_t priority = it->priority ? it->priority : v->default_priority;
	struct flush_live l;

	flush_task(s->flush, &(struct flush_task){.tenant_no = fx->tenant_no, .id = fx->id, .run_id = fx->id,
		.workflow_no = v->workflow->workflow_no, .version_no = v->version_no, .step_no = step->step_no,
		.action_no = step->action->action_no, .priority = priority, .worker_no = fx->worker_no,
		.parent_id = it->parent_id, .child_index = it->child_index, .child_key = it->child_key,
		.schedule_ms = step->schedule_ms, .exec_ms = step->exec_ms, .input = it->input, .metadata = it->metadata,
		.desired_no = it->desired_no, .labels = it->labels, .keys = it->keys, .key_limits = it->key_limits, .lane = fx->lane,
		.limits = it->limits, .idempotency_key = it->idempotency_key,
		.batch_key = it->batch_key});
	idem_row(s, fx->tenant_no, it);
	if (it->request)
		flush_request(s->flush, fx->tenant_no, it->request, fx->id);
	l = live_row(fx, fx->place == PLACE_ASSIGNED ? LIVE_ASSIGNED : LIVE_QUEUED);
	if (fx->place == PLACE_NONE) {
		flush_end(s->flush, &(struct flush_end){.tenant_no = fx->tenant_no, .id = fx->id, .status = fx->status,
			.workflow_no = v->workflow->workflow_no, .queued_at = fx->queued_at, .assigned_at = INT64_MIN,
			.started_at = INT64_MIN, .finished_at = fx->finished_at, .error = fx->text ? str_c(fx->text) : STR_NULL});
		unclaim(s, fx);
	} else if (fx->place == PLACE_TAIL) {
		flush_tail(s->flush, &l);
	} else {
		flush_live(s->flush, &l);
	}
}

static void build_row(struct svc *s, const struct fx *fx)
{
	struct flush_end e;
	struct flush_live l;

	switch (fx->kind) {
	case FX_INSERT:
		build_insert(s, fx);
		break;
	case FX_ASSIGN:
		flush_assign(s->flush, fx->tenant_no, fx->id, fx->worker_no, fx->assigned_at, fx->due_at, fx->batch_id);
		break;
	case FX_START:
		break;	/* by build_flush, which keeps their indexes */
	case FX_END:
		e = end_row(s, fx);
		flush_end(s->flush, &e);
		unclaim(s, fx);
		break;
	case FX_REVIVE:
		l = live_row(fx, LIVE_QUEUED);
		flush_live(s->flush, &l);
		flush_taken_up(s->flush, fx->tenant_no, fx->id);
		idem_reclaim_row(s, fx->id);
		break;
	case FX_RETRY:
		e = end_row(s, fx);
		l = live_row(fx, fx->state);
		l.attempt = (int16_t)(fx->attempt + 1);
		l.worker_no = 0;
		l.queued_at = fx->finished_at;
		l.assigned_at = l.started_at = INT64_MIN;
		flush_retry(s->flush, &e, &l);
		break;
	case FX_REQUEUE:
		flush_requeue(s->flush, fx->tenant_no, fx->id, fx->queued_at, fx->due_at);
		break;
	case FX_TOUCH:
		flush_touch(s->flush, fx->tenant_no, fx->id, fx->due_at, fx->released);
		break;
	case FX_LOAD:
		flush_load(s->flush, fx->tenant_no, fx->action_no, fx->rank, fx->lane, fx->limit);
		break;
	case FX_NOTE:
		flush_note(s->flush, fx->tenant_no, fx->id, fx->attempt, fx->finished_at, fx->note, str_c(fx->text));
		break;
	case FX_BUCKET:
		build_bucket(s, fx);
		break;
	case FX_SEAL:
	case FX_SCAN:
	case FX_PUSH:
	case FX_CANCEL_PUSH:
	case FX_ANSWER:
		break;
	}
}

static void build_flush(struct svc *s, const struct pend *p)
{
	VEC(uint32_t) starts = {0};

	flush_reset(s->flush);
	for (size_t i = 0; i < p->fx.n; i++) {
		const struct fx *fx = &p->fx.p[i];

		if (fx->kind == FX_START)
			vec_push(&starts, flush_start(s->flush, fx->tenant_no, fx->id, fx->started_at));
		else
			build_row(s, fx);
		if (fx->kind == FX_END && fx->start_index >= 0 && !p->halved && (size_t)fx->start_index < starts.n)
			flush_void_start(s->flush, starts.p[fx->start_index]);
	}
	vec_fini(&starts);
}

/* --- after the commit --------------------------------------------------------------------------------------------------- */

static void release_loads(struct svc *s, const struct fx *fx, size_t load)
{
	struct arena *a = arena_new(8u << 20);
	struct loaded_row *rows;
	size_t n = flush_loaded(s->flush, load, a, &rows);
	struct ev *ev;

	for (size_t i = 0; i < n; i++) {
		const struct loaded_row *r = &rows[i];

		input_put_loaded(s, r);
		verify_loaded(s, r->id, r->action_no);
		ev = svc_event(s, EV_LOADED);
		ev->id = r->id;
		ev->tenant_no = r->tenant_no;
		ev->action_no = r->action_no;
		ev->rank = (int8_t)r->rank;
		ev->lane = fx->lane;
		ev->restore = (struct ev_restore){.id = r->id, .tenant_no = r->tenant_no, .step_no = r->step_no,
			.state = LIVE_QUEUED, .rank = (int8_t)r->rank, .user_rank = (int8_t)rank_of_priority(r->priority), .attempt = r->attempt, .app_retries = r->app_retries,
			.internal_retries = r->internal_retries, .queued_at = r->queued_at, .assigned_at = INT64_MIN,
			.started_at = INT64_MIN, .due_at = r->due_at, .schedule_ms = r->schedule_ms, .exec_ms = r->exec_ms,
			.parent_id = r->parent_id, .is_orphan = r->is_orphan, .place = svc_place_stored(s, r->desired_no, r->labels)};
		keys_stored(cat_step(s->catalog, r->step_no), r->keys, r->key_limits, r->n_key_limits, ev->restore.entries);
		limits_stored(s, cat_step(s->catalog, r->step_no), r->limits, &ev->restore.limits, &ev->restore.n_limits);
		ev->restore.batch = batch_hash(cat_step(s->catalog, r->step_no), r->batch_key);
		ev->restore.bytes = batch_bytes(r->n_input);
	}
	verify_loaded(s, 0, fx->action_no);
	ev = svc_event(s, EV_LOAD_DONE);
	ev->tenant_no = fx->tenant_no;
	ev->action_no = fx->action_no;
	ev->rank = fx->rank;
	ev->lane = fx->lane;
	ev->n = (uint32_t)n;
	ev->limit = fx->limit;
	arena_free(a);
}

static void count_end(struct svc *s, const struct fx *fx)
{
	if (fx->status == ATTEMPT_COMPLETED)
		s->figures.succeeded++;
	else if (fx->status == ATTEMPT_CANCELLED)
		s->figures.cancelled++;
	else
		s->figures.failed++;
}

static void release_end(struct svc *s, const struct fx *fx)
{
	count_end(s, fx);
	input_drop(s, fx->id);
	child_parent_ended(s, fx);
	subs_on_end(s, fx, fx_payload(fx));
	watch_on_end(s, fx, fx_payload(fx));
}

/* A cached input is needed until the push; what waits keeps it as long as there is room. */
static void release_one(struct svc *s, const struct fx *fx, size_t *load)
{
	switch (fx->kind) {
	case FX_INSERT:
		s->figures.created++;
		child_stored(s, fx->payload, true);
		idem_stored(s, fx->tenant_no, fx->payload, true);
		watch_on_commit(s, fx);
		if (fx->place == PLACE_NONE)
			release_end(s, fx);
		break;
	case FX_END:
		release_end(s, fx);
		break;
	case FX_RETRY:
		s->figures.retried++;
		break;
	case FX_LOAD:
		release_loads(s, fx, (*load)++);
		break;
	case FX_SCAN:
		scan_start(s, fx);
		break;
	case FX_PUSH:
		if (fx->batch_id)
			batch_push_add(s, fx);
		else
			svc_push(s, fx);
		break;
	case FX_CANCEL_PUSH:
		svc_push_cancel(s, fx);
		break;
	case FX_ANSWER:
		svc_task_answer(s, fx);
		break;
	case FX_REVIVE:
	case FX_ASSIGN:
	case FX_START:
	case FX_REQUEUE:
	case FX_TOUCH:
	case FX_NOTE:
	case FX_BUCKET:
	case FX_SEAL:
		break;
	}
}

static void pend_release(struct svc *s, struct pend *p)
{
	size_t load = 0;

	pend_uncount(s, p);
	for (size_t i = 0; i < p->fx.n; i++)
		release_one(s, &p->fx.p[i], &load);
	batch_push_end(s);
	pend_free(p);
}

/* Memory has gone on with a task that does not exist: what is on the way about it must not be stored, nor reach a worker. */
static void pends_forget(struct svc *s, int64_t id)
{
	LIST_FOREACH(it, &s->pends) {
		struct pend *p = LIST_ENTRY(it, struct pend, node);

		for (size_t i = 0; i < p->fx.n; i++) {
			struct fx *fx = &p->fx.p[i];

			if (fx->id != id || fx->kind == FX_ANSWER || fx->kind == FX_START)	/* STARTs are counted, and find no row */
				continue;
			p->n_storing -= is_storing(fx->kind);
			fx->kind = FX_SEAL;	/* nothing */
		}
	}
}

/* The one effect the database will not have: its caller learns so, everything else goes on. */
static void refuse_one(struct svc *s, struct pend *p)
{
	static const struct err refused = {ERR_INTERNAL, "the database refused to store this"};
	int64_t id = 0;
	size_t load = 0;

	for (size_t i = 0; i < p->fx.n; i++) {
		const struct fx *fx = &p->fx.p[i];

		if (!is_storing(fx->kind))
			continue;
		id = fx->id;
		log_error("row refused by the database", F_I64("task", id), F_I64("effect", fx->kind));
		if (fx->kind == FX_INSERT || fx->kind == FX_REVIVE) {
			struct ev *ev = svc_event(s, EV_REFUSED);

			if (fx->kind == FX_INSERT) {
				child_stored(s, fx->payload, false);
				idem_stored(s, fx->tenant_no, fx->payload, false);
			}
			ev->id = id;
			ev->tenant_no = fx->tenant_no;
			pends_forget(s, id);
		}
	}
	for (size_t i = 0; i < p->fx.n; i++) {
		const struct fx *fx = &p->fx.p[i];

		if (fx->kind == FX_ANSWER && fx->ref && fx->id == id)
			call_end(s, fx->ref, &refused);
		else if (!is_storing(fx->kind) && (fx->id != id || fx->kind == FX_CANCEL_PUSH))
			release_one(s, fx, &load);
	}
	batch_push_end(s);
	pend_uncount(s, p);
	pend_free(p);
}

/* One to fill behind those that come back: the engine has counted them as closed, nothing more may go into them. */
static void pends_open(struct svc *s)
{
	if (list_empty(&s->pends))
		list_push_back(&s->pends, &pend_new()->node);
}

/* Two parts in place of the refused flush, cut so that a stored effect keeps what it releases.  Units are taken first: between the
 * parts, a limit is never exceeded. */
static void pend_halve(struct svc *s, struct pend *p)
{
	struct pend *a = pend_new(), *b = pend_new();
	size_t storing = 0, buckets = 0;

	pend_uncount(s, p);
	for (size_t i = 0; i < p->fx.n; i++)
		buckets += p->fx.p[i].kind == FX_BUCKET;
	for (size_t i = 0; i < p->fx.n; i++) {
		const struct fx *fx = &p->fx.p[i];
		bool is_first;

		storing += is_storing(fx->kind);
		is_first = buckets > 0 && buckets < p->n_storing ? fx->kind == FX_BUCKET : storing <= p->n_storing / 2;
		pend_add(s, is_first ? a : b, fx);
	}
	a->halved = b->halved = true;
	pends_open(s);
	list_push_front(&s->pends, &b->node);
	list_push_front(&s->pends, &a->node);
	pend_free(p);
}

static void flush_done(struct op *op, const struct err *err)
{
	struct svc *s = op->arg;
	struct pend *p = s->inflight;
	int64_t took = loop_mono_us() - s->flush_started_us;

	s->is_flushing = false;
	if (!p)
		return;	/* dropped with the engine meanwhile */
	s->inflight = NULL;
	if (!err) {
		s->shed = false;
		s->commit_mean_us += (took - s->commit_mean_us) / 8;
		s->figures.flushes++;
		s->figures.flush_rows += p->n_storing;
		pend_release(s, p);
	} else if (err->code == ERR_INVALID || err->code == ERR_EXISTS) {
		if (p->n_storing <= 1)
			refuse_one(s, p);
		else
			pend_halve(s, p);
	} else if (err->code == ERR_ABORTED) {
		list_push_front(&s->pends, &p->node);	/* owner's on_state drops it */
		return;
	} else {
		log_warn("flush refused, tried again", F_C("why", err->msg), F_I64("rows", p->n_storing));
		s->shed = true;
		pends_open(s);
		list_push_front(&s->pends, &p->node);
		timer_set(s->shed_timer, loop_mono_us() + SHED_RETRY_US);
		return;
	}
	flush_next(s);
}

static void flush_next(struct svc *s)
{
	while (!s->is_flushing && !s->inflight && s->engine && !list_empty(&s->pends)) {
		struct pend *p = LIST_ENTRY(s->pends.next, struct pend, node);
		bool was_filling = s->pends.prev == &p->node;

		if (p->fx.n == 0 && was_filling)
			return;
		list_del(&p->node);
		if (was_filling)
			engine_flush_sealed(s->engine);
		if (p->n_storing == 0) {
			pend_release(s, p);
			continue;
		}
		build_flush(s, p);
		s->inflight = p;
		s->is_flushing = true;
		s->flush_started_us = loop_mono_us();
		owner_flush(s->owner, s->flush, &s->flush_op);
	}
}

static void shed_retry(void *arg)
{
	flush_next(arg);
}

static bool pends_idle(const struct svc *s)
{
	const struct pend *p;

	if (s->is_flushing || s->inflight)
		return false;
	if (list_empty(&s->pends))
		return true;
	p = LIST_ENTRY(s->pends.next, const struct pend, node);
	return s->pends.prev == &p->node && p->fx.n == 0;
}

/* --- the turn ----------------------------------------------------------------------------------------------------------- */

static void take_effects(struct svc *s)
{
	struct pend *p = filling(s);

	for (size_t i = 0; i < s->fxs.v.n; i++) {
		const struct fx *fx = &s->fxs.v.p[i];

		if (fx->kind == FX_SEAL) {
			if (p->fx.n == 0)
				continue;
			p = pend_new();
			list_push_back(&s->pends, &p->node);
		} else {
			if (fx->kind == FX_INSERT && (fx->place == PLACE_ASSIGNED || fx->place == PLACE_QUEUED))
				input_put(s, fx->payload, fx->place == PLACE_ASSIGNED);
			verify_touch(s, fx);
			pend_add(s, p, fx);
		}
	}
	vec_clear(&s->fxs.v);
	arena_reset(s->fxs.arena);
	if (p->fx.n > CONF_FLUSH_EFFECTS_MAX || p->bytes > CONF_FLUSH_BYTES_MAX) {
		list_push_back(&s->pends, &pend_new()->node);
		engine_flush_sealed(s->engine);
	}
}

static void turn_memory_free(struct svc *s)
{
	for (size_t i = 0; i < s->turn_memory.n; i++)
		free(s->turn_memory.p[i]);
	vec_clear(&s->turn_memory);
}

static void turn_end(void *arg)
{
	struct svc *s = arg;
	struct now now = loop_now(s->loop);
	int rounds = 0;

	if (!s->engine || !s->loaded)
		return;
	subs_turn(s);
	/* Releasing can cause events (a push that fails): a few rounds, the rest next turn. */
	while ((s->evs.n > 0 || engine_next_deadline_us(s->engine) <= now.mono_us) && rounds++ < 4) {
		size_t n = s->evs.n;

		engine_step(s->engine, now, s->evs.p, n, &s->fxs);
		vec_clear(&s->evs);
		turn_memory_free(s);
		take_effects(s);
		flush_next(s);
		if (!s->engine)
			return;
	}
	flush_next(s);
	if (s->evs.n == 0)
		limits_sweep(s);
	if (s->engine && s->evs.n > 0)
		timer_set(s->deadline, now.mono_us);
	else if (s->engine && engine_next_deadline_us(s->engine) != INT64_MAX)
		timer_set(s->deadline, engine_next_deadline_us(s->engine));
	else
		timer_clear(s->deadline);
	if (s->stop_op && pends_idle(s) && s->evs.n == 0) {
		struct op *op = s->stop_op;

		/* deadlines and closing streams go on making effects: from here on nobody may store them */
		s->stop_op = NULL;
		svc_drop_engine(s, "the server is going away; try again");
		input_clear(s);
		owner_end(s->owner, op);
	}
}

static void wake(void *arg)
{
	(void)arg;	/* the turn's end does the work */
}

void svc_turn_init(struct svc *s)
{
	list_init(&s->pends);
	s->fxs.arena = arena_new(64u << 20);
	s->flush = flush_new();
	s->flush_op = (struct op){.fn = flush_done, .arg = s};
	s->deadline = timer_new(s->loop, wake, s);
	s->shed_timer = timer_new(s->loop, shed_retry, s);
	loop_on_turn_end(s->loop, turn_end, s);
}

void svc_turn_fini(struct svc *s)
{
	timer_free(s->deadline);
	timer_free(s->shed_timer);
	flush_free(s->flush);
	arena_free(s->fxs.arena);
	vec_fini(&s->fxs.v);
	vec_fini(&s->evs);
	turn_memory_free(s);
	vec_fini(&s->turn_memory);
	while (s->free_calls) {
		struct call *c = s->free_calls;

		s->free_calls = c->next_free;
		free(c);
	}
}

static void pend_fail(struct svc *s, struct pend *p, const struct err *err)
{
	for (size_t i = 0; i < p->fx.n; i++)
		if (p->fx.p[i].kind == FX_ANSWER && p->fx.p[i].ref)
			call_end(s, p->fx.p[i].ref, err);
	pend_free(p);
}

void svc_drop_engine(struct svc *s, const char *why)
{
	struct err err;

	err_set(&err, ERR_UNAVAILABLE, "%s", why);
	s->loaded = false;
	if (s->inflight)
		pend_fail(s, s->inflight, &err);
	s->inflight = NULL;
	while (!list_empty(&s->pends)) {
		struct pend *p = LIST_ENTRY(s->pends.next, struct pend, node);

		list_del(&p->node);
		pend_fail(s, p, &err);
	}
	s->fx_waiting = s->bytes_waiting = 0;
	for (size_t i = 0; i < s->evs.n; i++)
		if (s->evs.p[i].ref)
			call_end(s, s->evs.p[i].ref, &err);
	vec_clear(&s->evs);
	turn_memory_free(s);
	engine_free(s->engine);
	s->engine = NULL;
	s->engine_no++;
}
