/* The model of the database: one flush at once, applied by kind in the order of the real statements, with the constraints
 * that the real tables have and the invariants that the real checks ask for. */
#include "sim.h"

#include "engine/audit.h"

struct rec *rec_of(const struct sim *s, int64_t id)
{
	return imap_get(&s->recs, id);
}

/* Only what a client sends can be refused for its data. */
bool db_is_refused(const struct sim *s, const struct pend *p)
{
	for (size_t i = 0; i < p->fx.n; i++)
		if (p->fx.p[i].kind == FX_INSERT && rec_of(s, p->fx.p[i].id)->poison)
			return true;
	return false;
}

static int last_attempt(const struct rec *r)
{
	int n = ATT_MAX - 1;

	while (n >= 0 && !r->att[n])
		n--;
	return n;
}

bool rec_is_final(const struct rec *r)
{
	int n = last_attempt(r);

	return r->row == ROW_NONE && n >= 0 && r->final[n];
}

bool rec_is_cancelled(const struct rec *r)
{
	int n = last_attempt(r);

	return r->row == ROW_NONE && n >= 0 && r->att[n] - 1 == ATTEMPT_CANCELLED;
}

/* One statement updates a row at most once: of two rows for it, Postgres takes any. */
static void once(struct sim *s, struct rec *r, enum fx_kind kind)
{
	MUST(s, r->used[kind] != s->n_flush, "flush: task %lld twice in the statement of effect %d", (long long)r->id, kind);
	r->used[kind] = s->n_flush;
}

static void put_attempt(struct sim *s, struct rec *r, const struct fx *fx)
{
	MUST(s, fx->attempt >= 0 && fx->attempt < ATT_MAX, "attempt %d of task %lld", fx->attempt, (long long)r->id);
	MUST(s, !r->att[fx->attempt], "task %lld: a second row for attempt %d (status %d, there is %d)", (long long)r->id, fx->attempt,
	     fx->status, r->att[fx->attempt] - 1);
	r->att[fx->attempt] = (uint8_t)(1 + fx->status);
	r->att_worker[fx->attempt] = fx->worker_no;
	r->final[fx->attempt] = fx->kind == FX_END;
	r->maxed[fx->attempt] = fx->text && strstr(fx->text, "maximum reassignment");
	MUST(s, fx->finished_at >= fx->queued_at && fx->finished_at >= fx->assigned_at && fx->finished_at >= fx->started_at,
	     "task %lld ended before it began", (long long)r->id);
}

static void apply_end(struct sim *s, struct rec *r, const struct fx *fx)
{
	once(s, r, FX_END);
	MUST(s, r->row == (fx->in_tail ? ROW_TAIL : ROW_LIVE), "task %lld: ended as in %s, is in %d", (long long)r->id,
	     fx->in_tail ? "the tail" : "live", r->row);
	MUST(s, !fx->in_tail || (r->rank == fx->rank && r->action_no == fx->action_no), "task %lld: wrong key of the tail",
	     (long long)r->id);
	put_attempt(s, r, fx);
	r->row = ROW_NONE;
	r->deleted_in = s->n_flush;
}

/* Is there a row to update?  One that this flush deleted before is the engine's right. */
static bool has_live(struct sim *s, struct rec *r, const struct fx *fx)
{
	if (r->row == ROW_LIVE)
		return true;
	MUST(s, r->deleted_in == s->n_flush, "task %lld: effect %d finds no live row", (long long)r->id, fx->kind);
	return false;
}

static void apply_retry(struct sim *s, struct rec *r, const struct fx *fx)
{
	once(s, r, FX_RETRY);
	put_attempt(s, r, fx);
	if (fx->app_retries + fx->internal_retries == 0)
		r->base = (int16_t)(fx->attempt + 1);	/* by a replay */
	if (!has_live(s, r, fx))
		return;
	MUST(s, r->attempt == fx->attempt, "task %lld: attempt %d is retried, the row has %d", (long long)r->id, fx->attempt,
	     r->attempt);
	r->attempt = (int16_t)(fx->attempt + 1);
	r->state = fx->state;
	r->rank = fx->rank;
	r->app = fx->app_retries;
	r->internal = fx->internal_retries;
	r->worker_no = 0;
	r->batch_id = 0;
	r->released = false;
	r->queued_at = fx->finished_at;
	r->assigned_at = r->started_at = INT64_MIN;
	r->due_at = fx->due_at;
}

