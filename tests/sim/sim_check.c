/* What must hold, looked at where it can be seen: effects as they are made, as they are released, and memory after each step. */
#include "sim.h"

#include <string.h>

enum { OVERDUE_US = 30 * SEC };

/* By this server, or before it. */
static bool is_cancelled(const struct sim *s, const struct rec *r)
{
	return r->cancelled_gen == s->gen || rec_is_cancelled(r);
}

/* Its parent was cancelled, and it was not replayed since, or is being so. */
static bool is_orphan(const struct sim *s, const struct rec *r)
{
	struct eng_task_view v;

	return r->parent && r->base == 0 && !r->is_replaying && is_cancelled(s, r->parent) && !engine_task(s->e, r->parent->id, &v);
}

static void seen_cancel(struct sim *s, const struct fx *fx)
{
	static const enum cover states[] = {[LIVE_QUEUED] = C_cancel_queued, [LIVE_ASSIGNED] = C_cancel_assigned,
		[LIVE_STARTED] = C_cancel_started, [LIVE_BACKOFF] = C_cancel_backoff};

	s->cover[C_cancelled]++;
	s->cover[fx->in_tail ? C_cancel_tail : states[fx->state]]++;
}

static bool is_due(const struct sim *s, int64_t due_at)
{
	return s->wall_jumps || due_at <= s->now.wall_us;
}

/* The first stream of a worker since then. */
static int64_t back_at(const struct worker_model *w, int64_t since)
{
	size_t i = w->ups.n;

	while (i > 0 && w->ups.p[i - 1] >= since)
		i--;
	return i < w->ups.n ? w->ups.p[i] : INT64_MAX / 2;
}

static void check_lost(struct sim *s, const struct rec *r, const struct fx *fx)
{
	const struct worker_model *w = worker_of(s, fx->worker_no);

	if (fx->text && strstr(fx->text, "replayed")) {
		MUST(s, !fx->worker_no && r->is_replaying, "task %lld is replayed by nobody", (long long)r->id);
		s->cover[C_replayed_waiting]++;
		return;
	}
	MUST(s, w && fx->text, "task %lld is lost by nobody", (long long)r->id);
	if (strstr(fx->text, "sign of life")) {
		MUST(s, s->now.mono_us - w->beat_at >= s->conf.worker_silent_us, "worker %d was heard of %lld us ago and loses task %lld",
		     w->no, (long long)(s->now.mono_us - w->beat_at), (long long)r->id);
		s->cover[C_lost_silent]++;
	} else if (strstr(fx->text, "not confirmed")) {
		MUST(s, s->now.mono_us - back_at(w, r->given_at[fx->attempt]) >= s->conf.confirm_us,
		     "worker %d was hardly back when it lost task %lld", w->no, (long long)r->id);
		MUST(s, r->start_gen[fx->attempt] != s->gen, "task %lld was started and is called unconfirmed", (long long)r->id);
		s->cover[C_lost_unconfirmed]++;
	} else {
		MUST(s, strstr(fx->text, "could not be sent"), "task %lld is lost: %s", (long long)r->id, fx->text);
		MUST(s, !r->pushed[fx->attempt], "task %lld was sent and is called unsent", (long long)r->id);
		s->cover[C_lost_push]++;
	}
}

