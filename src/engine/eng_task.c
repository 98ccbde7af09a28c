/* The life of one task.  Every move of state goes through here; counters belong to the task alone. */
#include "eng_int.h"

enum { SLAB = 1024 };

struct task *task_new(struct engine *e, int64_t id)
{
	struct task *t;

	if (!e->free_tasks) {
		struct task *slab = xcalloc(SLAB, sizeof(*slab));

		vec_push(&e->slabs, (void *)slab);
		for (size_t i = 0; i < SLAB; i++) {
			slab[i].next_free = e->free_tasks;
			e->free_tasks = &slab[i];
		}
	}
	t = e->free_tasks;
	e->free_tasks = t->next_free;
	*t = (struct task){.id = id, .start_index = -1, .due = {.kind = DUE_TASK, .it = {.tie = id}}, .queued_at = INT64_MIN,
		.assigned_at = INT64_MIN, .started_at = INT64_MIN, .due_at = INT64_MIN};
	(void)imap_put(&e->tasks, id, t);
	return t;
}

void task_free(struct engine *e, struct task *t)
{
	assert(!list_linked(&t->qnode) && !list_linked(&t->wnode));
	family_leave(e, t);
	limits_free(e, t);
	keys_free(e, t);
	heap_del(&e->dues, &t->due.it);
	(void)imap_del(&e->tasks, t->id);
	need_put(e, t->need);
	t->next_free = e->free_tasks;
	e->free_tasks = t;
}

void task_set_due(struct engine *e, struct task *t, int64_t wall_us)
{
	t->due_at = wall_us;
	t->due.kind = DUE_TASK;
	t->confirming = false;
	if (wall_us == INT64_MIN)
		heap_del(&e->dues, &t->due.it);
	else
		heap_set(&e->dues, &t->due.it, eng_mono(e, wall_us));
}

static int64_t after_ms(const struct engine *e, int64_t ms)
{
	int64_t max_ms = (INT64_MAX / 4 - e->now.wall_us) / 1000;

	return e->now.wall_us + MIN(ms, max_ms) * 1000;
}

void task_budget(struct engine *e, struct task *t)
{
	task_set_due(e, t, after_ms(e, t->schedule_ms));
}

void task_parked(struct engine *e, struct task *t, int sign)
{
	struct rank *r = &t->queue->ranks[t->rank];

	r->n_parked += (uint32_t)sign;
	if (sign < 0 && r->plain.has_rows)	/* the head may be low now */
		queue_dirty(e, t->queue);
	if (t->n_places == 0)
		return;
	t->places[0].key->n_parked += (uint32_t)sign;
	key_dirty(e, t->places[0].key);
}

/* Every place it needs is its: now a worker, alone or with its batch. */
void task_ready(struct engine *e, struct task *t)
{
	task_set_due(e, t, t->due_at == INT64_MIN ? after_ms(e, t->schedule_ms) : t->due_at);
	if (t->batch_hash)
		group_join(e, t);
	else
		ready_join(e, t);
}

void ready_join(struct engine *e, struct task *t)
{
	struct need *n = t->need;

	turn_join(e, t);
	n->n_rank[t->rank]++;
	if (n->n++ == 0) {
		list_push_back(&t->queue->needs, &n->node);
		t->queue->n_open++;
	}
	queue_dirty(e, t->queue);
}

void task_wait(struct engine *e, struct task *t)
{
	t->waits = true;
	e->n_waiting++;
	t->state = LIVE_QUEUED;
	task_set_due(e, t, t->due_at);
	task_go(e, t);
}

void task_go(struct engine *e, struct task *t)
{
	if (flow_wait(e, t) || limits_wait(e, t))
		return;
	if (t->n_held < t->n_places)
		keys_wait(e, t);
	else
		task_ready(e, t);
}

void task_park(struct engine *e, struct task *t)
{
	task_unwait(e, t);
	keys_leave(e, t);
	t->waits = true;
	e->n_waiting++;
	task_go(e, t);
}