static void apply_insert(struct sim *s, struct rec *r, const struct fx *fx)
{
	MUST(s, !r->exists, "task %lld is inserted twice", (long long)r->id);
	MUST(s, last_attempt(r) < 0, "task %lld has ended before it is inserted", (long long)r->id);
	r->exists = true;
	s->max_id = MAX(s->max_id, r->id);
	MUST(s, fx->place != PLACE_TAIL || fx->lane == lane_of(s, r), "task %lld goes into another lane", (long long)r->id);
	s->cover[C_lane_tail] += fx->place == PLACE_TAIL && fx->lane;
	if (fx->place == PLACE_NONE) {
		put_attempt(s, r, fx);
		r->final[0] = true;
		s->cover[C_born_over]++;
		return;
	}
	r->row = fx->place == PLACE_TAIL ? ROW_TAIL : ROW_LIVE;
	r->state = fx->place == PLACE_ASSIGNED ? LIVE_ASSIGNED : LIVE_QUEUED;
	r->rank = fx->rank;
	r->worker_no = fx->place == PLACE_ASSIGNED ? fx->worker_no : 0;
	r->queued_at = fx->queued_at;
	r->assigned_at = fx->assigned_at;
	r->due_at = fx->due_at;
	s->cover[fx->place == PLACE_TAIL ? C_tail : fx->place == PLACE_ASSIGNED ? C_born_assigned : C_head]++;
}

static void apply_revive(struct sim *s, struct rec *r, const struct fx *fx)
{
	MUST(s, r->exists && r->row == ROW_NONE && rec_is_final(r), "task %lld is revived and has not ended", (long long)r->id);
	MUST(s, fx->attempt == last_attempt(r) + 1, "task %lld is revived as attempt %d", (long long)r->id, fx->attempt);
	r->row = ROW_LIVE;
	r->state = LIVE_QUEUED;
	r->rank = fx->rank;
	r->attempt = r->base = fx->attempt;
	r->app = r->internal = 0;
	r->worker_no = 0;
	r->batch_id = 0;
	r->released = false;
	r->queued_at = fx->queued_at;
	r->assigned_at = r->started_at = INT64_MIN;
	r->due_at = fx->due_at;
	r->deleted_in = 0;
	s->cover[C_revived]++;
	for (size_t i = 0; i < s->open.n; i++)
		if (s->open.p[i] == r)
			return;
	vec_push(&s->open, r);
}

static void apply_load(struct sim *s, struct pend *p, const struct fx *fx)
{
	size_t n = 0;

	s->cover[C_load]++;
	s->cover[C_lane_load] += fx->lane != 0;
	s->cover[C_lane_load_one] += fx->lane != 0 && fx->limit == 1;
	while (n < fx->limit) {
		struct rec *best = NULL;

		for (size_t i = 0; i < s->open.n; i++) {
			struct rec *r = s->open.p[i];

			if (r->row == ROW_TAIL && r->action_no == fx->action_no && r->rank == fx->rank && lane_of(s, r) == fx->lane &&
			    (!best || r->id < best->id))
				best = r;
		}
		if (!best)
			break;
		best->row = ROW_LIVE;
		best->state = LIVE_QUEUED;
		best->is_orphan = best->parent && best->base == 0 && rec_is_cancelled(best->parent);
		vec_push(&p->loaded, best);
		n++;
	}
	s->cover[C_loaded] += n;
	vec_push(&p->loads, n);
}