/* How an attempt ends must have a cause in the world. */
static void check_ending(struct sim *s, const struct rec *r, const struct fx *fx)
{
	const struct ev_flow *f;
	int64_t since;
	const struct call *c = fx->payload;
	unsigned sent = r->sent[fx->attempt];

	switch ((enum attempt_status)fx->status) {
	case ATTEMPT_COMPLETED:
		MUST(s, c && c->kind == CALL_COMPLETED && c->rec == r && (sent & 1u << CALL_COMPLETED), "task %lld: completed by nobody",
		     (long long)r->id);
		s->cover[C_completed]++;
		break;
	case ATTEMPT_FAILED:
		if (c && c->kind == CALL_TOO_LARGE)
			s->cover[C_too_large]++;
		else if (c)
			MUST(s, c->kind == CALL_FAILED && c->rec == r && (sent & 1u << CALL_FAILED), "task %lld: failed by nobody",
			     (long long)r->id);
		else
			MUST(s, fx->text && strstr(fx->text, "maximum reassignment"), "task %lld: failed without a word", (long long)r->id);
		s->cover[c ? C_failed : C_lost_max]++;
		break;
	case ATTEMPT_CANCELLED:
		if (fx->text && strcmp(fx->text, CANCEL_BY_PARENT) == 0) {
			MUST(s, r->parent && is_cancelled(s, r->parent), "task %lld: its parent was not cancelled", (long long)r->id);
			s->cover[C_by_parent]++;
			s->cover[C_by_parent_running] += fx->worker_no != 0;
			s->cover[C_orphan_loaded] += r->is_orphan;
		} else if (fx->text && strcmp(fx->text, CANCEL_BY_PAUSE) == 0) {
			f = &s->flows[step_of(s, r)->workflow_no - 1];
			MUST(s, f->is_paused && f->ttl_us && is_due(s, MAX(fx->queued_at, f->paused_at) + f->ttl_us) && !fx->worker_no,
			     "task %lld: cancelled by a pause too early", (long long)r->id);
			s->cover[fx->in_tail ? C_paused_ttl_tail : C_paused_ttl]++;
		} else if (fx->text && strcmp(fx->text, CANCEL_BY_STRATEGY) == 0) {
			keys_check_cancelled(s, r, fx);
		} else {
			MUST(s, r->cancel_asked, "task %lld: cancelled by nobody", (long long)r->id);
		}
		if (fx->kind == FX_END)
			seen_cancel(s, fx);
		break;
	case ATTEMPT_TIMED_OUT:
		MUST(s, fx->worker_no && is_due(s, fx->assigned_at + r->exec_ms * 1000), "task %lld: timed out too early", (long long)r->id);
		s->cover[C_timed_out]++;
		break;
	case ATTEMPT_SCHEDULE_TIMED_OUT:
		f = &s->flows[step_of(s, r)->workflow_no - 1];
		since = f->unpaused_at > fx->queued_at ? f->unpaused_at : fx->queued_at;
		MUST(s, !fx->worker_no && is_due(s, since + r->schedule_ms * 1000), "task %lld: schedule timed out too early",
		     (long long)r->id);
		MUST(s, !f->is_paused || s->paused_step[f->workflow_no - 1] + 1 >= s->n_steps, "task %lld times out while its workflow is paused",
		     (long long)r->id);
		s->cover[fx->in_tail ? C_schedule_timed_out_tail : C_schedule_timed_out]++;
		break;
	case ATTEMPT_LOST:
		MUST(s, fx->kind == FX_RETRY, "task %lld ends as lost", (long long)r->id);
		check_lost(s, r, fx);
		break;
	}
}

/* A newcomer never passes what waits in the tail of its own rank and lane.  What is cancelled rather than kept waiting is in none. */
static void check_order(struct sim *s, const struct fx *fx)
{
	const struct rec *newcomer = rec_of(s, fx->id);

	for (size_t i = 0; i < s->open.n; i++) {
		const struct rec *r = s->open.p[i];

		MUST(s, r->row != ROW_TAIL || r->action_no != fx->action_no || r->rank != fx->rank || r->id > fx->id || fx->attempt > 0 ||
			lane_of(s, r) != lane_of(s, newcomer) || (step_of(s, newcomer)->n_strategies && !lane_of(s, newcomer)),
		     "task %lld is assigned before %lld of the same rank, which is in the tail", (long long)fx->id, (long long)r->id);
	}
}

/* What the task asks of labels, reckoned once more. */
static bool labels_suit(const struct eng_want *wants, uint32_t n, const struct eng_label *labels, bool *ret_missed)
{
	int64_t sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct eng_want *w = &wants[i];
		bool met = false;

		for (int k = 0; k < LABELS_MAX; k++) {
			const struct eng_label *l = &labels[k];
			int64_t a = l->is_text ? (int64_t)l->text : l->number, b = w->is_text ? (int64_t)w->text : w->number;
			const bool by_op[] = {[LABEL_EQ] = a == b, [LABEL_NE] = a != b, [LABEL_GT] = a > b, [LABEL_GE] = a >= b,
				[LABEL_LT] = a < b, [LABEL_LE] = a <= b};

			if (l->key == w->key && l->is_text == w->is_text && (!l->is_text || w->op <= LABEL_NE))
				met = by_op[w->op];
		}
		if (w->required && !met)
			return false;
		*ret_missed = *ret_missed || !met;
		sum += met ? w->weight : 0;
	}
	return sum >= 0;
}

