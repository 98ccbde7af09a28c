/* The shell as the engine's header asks for it: events of a turn in, storing effects into the flush that fills, one flush in
 * flight, releasing effects when theirs has committed.  Reads of the database take their time and see what was stored then. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

enum { READ, REPLY, FULL_MAX_US = 25 * SEC, SHED_RETRY_US = 500 * MS };

static void flush_next(struct sim *s);

struct ev *shell_event(struct sim *s, enum ev_kind kind)
{
	vec_push(&s->evs, ((struct ev){.kind = kind}));
	return &s->evs.p[s->evs.n - 1];
}

struct timer *server_timer(struct sim *s, int64_t us, void (*fn)(struct sim *, struct timer *), void *p)
{
	struct timer *t = timer_in(s, us, fn);

	t->gen = s->gen;
	t->p = p;
	return t;
}

/* --- calls ------------------------------------------------------------------------------------------------------------------ */

static struct call *call_new(struct sim *s, enum call_kind kind, struct rec *r, int32_t tenant_no, int32_t attempt,
			     int32_t worker_no)
{
	struct call *c = xcalloc(1, sizeof(*c));

	*c = (struct call){.kind = kind, .rec = r, .tenant_no = tenant_no, .attempt = attempt, .worker_no = worker_no, .gen = s->gen};
	vec_push(&s->calls, c);
	return c;
}

static struct ev *call_event(struct sim *s, struct call *c, enum ev_kind kind)
{
	struct ev *ev = shell_event(s, kind);

	c->sent++;
	ev->ref = c;
	ev->id = c->rec->id;
	ev->tenant_no = c->tenant_no;
	ev->attempt = c->attempt;
	return ev;
}

struct call *shell_call(struct sim *s, enum call_kind kind, struct rec *r, int32_t tenant_no, int32_t attempt, int32_t worker_no)
{
	static const enum ev_kind kinds[] = {EV_NEW, EV_STARTED, EV_COMPLETED, EV_FAILED, EV_CANCEL, EV_CANCEL, EV_RELEASE_SLOT,
		EV_REFRESH, EV_PUSH_TOO_LARGE, EV_REPLAY};
	struct call *c = call_new(s, kind, r, tenant_no, attempt, worker_no);
	struct ev *ev = call_event(s, c, kinds[kind]);

	TRACE(s, "call %d task %lld attempt %d worker %d", kind, (long long)r->id, attempt, worker_no);
	if (tenant_no == r->tenant_no && (kind == CALL_CANCEL || kind == CALL_CANCELLED))
		r->cancel_asked = true;
	if (kind == CALL_COMPLETED || kind == CALL_FAILED)
		ev->payload = c;
	ev->ms = 5000;
	return c;
}

static struct eng_place place_of(const struct rec *r)
{
	return (struct eng_place){.desired_no = r->desired_no, .has_wants = r->has_wants, .wants = r->wants, .n_wants = r->n_wants};
}

void shell_trigger(struct sim *s, struct rec *r)
{
	struct call *c = call_new(s, CALL_TRIGGER, r, r->tenant_no, -1, 0);
	struct ev *ev = call_event(s, c, EV_NEW);
	struct eng_task_view v;

	TRACE(s, "trigger task %lld action %d step %d rank %d", (long long)r->id, r->action_no, r->step_no, r->rank);
	ev->new = (struct ev_new){.id = r->id, .tenant_no = r->tenant_no, .step_no = r->step_no, .rank = r->rank,
		.schedule_ms = r->schedule_ms, .exec_ms = r->exec_ms, .parent_id = r->parent ? r->parent->id : 0,
		.is_over = r->parent && !engine_task(s->e, r->parent->id, &v) && rec_is_cancelled(r->parent), .status = ATTEMPT_CANCELLED,
		.text = CANCEL_BY_PARENT, .place = place_of(r)};
	memcpy(ev->new.entries, r->entries, sizeof(ev->new.entries));
	ev->new.limits = r->limits;
	ev->new.n_limits = r->n_limits;
	ev->new.batch = r->batch;
	ev->new.bytes = r->bytes;
}

static void call_end(struct sim *s, struct call *c, bool ok)
{
	MUST(s, !c->done, "call %d about task %lld is told its end twice", c->kind, (long long)c->rec->id);
	c->done = true;
	worker_answered(s, c, ok);
}