static void apply_one(struct sim *s, struct pend *p, const struct fx *fx, enum fx_kind kind)
{
	struct rec *r = rec_of(s, fx->id);

	if (fx->kind != kind)
		return;
	if (kind == FX_LOAD) {
		apply_load(s, p, fx);
		return;
	}
	if (r && r->poison)
		return;		/* refused; whatever of it was on the way finds no row */
	MUST(s, r && !r->gone, "effect %d of unknown task %lld", kind, (long long)fx->id);
	if (kind == FX_END) {
		apply_end(s, r, fx);
	} else if (kind == FX_RETRY) {
		apply_retry(s, r, fx);
	} else if (kind == FX_INSERT) {
		apply_insert(s, r, fx);
	} else if (kind == FX_REVIVE) {
		apply_revive(s, r, fx);
	} else if (kind == FX_ASSIGN) {
		once(s, r, kind);
		if (!has_live(s, r, fx))
			return;
		MUST(s, r->state == LIVE_QUEUED && r->attempt == fx->attempt, "task %lld is assigned in state %d", (long long)r->id, r->state);
		r->state = LIVE_ASSIGNED;
		r->batch_id = fx->batch_id;
		r->worker_no = fx->worker_no;
		r->assigned_at = fx->assigned_at;
		r->due_at = fx->due_at;
	} else if (kind == FX_START) {
		once(s, r, kind);
		if (!has_live(s, r, fx))
			return;
		MUST(s, r->state == LIVE_ASSIGNED && r->attempt == fx->attempt, "task %lld is started in state %d", (long long)r->id, r->state);
		r->state = LIVE_STARTED;
		r->started_at = fx->started_at;
	} else if (kind == FX_REQUEUE) {
		once(s, r, kind);
		if (!has_live(s, r, fx))
			return;
		MUST(s, r->state == LIVE_BACKOFF, "task %lld is requeued in state %d", (long long)r->id, r->state);
		r->state = LIVE_QUEUED;
		r->queued_at = fx->queued_at;
		r->due_at = fx->due_at;
	} else if (kind == FX_TOUCH && has_live(s, r, fx)) {
		r->due_at = fx->due_at;
		r->released = r->released || fx->released;
	}
}

/* An unfinished task has exactly one row, all its attempts before that are over; a finished one has none and an end. */
static void check_rec(struct sim *s, const struct rec *r)
{
	int n = last_attempt(r), app = 0, internal = 0, retries = 0;

	for (int i = 0; i < s->n_steps_def; i++)
		if (s->steps[i].step_no == r->step_no)
			retries = s->steps[i].retries;
	for (int i = 0; i < r->base; i++)
		MUST(s, r->att[i], "task %lld has attempt %d and no %d", (long long)r->id, n, i);
	for (int i = r->base; i <= n; i++) {
		MUST(s, r->att[i], "task %lld has attempt %d and no %d", (long long)r->id, n, i);
		MUST(s, r->final[i] == (r->row == ROW_NONE && i == n), "task %lld: attempt %d of %d has the wrong end", (long long)r->id, i, n);
		if (r->final[i])
			break;
		app += r->att[i] - 1 == ATTEMPT_FAILED || r->att[i] - 1 == ATTEMPT_TIMED_OUT;
		internal += r->att[i] - 1 == ATTEMPT_LOST;
		MUST(s, app + internal == i + 1 - r->base, "task %lld: retried after status %d", (long long)r->id, r->att[i] - 1);
	}
	MUST(s, app <= retries, "task %lld was retried %d times of %d", (long long)r->id, app, retries);
	MUST(s, internal <= s->conf.internal_retries_max, "task %lld was reassigned %d times", (long long)r->id, internal);
	if (r->row != ROW_NONE) {
		MUST(s, r->attempt == n + 1, "task %lld: row of attempt %d, %d have ended", (long long)r->id, r->attempt, n + 1);
		MUST(s, r->app == app && r->internal == internal, "task %lld: counted %d + %d retries, there were %d + %d", (long long)r->id,
		     r->app, r->internal, app, internal);
		return;
	}
	MUST(s, n >= 0, "task %lld is lost: it has neither a row nor an end", (long long)r->id);
	if (r->att[n] - 1 == ATTEMPT_FAILED || r->att[n] - 1 == ATTEMPT_TIMED_OUT)
		MUST(s, app == retries || (r->no_retry[n] && r->att[n] - 1 == ATTEMPT_FAILED) || r->too_large[n] ||
			(r->maxed[n] && internal == s->conf.internal_retries_max),
		     "task %lld failed for good with %d of %d retries", (long long)r->id, app, retries);
}