static void check_place(struct sim *s, const struct rec *r, const struct fx *fx)
{
	const struct ev_step *step = &s->steps[r->step_no - 50];
	const struct worker_model *w = worker_of(s, fx->worker_no);
	const struct eng_want *wants = r->has_wants ? r->wants : step->wants;
	uint32_t n = r->has_wants ? r->n_wants : step->n_wants;
	bool missed = false, suits = labels_suit(wants, n, w->labels, &missed);

	if (!suits && w->labelled == s->n_steps)	/* they changed in this very step: before it, maybe */
		suits = labels_suit(wants, n, w->labels_before, &missed);
	MUST(s, suits, "task %lld is given to worker %d, whose labels do not suit", (long long)r->id, w->no);
	MUST(s, step->sticky != STICKY_HARD || !r->desired_no || r->desired_no == w->no, "task %lld must run on worker %d and is given to %d",
	     (long long)r->id, r->desired_no, w->no);
	for (uint32_t i = 0; i < n; i++)
		s->cover[C_label_required] += wants[i].required;
	s->cover[C_label_missed] += missed;
	if (r->desired_no)
		s->cover[r->desired_no == w->no ? C_desired_met : C_desired_missed]++;
}

static bool asks_the_same(const struct rec *a, const struct rec *b)
{
	return a->step_no == b->step_no && a->desired_no == b->desired_no && a->has_wants == b->has_wants &&
	       a->n_wants == b->n_wants && memcmp(a->wants, b->wants, sizeof(a->wants)) == 0;
}

/* Nothing that asks the same, comes first and was there before this step waits on. */
static void check_precedence(struct sim *s, const struct rec *r, const struct fx *fx)
{
	for (size_t i = 0; i < s->open.n; i++) {
		const struct rec *o = s->open.p[i];
		struct eng_task_view v;

		if (o == r || o->batch != r->batch || (o->batch && o->n_limits) || !asks_the_same(o, r) || !limits_same(o, r) || !engine_task(s->e, o->id, &v) || v.state != LIVE_QUEUED || v.waits_for || v.is_paused)
			continue;
		if ((fx->kind == FX_INSERT || s->has_limits) && step_of(s, o)->n_strategies > 0)
			continue;	/* it may have got its places later in this step */
		if (v.limited_by && v.rank == fx->rank)
			continue;	/* let pass after those that were */
		MUST(s, v.rank > fx->rank || (v.rank == fx->rank && (o->id > r->id || o->turn_key != r->turn_key)) || v.queued_at >= s->now.wall_us,
		     "task %lld of rank %d is given to a worker while %lld of rank %d waits", (long long)r->id, fx->rank, (long long)o->id, v.rank);
	}
}

static void check_answered(struct sim *s, size_t at)
{
	const struct fx *fx = &s->fxs.v.p[at], *last = at ? &s->fxs.v.p[at - 1] : NULL;
	struct call *c = fx->ref;

	c->emitted++;
	MUST(s, c->gen == s->gen, "an answer for a caller of an earlier server");
	MUST(s, c->emitted <= c->sent, "call %d about task %lld is answered twice", c->kind, (long long)c->rec->id);
	if (fx->code == ERR_OK)
		MUST(s, c->tenant_no == c->rec->tenant_no, "task %lld was touched by another tenant", (long long)c->rec->id);
	while (c->kind == CALL_CANCEL && last > s->fxs.v.p && (last->kind != FX_END || last->id != c->rec->id))
		last--;		/* its children end with it */
	if (c->kind == CALL_CANCEL && fx->code == ERR_OK)
		MUST(s, last && last->kind == FX_END && last->id == c->rec->id && last->status == ATTEMPT_CANCELLED,
		     "cancel of task %lld is answered without a cancel", (long long)c->rec->id);
}

static void mix(struct sim *s, const struct fx *fx)
{
	const int64_t of[] = {fx->kind, fx->place, fx->id, fx->worker_no, fx->rank, fx->state, fx->status, fx->attempt, fx->queued_at,
		fx->due_at, fx->start_index, fx->code};

	for (size_t i = 0; i < ARRAY_LEN(of); i++)
		s->digest = (s->digest ^ (uint64_t)of[i]) * 0x100000001b3;
}