struct ev_restore row_of(const struct sim *s, const struct rec *r)
{
	struct ev_restore row = (struct ev_restore){.id = r->id, .tenant_no = r->tenant_no, .step_no = r->step_no, .worker_no = r->worker_no,
		.state = r->state, .rank = r->rank, .attempt = r->attempt, .app_retries = r->app, .internal_retries = r->internal,
		.queued_at = r->queued_at, .assigned_at = r->assigned_at, .started_at = r->started_at, .due_at = r->due_at,
		.schedule_ms = r->schedule_ms, .exec_ms = r->exec_ms, .released = r->released, .place = place_of(r),
		.parent_id = r->parent ? r->parent->id : 0, .is_orphan = r->parent && r->base == 0 && rec_is_cancelled(r->parent),
		.user_rank = r->user_rank};

	memcpy(row.entries, r->entries, sizeof(row.entries));
	row.limits = r->limits;
	row.n_limits = r->n_limits;
	row.batch = r->batch;
	row.bytes = r->bytes;
	row.batch_id = r->batch_id;
	return row;
}

/* A task that is not in memory: where is it?  Read at one time, answered at another. */
struct lookup {
	struct call *call;
	enum row row;
	bool exists;
	struct ev_restore as;
};

static void lookup_reply(struct sim *s, struct timer *t)
{
	struct lookup *l = t->p;
	struct call *c = l->call;
	struct ev *ev;

	if (c->kind != CALL_CANCEL || c->tenant_no != c->rec->tenant_no || !l->exists || l->row == ROW_NONE) {
		s->cover[c->tenant_no != c->rec->tenant_no ? C_foreign : c->kind == CALL_CANCEL ? C_cancel_final : C_late]++;
		if (l->exists && c->tenant_no == c->rec->tenant_no)
			check_answer(s, c, NULL);
		call_end(s, c, true);
		return;
	}
	ev = call_event(s, c, EV_CANCEL);
	if (l->row == ROW_LIVE)
		return;
	ev->tail = true;
	ev->action_no = c->rec->action_no;
	ev->lane = lane_of(s, c->rec);
	ev->rank = l->as.rank;
	ev->restore = l->as;
}

static void lookup_read(struct sim *s, struct timer *t)
{
	struct lookup *l = xcalloc(1, sizeof(*l));
	struct call *c = ((struct lookup *)t->p)->call;

	*l = (struct lookup){.call = c, .row = c->rec->row, .exists = c->rec->exists, .as = row_of(s, c->rec)};
	(void)server_timer(s, between(s, 200, s->is_slow_db ? 2 * SEC : 20 * MS), lookup_reply, l);
}

/* Read at one time, asked for at another; one at a time for each task. */
static void replay_read(struct sim *s, struct timer *t)
{
	struct lookup *l = t->p;
	struct rec *r = l->call->rec;
	struct ev *ev;

	if (!l->exists || l->row == ROW_TAIL || (l->row == ROW_NONE && l->as.attempt == 0)) {
		r->is_replaying = false;
		call_end(s, l->call, false);
		return;
	}
	ev = call_event(s, l->call, EV_REPLAY);
	ev->on = l->row == ROW_LIVE;
	ev->restore = l->as;
}

void shell_replay(struct sim *s, struct rec *r)
{
	struct lookup *l;
	int n = 0;

	if (r->is_replaying || !r->exists)
		return;
	r->is_replaying = true;
	while (n < ATT_MAX && r->att[n])
		n++;
	l = xcalloc(1, sizeof(*l));
	*l = (struct lookup){.call = call_new(s, CALL_REPLAY, r, r->tenant_no, -1, 0), .row = r->row, .exists = r->exists, .as = row_of(s, r)};
	l->as.attempt = (int16_t)n;
	(void)server_timer(s, between(s, 200, s->is_slow_db ? 2 * SEC : 20 * MS), replay_read, l);
}

static void look_up(struct sim *s, struct call *c)
{
	struct lookup *l = xcalloc(1, sizeof(*l));

	MUST(s, ++c->lookups < 100, "call %d about task %lld is looked up for ever", c->kind, (long long)c->rec->id);
	l->call = c;
	(void)server_timer(s, between(s, 100, 10 * MS), lookup_read, l);
}

