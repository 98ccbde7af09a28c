/* Why a task waits: what eng_key.c, eng_need.c and eng_sched.c would say of it, told without changing anything. */
#include "engine/why.h"
#include "eng_int.h"

/* What a task asks of a worker, in memory or not. */
struct ask {
	const struct step *step;
	const struct eng_want *wants;
	uint32_t n_wants;
	int32_t desired_no;
};

/* The first type of slot of which it has too few. */
static bool lacks_slots(const struct worker *w, const struct step *s, bool now, struct eng_why_worker *ret)
{
	for (size_t i = 0; i < ENG_STEP_SLOTS && s->def.slots[i].units > 0; i++) {
		int32_t limit = 0, used = 0;

		for (size_t j = 0; j < ENG_SLOT_TYPES && w->limit[j].units > 0; j++)
			if (w->limit[j].type_no == s->def.slots[i].type_no) {
				limit = w->limit[j].units;
				used = w->used[j].units;
			}
		if (limit - (now ? used : 0) >= s->def.slots[i].units)
			continue;
		ret->slot_type = s->def.slots[i].type_no;
		ret->wanted = s->def.slots[i].units;
		ret->used = used;
		ret->limit = limit;
		return true;
	}
	return false;
}

static bool labels_fail(const struct ask *a, const struct worker *w, struct eng_why_worker *ret)
{
	for (uint32_t i = 0; i < a->n_wants; i++) {
		if (need_want_is_met(&a->wants[i], w)) {
			ret->weight += a->wants[i].weight;
		} else if (a->wants[i].required) {
			if (ret->n_unmet < ENG_WHY_UNMET)
				ret->unmet[ret->n_unmet] = (uint16_t)i;
			ret->n_unmet++;
		}
	}
	return ret->n_unmet > 0 || ret->weight < 0;
}

static enum eng_near near_of(const struct ask *a, const struct worker *w, struct eng_why_worker *ret, bool *ret_may_fit)
{
	struct eng_why_worker never;

	if (!w->stream_open || w->ended || w->is_silent)
		return NEAR_AWAY;
	if (w->paused)
		return NEAR_PAUSED;
	if (a->step->def.sticky == STICKY_HARD && a->desired_no && a->desired_no != w->worker_no)
		return NEAR_OTHER;
	if (labels_fail(a, w, ret))
		return NEAR_LABELS;
	*ret_may_fit |= !lacks_slots(w, a->step, false, &never);
	if (w->stalled)
		return NEAR_STALLED;
	return lacks_slots(w, a->step, true, ret) ? NEAR_SLOTS : NEAR_FITS;
}

/* Fewer unmet labels, fewer units lacking. */
static bool is_nearer(const struct eng_why_worker *a, const struct eng_why_worker *b)
{
	int64_t lacks_a = (int64_t)a->wanted - a->limit + a->used, lacks_b = (int64_t)b->wanted - b->limit + b->used;

	if (a->n_unmet != b->n_unmet)
		return a->n_unmet < b->n_unmet;
	return lacks_a != lacks_b ? lacks_a < lacks_b : a->weight > b->weight;
}

static void list_worker(struct eng_why *ret, enum eng_near near, const struct eng_why_worker *w)
{
	struct eng_why_worker *all = ret->workers[near];
	uint32_t n = MIN(ret->n_workers[near], (uint32_t)ENG_WHY_LIST), at = n;

	ret->n_workers[near]++;
	while (at > 0 && is_nearer(w, &all[at - 1]))
		at--;
	if (at == ENG_WHY_LIST)
		return;
	memmove(&all[at + 1], &all[at], (MIN(n, (uint32_t)ENG_WHY_LIST - 1) - at) * sizeof(all[0]));
	all[at] = *w;
}

static void look_at_workers(const struct ask *a, const struct queue *q, struct eng_why *ret)
{
	ret->desired_no = a->desired_no;
	for (size_t i = 0; i < q->workers.n; i++) {
		struct eng_why_worker w = {.worker_no = q->workers.p[i]->worker_no};
		enum eng_near near = near_of(a, q->workers.p[i], &w, &ret->may_fit);

		list_worker(ret, near, &w);
	}
}

/* --- keys ------------------------------------------------------------------------------------------------------------------- */

static void look_at_key(const struct key *k, uint32_t at, struct eng_why *ret)
{
	ret->waits_for_key = true;
	ret->key_at = at;
	ret->key_limit = key_limit(k);
	ret->n_holders = k->n_holders;
	ret->n_waiters = k->n_waiters;
	LIST_FOREACH(it, &k->holders) {
		const struct place *p = LIST_ENTRY(it, const struct place, node);

		if (ret->n_listed == ENG_WHY_LIST)
			break;
		ret->holders[ret->n_listed++] = (struct eng_why_holder){.id = p->task->id, .since = p->held_at, .is_running = p->task->worker};
	}
}

