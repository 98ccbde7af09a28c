/* Batches: tasks of one step and key that go to one worker together, in one slot request.
 *
 * A task that is ready to go is a member of a group first.  When the group is full, has as many bytes as one message takes, or its
 * interval is over, its first member stands in the queue for all of them, like any task: what decides who runs what knows nothing
 * of groups.  The worker it gets takes the batch: the first members, as many as fit.  Members with other wants or another desired
 * worker are other groups, so that none waits for what another asks for; the batches of a key are counted over all its groups. */
#include "engine/why.h"
#include "eng_int.h"

#include <stdlib.h>

struct batch_key {
	uint64_t hash;
	struct step *step;
	uint32_t n_running;		/* batches */
	struct list groups;
};

struct group {
	struct due due;
	struct list of_key;
	struct batch_key *key;
	struct need *need;
	uint32_t n;
	int64_t bytes;
	struct list members[4];		/* by rank, ascending ids */
	struct heap arrivals;
	struct task *leader;		/* ready for all of them; NULL: it is not time */
	bool is_forming;
};

struct batch {
	int64_t id;
	struct batch_key *key;
	uint32_t n, n_holding;		/* members that run; of them, those that have not released the slot */
};

/* --- keys ---------------------------------------------------------------------------------------------------------------- */

static struct batch_key *key_of(struct engine *e, struct step *s, uint64_t hash)
{
	struct batch_key *k = imap_get(&e->batch_keys, (int64_t)hash);

	if (k)
		return k;
	k = xcalloc(1, sizeof(*k));
	k->hash = hash;
	k->step = s;
	list_init(&k->groups);
	(void)imap_put(&e->batch_keys, (int64_t)hash, k);
	return k;
}

static void key_drop(struct engine *e, struct batch_key *k)
{
	if (k->n_running > 0 || !list_empty(&k->groups))
		return;
	(void)imap_del(&e->batch_keys, (int64_t)k->hash);
	free(k);
}

static struct group *group_of(struct engine *e, struct task *t)
{
	struct batch_key *k = key_of(e, t->step, t->batch_hash);
	struct group *g;

	LIST_FOREACH(it, &k->groups) {
		g = LIST_ENTRY(it, struct group, of_key);
		if (g->need == t->need)
			return g;
	}
	g = xcalloc(1, sizeof(*g));
	g->key = k;
	g->need = t->need;
	g->due = (struct due){.kind = DUE_GROUP, .it = {.tie = t->id}};
	for (int i = 0; i < 4; i++)
		list_init(&g->members[i]);
	list_push_back(&k->groups, &g->of_key);
	return g;
}

static void group_drop(struct engine *e, struct group *g)
{
	struct batch_key *k = g->key;

	heap_del(&e->dues, &g->due.it);
	heap_fini(&g->arrivals);
	list_del(&g->of_key);
	free(g);
	key_drop(e, k);
}

/* --- when ---------------------------------------------------------------------------------------------------------------- */

static struct task *first_of(const struct group *g)
{
	for (int i = 0; i < 4; i++)
		if (!list_empty(&g->members[i]))
			return LIST_ENTRY(g->members[i].next, struct task, gnode);
	return NULL;
}

static int64_t over_at(const struct group *g)
{
	const struct heap_item *oldest = heap_min(&g->arrivals);

	return oldest ? oldest->at + g->key->step->def.batch.interval_us : INT64_MAX;
}

/* Is it time, and for whom?  @g may be gone afterwards. */
static void decide(struct engine *e, struct group *g)
{
	const struct eng_batch *b = &g->key->step->def.batch;
	bool is_over = over_at(g) <= e->now.mono_us, is_due;
	struct task *leader = NULL;

	if (g->is_forming)
		return;
	if (g->n == 0) {
		group_drop(e, g);
		return;
	}
	is_due = (int64_t)g->n >= b->max_size || g->bytes >= e->conf.batch_bytes || is_over;
	if (is_due && (int64_t)g->key->n_running < b->max_runs)
		leader = first_of(g);
	if (leader != g->leader) {
		if (g->leader)
			ready_leave(e, g->leader);
		g->leader = leader;
		if (leader)
			ready_join(e, leader);
	}
	if (is_over)
		heap_del(&e->dues, &g->due.it);
	else
		heap_set(&e->dues, &g->due.it, over_at(g));
}

