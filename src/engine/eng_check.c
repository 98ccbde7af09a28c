/* The invariants of the engine's memory, all of them: for the simulator and the unit tests, far too slow to run in a server.
 * What the shell sees is checked by the simulator itself; this is about memory that has drifted. */
#include "eng_int.h"

struct sums {
	uint64_t waiting, ready, running, backoff, places, takes, grouped;
};

#define MUST(cond, ...)                                                   \
	do {                                                              \
		if (!(cond))                                              \
			return err_set(err, ERR_INTERNAL, __VA_ARGS__);   \
	} while (0)

static int32_t units_of(const struct ev_step *s, int32_t type_no)
{
	for (size_t i = 0; i < ENG_STEP_SLOTS && s->slots[i].units > 0; i++)
		if (s->slots[i].type_no == type_no)
			return s->slots[i].units;
	return 0;
}

/* Held up to where it waits, and all while it runs. */
static bool check_places(const struct task *t, bool waits, bool runs, struct err *err)
{
	bool asks = waits && !t->parked && !t->is_paused;

	MUST(t->n_places == t->step->def.n_strategies && t->n_held <= t->n_places, "task %lld has %d places of %u", (long long)t->id,
	     t->n_places, t->step->def.n_strategies);
	MUST(asks || t->n_held == (runs ? t->n_places : 0), "task %lld holds %d places", (long long)t->id, t->n_held);
	for (int i = 0; i < t->n_places; i++) {
		const struct place *p = &t->places[i];

		MUST(p->is_held == (i < t->n_held) && p->task == t, "task %lld: place %d is held out of order", (long long)t->id, i);
		MUST(list_linked(&p->node) == (i < t->n_held || (asks && i == t->n_held)), "task %lld: place %d is on no list", (long long)t->id, i);
	}
	return true;
}

/* Parked with one bucket, for a reason, or let pass by all. */
static bool check_takes(const struct engine *e, const struct task *t, struct err *err)
{
	MUST(!t->parked || t->waits, "task %lld is parked and does not wait", (long long)t->id);
	for (int i = 0; i < t->n_takes; i++) {
		const struct take *k = &t->takes[i];

		MUST(imap_get(&e->buckets, (int64_t)k->bucket->hash) == k->bucket && k->task == t, "task %lld has a forgotten bucket", (long long)t->id);
		MUST(k->has_passed == (t->waits && !t->parked && !t->is_paused), "task %lld: a bucket let it pass, or did not", (long long)t->id);
		MUST(list_linked(&k->node) == (t->parked == k || (k->has_passed && t->n_places > 0)), "task %lld: its bucket lists it wrongly",
		     (long long)t->id);
	}
	return true;
}