static void answer(struct sim *s, const struct fx *fx)
{
	struct call *c = fx->ref;

	if (c->kind == CALL_REPLAY) {
		c->rec->is_replaying = false;
		s->cover[C_replay_refused] += fx->code != ERR_OK;
	}
	if (fx->code == ERR_NOT_FOUND && c->kind >= CALL_STARTED && c->kind <= CALL_CANCEL) {
		look_up(s, c);
		return;
	}
	if (fx->code == ERR_OK)
		check_answer(s, c, fx);
	if (fx->code == ERR_OK && c->kind == CALL_SLOT)
		s->cover[C_released]++;
	if (fx->code == ERR_OK && c->kind == CALL_REFRESH)
		s->cover[C_refreshed]++;
	call_end(s, c, fx->code == ERR_OK);
}

/* --- flushes ---------------------------------------------------------------------------------------------------------------- */

static void pend_free(struct pend *p)
{
	vec_fini(&p->fx);
	vec_fini(&p->loaded);
	vec_fini(&p->loads);
	free(p);
}

static void pends_insert(struct sim *s, size_t at, struct pend *p)
{
	vec_push(&s->pends, p);
	for (size_t i = s->pends.n - 1; i > at; i--) {
		s->pends.p[i] = s->pends.p[i - 1];
		s->pends.p[i - 1] = p;
	}
}

/* Another one to fill: what is there takes nothing more. */
static struct pend *filling_new(struct sim *s)
{
	pends_insert(s, s->pends.n, xcalloc(1, sizeof(struct pend)));
	return s->pends.p[s->pends.n - 1];
}

static void pend_add(struct pend *p, const struct fx *fx)
{
	vec_push(&p->fx, *fx);
	p->fx.p[p->fx.n - 1].text = NULL;
	p->n_storing += fx->kind <= FX_NOTE;
}

/* The texts of the engine die with the step; what the database keeps of them is marked here. */
static void take_effects(struct sim *s)
{
	struct pend *p = s->pends.n ? s->pends.p[s->pends.n - 1] : filling_new(s);

	for (size_t i = 0; i < s->fxs.v.n; i++) {
		const struct fx *fx = &s->fxs.v.p[i];

		if (fx->kind == FX_SEAL) {
			if (p->fx.n == 0)
				continue;
			p = filling_new(s);
		} else {
			pend_add(p, fx);
			if (fx->text && strstr(fx->text, "maximum reassignment"))
				p->fx.p[p->fx.n - 1].text = "maximum reassignment";
		}
	}
	vec_clear(&s->fxs.v);
	arena_reset(s->fxs.arena);
	if (p->fx.n > 40) {
		(void)filling_new(s);
		engine_flush_sealed(s->e);
	}
}

static void release_load(struct sim *s, const struct pend *p, const struct fx *fx, size_t load, size_t at)
{
	struct ev *ev;

	for (size_t i = at; i < at + p->loads.p[load]; i++) {
		const struct rec *r = p->loaded.p[i];

		ev = shell_event(s, EV_LOADED);
		ev->id = r->id;
		ev->tenant_no = r->tenant_no;
		ev->action_no = r->action_no;
		ev->rank = r->rank;
		ev->lane = fx->lane;
		ev->restore = row_of(s, r);
		ev->restore.is_orphan = r->is_orphan;	/* read with the load, not now */
	}
	ev = shell_event(s, EV_LOAD_DONE);
	ev->tenant_no = fx->tenant_no;
	ev->action_no = fx->action_no;
	ev->rank = fx->rank;
	ev->lane = fx->lane;
	ev->n = (uint32_t)p->loads.p[load];
	ev->limit = fx->limit;
}

static void push_failed(struct sim *s, const struct fx *fx)
{
	struct ev *ev = shell_event(s, EV_PUSH_FAILED);

	ev->id = fx->id;
	ev->attempt = fx->attempt;
	ev->tenant_no = fx->tenant_no;
	ev->worker_no = fx->worker_no;
}

static void push_too_large(struct sim *s, const struct fx *fx)
{
	struct rec *r = rec_of(s, fx->id);
	struct call *c = call_new(s, CALL_TOO_LARGE, r, r->tenant_no, fx->attempt, fx->worker_no);
	struct ev *ev = call_event(s, c, EV_PUSH_TOO_LARGE);

	r->too_large[fx->attempt] = true;
	ev->payload = c;
	ev->worker_no = fx->worker_no;
}