/* Its places stay its own. */
void task_unwait(struct engine *e, struct task *t)
{
	if (!t->waits)
		return;
	t->waits = false;
	e->n_waiting--;
	flow_leave(e, t);
	limits_leave(e, t);
	if (t->group)
		group_leave(e, t);
	else if (list_linked(&t->qnode))
		ready_leave(e, t);
}

void ready_leave(struct engine *e, struct task *t)
{
	struct need *n = t->need;

	turn_leave(e, t);
	n->n_rank[t->rank]--;
	if (--n->n == 0) {
		list_del(&n->node);
		t->queue->n_open -= !n->is_blocked;
		n->is_blocked = false;
	}
	if (t->queue->ranks[t->rank].plain.has_rows)	/* the head may be low now */
		queue_dirty(e, t->queue);
}

static void units(struct worker *w, const struct step *s, int sign)
{
	for (size_t i = 0; i < ENG_STEP_SLOTS && s->def.slots[i].units > 0; i++)
		for (size_t j = 0; j < ENG_SLOT_TYPES; j++)
			if (w->used[j].type_no == s->def.slots[i].type_no && w->limit[j].units > 0) {
				w->used[j].units += sign * s->def.slots[i].units;
				break;
			}
}

void task_assign(struct engine *e, struct task *t, struct worker *w)
{
	t->worker = w;
	t->state = LIVE_ASSIGNED;
	t->session = w->session;
	t->released = false;
	if (batch_hold(t))
		units(w, t->step, 1);
	list_push_back(&w->running, &t->wnode);
	w->n_running++;
	e->n_running++;
	t->assigned_at = MAX(e->now.wall_us, t->queued_at);
	t->started_at = INT64_MIN;
	task_set_due(e, t, after_ms(e, t->exec_ms));
}

void task_release_slot(struct engine *e, struct task *t)
{
	if (!t->worker || t->released)
		return;
	t->released = true;
	if (batch_release(t))
		units(t->worker, t->step, -1);
	worker_dirty(e, t->worker);
}

void task_leave_worker(struct engine *e, struct task *t)
{
	if (!t->worker)
		return;
	task_release_slot(e, t);
	list_del(&t->wnode);
	t->worker->n_running--;
	e->n_running--;
	t->worker = NULL;
	t->released = false;
	batch_leave(e, t);
}

static void leave_state(struct engine *e, struct task *t)
{
	task_unwait(e, t);
	if (t->state == LIVE_BACKOFF)
		e->n_backoff--;
	task_leave_worker(e, t);
	keys_leave(e, t);
}

struct fx *task_ending(struct engine *e, struct task *t, enum fx_kind kind, enum attempt_status status, const char *text,
		       void *payload)
{
	struct fx *fx = eng_store(e, kind, t);

	fx->status = (int8_t)status;
	fx->text = text;
	fx->payload = payload;
	fx->finished_at = MAX(e->now.wall_us, MAX(t->queued_at, MAX(t->assigned_at, t->started_at)));
	return fx;
}

void task_end(struct engine *e, struct task *t, enum attempt_status status, const char *text, void *payload)
{
	(void)task_ending(e, t, FX_END, status, text, payload);
	if (status == ATTEMPT_CANCELLED)
		family_orphan(e, t);
	leave_state(e, t);
	task_free(e, t);
}

/* The attempt is over, the task is not: the next one waits, now or after @delay_ms. */
static void task_retry(struct engine *e, struct task *t, enum attempt_status status, int8_t rank, int64_t delay_ms, const char *text,
		       void *payload)
{
	struct fx *fx = task_ending(e, t, FX_RETRY, status, text, payload);
	size_t at = (size_t)(fx - e->out->v.p);

	leave_state(e, t);
	t->attempt++;
	t->is_told = t->is_renewed = false;
	t->rank = rank;
	t->assigned_at = t->started_at = INT64_MIN;
	t->queued_at = MAX(e->now.wall_us, fx->finished_at);
	if (delay_ms > 0) {
		t->state = LIVE_BACKOFF;
		e->n_backoff++;
		task_set_due(e, t, after_ms(e, delay_ms));
	} else {
		t->due_at = after_ms(e, t->schedule_ms);
		task_wait(e, t);
	}
	fx = &e->out->v.p[at];
	fx->state = t->state;
	fx->due_at = t->due_at;
	fx->rank = rank;
	fx->app_retries = t->app_retries;
	fx->internal_retries = t->internal_retries;
}