/* Another number of batches run; no group is empty. */
static void decide_all(struct engine *e, struct batch_key *k)
{
	LIST_FOREACH(it, &k->groups)
		decide(e, LIST_ENTRY(it, struct group, of_key));
}

void group_due(struct engine *e, struct due *d)
{
	decide(e, container_of(d, struct group, due));
}

void group_join(struct engine *e, struct task *t)
{
	struct group *g = group_of(e, t);
	struct list *all = &g->members[t->rank], *at = all->prev;

	while (at != all && LIST_ENTRY(at, struct task, gnode)->id > t->id)
		at = at->prev;
	list_insert_after(at, &t->gnode);
	t->group = g;
	t->park_item.tie = t->id;
	heap_set(&g->arrivals, &t->park_item, e->now.mono_us);
	g->n++;
	g->bytes += t->bytes;
	task_parked(e, t, 1);
	decide(e, g);
}

void group_leave(struct engine *e, struct task *t)
{
	struct group *g = t->group;

	if (!g)
		return;
	if (g->leader == t) {
		ready_leave(e, t);
		g->leader = NULL;
	}
	t->group = NULL;
	list_del(&t->gnode);
	heap_del(&g->arrivals, &t->park_item);
	g->n--;
	g->bytes -= t->bytes;
	task_parked(e, t, -1);
	decide(e, g);
}

/* --- batches ------------------------------------------------------------------------------------------------------------- */

static struct batch *batch_get(struct engine *e, struct task *t, int64_t id)
{
	struct batch *b = imap_get(&e->batches, id);

	if (b)
		return b;
	b = xcalloc(1, sizeof(*b));
	b->id = id;
	b->key = key_of(e, t->step, t->batch_hash);
	b->key->n_running++;
	(void)imap_put(&e->batches, id, b);
	decide_all(e, b->key);
	return b;
}

void batch_enter(struct engine *e, struct task *t, int64_t id)
{
	t->batch = batch_get(e, t, id);
	t->batch->n++;
}

bool batch_hold(struct task *t)
{
	return !t->batch || t->batch->n_holding++ == 0;
}

bool batch_release(struct task *t)
{
	return !t->batch || --t->batch->n_holding == 0;
}

void batch_leave(struct engine *e, struct task *t)
{
	struct batch *b = t->batch;
	struct batch_key *k = b ? b->key : NULL;

	t->batch = NULL;
	if (!b || --b->n > 0)
		return;
	(void)imap_del(&e->batches, b->id);
	free(b);
	k->n_running--;
	decide_all(e, k);
	key_drop(e, k);
}

int64_t batch_id(const struct task *t)
{
	return t->batch ? t->batch->id : 0;
}

/* Those that go with the leader, which goes in any case. */
static size_t pick(const struct engine *e, const struct group *g, struct task **ret, size_t max)
{
	int64_t bytes = 0;
	size_t n = 0;

	for (int i = 0; i < 4; i++)
		LIST_FOREACH(it, &g->members[i]) {
			struct task *t = LIST_ENTRY(it, struct task, gnode);

			if (n == max || (n > 0 && bytes + t->bytes >= e->conf.batch_bytes))
				return n;
			bytes += t->bytes;
			ret[n++] = t;
		}
	return n;
}

void batch_assign(struct engine *e, struct task *leader, struct worker *w)
{
	struct group *g = leader->group;
	size_t max = (size_t)MIN((int64_t)g->n, (int64_t)g->key->step->def.batch.max_size), n, left = 0;
	struct task **all = ARENA_ARRAY(e->out->arena, struct task *, max);
	int64_t id = engine_next_id(e, e->now, leader->queue->tenant_no);

	turn_taken(e, leader);
	n = pick(e, g, all, max);
	eng_seal_for(e, FX_ASSIGN, all, n);	/* one transaction for all of them */
	g->is_forming = true;
	for (size_t i = 0; i < n; i++) {
		struct task *t = all[i];

		if (!limits_suffice(e, t)) {
			task_park(e, t);
			continue;
		}
		task_unwait(e, t);
		batch_enter(e, t, id);
		task_assign(e, t, w);
		(void)eng_store(e, FX_ASSIGN, t);
		limits_take(e, t);
		all[left++] = t;
	}
	for (size_t i = 0; i < left; i++) {
		struct fx *fx = eng_fx(e, FX_PUSH, all[i]);

		fx->index = (int32_t)i;
		fx->limit = (uint32_t)left;
	}
	g->is_forming = false;
	decide(e, g);
}

