/* Who runs what: queues of (tenant, action) with four ranks, heads in memory, tails in the database.
 *
 * Ranks are strict, ids ascend inside a rank, a worker with several actions takes round robin over its queues, an action's
 * workers take round robin over themselves.  What cannot be placed hides nothing: queues are independent, and inside one a
 * few steps with other needs are looked at behind a head that does not fit. */
#include "eng_int.h"

/* LOAD_OVER: what a head may load when all heads together are full, so that no queue starves another.
 * READ_MAX_US: longer than any answer of the database takes. */
enum { LOAD_OVER = 100, RESCAN_US = 50000, READ_MAX_US = 60000000 };

struct queue *queue_get(struct engine *e, int32_t tenant_no, int32_t action_no)
{
	struct queue *q = imap_get(&e->queues, action_no);

	if (q)
		return q;
	q = xcalloc(1, sizeof(*q));
	q->tenant_no = tenant_no;
	q->action_no = action_no;
	for (int i = 0; i < 4; i++) {
		list_init(&q->ranks[i].waiting);
		q->ranks[i].queue = q;
		q->ranks[i].due = (struct due){.kind = DUE_TAIL, .it = {.tie = (int64_t)action_no * 4 + i}};
		q->ranks[i].due_at = INT64_MIN;
	}
	(void)imap_put(&e->queues, action_no, q);
	return q;
}

bool worker_fits(const struct worker *w, const struct step *s)
{
	if (!w->stream_open || w->paused || w->stalled || w->ended || w->is_silent)
		return false;
	for (size_t i = 0; i < ENG_STEP_SLOTS && s->def.slots[i].units > 0; i++) {
		bool fits = false;

		for (size_t j = 0; j < ENG_SLOT_TYPES && w->limit[j].units > 0 && !fits; j++)
			fits = w->limit[j].type_no == s->def.slots[i].type_no &&
			       w->limit[j].units - w->used[j].units >= s->def.slots[i].units;
		if (!fits)
			return false;
	}
	return true;
}

struct worker *queue_pick(struct engine *e, struct queue *q, const struct step *s)
{
	for (size_t i = 0; i < q->workers.n; i++) {
		struct worker *w = q->workers.p[(q->next_worker + i) % q->workers.n];

		if (worker_fits(w, s)) {
			q->next_worker = (q->next_worker + i + 1) % q->workers.n;
			return w;
		}
	}
	return NULL;
}

bool rank_blocked(const struct queue *q, int rank)
{
	for (int i = 0; i <= rank; i++)
		if (q->ranks[i].n > 0 || q->ranks[i].has_tail)
			return true;
	return false;
}

void queue_dirty(struct engine *e, struct queue *q)
{
	if (!q->is_dirty) {
		q->is_dirty = true;
		list_push_back(&e->dirty_queues, &q->dirty);
	}
}

void worker_dirty(struct engine *e, struct worker *w)
{
	if (!list_linked(&w->dirty))
		list_push_back(&e->dirty_workers, &w->dirty);
}

static bool has_waiting(const struct queue *q)
{
	return q->ranks[0].n || q->ranks[1].n || q->ranks[2].n || q->ranks[3].n;
}

static bool has_tail(const struct queue *q)
{
	return q->ranks[0].has_tail || q->ranks[1].has_tail || q->ranks[2].has_tail || q->ranks[3].has_tail;
}

static void assign(struct engine *e, struct task *t, struct worker *w)
{
	task_unwait(e, t);
	task_assign(e, t, w);
	(void)eng_store(e, FX_ASSIGN, t);
	(void)eng_fx(e, FX_PUSH, t);
}

/* The best task of @q that fits: on @w, or on any worker of the queue.  A better rank with a tail that is being loaded and
 * an empty head does not hold back the next rank. */
static bool queue_assign_one(struct engine *e, struct queue *q, struct worker *w)
{
	for (int i = 0; i < 4; i++) {
		const struct step *tried = NULL;
		int looked = 0;

		LIST_FOREACH(it, &q->ranks[i].waiting) {
			struct task *t = LIST_ENTRY(it, struct task, qnode);
			struct worker *on;

			if (looked++ >= LOOK_BEHIND_MAX)
				break;
			if (t->step == tried)
				continue;
			tried = t->step;
			on = w ? (worker_fits(w, t->step) ? w : NULL) : queue_pick(e, q, t->step);
			if (on) {
				assign(e, t, on);
				return true;
			}
		}
	}
	return false;
}

/* --- tails ------------------------------------------------------------------------------------------------------------------ */

static void load_if_low(struct engine *e, struct queue *q)
{
	for (int i = 0; i < 4; i++) {
		bool is_full = e->n_waiting + e->conf.load_max > e->conf.heads_max;
		uint32_t over = MIN(e->conf.load_max, LOAD_OVER);
		struct rank *r = &q->ranks[i];
		struct fx *fx;

		if (!r->has_tail || r->loading || r->n >= (is_full ? over : e->conf.head_low))
			continue;
		r->loading = true;
		r->tail_grew = false;
		fx = eng_fx(e, FX_LOAD, NULL);
		fx->tenant_no = q->tenant_no;
		fx->action_no = q->action_no;
		fx->rank = (int8_t)i;
		fx->limit = is_full ? over : e->conf.load_max;
	}
}

static void tail_set_due(struct engine *e, struct rank *r, int64_t due_at)
{
	r->due_at = due_at;
	if (due_at == INT64_MIN)
		heap_del(&e->dues, &r->due.it);
	else
		heap_set(&e->dues, &r->due.it, eng_mono(e, due_at));
}