/* In exactly one place, with the deadline that its state asks for. */
static bool check_task(const struct engine *e, const struct task *t, struct sums *sums, struct err *err)
{
	bool is_ready = list_linked(&t->qnode), waits = t->waits, runs = t->worker != NULL, may_go;
	long long id = (long long)t->id;

	MUST(imap_get(&e->steps, t->step->def.step_no) == t->step, "task %lld is of a forgotten step", id);
	MUST(imap_get(&e->queues, t->queue->action_no) == t->queue, "task %lld is of a forgotten queue", id);
	MUST(t->need->step == t->step && t->need->queue == t->queue, "task %lld has another's need", id);
	MUST(t->step->def.action_no == t->queue->action_no, "task %lld is in another action's queue", id);
	MUST(list_linked(&t->wnode) == runs, "task %lld has a worker that does not list it", id);
	MUST(!(waits && runs), "task %lld waits and runs", id);
	may_go = waits && !t->parked && !t->is_paused && t->n_held == t->n_places;
	MUST(t->batch_hash || is_ready == may_go, "task %lld is ready without its places, or has them and is not", id);
	MUST(!t->batch_hash || (t->group != NULL) == may_go, "task %lld is in a group without its places, or has them and is not", id);
	MUST((t->batch != NULL) == (runs && t->batch_hash), "task %lld runs without its batch, or the other way round", id);
	MUST(!t->is_unborn && !t->is_refused, "task %lld is still being born", id);
	if (!check_places(t, waits, runs, err) || !check_takes(e, t, err))
		return false;
	sums->takes += t->n_takes;
	MUST(t->rank >= 0 && t->rank <= 3, "task %lld has rank %d", id, t->rank);
	MUST(t->attempt >= t->app_retries + t->internal_retries, "task %lld: attempt %d is less than %d + %d retries", id, t->attempt,
	     t->app_retries, t->internal_retries);
	MUST(t->app_retries >= 0 && t->app_retries <= t->step->def.retries, "task %lld was retried %d times", id, t->app_retries);
	MUST(t->internal_retries >= 0 && t->internal_retries <= e->conf.internal_retries_max,
	     "task %lld was reassigned %d times", id, t->internal_retries);
	MUST(t->rank == (t->app_retries + t->internal_retries ? 0 : t->user_rank), "task %lld: attempt %d has rank %d", id, t->attempt, t->rank);
	switch (t->state) {
	case LIVE_QUEUED:
		MUST(waits, "task %lld is queued and on no list", id);
		break;
	case LIVE_ASSIGNED:
		MUST(runs, "task %lld is assigned to nobody", id);
		MUST(t->started_at == INT64_MIN && t->assigned_at >= t->queued_at, "task %lld: times of assigned", id);
		break;
	case LIVE_STARTED:
		MUST(runs, "task %lld is started by nobody", id);
		MUST(!t->confirming && t->started_at >= t->assigned_at, "task %lld: times of started", id);
		break;
	case LIVE_BACKOFF:
		MUST(!waits && !runs, "task %lld backs off and waits or runs", id);
		break;
	default:
		return err_set(err, ERR_INTERNAL, "task %lld has state %d", id, t->state);
	}
	MUST(t->is_paused == (waits && t->step->flow->is_paused), "task %lld waits and its workflow is paused, or not", id);
	MUST(t->due.it.idx > 0 || t->is_paused, "task %lld has no deadline", id);	/* nothing waits or runs for ever */
	MUST(!t->is_paused || !t->parked, "task %lld is parked twice", id);
	MUST(t->due.it.tie == t->id, "task %lld: the deadline of another", id);
	MUST((t->due.kind == DUE_CONFIRM) == t->confirming, "task %lld: kind of deadline", id);
	sums->waiting += waits;
	sums->ready += is_ready;
	sums->grouped += t->group != NULL;
	for (int i = 0; i < t->n_places; i++)
		sums->places += list_linked(&t->places[i].node);
	sums->running += runs;
	sums->backoff += t->state == LIVE_BACKOFF;
	return true;
}

static bool check_ready(const struct need *n, int rank, const struct list *ready, const struct lane *l, uint64_t *in_rank, struct err *err)
{
	int64_t last = 0;

	LIST_FOREACH(it, ready) {
		const struct task *t = LIST_ENTRY(it, const struct task, qnode);

		MUST(t->id > last, "action %d rank %d: task %lld is out of order", n->queue->action_no, rank, (long long)t->id);
		MUST(t->need == n && t->rank == rank && t->lane == l, "action %d rank %d: task %lld is elsewhere", n->queue->action_no, rank,
		     (long long)t->id);
		last = t->id;
		(*in_rank)++;
	}
	return true;
}

/* In order, counted, and nobody waits beside a worker that could take it. */
static bool check_need(const struct engine *e, const struct queue *q, const struct need *n, uint32_t by_rank[4], uint32_t plain[4], struct err *err)
{
	uint64_t all = 0;

	MUST(n->queue == q && n->n > 0 && n->refs >= n->n, "action %d: a need is on the wrong list", q->action_no);
	for (int i = 0; i < 4; i++) {
		uint64_t in_rank = 0, last = 0;

		if (!check_ready(n, i, &n->ready[i], NULL, &in_rank, err))
			return false;
		plain[i] += (uint32_t)in_rank;
		LIST_FOREACH(it, &n->lanes[i]) {
			const struct lane *l = LIST_ENTRY(it, const struct lane, node);

			MUST(l->need == n && l->rank == i && !list_empty(&l->ready), "action %d rank %d: a lane is elsewhere or empty", q->action_no, i);
			MUST(l->turn >= last && l->turn <= e->turn, "action %d rank %d: turns are out of order", q->action_no, i);
			last = l->turn;
			if (!check_ready(n, i, &l->ready, l, &in_rank, err))
				return false;
		}
		MUST(in_rank == n->n_rank[i], "action %d rank %d: a need is miscounted", q->action_no, i);
		by_rank[i] += (uint32_t)in_rank;
		all += in_rank;
	}
	MUST(all == n->n, "action %d: %llu wait of a need, counted %llu", q->action_no, (unsigned long long)all, (unsigned long long)n->n);
	MUST(n->is_blocked, "action %d: a need was not tried", q->action_no);
	for (size_t i = 0; i < q->workers.n; i++)
		MUST(!need_fits(n, q->workers.p[i]), "action %d: tasks wait and fit worker %d", q->action_no, q->workers.p[i]->worker_no);
	return true;
}