static void stall(struct sim *s, struct worker_model *w, bool on)
{
	struct ev *ev = shell_event(s, EV_STALL);

	ev->worker_no = w->no;
	ev->on = on;
}

static void pushes_fail(struct sim *s, struct worker_model *w)
{
	if (!w->pushes.n)
		return;
	for (size_t i = 0; i < w->pushes.n; i++)
		push_failed(s, &w->pushes.p[i]);
	vec_clear(&w->pushes);
	stall(s, w, false);
}

static void push_late(struct sim *s, struct timer *t)
{
	struct worker_model *w = worker_of(s, (int32_t)t->id);

	if (w->pushes.n && t->attempt == (int32_t)w->session)
		pushes_fail(s, w);
}

/* Memory may be ahead of what is released: an attempt that is over is not worth a push. */
static bool is_current(const struct sim *s, const struct fx *fx)
{
	struct eng_task_view v;

	return engine_task(s->e, fx->id, &v) && v.state == LIVE_ASSIGNED && v.attempt == fx->attempt && v.worker_no == fx->worker_no;
}

static void push(struct sim *s, const struct fx *fx)
{
	struct worker_model *w = worker_of(s, fx->worker_no);

	check_push(s, fx);
	if (!is_current(s, fx))
		return;
	if (!w->session) {
		push_failed(s, fx);
		return;
	}
	if (chance(s, 3)) {
		push_too_large(s, fx);
		return;
	}
	if (!w->pushes.n && worker_takes(s, w, fx))
		return;
	if (!w->pushes.n) {
		struct timer *t = server_timer(s, FULL_MAX_US, push_late, NULL);

		t->id = w->no;
		t->attempt = (int32_t)w->session;
		stall(s, w, true);
		s->cover[C_stalled]++;
	}
	vec_push(&w->pushes, *fx);
}

void shell_drain(struct sim *s, struct worker_model *w)
{
	while (w->pushes.n) {
		if (is_current(s, &w->pushes.p[0]) && !worker_takes(s, w, &w->pushes.p[0]))
			return;
		w->pushes.n--;
		memmove(w->pushes.p, w->pushes.p + 1, w->pushes.n * sizeof(w->pushes.p[0]));
		if (!w->pushes.n)
			stall(s, w, false);
	}
}

static void push_cancel(struct sim *s, const struct fx *fx)
{
	struct worker_model *w = worker_of(s, fx->worker_no);

	if (!w->session)
		return;
	for (size_t i = 0; i < w->pushes.n; i++)
		if (w->pushes.p[i].id == fx->id && w->pushes.p[i].attempt == fx->attempt) {
			w->pushes.n--;
			memmove(w->pushes.p + i, w->pushes.p + i + 1, (w->pushes.n - i) * sizeof(w->pushes.p[0]));
			if (!w->pushes.n)
				stall(s, w, false);
			return;
		}
	worker_cancelled(s, w, fx);
}

static void release_one(struct sim *s, const struct fx *fx)
{
	if (fx->kind == FX_SCAN)
		scan_start(s, fx);
	else if (fx->kind == FX_PUSH)
		push(s, fx);
	else if (fx->kind == FX_CANCEL_PUSH)
		push_cancel(s, fx);
	else if (fx->kind == FX_ANSWER)
		answer(s, fx);
	else if (fx->kind == FX_END && fx->status == ATTEMPT_CANCELLED && chance(s, 900))
		orphans_find(s, fx->id);
}

static void pend_release(struct sim *s, struct pend *p)
{
	size_t load = 0, at = 0;

	for (size_t i = 0; i < p->fx.n; i++) {
		release_one(s, &p->fx.p[i]);
		if (p->fx.p[i].kind != FX_LOAD)
			continue;
		release_load(s, p, &p->fx.p[i], load, at);
		at += p->loads.p[load++];
	}
	pend_free(p);
}

