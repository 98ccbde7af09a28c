/* Who runs what: queues of (tenant, action) with four ranks, heads in memory, tails in the database.
 *
 * Ranks are strict, ids ascend inside a rank, a worker with several actions takes round robin over its queues.  What cannot
 * be placed hides nothing: queues are independent, and inside one the tasks that wait are kept by what they need.  A need that
 * no worker meets now is blocked: nothing of it is looked at again until a worker's event. */
#include "eng_int.h"

/* LOAD_OVER: what a head may load when all heads together are full, so that no queue starves another. */
enum { LOAD_OVER = 100, RESCAN_US = 50000 };

struct queue *queue_get(struct engine *e, int32_t tenant_no, int32_t action_no)
{
	struct queue *q = imap_get(&e->queues, action_no);

	if (q)
		return q;
	q = xcalloc(1, sizeof(*q));
	q->tenant_no = tenant_no;
	q->action_no = action_no;
	list_init(&q->needs);
	for (int i = 0; i < 4; i++) {
		q->ranks[i].queue = q;
		q->ranks[i].due = (struct due){.kind = DUE_TAIL, .it = {.tie = (int64_t)action_no * 4 + i}};
		q->ranks[i].due_at = INT64_MIN;
	}
	(void)imap_put(&e->queues, action_no, q);
	return q;
}

/* Ranks with a tail go first come, first served, and who is looked at again in this step comes first. */
bool queue_takes_now(const struct engine *e, const struct queue *q, const struct need *n, int rank)
{
	if (n->is_blocked || q->n_open > 0 || (!list_empty(&q->needs) && !list_empty(&e->dirty_workers)))
		return false;
	for (int i = 0; i <= rank; i++)
		if (q->ranks[i].has_tail)
			return false;
	return true;
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

static void block(struct need *n)
{
	n->is_blocked = true;
	n->queue->n_open--;
}

/* The need whose first task comes first: of those that fit @w, or of those that are not blocked. */
static struct need *first_need(const struct queue *q, const struct worker *w, struct task **ret)
{
	struct need *best = NULL;

	if (!w && q->n_open == 0)
		return NULL;
	for (int i = 0; i < 4 && !best; i++) {
		if (q->ranks[i].n == 0)
			continue;
		LIST_FOREACH(it, &q->needs) {
			struct need *n = LIST_ENTRY(it, struct need, node);
			struct task *t;

			if (list_empty(&n->waiting[i]))
				continue;
			t = LIST_ENTRY(n->waiting[i].next, struct task, qnode);
			if (best && t->id > (*ret)->id)
				continue;
			if (w ? !need_fits(n, w) : n->is_blocked)
				continue;
			best = n;
			*ret = t;
		}
	}
	return best;
}

/* One task of @q, for @w's sake or whoever has room.  A better rank with a tail that is being loaded and an empty head does
 * not hold back the next rank. */
static bool queue_assign_one(struct engine *e, struct queue *q, struct worker *w)
{
	struct need *n;
	struct task *t;

	while ((n = first_need(q, w, &t))) {
		struct worker *on = need_pick(n, w);

		if (on) {
			assign(e, t, on);
			return true;
		}
		block(n);
	}
	return false;
}

/* --- tails ------------------------------------------------------------------------------------------------------------------ */

/* Enough waits that some worker might take: what nobody here can take must not keep the rest in the tail.  Without a worker
 * at all there is no hurry. */
static bool is_filled(const struct queue *q, int rank, uint32_t enough)
{
	uint64_t n = 0;
	bool any = false;

	LIST_FOREACH(it, &q->needs) {
		const struct need *need = LIST_ENTRY(it, const struct need, node);
		bool takes = false;

		if (list_empty(&need->waiting[rank]))
			continue;
		for (size_t i = 0; i < q->workers.n && !takes; i++) {
			any = any || q->workers.p[i]->stream_open;
			takes = need_ever_fits(need, q->workers.p[i]);
		}
		n += takes ? need->n_rank[rank] : 0;
	}
	return !any || n >= enough;
}

static void load_if_low(struct engine *e, struct queue *q)
{
	for (int i = 0; i < 4; i++) {
		bool is_full = e->n_waiting + e->conf.load_max > e->conf.heads_max;
		uint32_t over = MIN(e->conf.load_max, LOAD_OVER);
		struct rank *r = &q->ranks[i];
		struct fx *fx;

		if (!r->has_tail || r->loading || (is_full && r->n >= over) || (r->n >= e->conf.head_low && is_filled(q, i, e->conf.head_low)))
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

/* Ends a row that a read has seen in the tail.  Reads take their time: it may have been loaded or ended since. */
bool tail_end(struct engine *e, const struct ev *ev, enum attempt_status status, const char *text)
{
	struct queue *q = queue_get(e, ev->tenant_no, ev->action_no);
	struct step *s = imap_get(&e->steps, ev->restore.step_no);
	struct task *t;
	struct fx *fx;

	if (!s || ev->id <= q->ranks[ev->rank].loaded_to || recent_has(&e->gone, ev->id))
		return false;
	recent_add(e, &e->gone, ev->id);
	t = task_new(e, ev->id);
	t->need = need_get(e, s, NULL);	/* whatever it asked for: it ends */
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
		if (!list_empty(&q->needs) && queue_assign_one(e, q, w)) {
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
		while (queue_assign_one(e, q, NULL))
			;
		load_if_low(e, q);
	}
}
