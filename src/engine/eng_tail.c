/* Tails: waiting tasks that only the database has, because memory holds a part of a long queue.
 *
 * One for each queue, rank and lane.  A lane is the key of a task's first strategy if that lets tasks wait: with a tail of its own no
 * key, however long its line, keeps another in the database.  Tasks that hold a place are never in a tail. */
#include "eng_int.h"

#include <stdlib.h>

/* LOAD_OVER: what a head may load when all heads together are full, so that no queue starves another. */
enum { LOAD_OVER = 100, KEY_ROWS = 8, RESCAN_US = 50000, SPARED_US = 1000000 };

struct tail *tail_find(const struct engine *e, struct rank *r, int64_t lane)
{
	const struct key *k = lane ? imap_get(&e->keys, lane) : NULL;

	if (!lane)
		return &r->plain;
	if (k)
		LIST_FOREACH(it, &k->tails) {
			struct tail *l = LIST_ENTRY(it, struct tail, of_key);

			if (l->rank == r)
				return l;
		}
	return NULL;
}

struct tail *tail_make(struct rank *r, struct key *k)
{
	struct list *at = &k->tails;
	struct tail *l;

	LIST_FOREACH(it, &k->tails) {
		l = LIST_ENTRY(it, struct tail, of_key);
		if (l->rank == r)
			return l;
		if (l->rank - l->rank->queue->ranks <= r - r->queue->ranks)
			at = it;
	}
	l = xcalloc(1, sizeof(*l));
	l->rank = r;
	l->key = k;
	k->refs++;
	list_insert_after(at, &l->of_key);	/* better ranks first */
	return l;
}

static void tail_free(struct engine *e, struct tail *l)
{
	list_del(&l->of_key);
	key_put(e, l->key);
	vec_fini(&l->cancels);
	free(l);
}

void tail_fini(struct rank *r)
{
	vec_fini(&r->plain.cancels);
}

static struct tail *tail_of(struct engine *e, const struct ev *ev)
{
	return tail_find(e, &queue_get(e, ev->tenant_no, ev->action_no)->ranks[ev->rank], ev->lane);
}

/* --- loads ------------------------------------------------------------------------------------------------------------------ */

void tail_load(struct engine *e, struct tail *l, uint32_t limit)
{
	struct rank *r = l->rank;
	struct fx *fx = eng_fx(e, FX_LOAD, NULL);

	l->loading = true;
	l->grew = false;
	fx->tenant_no = r->queue->tenant_no;
	fx->action_no = r->queue->action_no;
	fx->rank = (int8_t)(r - r->queue->ranks);
	fx->lane = l->key ? (int64_t)l->key->hash : 0;
	fx->limit = limit;
}

/* Enough waits that some worker might take: what nobody here can take must not keep the rest in the tail.  Without a worker
 * at all there is no hurry. */
static bool is_filled(const struct queue *q, int rank, uint32_t enough)
{
	uint64_t n = 0;
	bool any = false;

	LIST_FOREACH(it, &q->needs) {
		const struct need *need = LIST_ENTRY(it, const struct need, node);
		bool takes = false;

		if (need->n_rank[rank] == 0)
			continue;
		for (size_t i = 0; i < q->workers.n && !takes; i++) {
			any = any || q->workers.p[i]->stream_open;
			takes = need_ever_fits(need, q->workers.p[i]);
		}
		n += takes ? need->n_rank[rank] : 0;
	}
	return !any || n >= enough;
}

void tails_load(struct engine *e, struct queue *q)
{
	for (int i = 0; i < 4; i++) {
		bool is_full = e->n_waiting + e->conf.load_max > e->conf.heads_max;
		uint32_t over = MIN(e->conf.load_max, LOAD_OVER);
		struct rank *r = &q->ranks[i];

		if (!r->plain.has_rows || r->plain.loading || (is_full && r->n_plain + r->n_parked >= over) ||
		    (r->n_plain >= e->conf.head_low && is_filled(q, i, e->conf.head_low)))
			continue;
		tail_load(e, &r->plain, is_full ? over : e->conf.load_max);
	}
}