static int32_t units_of(const struct sim *s, const struct rec *r, int32_t type_no)
{
	for (int i = 0; i < s->n_steps_def; i++)
		for (int j = 0; s->steps[i].step_no == r->step_no && j < ENG_STEP_SLOTS && s->steps[i].slots[j].units; j++)
			if (s->steps[i].slots[j].type_no == type_no)
				return s->steps[i].slots[j].units;
	return 0;
}

/* Another member of its batch, before it in the list, holds the slot. */
static bool shares_slot(const struct sim *s, size_t at)
{
	const struct rec *r = s->open.p[at];

	for (size_t i = 0; r->batch_id && i < at; i++) {
		const struct rec *o = s->open.p[i];

		if (o->batch_id == r->batch_id && o->row == ROW_LIVE && !o->released && o->worker_no == r->worker_no)
			return true;
	}
	return false;
}

static void check_slots(struct sim *s)
{
	for (int i = 0; i < s->n_workers; i++)
		for (int j = 0; j < ENG_SLOT_TYPES && s->workers[i].slots[j].units; j++) {
			int32_t used = 0;

			for (size_t k = 0; k < s->open.n; k++) {
				const struct rec *r = s->open.p[k];

				if (r->row == ROW_LIVE && r->worker_no == s->workers[i].no && !r->released && !shares_slot(s, k))
					used += units_of(s, r, s->workers[i].slots[j].type_no);
			}
			MUST(s, used <= s->workers[i].slots[j].units, "worker %d: %d of %d slots of type %d are taken", s->workers[i].no, used,
			     s->workers[i].slots[j].units, s->workers[i].slots[j].type_no);
		}
}

/* STARTs that an END of the same flush makes void, found by their index as the real flush does. */
static void void_starts(struct sim *s, struct pend *p)
{
	VEC(struct fx *) starts = {0};

	for (size_t i = 0; i < p->fx.n; i++) {
		struct fx *fx = &p->fx.p[i];

		if (fx->kind == FX_START)
			vec_push(&starts, fx);
		if (fx->kind != FX_END || fx->start_index < 0 || p->halved)
			continue;
		MUST(s, (size_t)fx->start_index < starts.n && starts.p[fx->start_index]->id == fx->id,
		     "task %lld: its end makes another task's start void", (long long)fx->id);
		s->cover[C_void_start]++;
	}
	vec_fini(&starts);
}

void db_commit(struct sim *s, struct pend *p)
{
	static const enum fx_kind order[] = {FX_END, FX_RETRY, FX_INSERT, FX_REVIVE, FX_LOAD, FX_REQUEUE, FX_ASSIGN, FX_START, FX_TOUCH};

	s->n_flush++;
	s->cover[C_flush]++;
	vec_clear(&p->loaded);
	vec_clear(&p->loads);
	void_starts(s, p);
	for (size_t k = 0; k < ARRAY_LEN(order); k++)
		for (size_t i = 0; i < p->fx.n; i++)
			apply_one(s, p, &p->fx.p[i], order[k]);
	for (size_t i = 0; i < s->open.n; i++)
		if (s->open.p[i]->exists)
			check_rec(s, s->open.p[i]);
	check_slots(s);
	keys_check_commit(s);
	limits_check_commit(s, p);
	batches_check_commit(s, p);
	for (size_t i = 0; i < s->open.n;)
		if (rec_is_final(s->open.p[i]) || s->open.p[i]->gone)
			s->open.p[i] = s->open.p[--s->open.n];
		else
			i++;
}

/* With nothing on the way, memory and database say the same. */
/* --- the audit, as servers do it ------------------------------------------------------------------------------------------------ */

