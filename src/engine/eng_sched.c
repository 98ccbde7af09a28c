/* Who runs what: queues of (tenant, action) with four ranks, heads in memory, tails in the database.
 *
 * Ranks are strict, ids ascend inside a rank, a worker with several actions takes round robin over its queues.  What cannot
 * be placed hides nothing: queues are independent, and inside one the tasks that wait are kept by what they need.  A need that
 * no worker meets now is blocked: nothing of it is looked at again until a worker's event. */
#include "eng_int.h"

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
		q->ranks[i].plain.rank = &q->ranks[i];
		q->ranks[i].due = (struct due){.kind = DUE_TAIL, .it = {.tie = (int64_t)action_no * 4 + i}};
		q->ranks[i].due_at = q->ranks[i].after_due = INT64_MIN;
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
		if (q->ranks[i].plain.has_rows)
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
	return q->ranks[0].plain.has_rows || q->ranks[1].plain.has_rows || q->ranks[2].plain.has_rows || q->ranks[3].plain.has_rows;
}

static void assign(struct engine *e, struct task *t, struct worker *w)
{
	turn_taken(e, t);
	task_unwait(e, t);
	task_assign(e, t, w);
	(void)eng_store(e, FX_ASSIGN, t);
	limits_take(e, t);
	(void)eng_fx(e, FX_PUSH, t);
}

static void block(struct need *n)
{
	n->is_blocked = true;
	n->queue->n_open--;
}

/* The need whose first task comes first, by turn and age: of those that fit @w, or of those that are not blocked. */
static struct need *first_need(const struct queue *q, const struct worker *w, struct task **ret)
{
	struct need *best = NULL;
	uint64_t best_turn = 0, turn = 0;

	if (!w && q->n_open == 0)
		return NULL;
	for (int i = 0; i < 4 && !best; i++) {
		if (q->ranks[i].n == 0)
			continue;
		LIST_FOREACH(it, &q->needs) {
			struct need *n = LIST_ENTRY(it, struct need, node);
			struct task *t;

			t = n->n_rank[i] ? turn_next(n, i, &turn) : NULL;
			if (!t || (best && (turn > best_turn || (turn == best_turn && t->id > (*ret)->id))))
				continue;
			if (w ? !need_fits(n, w) : n->is_blocked)
				continue;
			best = n;
			best_turn = turn;
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

		if (on && limits_suffice(e, t)) {
			if (t->group)
				batch_assign(e, t, on);
			else
				assign(e, t, on);
			return true;
		}
		if (on)
			task_park(e, t);
		else
			block(n);
	}
	return false;
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

/* Who gets a place, and what is cancelled for it: that gives places back. */
void settle(struct engine *e)
{
	do {
		buckets_run(e);
		keys_run(e);
		family_run(e);
	} while (!list_empty(&e->dirty_keys) || !list_empty(&e->dirty_buckets));
}

static void run_once(struct engine *e)
{
	settle(e);
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
		tails_load(e, q);
	}
}

/* Who is assigned takes units, and who lacks them gives places back: others may come in. */
void sched_run(struct engine *e)
{
	do
		run_once(e);
	while (!list_empty(&e->dirty_keys) || !list_empty(&e->dirty_buckets));
	tails_load_starving(e);
}
