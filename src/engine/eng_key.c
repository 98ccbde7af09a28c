/* Concurrency: a task takes a place in each key of its chain, in order, and keeps them all until its attempt is over.
 *
 * Places are counted, never ranked: as many as the limit allows are held, whoever holds them.  What does not fit waits or is
 * cancelled, as the strategy says.  Arrivals and releases only mark a key; keys_run() decides when all that belongs to the
 * moment is known, so that a restored holder is never overlooked.  Nothing of it is stored but the keys of a task: who runs holds
 * all its places, and who waits asks again after a restart. */
#include "eng_int.h"

#include <stdlib.h>

enum { NO_LIMIT = -1 };

void strategy_event(struct engine *e, const struct ev_strategy *def)
{
	struct strategy *s = imap_get(&e->strategies, def->strategy_no);

	if (!s) {
		s = xcalloc(1, sizeof(*s));
		list_init(&s->keys);
		(void)imap_put(&e->strategies, def->strategy_no, s);
	}
	s->def = *def;
	LIST_FOREACH(it, &s->keys)
		key_dirty(e, LIST_ENTRY(it, struct key, of_strategy));
}

struct key *key_get(struct engine *e, int32_t strategy_no, uint64_t hash)
{
	struct key *k = imap_get(&e->keys, (int64_t)hash);

	if (!k) {
		k = xcalloc(1, sizeof(*k));
		*k = (struct key){.hash = hash, .strategy = imap_get(&e->strategies, strategy_no), .newest_limit = NO_LIMIT};
		list_init(&k->holders);
		list_init(&k->lanes);
		list_init(&k->tails);
		for (int i = 0; i < 4; i++)
			list_init(&k->waiters[i]);
		assert(k->strategy);
		list_push_back(&k->strategy->keys, &k->of_strategy);
		(void)imap_put(&e->keys, (int64_t)hash, k);
	}
	k->refs++;
	return k;
}

void key_put(struct engine *e, struct key *k)
{
	if (--k->refs > 0)
		return;
	list_del(&k->dirty);
	list_del(&k->starving);
	list_del(&k->of_strategy);
	(void)imap_del(&e->keys, (int64_t)k->hash);
	free(k);
}

void key_free(struct key *k)
{
	LIST_FOREACH_SAFE(it, &k->lanes)
		free(LIST_ENTRY(it, struct lane, of_key));
	LIST_FOREACH_SAFE(it, &k->tails) {
		struct tail *l = LIST_ENTRY(it, struct tail, of_key);

		vec_fini(&l->cancels);
		free(l);
	}
	free(k);
}

void key_dirty(struct engine *e, struct key *k)
{
	if (!list_linked(&k->dirty))
		list_push_back(&e->dirty_keys, &k->dirty);
}

int32_t key_limit(const struct key *k)
{
	return k->newest_limit != NO_LIMIT ? k->newest_limit : k->strategy->def.max_runs;
}

void key_newest(struct engine *e, struct key *k, int64_t id, int32_t limit)
{
	if (limit == NO_LIMIT || id < k->newest_id)
		return;
	k->newest_id = id;
	k->newest_limit = limit;
	key_dirty(e, k);
}

/* The task that brought the limit is gone: the next newest brings it. */
static void newest_again(struct engine *e, struct key *k)
{
	struct list *lists[] = {&k->holders, &k->waiters[0], &k->waiters[1], &k->waiters[2], &k->waiters[3]};

	k->newest_id = 0;
	k->newest_limit = NO_LIMIT;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		LIST_FOREACH(it, lists[i]) {
			const struct place *p = LIST_ENTRY(it, const struct place, node);

			key_newest(e, k, p->task->id, p->limit);
		}
}

/* --- a task's chain --------------------------------------------------------------------------------------------------------- */

void keys_set(struct engine *e, struct task *t, const struct eng_entry *entries)
{
	uint32_t n = t->step->def.n_strategies;

	if (n == 0)
		return;
	t->places = xcalloc(n, sizeof(*t->places));
	t->n_places = (uint8_t)n;
	for (uint32_t i = 0; i < n; i++)
		t->places[i] = (struct place){.task = t, .key = key_get(e, t->step->def.strategies[i], entries[i].key),
			.limit = entries[i].limit};
}

void keys_free(struct engine *e, struct task *t)
{
	for (int i = 0; i < t->n_places; i++)
		key_put(e, t->places[i].key);
	free(t->places);
	t->places = NULL;
	t->n_places = 0;
}

void keys_wait(struct engine *e, struct task *t)
{
	struct place *p = &t->places[t->n_held];
	struct key *k = p->key;
	struct list *at = k->waiters[t->rank].prev;

	while (at != &k->waiters[t->rank] && LIST_ENTRY(at, struct place, node)->task->id > t->id)
		at = at->prev;
	list_insert_after(at, &p->node);
	k->n_waiters++;
	k->n_rank[t->rank]++;
	key_newest(e, k, t->id, p->limit);
	key_dirty(e, k);
}

static void leave_waiters(struct place *p)
{
	list_del(&p->node);
	p->key->n_waiters--;
	p->key->n_rank[p->task->rank]--;
}