/* Whatever is on the way about a task that was refused is about nothing. */
static void forget(struct sim *s, int64_t id)
{
	for (size_t i = 0; i < s->pends.n; i++) {
		struct pend *p = s->pends.p[i];
		size_t kept = 0;

		for (size_t k = 0; k < p->fx.n; k++) {
			const struct fx fx = p->fx.p[k];

			if (fx.id == id && fx.kind != FX_ANSWER && fx.kind != FX_START) {
				p->n_storing -= fx.kind <= FX_NOTE;
				continue;
			}
			p->fx.p[kept++] = fx;
		}
		p->fx.n = kept;
	}
}

static void refuse_one(struct sim *s, struct pend *p)
{
	int64_t id = 0;

	for (size_t i = 0; i < p->fx.n; i++) {
		const struct fx *fx = &p->fx.p[i];
		struct ev *ev;

		if (fx->kind > FX_NOTE)
			continue;
		MUST(s, fx->kind == FX_INSERT, "effect %d is refused", fx->kind);
		id = fx->id;
		ev = shell_event(s, EV_REFUSED);
		ev->id = id;
		ev->tenant_no = fx->tenant_no;
		rec_of(s, id)->gone = true;
		s->cover[C_refused]++;
		forget(s, id);
	}
	for (size_t i = 0; i < p->fx.n; i++) {
		const struct fx *fx = &p->fx.p[i];

		if (fx->kind == FX_ANSWER && fx->id == id)
			call_end(s, fx->ref, false);
		else if (fx->id != id || fx->kind == FX_CANCEL_PUSH)
			release_one(s, fx);
	}
	pend_free(p);
}

static void pend_halve(struct sim *s, struct pend *p)
{
	struct pend *halves[2] = {xcalloc(1, sizeof(*p)), xcalloc(1, sizeof(*p))};
	uint32_t storing = 0, n_buckets = 0;

	halves[0]->halved = halves[1]->halved = true;
	for (size_t i = 0; i < p->fx.n; i++)
		n_buckets += p->fx.p[i].kind == FX_BUCKET;
	for (size_t i = 0; i < p->fx.n; i++) {
		const struct fx *fx = &p->fx.p[i];
		bool is_storing = fx->kind <= FX_NOTE, is_second;

		storing += is_storing;
		is_second = n_buckets > 0 && n_buckets < p->n_storing ? fx->kind != FX_BUCKET : storing > p->n_storing / 2;
		vec_push(&halves[is_second]->fx, *fx);
		halves[is_second]->n_storing += is_storing;
	}
	if (!s->pends.n)
		(void)filling_new(s);
	pends_insert(s, 0, halves[1]);
	pends_insert(s, 0, halves[0]);
	pend_free(p);
}

static void again(struct sim *s, struct timer *t)
{
	flush_next(s);
}

static void flush_done(struct sim *s, struct timer *t)
{
	struct pend *p = s->inflight;

	s->inflight = NULL;
	if (s->applied) {
		s->shed = false;
		pend_release(s, p);
	} else if (db_is_refused(s, p)) {
		if (p->n_storing <= 1)
			refuse_one(s, p);
		else
			pend_halve(s, p);
	} else {
		s->shed = true;
		s->trouble_at = s->now.mono_us;
		s->cover[C_shed]++;
		if (!s->pends.n)
			(void)filling_new(s);
		pends_insert(s, 0, p);
		(void)server_timer(s, SHED_RETRY_US, again, NULL);
		return;
	}
	flush_next(s);
}

static void flush_apply(struct sim *s, struct timer *t)
{
	int64_t reply = between(s, 100, s->is_slow_db ? 100 * MS : 2 * MS);

	if (s->db_down_until <= s->now.mono_us && !db_is_refused(s, s->inflight)) {
		if (!s->calm && chance(s, s->fault_pm / 2)) {
			/* the connection breaks; until it is back nobody knows whether this was stored */
			reply = between(s, 10 * MS, 10 * SEC);
			s->trouble_at = s->now.mono_us + reply;
			if (chance(s, 500)) {
				s->cover[C_lost_resent]++;
				(void)server_timer(s, reply, flush_apply, NULL);
				return;
			}
			s->cover[C_lost_committed]++;
		}
		db_commit(s, s->inflight);
		s->applied = true;
	}
	(void)server_timer(s, reply, flush_done, NULL);
}

