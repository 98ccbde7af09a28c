/* The invariants of the engine's memory, all of them, asserted: for the simulator and the unit tests, far too slow to run in a
 * server.  What the shell sees is checked by the simulator itself; this is about memory that has drifted. */
#include "eng_int.h"

struct sums {
	uint64_t waiting, running, backoff;
};

static int32_t units_of(const struct ev_step *s, int32_t type_no)
{
	for (size_t i = 0; i < ENG_STEP_SLOTS && s->slots[i].units > 0; i++)
		if (s->slots[i].type_no == type_no)
			return s->slots[i].units;
	return 0;
}

/* In exactly one place, with the deadline that its state asks for. */
static void check_task(const struct engine *e, const struct task *t, struct sums *sums)
{
	bool waits = list_linked(&t->qnode), runs = t->worker != NULL;

	assert(imap_get(&e->steps, t->step->def.step_no) == t->step);
	assert(imap_get(&e->queues, t->queue->action_no) == t->queue);
	assert(t->step->def.action_no == t->queue->action_no);
	assert(list_linked(&t->wnode) == runs);
	assert(!(waits && runs));
	assert(t->rank >= 0 && t->rank <= 3 && t->attempt >= 0);
	assert(t->app_retries >= 0 && t->internal_retries >= 0 && t->internal_retries <= e->conf.internal_retries_max);
	switch (t->state) {
	case LIVE_QUEUED:
		assert(waits);
		break;
	case LIVE_ASSIGNED:
		assert(runs && t->started_at == INT64_MIN && t->assigned_at >= t->queued_at);
		break;
	case LIVE_STARTED:
		assert(runs && !t->confirming && t->started_at >= t->assigned_at);
		break;
	case LIVE_BACKOFF:
		assert(!waits && !runs);
		break;
	default:
		assert(!"state");
	}
	assert(t->due.it.idx > 0);	/* nothing waits or runs for ever */
	assert((t->due.kind == DUE_CONFIRM) == t->confirming);
	sums->waiting += waits;
	sums->running += runs;
	sums->backoff += t->state == LIVE_BACKOFF;
}

static void check_queue(const struct engine *e, const struct queue *q, uint64_t *waiting, uint64_t *tails)
{
	assert(!q->is_dirty);
	for (int i = 0; i < 4; i++) {
		const struct rank *r = &q->ranks[i];
		int64_t last = 0;
		uint32_t n = 0;

		LIST_FOREACH(it, &r->waiting) {
			const struct task *t = LIST_ENTRY(it, const struct task, qnode);

			assert(t->id > last && t->queue == q && t->rank == i);
			last = t->id;
			n++;
		}
		assert(n == r->n);
		assert(r->cancels.n == 0 || r->loading);
		assert(!r->due.it.idx || r->has_tail);
		*waiting += n;
		*tails += r->has_tail;
	}
	for (size_t i = 0; i < q->workers.n; i++)
		assert(imap_get(&e->workers, q->workers.p[i]->worker_no) == q->workers.p[i]);
}

/* No slot is oversold, none is leaked. */
static void check_worker(const struct engine *e, const struct worker *w)
{
	int32_t used[ENG_SLOT_TYPES] = {0};
	uint32_t n = 0;

	assert(!list_linked(&w->dirty));
	LIST_FOREACH(it, &w->running) {
		const struct task *t = LIST_ENTRY(it, const struct task, wnode);

		assert(t->worker == w && t->queue->tenant_no == w->tenant_no);
		for (size_t i = 0; !t->released && i < ENG_SLOT_TYPES; i++)
			if (w->limit[i].units > 0)
				used[i] += units_of(&t->step->def, w->limit[i].type_no);
		n++;
	}
	assert(n == w->n_running);
	for (size_t i = 0; i < ENG_SLOT_TYPES; i++)
		assert(used[i] == w->used[i].units && used[i] <= w->limit[i].units);
	/* whoever runs something is watched */
	assert(n == 0 || w->is_silent || w->silent.it.idx > 0);
}

static void check_dues(const struct heap *h)
{
	for (size_t i = 0; i < h->n; i++) {
		const struct heap_item *it = h->p[i], *up = i ? h->p[(i - 1) / 2] : NULL;

		assert(it->idx == i + 1);
		assert(!up || up->at < it->at || (up->at == it->at && up->tie <= it->tie));
	}
}

void engine_check(const struct engine *e)
{
	struct sums sums = {0};
	uint64_t waiting = 0, tails = 0;
	size_t it = 0;
	int64_t key;
	void *p;

	while ((p = imap_next(&e->tasks, &it, &key))) {
		assert(((const struct task *)p)->id == key);
		check_task(e, p, &sums);
	}
	it = 0;
	while ((p = imap_next(&e->queues, &it, &key)))
		check_queue(e, p, &waiting, &tails);
	it = 0;
	while ((p = imap_next(&e->workers, &it, &key)))
		check_worker(e, p);
	check_dues(&e->dues);
	assert(sums.waiting == waiting && waiting == e->n_waiting);
	assert(sums.running == e->n_running && sums.backoff == e->n_backoff && tails == e->n_tails);
}