/* min(factor^k, max) seconds, in ms, without overflow; k counts application failures, this one included. */
static int64_t backoff_ms(const struct ev_step *s, int k)
{
	int64_t max_ms = (int64_t)(s->backoff_max_s > 0 ? s->backoff_max_s : 86400) * 1000, ms = 1000;

	if (s->backoff_milli <= 0)
		return 0;
	for (int i = 0; i < k && ms < max_ms; i++) {
		if (s->backoff_milli == 1000)
			break;
		ms = ms > INT64_MAX / 2 / s->backoff_milli ? max_ms : ms * s->backoff_milli / 1000;
	}
	return MIN(ms, max_ms);
}

void task_fail(struct engine *e, struct task *t, enum attempt_status status, bool no_retry, const char *text, void *payload)
{
	if (no_retry || t->app_retries >= t->step->def.retries) {
		task_end(e, t, status, text, payload);
		return;
	}
	t->app_retries++;
	task_retry(e, t, status, 0, backoff_ms(&t->step->def, t->app_retries), text, payload);
}

static void add_note(struct engine *e, struct task *t, enum note_kind kind, int16_t attempt, const char *text)
{
	struct fx *fx = eng_fx(e, FX_NOTE, t);

	fx->note = (uint8_t)kind;
	fx->attempt = attempt;
	fx->text = text;
	fx->finished_at = e->now.wall_us;
}

void task_lost(struct engine *e, struct task *t, enum note_kind note, const char *text)
{
	if (t->internal_retries >= e->conf.internal_retries_max) {
		task_end(e, t, ATTEMPT_FAILED, "Task reached its maximum reassignment count", NULL);
		return;
	}
	t->internal_retries++;
	task_retry(e, t, ATTEMPT_LOST, 0, 0, text, NULL);
	add_note(e, t, note, t->attempt, text);
}

/* With the priority of its task: replays must not starve new work. */
void task_replay(struct engine *e, struct task *t)
{
	t->app_retries = t->internal_retries = 0;
	task_retry(e, t, ATTEMPT_LOST, t->user_rank, 0, REPLAY_BY_REQUEST, NULL);
}

static void cancel_push(struct engine *e, const struct task *t)
{
	if (t->worker)
		(void)eng_fx(e, FX_CANCEL_PUSH, t);
}

void task_cancel(struct engine *e, struct task *t, const char *why)
{
	cancel_push(e, t);
	task_end(e, t, ATTEMPT_CANCELLED, why, NULL);
}

/* As Go writes a duration: 300ms, 1.25s, 1m0s, 1h0m0.5s. */
const char *eng_text(struct engine *e, const char *head, int64_t ms)
{
	int64_t h = ms / 3600000, m = ms / 60000 % 60, s = ms / 1000 % 60;
	int digits = 3, frac = (int)(ms % 1000);
	struct str sec;

	if (ms > 0 && ms < 1000)
		return arena_strf(e->out->arena, "%s%lldms", head, (long long)ms).p;
	while (frac && frac % 10 == 0) {
		frac /= 10;
		digits--;
	}
	if (frac)
		sec = arena_strf(e->out->arena, "%lld.%0*ds", (long long)s, digits, frac);
	else
		sec = arena_strf(e->out->arena, "%llds", (long long)s);
	if (h)
		return arena_strf(e->out->arena, "%s%lldh%lldm%s", head, (long long)h, (long long)m, sec.p).p;
	if (m)
		return arena_strf(e->out->arena, "%s%lldm%s", head, (long long)m, sec.p).p;
	return arena_strf(e->out->arena, "%s%s", head, sec.p).p;
}