static void flush_next(struct sim *s)
{
	while (!s->inflight && s->pends.n) {
		struct pend *p = s->pends.p[0];
		bool was_filling = s->pends.n == 1;

		if (p->fx.n == 0 && was_filling)
			return;
		s->pends.n--;
		memmove(s->pends.p, s->pends.p + 1, s->pends.n * sizeof(s->pends.p[0]));
		if (was_filling)
			engine_flush_sealed(s->e);
		if (p->n_storing == 0) {
			pend_release(s, p);
			continue;
		}
		s->inflight = p;
		s->applied = false;
		(void)server_timer(s, between(s, 200, s->is_slow_db ? 100 * MS : 5 * MS), flush_apply, NULL);
	}
}

bool shell_is_idle(const struct sim *s)
{
	return s->is_up && !s->inflight && !s->evs.n && (!s->pends.n || (s->pends.n == 1 && !s->pends.p[0]->fx.n));
}

void shell_turn(struct sim *s)
{
	int rounds = 0;

	while (s->is_up && (s->evs.n > 0 || engine_next_deadline_us(s->e) <= s->now.mono_us) && rounds++ < 4) {
		size_t n = s->evs.n;

		s->n_steps++;
		engine_step(s->e, s->now, s->evs.p, n, &s->fxs);
		vec_clear(&s->evs);
		check_effects(s, 0);
		check_step(s);
		take_effects(s);
		flush_next(s);
	}
	if (shell_is_idle(s) && chance(s, 200))
		db_check_idle(s);
}

/* --- workers ---------------------------------------------------------------------------------------------------------------- */

static void worker_known(struct sim *s, struct worker_model *w, bool restored)
{
	struct ev *ev = shell_event(s, EV_WORKER);

	ev->worker_no = w->no;
	ev->worker = (struct ev_worker){.worker_no = w->no, .tenant_no = w->tenant_no, .actions = w->actions,
		.n_actions = (uint32_t)w->n_actions, .labels = w->labels, .n_labels = LABELS_MAX, .paused = w->paused,
		.restored = restored};
	memcpy(ev->worker.slots, w->slots, sizeof(w->slots));
}

void shell_label(struct sim *s, struct worker_model *w)
{
	struct ev *ev = shell_event(s, EV_LABELS);
	uint64_t i = below(s, LABELS_MAX);

	if (w->labelled != s->n_steps)
		memcpy(w->labels_before, w->labels, sizeof(w->labels));
	w->labelled = s->n_steps;
	w->labels[i] = some_label(s, (int)i);
	ev->worker_no = w->no;
	ev->worker = (struct ev_worker){.labels = w->labels, .n_labels = LABELS_MAX};
	s->cover[C_labels_changed]++;
}

void shell_limit(struct sim *s)
{
	struct ev_strategy *st = &s->strategies[below(s, STRATEGIES_MAX)];

	st->max_runs = (int32_t)below(s, 5);
	s->peak[st->strategy_no - 90] = MAX(s->peak[st->strategy_no - 90], st->max_runs);
	shell_event(s, EV_STRATEGY)->strategy = *st;
	s->cover[C_key_limit_changed]++;
}

void shell_pause(struct sim *s, struct ev_flow *f, bool on)
{
	f->is_paused = on;
	f->ttl_us = chance(s, 500) ? 0 : between(s, 50 * MS, 20 * SEC);
	if (on)
		f->paused_at = s->now.wall_us;
	else
		f->unpaused_at = s->now.wall_us;
	s->paused_step[f->workflow_no - 1] = s->n_steps;
	shell_event(s, EV_FLOW)->flow = *f;
	s->cover[on ? C_paused_flow : C_unpaused_flow]++;
}

void shell_register(struct sim *s, struct worker_model *w)
{
	w->registered = true;
	w->beat_at = w->contact_at = s->now.mono_us;
	worker_known(s, w, false);
}

void shell_listen(struct sim *s, struct worker_model *w)
{
	struct eng_worker_view v;
	struct ev *ev;

	if (!engine_worker(s->e, w->no, &v))
		worker_known(s, w, false);
	pushes_fail(s, w);
	w->session = ++s->next_session;
	w->beat_at = w->contact_at = s->now.mono_us;
	vec_push(&w->ups, s->now.mono_us);
	ev = shell_event(s, EV_STREAM_UP);
	ev->worker_no = w->no;
	ev->session = w->session;
}

