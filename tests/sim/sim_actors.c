/* Workers and clients: what a real SDK does, and what the world does to it.  They know nothing of the engine but its answers. */
#include "sim.h"

#include <stdlib.h>

static void run_step(struct sim *s, struct timer *t);

enum { R_START, R_END, R_EXTRA };	/* what a run's timer is for */

static struct run *run_of(struct worker_model *w, int64_t id, int32_t attempt)
{
	for (size_t i = 0; i < w->runs.n; i++)
		if (w->runs.p[i].id == id && w->runs.p[i].attempt == attempt)
			return &w->runs.p[i];
	return NULL;
}

static void run_drop(struct worker_model *w, int64_t id, int32_t attempt)
{
	struct run *r = run_of(w, id, attempt);

	if (r)
		*r = w->runs.p[--w->runs.n];
}

static void run_timer(struct sim *s, struct worker_model *w, int64_t us, int64_t id, int32_t attempt, int kind)
{
	struct timer *t = timer_in(s, us, run_step);

	t->p = w;
	t->id = id;
	t->attempt = attempt;
	t->kind = kind;
}

/* --- reports ---------------------------------------------------------------------------------------------------------------- */

static bool can_talk(const struct sim *s, const struct worker_model *w)
{
	return s->is_up && !w->mute;
}

static void report(struct sim *s, struct worker_model *w, enum call_kind kind, int64_t id, int32_t attempt)
{
	struct rec *r = rec_of(s, id);
	const struct run *run = run_of(w, id, attempt);
	int64_t batch_id = run ? run->batch_id : 0;
	bool unnumbered = kind <= CALL_FAILED && !batch_id && chance(s, 20);	/* as an older SDK does: the attempt that runs */
	struct ev *ev;

	for (int a = attempt; a < (unnumbered ? ATT_MAX : attempt + 1); a++) {
		r->sent[a] |= (uint8_t)(1u << kind);
		if (kind == CALL_STARTED && !unnumbered)
			r->start_gen[a] = s->gen;
	}
	(void)shell_call(s, kind, r, r->tenant_no, unnumbered ? -1 : attempt, w->no);
	ev = &s->evs.p[s->evs.n - 1];
	if (batch_id) {
		ev->batch_id = batch_id;
		ev->attempt = chance(s, 500) ? 0 : attempt;	/* means nothing then */
		s->cover[C_batch_report]++;
		s->cover[C_batch_restored] += r->start_gen[attempt] && r->start_gen[attempt] != s->gen;
	}
	if (kind == CALL_FAILED && chance(s, 150)) {
		ev->no_retry = true;
		for (int a = attempt; a < (unnumbered ? ATT_MAX : attempt + 1); a++)
			r->no_retry[a] = true;
	}
	w->contact_at = s->now.mono_us;
}

static void send_end(struct sim *s, struct worker_model *w, int64_t id, int32_t attempt, bool lies)
{
	enum call_kind kind = chance(s, 700) ? CALL_COMPLETED : CALL_FAILED;

	if (!lies && run_of(w, id, attempt) && chance(s, 20))
		kind = CALL_CANCELLED;
	report(s, w, kind, id, attempt);
	run_drop(w, id, attempt);
}

static void run_step(struct sim *s, struct timer *t)
{
	struct worker_model *w = t->p;
	struct run *r = run_of(w, t->id, t->attempt);

	if (!can_talk(s, w)) {
		if (r || t->kind == R_EXTRA)
			run_timer(s, w, between(s, 500 * MS, 5 * SEC), t->id, t->attempt, t->kind);
		return;
	}
	if (t->kind == R_EXTRA) {	/* the same once more, or too late, or the opposite */
		s->cover[C_duplicate]++;
		if (chance(s, 300))
			report(s, w, CALL_STARTED, t->id, t->attempt);
		else
			send_end(s, w, t->id, t->attempt, true);
	} else if (r && t->kind == R_START && !r->started) {
		report(s, w, CALL_STARTED, t->id, t->attempt);
		run_timer(s, w, 5 * SEC, t->id, t->attempt, R_START);	/* until it is answered */
	} else if (r && t->kind == R_END) {
		if (chance(s, 50))
			run_timer(s, w, between(s, MS, 20 * SEC), t->id, t->attempt, R_EXTRA);
		if (chance(s, 50))
			(void)shell_call(s, chance(s, 500) ? CALL_SLOT : CALL_REFRESH, rec_of(s, t->id), w->tenant_no, -1, w->no);
		send_end(s, w, t->id, t->attempt, false);
	} else if (r && t->kind == R_START && chance(s, 30)) {
		(void)shell_call(s, chance(s, 500) ? CALL_SLOT : CALL_REFRESH, rec_of(s, t->id), w->tenant_no, -1, w->no);
	}
}