static void differs(void *arg, const struct eng_diff *d)
{
	sim_fail(arg, "the audit finds: kind %d, task %lld, worker %d, type %d, action %d: %lld in memory, %lld stored", d->kind, (long long)d->id,
		 d->worker_no, d->type_no, d->action_no, (long long)d->memory, (long long)d->tables);
}

static int by_id(const void *a, const void *b)
{
	int64_t x = ((const struct eng_audit_row *)a)->id, y = ((const struct eng_audit_row *)b)->id;

	return (x > y) - (x < y);
}

static void audit(struct sim *s)
{
	struct eng_audit_row *rows = xcalloc(s->open.n + 1, sizeof(*rows));
	struct eng_audit a = {.differs = differs, .arg = s};
	size_t n = 0;

	for (size_t i = 0; i < s->open.n; i++) {
		const struct rec *r = s->open.p[i];
		struct eng_audit_row *row = &rows[n];

		if (r->row == ROW_TAIL)
			engine_audit_tail(s->e, &a, r->tenant_no, r->action_no, r->rank, lane_of(s, r));
		if (r->row != ROW_LIVE)
			continue;
		*row = (struct eng_audit_row){.id = r->id, .tenant_no = r->tenant_no, .step_no = r->step_no, .worker_no = r->worker_no,
			.state = r->state, .rank = r->rank, .attempt = r->attempt, .app_retries = r->app, .internal_retries = r->internal,
			.released = r->released, .n_keys = step_of(s, r)->n_strategies};
		for (uint32_t k = 0; k < row->n_keys; k++)
			row->keys[k] = r->entries[k].key;
		n++;
	}
	if (n > 1)
		qsort(rows, n, sizeof(rows[0]), by_id);
	engine_audit_rows(s->e, &a, 0, INT64_MAX, rows, n);
	engine_audit_counters(s->e, &a);
	MUST(s, a.n_checked >= n + 3, "the audit has looked at %llu things only", (unsigned long long)a.n_checked);
	free(rows);
}

void db_check_idle(struct sim *s)
{
	struct eng_stats stats = engine_stats(s->e);
	uint64_t live = 0, tails = 0;
	bool seen[ACTIONS_MAX][RANKS] = {{0}};

	s->cover[C_idle_compared]++;
	for (size_t i = 0; i < s->open.n; i++) {
		const struct rec *r = s->open.p[i];
		struct eng_task_view v;

		if (r->row == ROW_TAIL) {
			tails += !seen[r->action_no % 10][r->rank];
			seen[r->action_no % 10][r->rank] = true;
			MUST(s, !engine_task(s->e, r->id, &v), "task %lld is in the tail and in memory", (long long)r->id);
		}
		if (r->row != ROW_LIVE)
			continue;
		live++;
		MUST(s, engine_task(s->e, r->id, &v), "task %lld has a live row and is not in memory", (long long)r->id);
		MUST(s, v.queued_at == r->queued_at && v.assigned_at == r->assigned_at &&
			(v.due_at == r->due_at || (v.state == LIVE_QUEUED && (step_of(s, r)->n_strategies > 0 ||
				s->flows[step_of(s, r)->workflow_no - 1].paused_at != INT64_MIN))) &&
			v.started_at == r->started_at,
		     "task %lld: times differ in memory and database, state %d: queued %lld/%lld assigned %lld/%lld started "
		     "%lld/%lld due %lld/%lld", (long long)r->id, r->state, (long long)v.queued_at, (long long)r->queued_at,
		     (long long)v.assigned_at, (long long)r->assigned_at, (long long)v.started_at, (long long)r->started_at,
		     (long long)v.due_at, (long long)r->due_at);
	}
	MUST(s, live == stats.queued + stats.running + stats.backoff, "%llu live rows, %llu tasks in memory", (unsigned long long)live,
	     (unsigned long long)(stats.queued + stats.running + stats.backoff));
	limits_check_idle(s);
	audit(s);
	MUST(s, tails <= stats.tails, "%llu tails, %llu are known", (unsigned long long)tails, (unsigned long long)stats.tails);
}