void shell_stream_closed(struct sim *s, struct worker_model *w, int64_t session)
{
	struct ev *ev;

	if (!s->is_up || w->session != session)
		return;
	w->session = 0;
	ev = shell_event(s, EV_STREAM_DOWN);
	ev->worker_no = w->no;
	ev->session = session;
	pushes_fail(s, w);
}

bool shell_beat(struct sim *s, struct worker_model *w)
{
	shell_event(s, EV_BEAT)->worker_no = w->no;
	w->beat_at = w->contact_at = s->now.mono_us;
	return w->session != 0;
}

/* --- start and death -------------------------------------------------------------------------------------------------------- */

static void restore(struct sim *s)
{
	for (int i = 0; i < s->n_workers; i++)
		if (s->workers[i].registered) {
			s->workers[i].beat_at = s->workers[i].contact_at = s->now.mono_us;
			worker_known(s, &s->workers[i], true);
			if (s->workers[i].ended)
				shell_event(s, EV_WORKER_END)->worker_no = s->workers[i].no;
		}
	for (size_t i = 0; i < s->open.n; i++) {
		const struct rec *r = s->open.p[i];
		struct ev *ev;

		if (r->row == ROW_LIVE) {
			ev = shell_event(s, EV_RESTORE);
			ev->id = r->id;
			ev->tenant_no = r->tenant_no;
			ev->restore = row_of(s, r);
			s->cover[C_restored]++;
		} else if (r->row == ROW_TAIL) {
			/* one for each row instead of one for the best of each queue: the same to the engine */
			ev = shell_event(s, EV_TAIL);
			ev->tenant_no = r->tenant_no;
			ev->action_no = r->action_no;
			ev->rank = r->rank;
			ev->due_at = r->due_at;
			ev->id = r->id;
			ev->lane = lane_of(s, r);
			ev->step_no = r->step_no;
			ev->key_limit = r->entries[0].limit;
		}
	}
}

void shell_start(struct sim *s)
{
	s->gen++;
	s->is_up = true;
	s->started_at = s->now.mono_us;
	s->shed = false;
	s->next_session = 0;
	s->e = engine_new(&s->conf);
	engine_id_floor(s->e, s->max_id);
	vec_clear(&s->dispatches);
	for (size_t i = 0; i < s->open.n; i++)
		s->open.p[i]->ready_since = SIZE_MAX;
	for (int i = 0; i < STRATEGIES_MAX; i++)
		shell_event(s, EV_STRATEGY)->strategy = s->strategies[i];
	for (int i = 0; i < s->n_steps_def; i++)
		shell_event(s, EV_STEP)->step = s->steps[i];
	for (int i = 0; i < FLOWS_MAX; i++)
		shell_event(s, EV_FLOW)->flow = s->flows[i];
	limits_restore(s);
	restore(s);
	TRACE(s, "server %u starts", s->gen);
}

/* What was in flight may be stored all the same. */
void shell_kill(struct sim *s)
{
	TRACE(s, "server %u is killed", s->gen);
	s->cover[C_kill]++;
	if (s->inflight && !s->applied && s->db_down_until <= s->now.mono_us && !db_is_refused(s, s->inflight) && chance(s, 500)) {
		s->cover[C_kill_committed]++;
		db_commit(s, s->inflight);
	}
	if (s->inflight)
		pend_free(s->inflight);
	s->inflight = NULL;
	for (size_t i = 0; i < s->pends.n; i++)
		pend_free(s->pends.p[i]);
	vec_clear(&s->pends);
	vec_clear(&s->evs);
	vec_clear(&s->fxs.v);
	engine_free(s->e);
	s->e = NULL;
	s->is_up = false;
	for (size_t i = 0; i < s->all.n; i++)
		s->all.p[i]->is_replaying = false;
	for (size_t i = 0; i < s->all.n; i++)
		if (!s->all.p[i]->exists)
			s->all.p[i]->gone = true;	/* its caller knows that he does not know */
	for (int i = 0; i < s->n_workers; i++) {
		s->workers[i].session = 0;
		vec_clear(&s->workers[i].pushes);
		worker_server_gone(s, &s->workers[i]);
	}
	for (size_t i = 0; i < s->calls.n; i++)
		if (s->calls.p[i]->gen == s->gen && !s->calls.p[i]->done)
			call_end(s, s->calls.p[i], false);
}