void task_due(struct engine *e, struct task *t)
{
	if (t->is_paused) {
		task_cancel(e, t, CANCEL_BY_PAUSE);
	} else if (t->state == LIVE_QUEUED) {
		task_end(e, t, ATTEMPT_SCHEDULE_TIMED_OUT, eng_text(e, "exceeded its schedule timeout of ", t->schedule_ms), NULL);
	} else if (t->state == LIVE_BACKOFF) {
		struct fx *fx;

		e->n_backoff--;
		t->queued_at = MAX(e->now.wall_us, t->queued_at);
		t->due_at = after_ms(e, t->schedule_ms);
		fx = eng_store(e, FX_REQUEUE, t);
		fx->state = LIVE_QUEUED;
		task_wait(e, t);
	} else if (t->worker) {
		cancel_push(e, t);
		task_fail(e, t, ATTEMPT_TIMED_OUT, false, eng_text(e, "Task exceeded timeout of ", t->exec_ms), NULL);
	}
}

void task_confirm(struct engine *e, struct task *t, int64_t due_mono)
{
	t->due.kind = DUE_CONFIRM;
	heap_set(&e->dues, &t->due.it, MIN(due_mono, t->confirm_at));
}

/* The stream is back for confirm_us and the worker has not said that it started this: it never got it. */
void task_confirm_due(struct engine *e, struct task *t)
{
	if (e->now.mono_us < t->confirm_at) {
		task_due(e, t);
		return;
	}
	cancel_push(e, t);
	task_lost(e, t, NOTE_REASSIGNED, "delivery to the worker was not confirmed");
}

/* --- events ---------------------------------------------------------------------------------------------------------------- */

/* It never waits and never runs: its row says at once how it ended. */
static void born_over(struct engine *e, struct task *t, const struct ev *ev, enum attempt_status status, const char *text)
{
	struct fx *fx = eng_store(e, FX_INSERT, t);

	fx->place = PLACE_NONE;
	fx->status = (int8_t)status;
	fx->text = text;
	fx->payload = ev->payload;
	fx->finished_at = t->queued_at;
	eng_answer(e, ev, ERR_OK, NULL);
	task_free(e, t);
}

/* The tail into which a newcomer goes: behind those of its lane that are there, or because memory is full; one without keys only
 * if no worker takes it now.  NULL: it stays. */
static struct tail *tail_for(struct engine *e, struct task *t)
{
	struct rank *r = &t->queue->ranks[t->rank];
	struct key *k = t->n_places > 0 ? t->places[0].key : NULL;
	bool is_full = e->n_waiting >= e->conf.heads_max;
	struct tail *l;

	if (!k)
		return r->plain.has_rows || is_full ? &r->plain : NULL;
	if (k->strategy->def.kind != CONC_GROUP_ROUND_ROBIN)
		return NULL;	/* it waits for nobody, or few do */
	l = tail_find(e, r, (int64_t)k->hash);
	if (!l && is_full && k->n_holders + k->n_waiters + k->n_parked > 0)
		l = tail_make(r, k);
	if (l)
		key_newest(e, k, t->id, t->places[0].limit);
	return l;
}