void check_effects(struct sim *s, size_t from)
{
	for (size_t i = from; i < s->fxs.v.n; i++) {
		const struct fx *fx = &s->fxs.v.p[i];
		struct rec *r = fx->id ? rec_of(s, fx->id) : NULL;

		mix(s, fx);
		TRACE(s, "  fx %d task %lld attempt %d worker %d state %d status %d place %d rank %d code %d %s", fx->kind, (long long)fx->id,
		      fx->attempt, fx->worker_no, fx->state, fx->status, fx->place, fx->rank, fx->code, fx->text ? fx->text : "");
		if (fx->kind == FX_ANSWER)
			check_answered(s, i);
		else if (fx->kind == FX_END || fx->kind == FX_RETRY)
			check_ending(s, r, fx);
		else if (fx->kind == FX_ASSIGN || (fx->kind == FX_INSERT && fx->place == PLACE_ASSIGNED))
			check_order(s, fx);
		if (fx->kind == FX_INSERT && fx->place == PLACE_NONE)
			check_ending(s, r, fx);
		if (r && (fx->kind == FX_END || fx->kind == FX_RETRY || fx->kind == FX_ASSIGN))
			r->ready_since = SIZE_MAX;
		if (fx->kind == FX_END && fx->status == ATTEMPT_CANCELLED)
			r->cancelled_gen = s->gen;
		if (fx->kind == FX_REVIVE)
			r->cancelled_gen = 0;
		if (fx->kind == FX_ASSIGN || (fx->kind == FX_INSERT && fx->place == PLACE_ASSIGNED)) {
			MUST(s, !s->flows[step_of(s, r)->workflow_no - 1].is_paused || s->paused_step[step_of(s, r)->workflow_no - 1] == s->n_steps ||
				(fx->kind == FX_INSERT && s->paused_step[step_of(s, r)->workflow_no - 1] + 1 >= s->n_steps),
			     "task %lld is given to a worker while its workflow is paused", (long long)r->id);
			MUST(s, !is_orphan(s, r), "task %lld starts after the cancel of its parent", (long long)r->id);
			check_place(s, r, fx);
			check_precedence(s, r, fx);
			keys_check_dispatch(s, r, fx);
			r->given_at[fx->attempt] = s->now.mono_us;
		}
		s->cover[C_retried] += fx->kind == FX_RETRY;
		s->cover[C_backoff] += fx->kind == FX_RETRY && fx->state == LIVE_BACKOFF;
		s->cover[C_scan] += fx->kind == FX_SCAN;
		s->cover[C_seal] += fx->kind == FX_SEAL;
	}
}

/* The push leaves now: its assignment must be stored, the attempt must be new, and nobody else may run the task but one who
 * was given up. */
void check_push(struct sim *s, const struct fx *fx)
{
	struct rec *r = rec_of(s, fx->id);
	int a = fx->attempt;
	bool runs = r->row == ROW_LIVE && (r->state == LIVE_ASSIGNED || r->state == LIVE_STARTED) && r->attempt == a &&
		    r->worker_no == fx->worker_no;

	MUST(s, !r->poison, "task %lld was refused and is pushed", (long long)r->id);
	MUST(s, r->exists && (runs || (r->att[a] && r->att_worker[a] == fx->worker_no)),
	     "attempt %d of task %lld is pushed to worker %d without a stored assignment", a, (long long)r->id, fx->worker_no);
	MUST(s, !r->pushed[a], "attempt %d of task %lld is pushed twice", a, (long long)r->id);
	for (int i = 0; i < s->n_workers; i++)
		for (size_t k = 0; k < s->workers[i].runs.n; k++) {
			const struct run *run = &s->workers[i].runs.p[k];
			int status = r->att[run->attempt] - 1;

			MUST(s, run->id != r->id || status == ATTEMPT_LOST || status == ATTEMPT_TIMED_OUT || r->final[run->attempt] ||
				(r->sent[run->attempt] & 1u << CALL_FAILED),
			     "task %lld: attempt %d starts while worker %d still has attempt %d (status %d)", (long long)r->id, a,
			     s->workers[i].no, run->attempt, status);
		}
}