/* As many wait in memory as may run, or are on their way; when memory is full, one for each key that has none. */
void tails_load_key(struct engine *e, struct key *k)
{
	int64_t limit = key_limit(k), low = MIN(limit, (int64_t)e->conf.head_low);
	uint32_t waiting = 0;
	int rank = 0;

	list_del(&k->starving);
	if (limit <= 0)
		return;
	LIST_FOREACH(it, &k->tails) {
		struct tail *l = LIST_ENTRY(it, struct tail, of_key);
		int of = (int)(l->rank - l->rank->queue->ranks);
		bool is_full = e->n_waiting >= e->conf.heads_max;

		while (rank <= of)
			waiting += k->n_rank[rank++];
		if (waiting >= low)
			return;
		if (l->loading || !l->has_rows)
			continue;
		if (is_full && k->n_holders + k->n_waiters + k->n_parked > 0) {
			list_push_back(&e->starving_keys, &k->starving);
			return;
		}
		tail_load(e, l, is_full ? 1 : MIN(MAX((uint32_t)(2 * low), KEY_ROWS), e->conf.load_max));
		return;
	}
}

/* Memory has room again. */
void tails_load_starving(struct engine *e)
{
	while (!list_empty(&e->starving_keys) && e->n_waiting < e->conf.heads_max)
		tails_load_key(e, LIST_ENTRY(e->starving_keys.next, struct key, starving));
}

static void set_due(struct engine *e, struct rank *r, int64_t due_at)
{
	r->due_at = due_at;
	if (due_at == INT64_MIN)
		heap_del(&e->dues, &r->due.it);
	else
		heap_set(&e->dues, &r->due.it, eng_mono(e, due_at));
}

/* Row @id, and maybe more after it. */
void tail_added(struct engine *e, struct tail *l, int64_t id, int64_t due_at)
{
	struct rank *r = l->rank;

	if (!l->has_rows) {
		l->has_rows = true;
		r->n_tails++;
		e->n_tails++;
		if (l->key)
			l->loaded_to = id - 1;
	}
	l->grew = true;
	if (l->key)
		key_dirty(e, l->key);
	else
		queue_dirty(e, r->queue);
	if (!r->scanning && (r->due_at == INT64_MIN || due_at < r->due_at))
		set_due(e, r, due_at);
	else if (r->scanning && (r->due_at == INT64_MIN || due_at < r->due_at))
		r->due_at = due_at;	/* armed when the scan is back */
}

void tail_loaded(struct engine *e, const struct ev *ev)
{
	struct tail *l = tail_of(e, ev);

	if (l)
		l->loaded_to = MAX(l->loaded_to, ev->id);
}

static void load_done(struct engine *e, struct tail *l, const struct ev *ev)
{
	struct rank *r = l->rank;
	VEC(struct ev) cancels = {l->cancels.p, l->cancels.n, l->cancels.cap};

	memset(&l->cancels, 0, sizeof(l->cancels));
	l->loading = false;
	if (ev->n < ev->limit && !l->grew && l->has_rows) {
		l->has_rows = false;
		e->n_tails--;
		if (--r->n_tails == 0)
			set_due(e, r, INT64_MIN);
	}
	if (l->key)
		key_dirty(e, l->key);
	else
		queue_dirty(e, r->queue);
	if (l->key && !l->has_rows)
		tail_free(e, l);
	for (size_t i = 0; i < cancels.n; i++)
		task_event(e, &cancels.p[i]);
	vec_fini(&cancels);
}

/* --- rows that end where they are --------------------------------------------------------------------------------------------- */

/* Ends a row that a read has seen in the tail.  Reads take their time: it may have been loaded or ended since. */
static bool tail_end(struct engine *e, const struct tail *l, const struct ev *ev, enum attempt_status status, const char *text)
{
	struct step *s = imap_get(&e->steps, ev->restore.step_no);
	struct task *t;
	struct fx *fx;

	if (!s || ev->id <= l->loaded_to || recent_has(&e->gone, ev->id))
		return false;
	recent_add(e, &e->gone, ev->id);
	t = task_new(e, ev->id);
	t->need = need_get(e, s, NULL);	/* whatever it asked for: it ends */
	t->step = s;
	t->queue = l->rank->queue;
	t->rank = ev->rank;
	t->attempt = ev->restore.attempt;
	t->queued_at = ev->restore.queued_at;
	fx = task_ending(e, t, FX_END, status, text, NULL);
	fx->in_tail = true;
	task_free(e, t);
	return true;
}