static void on_new(struct engine *e, const struct ev *ev)
{
	struct step *s = imap_get(&e->steps, ev->new.step_no);
	struct task *t = task_new(e, ev->new.id);
	struct worker *w = NULL;
	struct tail *l;
	struct fx *fx;

	t->need = need_get(e, s, &ev->new.place);
	t->step = s;
	t->queue = queue_get(e, ev->new.tenant_no, s->def.action_no);
	t->rank = t->user_rank = ev->new.rank;
	t->batch_hash = ev->new.batch;
	t->bytes = ev->new.bytes;
	t->schedule_ms = ev->new.schedule_ms;
	t->exec_ms = ev->new.exec_ms;
	t->queued_at = e->now.wall_us;
	t->due_at = after_ms(e, t->schedule_ms);
	if (ev->new.is_over || family_is_orphan(e, ev->new.parent_id)) {
		born_over(e, t, ev, ev->new.is_over ? ev->new.status : ATTEMPT_CANCELLED, ev->new.is_over ? ev->new.text : CANCEL_BY_PARENT);
		return;
	}
	family_join(e, t, ev->new.parent_id);
	keys_set(e, t, ev->new.entries);
	limits_set(e, t, ev->new.limits, ev->new.n_limits);
	l = tail_for(e, t);
	t->is_unborn = true;
	if (!l && !s->flow->is_paused && !limits_wait(e, t) && t->n_places > 0) {
		keys_wait(e, t);
		keys_run(e);
	}
	t->is_unborn = false;
	if (t->is_refused || family_is_orphan(e, t->parent_id)) {	/* it may have taken the place of its own parent */
		limits_leave(e, t);
		keys_leave(e, t);
		born_over(e, t, ev, ATTEMPT_CANCELLED, t->is_refused ? CANCEL_BY_STRATEGY : CANCEL_BY_PARENT);
		return;
	}
	if (!t->batch_hash && (!l || !l->key) && !s->flow->is_paused && !t->parked && t->n_held == t->n_places && limits_suffice(e, t) && queue_takes_now(e, t->queue, t->need, t->rank))
		w = need_pick(t->need, NULL);
	if (w) {
		limits_leave(e, t);
		task_assign(e, t, w);
		l = NULL;
	} else if (l) {
		tail_added(e, l, t->id, t->due_at);
	} else {
		t->waits = true;
		e->n_waiting++;
		t->state = LIVE_QUEUED;
		task_set_due(e, t, t->due_at);
		if (!s->flow->is_paused && !t->parked && t->n_held == t->n_places)
			task_ready(e, t);
	}
	fx = eng_store(e, FX_INSERT, t);
	fx->place = w ? PLACE_ASSIGNED : l ? PLACE_TAIL : PLACE_QUEUED;
	fx->lane = l && l->key ? (int64_t)l->key->hash : 0;
	fx->payload = ev->payload;
	eng_answer(e, ev, ERR_OK, NULL);
	if (w) {
		limits_take(e, t);
		(void)eng_fx(e, FX_PUSH, t);
	} else if (l) {
		task_free(e, t);
	} else if (s->flow->is_paused) {
		(void)flow_wait(e, t);	/* its row has the deadline of any that waits */
	} else if (t->parked) {
		limits_note(e, t);
	}
}

static void on_restore(struct engine *e, const struct ev_restore *r, bool loaded)
{
	struct step *s = imap_get(&e->steps, r->step_no);
	struct worker *w = r->worker_no ? imap_get(&e->workers, r->worker_no) : NULL;
	struct task *t;

	if (!s || imap_get(&e->tasks, r->id))
		return;
	t = task_new(e, r->id);
	t->need = need_get(e, s, &r->place);
	t->step = s;
	t->queue = t->need->queue;
	t->rank = r->rank;
	t->user_rank = r->user_rank;
	t->attempt = r->attempt;
	t->app_retries = r->app_retries;
	t->internal_retries = r->internal_retries;
	t->batch_hash = r->batch;
	t->bytes = r->bytes;
	t->queued_at = r->queued_at;
	t->schedule_ms = r->schedule_ms;
	t->exec_ms = r->exec_ms;
	t->due_at = r->due_at;
	family_join(e, t, r->parent_id);
	keys_set(e, t, r->entries);
	limits_set(e, t, r->limits, r->n_limits);
	if (loaded || r->state == LIVE_QUEUED) {
		t->due_at = flow_due(s->flow, r->queued_at, r->schedule_ms, r->due_at);
		task_wait(e, t);
	} else if (r->state == LIVE_BACKOFF) {
		t->state = LIVE_BACKOFF;
		e->n_backoff++;
		task_set_due(e, t, r->due_at);
	} else if (!w) {	/* its worker is unknown to the dictionary: lost */
		t->state = LIVE_ASSIGNED;
		t->assigned_at = r->assigned_at;
		task_lost(e, t, NOTE_REASSIGNED, "the worker is gone");
	} else {
		keys_hold(e, t, r->assigned_at);
		if (t->batch_hash)
			batch_enter(e, t, r->batch_id ? r->batch_id : r->id);
		task_assign(e, t, w);
		t->state = r->state;
		t->assigned_at = r->assigned_at;
		t->started_at = r->started_at;
		t->session = 0;
		task_set_due(e, t, r->due_at);
		if (r->released)
			task_release_slot(e, t);
	}
	t = imap_get(&e->tasks, r->id);	/* with a worker unknown and lost too often it has ended */
	if (t && (r->is_orphan || family_is_orphan(e, r->parent_id)))
		task_cancel(e, t, CANCEL_BY_PARENT);
}