static bool check_rank(const struct queue *q, int rank, uint32_t n, uint32_t n_plain, struct err *err)
{
	const struct rank *r = &q->ranks[rank];

	MUST(n == r->n, "action %d rank %d: %u waiting, counted %u", q->action_no, rank, n, r->n);
	MUST(n_plain == r->n_plain, "action %d rank %d: %u ready without a lane, counted %u", q->action_no, rank, n_plain, r->n_plain);
	MUST(r->plain.cancels.n == 0 || r->plain.loading, "action %d rank %d: cancels wait for no load", q->action_no, rank);
	MUST(!r->due.it.idx || r->n_tails > 0, "action %d rank %d: a deadline without a tail", q->action_no, rank);
	MUST(!r->plain.has_rows || r->n_plain + r->n_parked > 0 || r->plain.loading, "action %d rank %d: a tail behind an empty head is not loaded",
	     q->action_no, rank);
	return true;
}

static bool check_queue(const struct engine *e, const struct queue *q, uint64_t *ready, uint64_t *tails, struct err *err)
{
	uint32_t by_rank[4] = {0}, plain[4] = {0};

	MUST(!q->is_dirty, "queue of action %d was not scheduled", q->action_no);
	MUST(q->n_open == 0, "queue of action %d has %u needs that were not tried", q->action_no, q->n_open);
	LIST_FOREACH(it, &q->needs)
		if (!check_need(e, q, LIST_ENTRY(it, const struct need, node), by_rank, plain, err))
			return false;
	for (int i = 0; i < 4; i++) {
		if (!check_rank(q, i, by_rank[i], plain[i], err))
			return false;
		*ready += q->ranks[i].n;
		*tails += q->ranks[i].n_tails;
	}
	for (size_t i = 0; i < q->workers.n; i++)
		MUST(imap_get(&e->workers, q->workers.p[i]->worker_no) == q->workers.p[i], "queue of action %d has a forgotten worker",
		     q->action_no);
	return true;
}

/* Counted, in order, as full as it may be, and nobody waits who should have been cancelled. */
static bool check_key(const struct engine *e, const struct key *k, uint64_t *tails, uint64_t *places, struct err *err)
{
	uint64_t refs = 0;
	uint32_t n = 0, low = 0;
	int32_t limit = key_limit(k);
	bool is_loading = false;

	LIST_FOREACH(it, &k->holders) {
		MUST(LIST_ENTRY(it, const struct place, node)->is_held, "a key lists a holder that holds nothing");
		n++;
	}
	MUST(n == k->n_holders, "a key has %u holders, counted %u", n, k->n_holders);
	for (int i = 0; i < 4; i++) {
		int64_t last = 0;

		n = 0;
		LIST_FOREACH(it, &k->waiters[i]) {
			const struct place *p = LIST_ENTRY(it, const struct place, node);

			MUST(!p->is_held && p->task->rank == i && p->task->id > last, "a key lists a waiter out of order");
			last = p->task->id;
			n++;
		}
		MUST(n == k->n_rank[i], "a key has %u waiters of rank %d, counted %u", n, i, k->n_rank[i]);
		low += n;
	}
	MUST(low == k->n_waiters, "a key has %u waiters, counted %u", low, k->n_waiters);
	MUST(k->n_waiters == 0 || (int64_t)k->n_holders >= limit, "a key has %u of %d places taken, and %u wait", k->n_holders, limit, k->n_waiters);
	if (k->strategy->def.kind == CONC_CANCEL_NEWEST || k->strategy->def.kind == CONC_CANCEL_IN_PROGRESS)
		MUST(k->n_waiters == 0, "%u wait where nobody does", k->n_waiters);
	else if (k->strategy->def.kind != CONC_GROUP_ROUND_ROBIN)
		MUST((int64_t)k->n_waiters <= limit, "%u wait of %d", k->n_waiters, limit);
	if (k->strategy->def.kind == CONC_CANCEL_IN_PROGRESS)
		MUST((int64_t)k->n_holders <= limit, "%u hold places of %d", k->n_holders, limit);
	LIST_FOREACH(it, &k->tails) {
		const struct tail *l = LIST_ENTRY(it, const struct tail, of_key);

		MUST(l->key == k && (l->has_rows || l->loading), "a key has a tail that is none");
		MUST(l->cancels.n == 0 || l->loading, "cancels wait for no load");
		is_loading = is_loading || l->loading;
		*tails += l->has_rows;
		refs++;
	}
	MUST(list_empty(&k->tails) || limit <= 0 || k->n_waiters > 0 || is_loading || list_linked(&k->starving),
	     "a tail of a key with nobody before it is not loaded");
	LIST_FOREACH(it, &k->lanes)
		refs++;
	MUST(k->refs >= refs + k->n_holders + k->n_waiters, "a key has %llu references", (unsigned long long)k->refs);
	MUST(imap_get(&e->keys, (int64_t)k->hash) == k, "a key is forgotten");
	*places += k->n_holders + k->n_waiters;
	return true;
}