/* A refused or unanswered report is sent again, as the SDKs do. */
void worker_answered(struct sim *s, const struct call *c, bool ok)
{
	struct worker_model *w = c->worker_no ? worker_of(s, c->worker_no) : NULL;
	struct run *r;

	if (!w || c->attempt < 0)
		return;
	r = run_of(w, c->rec->id, c->attempt);
	if (ok && c->kind == CALL_STARTED && r)
		r->started = true;
	if (!ok && (c->kind == CALL_COMPLETED || c->kind == CALL_FAILED))
		run_timer(s, w, between(s, 500 * MS, 5 * SEC), c->rec->id, c->attempt, R_EXTRA);
}

/* --- the stream ------------------------------------------------------------------------------------------------------------- */

bool worker_takes(struct sim *s, struct worker_model *w, const struct fx *push)
{
	struct rec *r = rec_of(s, push->id);
	int32_t a = push->attempt;

	if (!s->calm && chance(s, s->fault_pm / 2))
		return false;
	r->pushed[a] = true;
	TRACE(s, "worker %d gets task %lld attempt %d", w->no, (long long)push->id, a);
	if (!w->listening || w->my_session != w->session)
		return true;	/* written to a connection that nobody reads */
	vec_push(&w->runs, ((struct run){push->id, a, false, push->batch_id}));
	if (!chance(s, 20) || s->calm)
		run_timer(s, w, between(s, 100, w->mute ? 20 * SEC : 200 * MS), push->id, a, R_START);
	if (!chance(s, 30) || s->calm)
		run_timer(s, w, between(s, 200, s->calm ? SEC : 12 * SEC), push->id, a, R_END);
	return true;
}

void worker_cancelled(struct sim *s, struct worker_model *w, const struct fx *fx)
{
	if (!w->listening || w->my_session != w->session || chance(s, 200))
		return;
	if (run_of(w, fx->id, fx->attempt) && chance(s, 300))
		run_timer(s, w, between(s, MS, SEC), fx->id, fx->attempt, R_EXTRA);
	run_drop(w, fx->id, fx->attempt);
}

static void close_reaches_server(struct sim *s, struct timer *t)
{
	if (t->attempt == (int32_t)s->gen)
		shell_stream_closed(s, t->p, t->id);
}

static void worker_connect(struct sim *s, struct timer *t)
{
	struct worker_model *w = t->p;

	if (w->listening || w->ended)
		return;
	if (!can_talk(s, w)) {
		timer_in(s, between(s, 200 * MS, 5 * SEC), worker_connect)->p = w;
		return;
	}
	if (!w->registered)
		shell_register(s, w);
	else
		s->cover[C_reconnect]++;
	shell_listen(s, w);
	w->listening = true;
	w->my_session = w->session;
	TRACE(s, "worker %d listens, session %lld", w->no, (long long)w->session);
}

/* The connection breaks; the server may learn of it much later. */
static void worker_break(struct sim *s, struct worker_model *w)
{
	if (!w->listening)
		return;
	TRACE(s, "worker %d loses its stream", w->no);
	w->listening = false;
	if (s->is_up) {
		struct timer *t = timer_in(s, chance(s, 700) ? 0 : between(s, MS, 60 * SEC), close_reaches_server);

		t->p = w;
		t->id = w->my_session;
		t->attempt = (int32_t)s->gen;
	}
	timer_in(s, between(s, 50 * MS, s->calm ? SEC : 40 * SEC), worker_connect)->p = w;
}

void worker_server_gone(struct sim *s, struct worker_model *w)
{
	if (!w->listening)
		return;
	w->listening = false;
	timer_in(s, between(s, 50 * MS, 10 * SEC), worker_connect)->p = w;
}

static void worker_beat(struct sim *s, struct timer *t)
{
	struct worker_model *w = t->p;

	if (w->registered && !w->ended && can_talk(s, w)) {
		if (!shell_beat(s, w) && w->listening)
			worker_break(s, w);
		else if (w->my_session != w->session && w->listening)
			worker_break(s, w);
	}
	timer_in(s, 4 * SEC, worker_beat)->p = w;
}