static uint32_t waiters_before(const struct key *k, const struct task *t)
{
	uint32_t n = 0;

	for (int i = 0; i < t->rank; i++)
		n += k->n_rank[i];
	LIST_FOREACH(it, &k->waiters[t->rank]) {
		if (LIST_ENTRY(it, const struct place, node)->task == t || n >= ENG_WHY_AHEAD_MAX)
			break;
		n++;
	}
	return MIN(n, (uint32_t)ENG_WHY_AHEAD_MAX);
}

/* Of a task in the tail: the first key that has no place free, else the one in whose tail it stands. */
static void look_at_row_keys(const struct engine *e, const struct step *s, const struct eng_why_row *row, struct eng_why *ret)
{
	for (uint32_t i = 0; i < s->def.n_strategies; i++) {
		const struct key *k = imap_get(&e->keys, (int64_t)row->entries[i].key);

		if (!k || ((int64_t)k->n_holders < key_limit(k) && !(i == 0 && row->has_turn)))
			continue;
		look_at_key(k, i, ret);
		for (int rank = 0; rank <= row->rank; rank++)
			ret->key_ahead += k->n_rank[rank];
		return;
	}
}

/* --- rate limits -------------------------------------------------------------------------------------------------------------- */

static void look_at_limit(const struct engine *e, uint64_t hash, int32_t units, bool is_parked, struct eng_why *ret)
{
	struct eng_bucket_view b = {.limit = -1, .refill_at = INT64_MIN};

	(void)engine_bucket(e, hash, &b);
	if (ret->n_limits == ENG_TASK_LIMITS || (!is_parked && b.limit != -1 && units <= b.value))
		return;
	ret->limits[ret->n_limits++] = (struct eng_why_limit){.bucket = hash, .units = units, .limit = b.limit, .value = b.value,
		.refill_at = b.refill_at, .is_first = b.limit != -1 && units <= b.value};
}

/* --- the queue -------------------------------------------------------------------------------------------------------------- */

static uint32_t ready_before(const struct task *t)
{
	const struct list *ready = t->lane ? &t->lane->ready : &t->need->ready[t->rank];
	uint32_t n = 0;

	for (int i = 0; i < t->rank; i++)
		n += t->queue->ranks[i].n;
	LIST_FOREACH(it, ready) {
		if (LIST_ENTRY(it, const struct task, qnode) == t || n >= ENG_WHY_AHEAD_MAX)
			break;
		n++;
	}
	return MIN(n, (uint32_t)ENG_WHY_AHEAD_MAX);
}

static void of_task(const struct engine *e, const struct task *t, struct eng_why *ret)
{
	struct ask a = {.step = t->step, .wants = t->need->wants, .n_wants = t->need->n_wants, .desired_no = t->need->desired_no};

	*ret = (struct eng_why){.in_memory = true, .state = t->state, .rank = t->rank, .attempt = t->attempt,
		.worker_no = t->worker ? t->worker->worker_no : 0, .due_at = t->due_at};
	for (int i = 0; t->waits && i < t->n_takes; i++)
		look_at_limit(e, t->takes[i].bucket->hash, t->takes[i].units, t->parked == &t->takes[i], ret);
	if (t->parked || t->is_paused) {
		;	/* it asks for nothing else yet */
	} else if (t->waits && t->n_held < t->n_places) {
		look_at_key(t->places[t->n_held].key, t->n_held, ret);
		ret->key_ahead = waiters_before(t->places[t->n_held].key, t);
	} else if (t->waits && !group_why(e, t, ret)) {
		ret->ahead = ready_before(t->group ? group_leader(t) : t);
	}
	look_at_workers(&a, t->queue, ret);
}

bool engine_why(const struct engine *e, int64_t id, const struct eng_why_row *row, struct eng_why *ret)
{
	const struct task *t = imap_get(&e->tasks, id);
	const struct step *s = row ? imap_get(&e->steps, row->step_no) : NULL;
	struct ask a;

	if (t) {
		of_task(e, t, ret);
		return true;
	}
	if (!s)
		return false;
	*ret = (struct eng_why){.state = LIVE_QUEUED, .rank = row->rank, .due_at = INT64_MIN};
	a = (struct ask){.step = s, .desired_no = row->place.desired_no, .wants = row->place.has_wants ? row->place.wants : s->need->wants,
		.n_wants = row->place.has_wants ? row->place.n_wants : s->need->n_wants};
	for (uint32_t i = 0; i < row->n_limits; i++)
		look_at_limit(e, row->limits[i].bucket, row->limits[i].units, false, ret);
	look_at_row_keys(e, s, row, ret);
	for (int i = 0; i <= row->rank; i++)
		ret->ahead += s->need->queue->ranks[i].n;
	look_at_workers(&a, s->need->queue, ret);
	return true;
}