/* What an OK promises is stored. */
void check_answer(struct sim *s, const struct call *c, const struct fx *fx)
{
	const struct rec *r = c->rec;
	int a = c->attempt;

	if (c->tenant_no != r->tenant_no || r->poison)
		return;
	if (c->kind == CALL_TRIGGER)
		MUST(s, r->exists, "task %lld is answered and not stored", (long long)r->id);
	else if (c->kind == CALL_CANCEL)
		MUST(s, rec_is_final(r) || r->is_replaying || r->base > 0, "cancel of task %lld is answered and it goes on", (long long)r->id);
	else if (c->kind == CALL_STARTED && a >= 0)
		MUST(s, r->att[a] || (r->row == ROW_LIVE && r->attempt == a && r->state == LIVE_STARTED),
		     "STARTED of task %lld attempt %d is answered and not stored", (long long)r->id, a);
	else if ((c->kind == CALL_COMPLETED || c->kind == CALL_FAILED || c->kind == CALL_CANCELLED) && a >= 0)
		MUST(s, r->att[a], "the end of task %lld attempt %d is answered and not stored", (long long)r->id, a);
}

/* Nothing is forgotten: what a worker does not confirm, what is due in the tail. */
static void check_overdue(struct sim *s, const struct rec *r)
{
	struct eng_task_view v;
	const struct ev_flow *f;
	int64_t due;

	MUST(s, !is_orphan(s, r) || !engine_task(s->e, r->id, &v), "task %lld outlives its cancelled parent",
	     (long long)r->id);
	if (engine_task(s->e, r->id, &v) && v.state == LIVE_ASSIGNED) {
		int64_t back = back_at(worker_of(s, v.worker_no), MAX(r->given_at[v.attempt] + 1, s->started_at));

		MUST(s, s->now.mono_us - back <= s->conf.confirm_us, "task %lld is not confirmed and not given up", (long long)r->id);
	}
	f = &s->flows[step_of(s, r)->workflow_no - 1];
	due = r->due_at;
	if (f->unpaused_at > r->queued_at)
		due = MAX(due, f->unpaused_at + r->schedule_ms * 1000);
	if (r->row == ROW_TAIL && !s->wall_jumps && !f->is_paused)
		MUST(s, s->now.wall_us - due < (s->has_pauses ? 10 : 1) * OVERDUE_US || s->now.mono_us - MAX(s->trouble_at, s->started_at) < OVERDUE_US,
		     "task %lld is due in the tail for %lld us", (long long)r->id, (long long)(s->now.wall_us - due));
}

void check_step(struct sim *s)
{
	struct err err = {.code = ERR_OK};

	MUST(s, engine_check(s->e, &err), "%s", err.msg);
	MUST(s, engine_next_deadline_us(s->e) > s->now.mono_us, "a deadline has passed and did not fire");
	for (int i = 0; i < s->n_workers; i++) {
		const struct worker_model *w = &s->workers[i];
		struct eng_worker_view v;

		if (s->now.mono_us - w->contact_at <= s->conf.worker_silent_us || !engine_worker(s->e, w->no, &v))
			continue;
		MUST(s, v.n_running == 0, "worker %d is silent for %lld us and keeps %u tasks", w->no,
		     (long long)(s->now.mono_us - w->contact_at), v.n_running);
	}
	for (size_t i = 0; i < s->open.n; i++)
		check_overdue(s, s->open.p[i]);
	keys_check_step(s);
}

/* The faults have stopped and time has passed: everything is over, everyone has an answer. */
void check_end(struct sim *s)
{
	for (size_t i = 0; i < s->all.n; i++) {
		const struct rec *r = s->all.p[i];

		if (r->exists)
			MUST(s, rec_is_final(r), "task %lld never ends: row %d state %d attempt %d worker %d", (long long)r->id, r->row, r->state,
			     r->attempt, r->worker_no);
		else
			MUST(s, r->gone || r->poison, "task %lld was triggered and never stored", (long long)r->id);
	}
	for (size_t i = 0; i < s->calls.n; i++) {
		const struct call *c = s->calls.p[i];

		MUST(s, c->gen != s->gen || c->done, "call %d about task %lld is never answered", c->kind, (long long)c->rec->id);
	}
}