static void take(struct task *t, struct place *p, int64_t at)
{
	p->is_held = true;
	p->held_at = at;
	list_push_back(&p->key->holders, &p->node);
	p->key->n_holders++;
	t->n_held++;
}

void keys_hold(struct engine *e, struct task *t, int64_t since)
{
	for (int i = 0; i < t->n_places; i++) {
		take(t, &t->places[i], since);
		key_newest(e, t->places[i].key, t->id, t->places[i].limit);
		key_dirty(e, t->places[i].key);
	}
}

void keys_leave(struct engine *e, struct task *t)
{
	for (int i = 0; i < t->n_places; i++) {
		struct place *p = &t->places[i];

		if (!list_linked(&p->node))
			continue;
		if (p->is_held) {
			list_del(&p->node);
			p->key->n_holders--;
			p->is_held = false;
		} else {
			leave_waiters(p);
		}
		if (p->key->newest_id == t->id)
			newest_again(e, p->key);
		key_dirty(e, p->key);
	}
	t->n_held = 0;
}

/* --- decisions -------------------------------------------------------------------------------------------------------------- */

static struct place *first_waiter(const struct key *k)
{
	for (int i = 0; i < 4; i++)
		if (!list_empty(&k->waiters[i]))
			return LIST_ENTRY(k->waiters[i].next, struct place, node);
	return NULL;
}

static void fill(struct engine *e, struct key *k, int64_t limit)
{
	struct place *p;

	while (k->n_holders < limit && (p = first_waiter(k))) {
		struct task *t = p->task;

		leave_waiters(p);
		take(t, p, e->now.wall_us);
		if (t->n_held < t->n_places) {
			keys_wait(e, t);
		} else if (!t->is_unborn) {
			if (!t->is_renewed)
				t->due_at = INT64_MIN;	/* its time to be scheduled begins anew, once */
			t->is_renewed = true;
			task_ready(e, t);
		}
	}
}

static void lose(struct engine *e, struct place *p)
{
	struct task *t = p->task;

	if (t->is_unborn) {
		t->is_refused = true;
		keys_leave(e, t);
	} else {
		task_cancel(e, t, CANCEL_BY_STRATEGY);
	}
}

/* A worse one goes first: lower priority, then age as the strategy has it.  Retries keep the priority of their task. */
static struct place *worse(struct place *a, struct place *b, bool newer_is_worse)
{
	if (!a || a->task->user_rank != b->task->user_rank)
		return !a || b->task->user_rank > a->task->user_rank ? b : a;
	return (b->task->id > a->task->id) == newer_is_worse ? b : a;
}

static struct place *worst(const struct key *k, bool newer_is_worse, bool of_holders)
{
	struct place *ret = NULL;

	for (int i = 0; i < 4; i++)
		LIST_FOREACH(it, &k->waiters[i])
			ret = worse(ret, LIST_ENTRY(it, struct place, node), newer_is_worse);
	if (of_holders)
		LIST_FOREACH(it, &k->holders)
			ret = worse(ret, LIST_ENTRY(it, struct place, node), newer_is_worse);
	return ret;
}

static void decide(struct engine *e, struct key *k)
{
	int64_t limit = key_limit(k);

	switch (k->strategy->def.kind) {
	case CONC_GROUP_ROUND_ROBIN:
		fill(e, k, limit);
		break;
	case CONC_CANCEL_NEWEST:
		fill(e, k, limit);
		while (k->n_waiters > 0)
			lose(e, worst(k, true, false));
		break;
	case CONC_CANCEL_IN_PROGRESS:
		while ((int64_t)k->n_holders + k->n_waiters > limit)
			lose(e, worst(k, false, true));
		fill(e, k, limit);
		break;
	case CONC_CANCEL_QUEUED_EXCEPT_NEWEST:
	case CONC_CANCEL_QUEUED_EXCEPT_OLDEST:
		fill(e, k, limit);
		while (k->n_waiters > limit)
			lose(e, worst(k, k->strategy->def.kind == CONC_CANCEL_QUEUED_EXCEPT_OLDEST, false));
		break;
	}
}

/* A key that is decided may mark others: the next of a chain, those of a task that was cancelled. */
void keys_run(struct engine *e)
{
	while (!list_empty(&e->dirty_keys)) {
		struct key *k = LIST_ENTRY(e->dirty_keys.next, struct key, dirty);

		k->refs++;
		list_del(&k->dirty);
		decide(e, k);
		tails_load_key(e, k);
		key_put(e, k);
	}
}

bool engine_key(const struct engine *e, uint64_t key, struct eng_key_view *ret)
{
	const struct key *k = imap_get(&e->keys, (int64_t)key);

	if (!k)
		return false;
	*ret = (struct eng_key_view){.strategy_no = k->strategy->def.strategy_no, .limit = key_limit(k), .n_holders = k->n_holders,
		.n_waiters = k->n_waiters, .has_tail = !list_empty(&k->tails),
		.holder = list_empty(&k->holders) ? 0 : LIST_ENTRY(k->holders.next, const struct place, node)->task->id};
	return true;
}
