/* Rate limits: a task takes units out of buckets in the moment it is assigned, all it needs or none.
 *
 * A bucket is full until something is taken; from then on its window runs, and at the end of it the bucket is full again.  Who lacks
 * units is parked with one bucket, outside of keys and queues, and holds nothing.  A bucket lets as many pass as it has units for;
 * they are not reserved for whom it let pass, so when those do not get a worker for a while, it lets others pass too, every time
 * twice as many: what cannot be placed hides nothing.  A refill is a matter of the clock and is not stored; what was taken is stored
 * in the flush of the assignment. */
#include "eng_int.h"

#include <stdlib.h>

enum { UNKNOWN = -1, CHUNK_US = 10000, ROUNDS_MAX = 20 };

/* --- tallies: how often each value is there, smallest first; mostly there is one value ------------------------------------------ */

static size_t tally_at(const struct tally *y, int64_t v)
{
	size_t lo = 0, hi = y->v.n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (y->v.p[mid].v < v)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void tally_add(struct tally *y, int64_t v)
{
	size_t i = tally_at(y, v);

	if (i == y->v.n || y->v.p[i].v != v) {
		vec_push(&y->v, ((struct tallied){0}));
		memmove(&y->v.p[i + 1], &y->v.p[i], (y->v.n - 1 - i) * sizeof(y->v.p[0]));
		y->v.p[i] = (struct tallied){.v = v};
	}
	y->v.p[i].n++;
}

static void tally_del(struct tally *y, int64_t v)
{
	size_t i = tally_at(y, v);

	assert(i < y->v.n && y->v.p[i].v == v);
	if (--y->v.p[i].n > 0)
		return;
	memmove(&y->v.p[i], &y->v.p[i + 1], (y->v.n - 1 - i) * sizeof(y->v.p[0]));
	y->v.n--;
}

/* --- buckets ---------------------------------------------------------------------------------------------------------------------- */

static void bucket_dirty(struct engine *e, struct bucket *b)
{
	if (!list_linked(&b->dirty))
		list_push_back(&e->dirty_buckets, &b->dirty);
}

static void bucket_changed(struct engine *e, struct bucket *b)
{
	bucket_dirty(e, b);
	if (!list_linked(&b->unstored))
		list_push_back(&e->unstored_buckets, &b->unstored);
}

static struct bucket *bucket_get(struct engine *e, int32_t tenant_no, uint64_t hash)
{
	struct bucket *b = imap_get(&e->buckets, (int64_t)hash);

	if (b)
		return b;
	b = xcalloc(1, sizeof(*b));
	*b = (struct bucket){.hash = hash, .tenant_no = tenant_no, .limit = UNKNOWN, .is_dynamic = true, .since = INT64_MIN,
		.due = {.kind = DUE_BUCKET, .it = {.tie = (int64_t)hash}}, .chunk_at = INT64_MAX};
	for (int i = 0; i < 4; i++)
		list_init(&b->parked[i]);
	list_init(&b->never);
	list_init(&b->keyed);
	(void)imap_put(&e->buckets, (int64_t)hash, b);
	return b;
}

void bucket_free(struct bucket *b)
{
	vec_fini(&b->limits.v);
	vec_fini(&b->windows.v);
	vec_fini(&b->units.v);
	free(b);
}

static struct fx *store(struct engine *e, const struct bucket *b)
{
	struct fx *fx = eng_fx(e, FX_BUCKET, NULL);

	fx->tenant_no = b->tenant_no;
	fx->lane = (int64_t)b->hash;
	fx->value = b->value;
	fx->max = b->limit;
	fx->window_us = b->window_us;
	fx->started_at = b->since;
	fx->is_dynamic = b->is_dynamic;
	return fx;
}

void buckets_store(struct engine *e)
{
	while (!list_empty(&e->unstored_buckets)) {
		struct bucket *b = LIST_ENTRY(e->unstored_buckets.next, struct bucket, unstored);

		list_del(&b->unstored);
		(void)store(e, b);
		b->is_stored = b->limit != UNKNOWN;
	}
}

static void drop(struct engine *e, struct bucket *b)
{
	if (b->is_stored) {
		b->limit = UNKNOWN;
		(void)store(e, b);
	}
	list_del(&b->dirty);
	list_del(&b->unstored);
	heap_del(&e->dues, &b->due.it);
	(void)imap_del(&e->buckets, (int64_t)b->hash);
	bucket_free(b);
}

static int64_t refill_at(const struct bucket *b)
{
	return b->since == INT64_MIN ? INT64_MAX : b->since + b->window_us;
}

/* Of a bucket with tasks parked only when it is decided: they come first. */
static void refill(const struct engine *e, struct bucket *b)
{
	if (e->now.wall_us < refill_at(b) || (b->units.v.n > 0 && !b->is_deciding))
		return;
	b->since = INT64_MIN;
	b->value = b->limit;
	b->n_rounds = 0;
	b->chunk_at = INT64_MAX;
}

/* Less is less at once, more is more from the next refill on. */
static void set_limit(struct engine *e, struct bucket *b, int32_t limit, int64_t window_us)
{
	if (b->limit == limit && b->window_us == window_us)
		return;
	refill(e, b);
	b->value = b->limit == UNKNOWN || b->since == INT64_MIN ? limit : MIN(b->value, limit);
	b->limit = limit;
	b->window_us = window_us;
	bucket_changed(e, b);
}

/* Tasks bring limits along: the lowest counts, and the longest window. */
static void brought(struct engine *e, struct bucket *b)
{
	if (b->limits.v.n > 0)
		set_limit(e, b, (int32_t)b->limits.v.p[0].v, b->windows.v.p[b->windows.v.n - 1].v);
}

/* --- a task's part ------------------------------------------------------------------------------------------------------------------ */

void limits_set(struct engine *e, struct task *t, const struct eng_limit *limits, uint32_t n)
{
	if (n == 0)
		return;
	t->takes = xcalloc(n, sizeof(*t->takes));
	t->n_takes = (uint8_t)n;
	for (uint32_t i = 0; i < n; i++) {
		struct bucket *b = bucket_get(e, t->queue->tenant_no, limits[i].bucket);

		t->takes[i] = (struct take){.task = t, .bucket = b, .units = limits[i].units, .limit = limits[i].limit,
			.window_us = limits[i].window_us};
		b->refs++;
		if (limits[i].limit == UNKNOWN)
			continue;
		tally_add(&b->limits, limits[i].limit);
		tally_add(&b->windows, limits[i].window_us);
		brought(e, b);
	}
}

void limits_free(struct engine *e, struct task *t)
{
	for (int i = 0; i < t->n_takes; i++) {
		struct take *k = &t->takes[i];
		struct bucket *b = k->bucket;

		b->refs--;
		if (k->limit != UNKNOWN) {
			tally_del(&b->limits, k->limit);
			tally_del(&b->windows, k->window_us);
			brought(e, b);
		}
		bucket_dirty(e, b);	/* nobody may need it any more */
	}
	free(t->takes);
	t->takes = NULL;
	t->n_takes = 0;
}

static int64_t may_pass(const struct bucket *b)
{
	return (int64_t)b->value << b->n_rounds;
}

/* Others were here first, and are let pass in their order; of that all buckets are content with any. */
static bool comes_later(const struct engine *e, const struct bucket *b, int rank)
{
	bool has_better = false;

	for (int i = 0; i <= rank; i++)
		has_better = has_better || !list_empty(&b->parked[i]);
	return has_better && !e->is_waking && b->units.v.n > 0 && b->units.v.p[0].v <= b->value;
}

/* As many have passed as there are units for.  Those of worse ranks do not count: whoever is better comes before them. */
static bool is_full(const struct bucket *b, const struct take *k)
{
	int64_t n = k->units;

	for (int i = 0; i <= k->task->rank; i++)
		n += b->passed[i];
	return n > may_pass(b);
}

/* The bucket that keeps @t waiting, by its units the one that is refilled last; NULL: none. */
static struct take *lacking(const struct engine *e, struct task *t, bool newly)
{
	struct take *ret = NULL, *later = NULL;

	for (int i = 0; i < t->n_takes; i++) {
		struct take *k = &t->takes[i];
		struct bucket *b = k->bucket;

		refill(e, b);
		if (b->limit == UNKNOWN || k->units > b->limit)
			return k;
		if (k->units > b->value && (!ret || refill_at(b) > refill_at(ret->bucket)))
			ret = k;
		else if (newly && k->units > 0 && (is_full(b, k) || comes_later(e, b, t->rank)))
			later = k;
	}
	return ret ? ret : later;
}

static void park_in(struct take *k)
{
	struct bucket *b = k->bucket;
	struct list *at;

	if (b->limit == UNKNOWN || k->units > b->limit) {
		list_push_back(&b->never, &k->node);
		return;
	}
	at = b->parked[k->task->rank].prev;
	while (at != &b->parked[k->task->rank] && LIST_ENTRY(at, struct take, node)->task->id > k->task->id)
		at = at->prev;
	list_insert_after(at, &k->node);
	tally_add(&b->units, k->units);
	k->is_tallied = true;
}

static void park(struct engine *e, struct task *t, struct take *k)
{
	t->parked = k;
	task_parked(e, t, 1);
	park_in(k);
	bucket_dirty(e, k->bucket);
	if (!t->is_unborn)
		limits_note(e, t);
}

/* Told once for each attempt.  A task that merely waits for others who were first is told nothing. */
void limits_note(struct engine *e, struct task *t)
{
	const struct take *k = t->parked;
	const struct bucket *b = k->bucket;
	struct fx *fx;

	if (t->is_told || (b->limit != UNKNOWN && k->units <= b->value))
		return;
	t->is_told = true;
	fx = eng_fx(e, FX_NOTE, t);
	fx->note = NOTE_RATE_LIMITED;
	fx->attempt = t->attempt;
	fx->finished_at = e->now.wall_us;
	fx->lane = (int64_t)b->hash;
	fx->limit = (uint32_t)k->units;
	fx->value = b->value;
	fx->max = b->limit;
	fx->due_at = refill_at(b) == INT64_MAX ? INT64_MIN : refill_at(b);
}

static void unpark_from(struct take *k)
{
	list_del(&k->node);
	if (k->is_tallied)
		tally_del(&k->bucket->units, k->units);
	k->is_tallied = false;
}

bool limits_wait(struct engine *e, struct task *t)
{
	struct take *k = lacking(e, t, true);

	if (k) {
		park(e, t, k);
		return true;
	}
	for (int i = 0; i < t->n_takes; i++) {
		k = &t->takes[i];
		k->bucket->passed[t->rank] += k->units;
		k->epoch = k->bucket->epoch;
		k->has_passed = true;
		if (t->n_places > 0)
			list_push_back(&k->bucket->keyed, &k->node);
	}
	return false;
}

void limits_leave(struct engine *e, struct task *t)
{
	if (t->parked) {
		unpark_from(t->parked);
		task_parked(e, t, -1);
		bucket_dirty(e, t->parked->bucket);
		t->parked = NULL;
		return;
	}
	for (int i = 0; i < t->n_takes; i++) {
		struct take *k = &t->takes[i];

		if (!k->has_passed)
			continue;
		k->has_passed = false;
		list_del(&k->node);
		if (k->epoch == k->bucket->epoch)
			k->bucket->passed[t->rank] -= k->units;
		bucket_dirty(e, k->bucket);
	}
}

bool limits_suffice(const struct engine *e, struct task *t)
{
	return !lacking(e, t, false);
}

void limits_take(struct engine *e, struct task *t)
{
	for (int i = 0; i < t->n_takes; i++) {
		struct take *k = &t->takes[i];
		struct bucket *b = k->bucket;

		if (k->units == 0)
			continue;
		if (b->since == INT64_MIN)
			b->since = e->now.wall_us;
		b->value -= k->units;
		b->n_rounds = 0;
		b->chunk_at = INT64_MAX;
		bucket_changed(e, b);
	}
}

/* --- decisions ---------------------------------------------------------------------------------------------------------------------- */

/* Units do not suffice for him who has passed and has places in keys, or waits for some: he gives them back. */
static void park_keyed(struct engine *e, struct bucket *b)
{
	LIST_FOREACH_SAFE(it, &b->keyed) {
		const struct take *k = LIST_ENTRY(it, const struct take, node);

		if (b->limit == UNKNOWN || k->units > b->value)
			task_park(e, k->task);
	}
}

static void sort_never(struct bucket *b)
{
	LIST_FOREACH_SAFE(it, &b->never) {
		struct take *k = LIST_ENTRY(it, struct take, node);

		if (b->limit == UNKNOWN || k->units > b->limit)
			continue;
		unpark_from(k);
		park_in(k);
	}
	for (int i = 0; i < 4 && b->units.v.n > 0 && b->units.v.p[b->units.v.n - 1].v > b->limit; i++)
		LIST_FOREACH_SAFE(it, &b->parked[i]) {
			struct take *k = LIST_ENTRY(it, struct take, node);

			if (k->units <= b->limit)
				continue;
			unpark_from(k);
			park_in(k);
		}
}

/* In their order, as many as may pass. */
static void wake(struct engine *e, struct bucket *b)
{
	for (int i = 0; i < 4; i++)
		LIST_FOREACH_SAFE(it, &b->parked[i]) {
			const struct take *k = LIST_ENTRY(it, const struct take, node);

			if (b->units.v.n == 0 || b->units.v.p[0].v > b->value)
				return;
			if (k->units > b->value)
				continue;
			if (k->units > 0 && is_full(b, k))
				break;
			limits_leave(e, k->task);
			task_go(e, k->task);
		}
}

static bool has_parked(const struct bucket *b)
{
	return b->units.v.n > 0;
}

static void arm(struct engine *e, struct bucket *b)
{
	int64_t at = INT64_MAX;

	if (has_parked(b) && b->units.v.p[0].v <= b->value) {
		if (b->chunk_at == INT64_MAX)
			b->chunk_at = e->now.mono_us + CHUNK_US;
		at = b->chunk_at;
	} else {
		b->chunk_at = INT64_MAX;
		if ((has_parked(b) || (b->is_dynamic && b->refs == 0)) && b->since != INT64_MIN)
			at = eng_mono(e, refill_at(b));
	}
	if (at == INT64_MAX)
		heap_del(&e->dues, &b->due.it);
	else
		heap_set(&e->dues, &b->due.it, at);
}

static void decide(struct engine *e, struct bucket *b)
{
	b->is_deciding = true;
	refill(e, b);
	b->is_deciding = false;
	sort_never(b);
	park_keyed(e, b);
	e->is_waking = true;
	if (b->limit != UNKNOWN)
		wake(e, b);
	e->is_waking = false;
	if (b->is_dynamic && b->refs == 0 && (b->limit == UNKNOWN || b->since == INT64_MIN))
		drop(e, b);
	else
		arm(e, b);
}

void buckets_run(struct engine *e)
{
	while (!list_empty(&e->dirty_buckets)) {
		struct bucket *b = LIST_ENTRY(e->dirty_buckets.next, struct bucket, dirty);

		list_del(&b->dirty);
		decide(e, b);
	}
}

/* Refilled, or who has passed gets no worker: they count no more, and others may try. */
void bucket_due(struct engine *e, struct bucket *b)
{
	if (b->chunk_at <= e->now.mono_us) {
		b->chunk_at = INT64_MAX;
		b->epoch++;
		memset(b->passed, 0, sizeof(b->passed));
		b->n_rounds = MIN(b->n_rounds + 1, ROUNDS_MAX);
	}
	bucket_dirty(e, b);
}

void bucket_event(struct engine *e, const struct ev *ev)
{
	const struct ev_bucket *n = &ev->bucket;
	struct bucket *b = bucket_get(e, ev->tenant_no, n->hash);

	if (n->restored) {
		b->limit = n->limit;
		b->value = n->value;
		b->since = n->since;
		b->window_us = n->window_us;
		b->is_dynamic = n->is_dynamic;
		b->is_stored = true;
		bucket_dirty(e, b);
		return;
	}
	if (n->limit == UNKNOWN) {
		b->since = INT64_MIN;
		b->is_dynamic = true;
		b->limit = UNKNOWN;
		b->value = 0;
		bucket_changed(e, b);
		brought(e, b);
	} else {
		b->is_dynamic = false;
		set_limit(e, b, n->limit, n->window_us);
		bucket_changed(e, b);
		brought(e, b);	/* while a task brings a limit along, that counts */
	}
	eng_answer(e, ev, ERR_OK, NULL);
}

bool engine_bucket(const struct engine *e, uint64_t hash, struct eng_bucket_view *ret)
{
	const struct bucket *b = imap_get(&e->buckets, (int64_t)hash);

	if (!b)
		return false;
	*ret = (struct eng_bucket_view){.limit = b->limit, .value = e->now.wall_us >= refill_at(b) ? b->limit : b->value,
		.window_us = b->window_us, .refill_at = refill_at(b) == INT64_MAX ? INT64_MIN : refill_at(b),
		.is_dynamic = b->is_dynamic};
	return true;
}