void tail_added(struct engine *e, struct rank *r, int64_t due_at)
{
	if (!r->has_tail) {
		r->has_tail = true;
		e->n_tails++;
	}
	r->tail_grew = true;
	queue_dirty(e, r->queue);
	if (!r->scanning && (r->due_at == INT64_MIN || due_at < r->due_at))
		tail_set_due(e, r, due_at);
	else if (r->scanning && (r->due_at == INT64_MIN || due_at < r->due_at))
		r->due_at = due_at;	/* armed when the scan is back */
}

void tail_due(struct engine *e, struct rank *r)
{
	struct fx *fx = eng_fx(e, FX_SCAN, NULL);

	r->scanning = true;
	fx->tenant_no = r->queue->tenant_no;
	fx->action_no = r->queue->action_no;
	fx->rank = (int8_t)(r - r->queue->ranks);
	fx->due_at = e->now.wall_us;
	fx->limit = e->conf.scan_max;
	r->due_at = INT64_MIN;
}

static void load_done(struct engine *e, struct queue *q, struct rank *r, const struct ev *ev)
{
	r->loading = false;
	if (ev->n < ev->limit && !r->tail_grew && r->has_tail) {
		r->has_tail = false;
		e->n_tails--;
		tail_set_due(e, r, INT64_MIN);
	}
	queue_dirty(e, q);
	for (size_t i = 0; i < r->cancels.n; i++) {
		struct ev again = r->cancels.p[i];

		task_event(e, &again);
	}
	vec_clear(&r->cancels);
}

static void gone_add(struct engine *e, int64_t id)
{
	size_t n = e->gone_order.n;

	while (e->gone_first < n && e->gone_order.p[e->gone_first].at < e->now.mono_us - READ_MAX_US)
		(void)imap_del(&e->gone, e->gone_order.p[e->gone_first++].id);
	if (e->gone_first > n / 2) {
		memmove(e->gone_order.p, e->gone_order.p + e->gone_first, (n - e->gone_first) * sizeof(e->gone_order.p[0]));
		e->gone_order.n -= e->gone_first;
		e->gone_first = 0;
	}
	vec_push(&e->gone_order, ((struct gone){id, e->now.mono_us}));
	(void)imap_put(&e->gone, id, e);
}

/* Ends a row that a read has seen in the tail.  Reads take their time: it may have been loaded or ended since. */
bool tail_end(struct engine *e, const struct ev *ev, enum attempt_status status, const char *text)
{
	struct queue *q = queue_get(e, ev->tenant_no, ev->action_no);
	struct step *s = imap_get(&e->steps, ev->restore.step_no);
	struct task *t;
	struct fx *fx;

	if (!s || ev->id <= q->ranks[ev->rank].loaded_to || imap_get(&e->gone, ev->id))
		return false;
	gone_add(e, ev->id);
	t = task_new(e, ev->id);
	t->step = s;
	t->queue = q;
	t->rank = ev->rank;
	t->attempt = ev->restore.attempt;
	t->queued_at = ev->restore.queued_at;
	fx = task_ending(e, t, FX_END, status, text, NULL);
	fx->in_tail = true;
	task_free(e, t);
	return true;
}

static void expired(struct engine *e, struct rank *r, const struct ev *ev)
{
	if (imap_get(&e->tasks, ev->id))
		return;	/* loaded meanwhile: its own deadline fires */
	if (r->loading)
		r->skipped = true;	/* the load may bring it or not: look again after it */
	else
		(void)tail_end(e, ev, ATTEMPT_SCHEDULE_TIMED_OUT,
			       eng_text(e, "exceeded its schedule timeout of ", ev->restore.schedule_ms));
}

void tail_event(struct engine *e, const struct ev *ev)
{
	struct queue *q = queue_get(e, ev->tenant_no, ev->action_no);
	struct rank *r = &q->ranks[ev->rank];

	if (ev->kind == EV_TAIL) {
		tail_added(e, r, ev->due_at);
	} else if (ev->kind == EV_LOAD_DONE) {
		load_done(e, q, r, ev);
	} else if (ev->kind == EV_EXPIRED) {
		expired(e, r, ev);
	} else {
		int64_t next = ev->due_at ? ev->due_at : INT64_MIN;

		if (ev->n >= ev->limit)
			next = e->now.wall_us;	/* more are due already */
		if (r->skipped)
			next = e->now.wall_us + RESCAN_US;
		r->skipped = false;
		r->scanning = false;
		if (r->due_at != INT64_MIN && (next == INT64_MIN || r->due_at < next))
			next = r->due_at;
		tail_set_due(e, r, r->has_tail ? next : INT64_MIN);
	}
}

/* --- the pass at the end of a step ------------------------------------------------------------------------------------------ */

static void worker_fill(struct engine *e, struct worker *w)
{
	size_t idle = 0;

	while (idle < w->queues.n) {
		struct queue *q = w->queues.p[w->next_queue];

		w->next_queue = (w->next_queue + 1) % w->queues.n;
		if (has_waiting(q) && queue_assign_one(e, q, w)) {
			idle = 0;
			queue_dirty(e, q);	/* its head may be low now */
		} else {
			if (has_tail(q))
				queue_dirty(e, q);	/* nothing here that fits: it may be in the tail */
			idle++;
		}
	}
}

void sched_run(struct engine *e)
{
	while (!list_empty(&e->dirty_workers)) {
		struct worker *w = LIST_ENTRY(e->dirty_workers.next, struct worker, dirty);

		list_del(&w->dirty);
		worker_fill(e, w);
	}
	while (!list_empty(&e->dirty_queues)) {
		struct queue *q = LIST_ENTRY(e->dirty_queues.next, struct queue, dirty);

		list_del(&q->dirty);
		q->is_dirty = false;
		while (has_waiting(q) && queue_assign_one(e, q, NULL))
			;
		load_if_low(e, q);
	}
}