/* Whoever may go on does not wait here, and who waits is looked at again. */
static bool check_bucket(const struct engine *e, const struct bucket *b, uint64_t *refs, struct err *err)
{
	bool has_parked = b->units.v.n > 0;
	uint64_t parked = 0, tallied = 0;
	int64_t passed[4] = {0};

	MUST(!list_linked(&b->dirty) && !list_linked(&b->unstored), "a bucket was not decided or not stored");
	MUST(b->limit == -1 || (b->value >= 0 && b->value <= b->limit), "a bucket has %d units of %d", b->value, b->limit);
	MUST(b->limit == -1 || b->since != INT64_MIN || b->value == b->limit, "a bucket is not full and no window runs");
	MUST(b->limits.v.n == 0 || b->limit == b->limits.v.p[0].v, "a bucket has limit %d, a task brought another", b->limit);
	for (int i = 0; i < 4; i++) {
		int64_t last = 0;

		LIST_FOREACH(it, &b->parked[i]) {
			const struct take *k = LIST_ENTRY(it, const struct take, node);

			MUST(k->bucket == b && k->task->parked == k && k->task->rank == i && k->task->id > last, "a bucket has parked a task out of order");
			MUST(k->units <= b->limit, "a bucket lets a task wait for ever among others");
			MUST(k->units > b->value || b->due.it.idx > 0, "a task is parked with units there and nobody looks");
			last = k->task->id;
			parked++;
		}
	}
	for (size_t i = 0; i < b->units.v.n; i++)
		tallied += b->units.v.p[i].n;
	MUST(tallied == parked, "a bucket has parked %llu tasks, counted %llu", (unsigned long long)parked, (unsigned long long)tallied);
	LIST_FOREACH(it, &b->never)
		MUST(b->limit == -1 || LIST_ENTRY(it, const struct take, node)->units > b->limit, "a task waits for ever that need not");
	LIST_FOREACH(it, &b->keyed) {
		const struct take *k = LIST_ENTRY(it, const struct take, node);

		MUST(b->limit != -1 && k->units <= b->value, "task %lld lacks units and holds places", (long long)k->task->id);
		passed[k->task->rank] += k->epoch == b->epoch ? k->units : 0;
	}
	for (int i = 0; i < 4; i++)
		MUST(b->passed[i] >= passed[i], "a bucket let %lld units pass, counted %lld", (long long)passed[i], (long long)b->passed[i]);
	MUST(!has_parked || b->due.it.idx > 0, "a bucket with tasks parked has no deadline");
	MUST(b->refs > 0 || !b->is_dynamic || b->due.it.idx > 0, "a bucket nobody needs is kept for ever");
	MUST(imap_get(&e->buckets, (int64_t)b->hash) == b, "a bucket is forgotten");
	*refs += b->refs;
	return true;
}

/* Another member of its batch comes before it in the list, and has the slot. */
static bool is_counted(const struct worker *w, const struct task *t)
{
	LIST_FOREACH(it, &w->running) {
		const struct task *o = LIST_ENTRY(it, const struct task, wnode);

		if (o == t)
			return false;
		if (t->batch && o->batch == t->batch && !o->released)
			return true;
	}
	return false;
}