static void worker_drain(struct sim *s, struct timer *t)
{
	struct worker_model *w = t->p;

	if (s->is_up && w->session && w->listening && !w->mute)
		shell_drain(s, w);
	timer_in(s, between(s, 100 * MS, 5 * SEC), worker_drain)->p = w;
}

static void unmute(struct sim *s, struct timer *t)
{
	struct worker_model *w = t->p;

	if (w->mute && s->now.mono_us >= w->mute_until) {
		TRACE(s, "worker %d talks again", w->no);
		w->mute = false;
	}
}

static void worker_fault(struct sim *s, struct timer *t)
{
	struct worker_model *w = t->p;
	uint64_t what = below(s, 100);

	if (s->calm)
		return;
	timer_in(s, between(s, SEC, 120 * SEC), worker_fault)->p = w;
	if (!w->registered || !chance(s, s->fault_pm * 5))
		return;
	if (what < 40) {
		worker_break(s, w);
	} else if (what < 75) {
		TRACE(s, "worker %d goes silent", w->no);
		w->mute = true;
		w->mute_until = s->now.mono_us + between(s, SEC, 90 * SEC);
		timer_in(s, w->mute_until - s->now.mono_us, unmute)->p = w;
		if (chance(s, 500))
			worker_break(s, w);
	} else if (what < 85 && s->is_up) {
		struct ev *ev = shell_event(s, EV_PAUSE);

		w->paused = !w->paused;
		ev->worker_no = w->no;
		ev->on = w->paused;
	} else if (what < 88 && s->is_up) {
		shell_label(s, w);
	} else if (what < 91) {		/* the process dies and forgets; it comes back as the same worker */
		vec_clear(&w->runs);
		worker_break(s, w);
	} else if (what < 94 && s->is_up) {
		w->ended = true;
		shell_event(s, EV_WORKER_END)->worker_no = w->no;
		w->beat_at = w->contact_at = s->now.mono_us;
		if (chance(s, 500)) {
			w->ended = false;	/* unsubscribes and listens again */
			worker_break(s, w);
		}
	}
}

/* --- clients ---------------------------------------------------------------------------------------------------------------- */

static struct rec *rec_new(struct sim *s)
{
	const struct ev_step *step = &s->steps[below(s, (uint64_t)s->n_steps_def)];
	struct rec *r = xcalloc(1, sizeof(*r));

	*r = (struct rec){.id = engine_next_id(s->e, s->now, step->tenant_no), .tenant_no = step->tenant_no,
		.action_no = step->action_no, .step_no = step->step_no, .rank = (int8_t)(chance(s, 600) ? 3 : 1 + below(s, 3)), .queued_at = INT64_MIN,
		.assigned_at = INT64_MIN, .started_at = INT64_MIN, .due_at = INT64_MIN};
	r->schedule_ms = chance(s, 300) ? between(s, 100, 20000) : step->schedule_ms;
	r->exec_ms = chance(s, 200) ? between(s, 50, 10000) : step->exec_ms;
	r->user_rank = r->rank;
	r->ready_since = SIZE_MAX;
	for (uint32_t i = 0; i < step->n_strategies; i++) {
		uint64_t key = below(s, 1 + below(s, s->keys));

		r->entries[i].key = ((uint64_t)step->strategies[i] << 32 | (uint64_t)step->tenant_no << 16 | key) * 0x9e3779b97f4a7c15;
		r->entries[i].limit = step->strategies[i] == 92 && s->limits_change ? (int32_t)below(s, 4) : -1;
		if (!r->turn_key && strategy_of(s, r, i)->kind == CONC_GROUP_ROUND_ROBIN)
			r->turn_key = r->entries[i].key;
		s->cover[C_keyed]++;
	}
	limits_of_task(s, r);
	batch_of_task(s, r);
	r->poison = !s->calm && chance(s, 4);
	if (chance(s, 150))
		r->desired_no = chance(s, 100) ? -1 : (int32_t)(1 + below(s, (uint64_t)s->n_workers));
	if (chance(s, 150)) {
		r->has_wants = true;
		r->n_wants = some_wants(s, r->wants);
	}
	if (s->all.n && chance(s, 250)) {
		struct rec *parent = s->all.p[s->all.n - 1 - below(s, MIN(s->all.n, 40))];

		for (int i = 0; i < 20 && parent->state != LIVE_STARTED; i++)
			parent = s->all.p[s->all.n - 1 - below(s, MIN(s->all.n, 200))];
		if (parent->tenant_no == r->tenant_no && parent->pushed[0]) {
			r->parent = parent;
			s->cover[C_child]++;
		}
	}
	MUST(s, !imap_put(&s->recs, r->id, r), "id %lld is used twice", (long long)r->id);
	vec_push(&s->all, r);
	vec_push(&s->open, r);
	return r;
}