void task_revive(struct engine *e, const struct ev *ev)
{
	const struct ev_restore *r = &ev->restore;
	struct step *s = imap_get(&e->steps, r->step_no);
	struct task *t;

	if (!s) {
		eng_answer(e, ev, ERR_PRECONDITION, "its definition is gone");
		return;
	}
	recent_del(&e->cancelled, r->id);
	t = task_new(e, r->id);
	t->need = need_get(e, s, &r->place);
	t->step = s;
	t->queue = t->need->queue;
	t->rank = t->user_rank = r->user_rank;
	t->attempt = r->attempt;
	t->batch_hash = r->batch;
	t->bytes = r->bytes;
	t->schedule_ms = r->schedule_ms;
	t->exec_ms = r->exec_ms;
	t->queued_at = e->now.wall_us;
	t->due_at = after_ms(e, t->schedule_ms);
	family_join(e, t, r->parent_id);
	keys_set(e, t, r->entries);
	limits_set(e, t, r->limits, r->n_limits);
	(void)eng_store(e, FX_REVIVE, t);
	task_wait(e, t);
	eng_answer(e, ev, ERR_OK, NULL);
}

static bool is_running(const struct task *t)
{
	return t->worker != NULL;
}

static void on_started(struct engine *e, struct task *t, const struct ev *ev)
{
	if (t->state == LIVE_ASSIGNED) {
		t->state = LIVE_STARTED;
		t->started_at = MAX(e->now.wall_us, t->assigned_at);
		if (t->confirming)
			task_set_due(e, t, t->due_at);
		(void)eng_store(e, FX_START, t);
	}
	eng_answer(e, ev, ERR_OK, NULL);
}

static void on_cancel(struct engine *e, struct task *t, const struct ev *ev)
{
	if (ev->batch_id ? ev->batch_id != batch_id(t) : ev->attempt >= 0 && ev->attempt != t->attempt) {
		eng_answer(e, ev, ERR_OK, NULL);
		return;
	}
	task_cancel(e, t, ev->text);
	family_run(e);
	eng_answer(e, ev, ERR_OK, NULL);
}

static void on_refresh(struct engine *e, struct task *t, const struct ev *ev)
{
	int64_t limit = INT64_MAX / 4, add = ev->ms > limit / 1000 ? limit : ev->ms * 1000;
	int64_t due = MIN(t->due_at + add, limit);

	t->due_at = due;
	if (t->confirming)	/* whoever asks, its delivery is still to be confirmed */
		task_confirm(e, t, eng_mono(e, due));
	else
		task_set_due(e, t, due);
	(void)eng_store(e, FX_TOUCH, t);
	add_note(e, t, NOTE_TIMEOUT_REFRESHED, t->attempt, eng_text(e, "timeout refreshed by ", ev->ms));
	eng_answer(e, ev, ERR_OK, NULL);
	e->out->v.p[e->out->v.n - 1].due_at = due;
}