const struct task *group_leader(const struct task *t)
{
	return t->group->leader;
}

bool group_why(const struct engine *e, const struct task *t, struct eng_why *ret)
{
	const struct group *g = t->group;

	if (!g || g->leader)
		return false;
	ret->is_batched = true;
	ret->batch_size = (int32_t)g->n;
	ret->batch_max_size = g->key->step->def.batch.max_size;
	ret->batch_runs = (int32_t)g->key->n_running;
	ret->batch_max_runs = g->key->step->def.batch.max_runs;
	ret->batch_due_at = e->now.wall_us + (over_at(g) - e->now.mono_us);
	return true;
}

/* --- the end, and the check ------------------------------------------------------------------------------------------------ */

void batches_free(struct engine *e)
{
	size_t it = 0;
	void *p;

	while ((p = imap_next(&e->batches, &it, NULL)))
		free(p);
	it = 0;
	while ((p = imap_next(&e->batch_keys, &it, NULL))) {
		struct batch_key *k = p;

		LIST_FOREACH_SAFE(node, &k->groups) {
			struct group *g = LIST_ENTRY(node, struct group, of_key);

			heap_fini(&g->arrivals);
			free(g);
		}
		free(k);
	}
	imap_fini(&e->batches);
	imap_fini(&e->batch_keys);
}

#define MUST(cond, ...)                                                   \
	do {                                                              \
		if (!(cond))                                              \
			return err_set(err, ERR_INTERNAL, __VA_ARGS__);   \
	} while (0)

static bool check_group(const struct engine *e, const struct batch_key *k, const struct group *g, uint64_t *members, struct err *err)
{
	const struct eng_batch *b = &k->step->def.batch;
	int64_t bytes = 0;
	uint32_t n = 0;
	bool is_due;

	for (int i = 0; i < 4; i++) {
		int64_t last = 0;

		LIST_FOREACH(it, &g->members[i]) {
			const struct task *t = LIST_ENTRY(it, const struct task, gnode);

			MUST(t->group == g && t->rank == i && t->id > last && t->need == g->need && t->batch_hash == k->hash && t->waits,
			     "task %lld is in another's group, or out of order", (long long)t->id);
			MUST(list_linked(&t->qnode) == (t == g->leader), "task %lld is ready and no leader", (long long)t->id);
			last = t->id;
			bytes += t->bytes;
			n++;
		}
	}
	MUST(n == g->n && n > 0 && bytes == g->bytes && g->arrivals.n == n, "a group has %u members, counted %u", n, g->n);
	is_due = (int64_t)n >= b->max_size || bytes >= e->conf.batch_bytes || over_at(g) <= e->now.mono_us;
	MUST((g->leader != NULL) == (is_due && (int64_t)k->n_running < b->max_runs), "a group of %u is %s, led: %d, %u of %d batches run", n,
	     is_due ? "due" : "not due", g->leader != NULL, k->n_running, b->max_runs);
	MUST(!g->leader || g->leader == first_of(g), "a group is led by another than its first");
	MUST(is_due || g->due.it.idx > 0, "a group has no deadline");
	*members += n;
	return true;
}

bool batches_check(const struct engine *e, uint64_t *members, struct err *err)
{
	uint64_t running = 0;
	size_t it = 0;
	void *p;

	*members = 0;
	while ((p = imap_next(&e->batch_keys, &it, NULL))) {
		const struct batch_key *k = p;

		MUST((int64_t)k->n_running <= k->step->def.batch.max_runs || list_empty(&k->groups) || k->n_running > 0, "a key of batches is kept for nothing");
		running += k->n_running;
		LIST_FOREACH(node, &k->groups)
			if (!check_group(e, k, LIST_ENTRY(node, const struct group, of_key), members, err))
				return false;
	}
	MUST(running == e->batches.n, "%llu batches run, counted %llu", (unsigned long long)e->batches.n, (unsigned long long)running);
	it = 0;
	while ((p = imap_next(&e->batches, &it, NULL)))
		MUST(((const struct batch *)p)->n >= ((const struct batch *)p)->n_holding && ((const struct batch *)p)->n > 0, "a batch is miscounted");
	return true;
}