static void client_trigger(struct sim *s, struct timer *t)
{
	uint64_t n = chance(s, 50) ? 1 + below(s, s->cap) : 1;

	if (s->calm)
		return;
	timer_in(s, between(s, 100, (int64_t)s->trigger_ms * MS), client_trigger);
	while (n-- && s->is_up && !s->shed && s->open.n < s->cap)
		shell_trigger(s, rec_new(s));
}

static void client_cancel(struct sim *s, struct timer *t)
{
	struct rec *r = NULL;
	int32_t tenant;

	if (s->calm)
		return;
	timer_in(s, between(s, MS, (int64_t)s->trigger_ms * 10 * MS), client_cancel);
	if (s->is_up && s->limits_change && chance(s, 20))
		shell_limit(s);
	if (s->is_up && s->has_pauses && chance(s, 20)) {
		struct ev_flow *f = &s->flows[below(s, FLOWS_MAX)];

		shell_pause(s, f, !f->is_paused || chance(s, 200));
	}
	if (s->is_up && s->has_limits && chance(s, 300))
		shell_put_limit(s);
	if (s->open.n && chance(s, 900))
		r = s->open.p[below(s, s->open.n)];
	else if (s->all.n)
		r = s->all.p[below(s, s->all.n)];
	if (!r || !s->is_up)
		return;
	tenant = chance(s, 50) ? 3 - r->tenant_no : r->tenant_no;
	for (uint64_t n = chance(s, 100) ? 2 : 1; n > 0; n--)
		(void)shell_call(s, CALL_CANCEL, r, tenant, -1, 0);
}

static void client_replay(struct sim *s, struct timer *t)
{
	struct rec *r;

	if (s->calm)
		return;
	timer_in(s, between(s, MS, (int64_t)s->trigger_ms * 8 * MS), client_replay);
	if (!s->all.n || !s->is_up)
		return;
	r = s->all.p[s->all.n - 1 - below(s, MIN(s->all.n, 300))];
	if (!r->poison && r->attempt < ATT_MAX - 16)
		shell_replay(s, r);
}

/* --- the cast --------------------------------------------------------------------------------------------------------------- */

void actors_init(struct sim *s)
{
	for (int i = 0; i < s->n_workers; i++) {
		struct worker_model *w = &s->workers[i];

		w->no = i + 1;
		w->tenant_no = 1 + (i & 1);
		w->slots[0] = (struct eng_slot){1, (int32_t)(1 + below(s, 5))};
		if (chance(s, 500))
			w->slots[1] = (struct eng_slot){2, (int32_t)(1 + below(s, 3))};
		for (int k = 0; k < LABELS_MAX; k++)
			w->labels[k] = w->labels_before[k] = some_label(s, k);
		for (int a = 0; a < s->n_actions; a++)
			if (1 + (a & 1) == w->tenant_no && (chance(s, 800) || !w->n_actions))
				w->actions[w->n_actions++] = 40 + a;
		timer_in(s, between(s, MS, 20 * SEC), worker_connect)->p = w;
		timer_in(s, 4 * SEC, worker_beat)->p = w;
		timer_in(s, SEC, worker_drain)->p = w;
		timer_in(s, SEC, worker_fault)->p = w;
	}
	(void)timer_in(s, MS, client_trigger);
	(void)timer_in(s, MS, client_cancel);
	(void)timer_in(s, MS, client_replay);
}

/* From here on everybody does what he should. */
void actors_calm(struct sim *s)
{
	for (int i = 0; i < FLOWS_MAX; i++)
		if (s->flows[i].is_paused)
			shell_pause(s, &s->flows[i], false);
	for (int i = 0; i < s->n_workers; i++) {
		struct worker_model *w = &s->workers[i];

		w->mute = false;
		if (w->paused) {
			struct ev *ev = shell_event(s, EV_PAUSE);

			w->paused = false;
			ev->worker_no = w->no;
		}
	}
}