static void on_report(struct engine *e, struct task *t, const struct ev *ev)
{
	bool of_now = ev->batch_id ? ev->batch_id == batch_id(t) : ev->attempt < 0 || ev->attempt == t->attempt;

	if (ev->kind == EV_CANCEL) {
		on_cancel(e, t, ev);
		return;
	}
	if (ev->kind == EV_RELEASE_SLOT || ev->kind == EV_REFRESH) {
		if (!is_running(t)) {
			eng_answer(e, ev, ERR_NOT_FOUND, "the task is not running");
		} else if (ev->kind == EV_REFRESH) {
			on_refresh(e, t, ev);
		} else {
			if (!t->released) {
				task_release_slot(e, t);
				(void)eng_store(e, FX_TOUCH, t);
				add_note(e, t, NOTE_SLOT_RELEASED, t->attempt, NULL);
			}
			eng_answer(e, ev, ERR_OK, NULL);
		}
		return;
	}
	if (!of_now || !is_running(t)) {
		eng_answer(e, ev, ERR_OK, NULL);	/* late: ignored */
		return;
	}
	if (ev->attempt >= 0 || ev->batch_id)	/* without a number it may be from whoever ran it before */
		worker_seen(e, t->worker);
	if (ev->kind == EV_STARTED) {
		on_started(e, t, ev);
		return;
	}
	if (ev->kind == EV_COMPLETED)
		task_end(e, t, ATTEMPT_COMPLETED, NULL, ev->payload);
	else
		task_fail(e, t, ATTEMPT_FAILED, ev->no_retry, NULL, ev->payload);
	eng_answer(e, ev, ERR_OK, NULL);
}

static void on_push_event(struct engine *e, struct task *t, const struct ev *ev)
{
	if (ev->attempt != t->attempt || t->state != LIVE_ASSIGNED) {
		eng_answer(e, ev, ERR_OK, NULL);
		return;
	}
	if (ev->kind == EV_PUSH_FAILED)
		task_lost(e, t, NOTE_COULD_NOT_SEND, "could not be sent to the worker");
	else
		task_end(e, t, ATTEMPT_FAILED, ev->payload ? NULL : "the assembled action is larger than the message limit",
			 ev->payload);
	eng_answer(e, ev, ERR_OK, NULL);
}

static void on_refused(struct engine *e, struct task *t)
{
	leave_state(e, t);
	task_free(e, t);
}

void task_event(struct engine *e, const struct ev *ev)
{
	struct task *t;

	if (ev->kind == EV_NEW) {
		on_new(e, ev);
		return;
	}
	if (ev->kind == EV_RESTORE || ev->kind == EV_LOADED) {
		on_restore(e, &ev->restore, ev->kind == EV_LOADED);
		if (ev->kind == EV_LOADED)
			tail_loaded(e, ev);
		return;
	}
	t = imap_get(&e->tasks, ev->id);
	if (t && t->queue->tenant_no != ev->tenant_no)
		t = NULL;
	if (!t) {
		if (ev->kind == EV_REPLAY && !ev->on)
			task_revive(e, ev);
		else if (ev->kind == EV_CANCEL && ev->tail)
			tail_cancel(e, ev);
		else
			eng_answer(e, ev, ERR_NOT_FOUND, "not in memory");
	} else if (ev->kind == EV_REPLAY) {
		if (is_running(t)) {
			eng_answer(e, ev, ERR_PRECONDITION, "it runs");
		} else {
			task_replay(e, t);
			eng_answer(e, ev, ERR_OK, NULL);
		}
	} else if (ev->kind == EV_PUSH_FAILED || ev->kind == EV_PUSH_TOO_LARGE) {
		on_push_event(e, t, ev);
	} else if (ev->kind == EV_REFUSED) {
		on_refused(e, t);
	} else {
		on_report(e, t, ev);
	}
}