void tail_cancel(struct engine *e, const struct ev *ev)
{
	struct tail *l = tail_of(e, ev);

	if (l && l->loading)
		vec_push(&l->cancels, *ev);
	else if (l && tail_end(e, l, ev, ATTEMPT_CANCELLED, ev->text))
		eng_answer(e, ev, ERR_OK, NULL);
	else
		eng_answer(e, ev, ERR_NOT_FOUND, "not in memory");	/* read before it left the tail: the shell looks again */
}

static void expired(struct engine *e, struct rank *r, const struct ev *ev)
{
	struct tail *l = tail_of(e, ev);
	const struct step *s;
	enum flow_says says;

	if (!l || imap_get(&e->tasks, ev->id))
		return;	/* loaded meanwhile: its own deadline fires */
	r->seen_due = ev->restore.due_at;
	r->seen_id = ev->id;
	if (l->loading) {
		r->skipped = true;	/* the load may bring it or not: look again after it */
		return;
	}
	s = imap_get(&e->steps, ev->restore.step_no);
	says = s ? flow_says(e, s, ev->restore.queued_at, ev->restore.schedule_ms) : FLOW_LETS;
	if (says == FLOW_SPARES)
		r->spared = true;
	else if (says == FLOW_TTL_OVER)
		(void)tail_end(e, l, ev, ATTEMPT_CANCELLED, CANCEL_BY_PAUSE);
	else
		(void)tail_end(e, l, ev, ATTEMPT_SCHEDULE_TIMED_OUT,
			       eng_text(e, "exceeded its schedule timeout of ", ev->restore.schedule_ms));
}

void tail_due(struct engine *e, struct rank *r)
{
	struct fx *fx = eng_fx(e, FX_SCAN, NULL);

	r->scanning = true;
	fx->tenant_no = r->queue->tenant_no;
	fx->action_no = r->queue->action_no;
	fx->rank = (int8_t)(r - r->queue->ranks);
	fx->due_at = e->now.wall_us;
	fx->started_at = r->after_due;
	fx->lane = r->after_id;
	fx->limit = e->conf.scan_max;
	r->due_at = INT64_MIN;
}

static void scan_done(struct engine *e, struct rank *r, const struct ev *ev)
{
	int64_t next = ev->due_at ? ev->due_at : INT64_MIN;
	bool failed = ev->limit == 0, is_full = !failed && ev->n >= ev->limit;

	if (is_full)
		next = e->now.wall_us;	/* more are due already */
	if (r->skipped)
		next = e->now.wall_us + RESCAN_US;
	if (!failed) {	/* else it is repeated as it was */
		r->after_due = r->spared && is_full ? r->seen_due : INT64_MIN;
		r->after_id = r->spared && is_full ? r->seen_id : 0;
	}
	if (r->spared && !failed && !is_full) {
		next = next == INT64_MIN ? e->now.wall_us + SPARED_US : MIN(next, e->now.wall_us + SPARED_US);
		r->spared = false;
	}
	r->skipped = false;
	r->scanning = false;
	if (r->due_at != INT64_MIN && (next == INT64_MIN || r->due_at < next))
		next = r->due_at;
	set_due(e, r, r->n_tails > 0 ? next : INT64_MIN);
}

/* A tail that was there before this engine. */
static void tail_known(struct engine *e, struct rank *r, const struct ev *ev)
{
	const struct step *s = ev->lane ? imap_get(&e->steps, ev->step_no) : NULL;
	struct key *k;

	if (!ev->lane) {
		tail_added(e, &r->plain, 1, ev->due_at);
	} else if (s && s->def.n_strategies > 0) {
		k = key_get(e, s->def.strategies[0], (uint64_t)ev->lane);
		key_newest(e, k, ev->id, ev->key_limit);
		tail_added(e, tail_make(r, k), 1, ev->due_at);
		key_put(e, k);
	}
}

void tail_event(struct engine *e, const struct ev *ev)
{
	struct rank *r = &queue_get(e, ev->tenant_no, ev->action_no)->ranks[ev->rank];
	struct tail *l;

	if (ev->kind == EV_TAIL)
		tail_known(e, r, ev);
	else if (ev->kind == EV_EXPIRED)
		expired(e, r, ev);
	else if (ev->kind == EV_SCAN_DONE)
		scan_done(e, r, ev);
	else if ((l = tail_of(e, ev)))
		load_done(e, l, ev);
}