/* No slot is oversold, none is leaked. */
static bool check_worker(const struct engine *e, const struct worker *w, struct err *err)
{
	int32_t used[ENG_SLOT_TYPES] = {0};
	uint32_t n = 0;

	MUST(!list_linked(&w->dirty), "worker %d was not scheduled", w->worker_no);
	LIST_FOREACH(it, &w->running) {
		const struct task *t = LIST_ENTRY(it, const struct task, wnode);

		MUST(t->worker == w && t->queue->tenant_no == w->tenant_no, "worker %d lists task %lld, which is not its", w->worker_no,
		     (long long)t->id);
		for (size_t i = 0; !t->released && !is_counted(w, t) && i < ENG_SLOT_TYPES; i++)
			if (w->limit[i].units > 0)
				used[i] += units_of(&t->step->def, w->limit[i].type_no);
		n++;
	}
	MUST(n == w->n_running, "worker %d runs %u, counted %u", w->worker_no, n, w->n_running);
	for (size_t i = 0; i < ENG_SLOT_TYPES; i++) {
		MUST(used[i] == w->used[i].units, "worker %d slot type %d: %d used, counted %d", w->worker_no, w->limit[i].type_no,
		     used[i], w->used[i].units);
		MUST(used[i] <= w->limit[i].units, "worker %d slot type %d: %d of %d used", w->worker_no, w->limit[i].type_no, used[i],
		     w->limit[i].units);
	}
	MUST(n == 0 || w->silent.it.idx > 0, "worker %d runs something and nobody watches it", w->worker_no);
	return true;
}

static bool check_dues(const struct heap *h, struct err *err)
{
	for (size_t i = 0; i < h->n; i++) {
		const struct heap_item *it = h->p[i], *up = i ? h->p[(i - 1) / 2] : NULL;

		MUST(it->idx == i + 1, "deadline %zu is at %u", i + 1, it->idx);
		MUST(!up || up->at < it->at || (up->at == it->at && up->tie <= it->tie), "deadline %zu is before its parent", i + 1);
	}
	return true;
}

bool engine_check(const struct engine *e, struct err *err)
{
	struct sums sums = {0};
	uint64_t ready = 0, tails = 0, of_keys = 0, places = 0, takes = 0, grouped;
	size_t it = 0;
	int64_t key;
	void *p;

	while ((p = imap_next(&e->tasks, &it, &key))) {
		MUST(((const struct task *)p)->id == key, "a task is stored under another's id");
		if (!check_task(e, p, &sums, err))
			return false;
	}
	it = 0;
	while ((p = imap_next(&e->queues, &it, &key)))
		if (!check_queue(e, p, &ready, &tails, err))
			return false;
	it = 0;
	while ((p = imap_next(&e->workers, &it, &key)))
		if (!check_worker(e, p, err))
			return false;
	it = 0;
	while ((p = imap_next(&e->keys, &it, &key)))
		if (!check_key(e, p, &of_keys, &places, err))
			return false;
	it = 0;
	while ((p = imap_next(&e->buckets, &it, &key)))
		if (!check_bucket(e, p, &takes, err))
			return false;
	MUST(takes == sums.takes, "buckets are needed %llu times, counted %llu", (unsigned long long)sums.takes, (unsigned long long)takes);
	if (!batches_check(e, &grouped, err))
		return false;
	MUST(grouped == sums.grouped, "%llu tasks are in groups, which have %llu", (unsigned long long)sums.grouped, (unsigned long long)grouped);
	MUST(list_empty(&e->dirty_keys), "a key was not decided");
	if (!check_dues(&e->dues, err))
		return false;
	MUST(sums.waiting == e->n_waiting && sums.ready == ready, "%llu tasks wait, counted %llu; %llu are ready, counted %llu",
	     (unsigned long long)sums.waiting, (unsigned long long)e->n_waiting, (unsigned long long)sums.ready, (unsigned long long)ready);
	MUST(sums.places == places, "%llu places are held or waited for, %llu are on lists", (unsigned long long)sums.places,
	     (unsigned long long)places);
	MUST(sums.running == e->n_running, "%llu tasks run, counted %llu", (unsigned long long)sums.running,
	     (unsigned long long)e->n_running);
	MUST(sums.backoff == e->n_backoff, "%llu tasks back off, counted %llu", (unsigned long long)sums.backoff,
	     (unsigned long long)e->n_backoff);
	MUST(of_keys <= tails, "keys have more tails than there are");
	MUST(tails == e->n_tails, "%llu tails, counted %llu", (unsigned long long)tails, (unsigned long long)e->n_tails);
	return true;
}
