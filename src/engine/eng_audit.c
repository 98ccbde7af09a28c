/* The audit: memory against the tables, and its counters against its tasks. */
#include "engine/audit.h"
#include "eng_int.h"

#include <stdlib.h>

static void differs(struct eng_audit *a, struct eng_diff d)
{
	a->differs(a->arg, &d);
}

static void same(struct eng_audit *a, enum eng_diff_kind kind, int64_t id, int64_t memory, int64_t tables)
{
	if (memory != tables)
		differs(a, (struct eng_diff){.kind = kind, .id = id, .memory = memory, .tables = tables});
}

static bool is_loading(const struct engine *e, const struct eng_audit_row *row)
{
	const struct step *s = imap_get(&e->steps, row->step_no);
	const struct queue *q = s ? imap_get(&e->queues, s->def.action_no) : NULL;

	if (!q || row->state != LIVE_QUEUED)
		return false;
	for (int i = 0; i < 4; i++)
		if (q->ranks[i].plain.loading)
			return true;
	for (uint32_t i = 0; i < row->n_keys; i++) {
		const struct key *k = imap_get(&e->keys, (int64_t)row->keys[i]);

		if (k)
			LIST_FOREACH(it, &k->tails)
				if (LIST_ENTRY(it, const struct tail, of_key)->loading)
					return true;
	}
	return false;
}

/* The row has been moved by a load that memory has not heard of yet. */
static bool is_unsettled(const struct engine *e, const struct eng_audit *a, int64_t id, const struct task *t, const struct eng_audit_row *row)
{
	return a->is_unsettled && a->is_unsettled(a->arg, id, !t && row && is_loading(e, row));
}

static void task_and_row(struct eng_audit *a, const struct task *t, const struct eng_audit_row *r)
{
	same(a, DIFF_LIVE_STATE, t->id, t->state, r->state);
	same(a, DIFF_LIVE_ATTEMPT, t->id, t->attempt, r->attempt);
	same(a, DIFF_LIVE_ON, t->id, t->worker ? t->worker->worker_no : 0, r->worker_no);
	same(a, DIFF_LIVE_RANK, t->id, t->rank, r->rank);
	same(a, DIFF_LIVE_RETRIES, t->id, t->app_retries * 1000 + t->internal_retries, r->app_retries * 1000 + r->internal_retries);
	same(a, DIFF_LIVE_STEP, t->id, t->step->def.step_no, r->step_no);
	same(a, DIFF_LIVE_RELEASED, t->id, t->worker ? t->released : 0, t->worker ? r->released : 0);
	for (uint32_t i = 0; i < t->n_places; i++)
		if (i >= r->n_keys || t->places[i].key->hash != r->keys[i])
			differs(a, (struct eng_diff){.kind = DIFF_KEY, .id = t->id, .memory = i, .tables = i});
}

void engine_audit_task(const struct engine *e, struct eng_audit *a, int64_t id, const struct eng_audit_row *row)
{
	const struct task *t = imap_get(&e->tasks, id);

	if (is_unsettled(e, a, id, t, row))
		return;
	a->n_checked++;
	if (t && row)
		task_and_row(a, t, row);
	else if (t)
		differs(a, (struct eng_diff){.kind = DIFF_LIVE_MISSING, .id = id, .memory = t->state});
	else if (row)
		differs(a, (struct eng_diff){.kind = DIFF_LIVE_UNKNOWN, .id = id, .tables = row->state});
}

static bool has_row(const struct eng_audit_row *rows, size_t n, int64_t id)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (rows[mid].id == id)
			return true;
		if (rows[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

void engine_audit_rows(const struct engine *e, struct eng_audit *a, int64_t lo, int64_t hi, const struct eng_audit_row *rows, size_t n)
{
	const struct task *t;
	size_t it = 0;
	int64_t id;

	for (size_t i = 0; i < n; i++)
		engine_audit_task(e, a, rows[i].id, &rows[i]);
	while ((t = imap_next(&e->tasks, &it, &id)))
		if (id > lo && id <= hi && (!a->tenant_no || t->queue->tenant_no == a->tenant_no) && !has_row(rows, n, id))
			engine_audit_task(e, a, id, NULL);
}

/* --- counters ------------------------------------------------------------------------------------------------------------------ */

static int32_t units_of(const struct task *t, int32_t type_no)
{
	for (size_t i = 0; i < ENG_STEP_SLOTS && t->step->def.slots[i].units > 0; i++)
		if (t->step->def.slots[i].type_no == type_no)
			return t->step->def.slots[i].units;
	return 0;
}

static void worker_counters(struct eng_audit *a, const struct worker *w)
{
	int64_t used[ENG_SLOT_TYPES] = {0}, n = 0;
	struct imap batches = {0};

	LIST_FOREACH(it, &w->running) {
		const struct task *t = LIST_ENTRY(it, const struct task, wnode);
		bool is_first = true;

		if (t->batch && !t->released && imap_put(&batches, batch_id(t), a))
			is_first = false;	/* the slot is that of all members */
		for (size_t i = 0; is_first && !t->released && i < ENG_SLOT_TYPES && w->limit[i].units > 0; i++)
			used[i] += units_of(t, w->limit[i].type_no);
		n += t->worker == w;
	}
	imap_fini(&batches);
	a->n_checked++;
	if (n != w->n_running)
		differs(a, (struct eng_diff){.kind = DIFF_RUNNING, .worker_no = w->worker_no, .memory = w->n_running, .tables = n});
	for (size_t i = 0; i < ENG_SLOT_TYPES && w->limit[i].units > 0; i++) {
		struct eng_diff d = {.worker_no = w->worker_no, .type_no = w->limit[i].type_no, .memory = w->used[i].units};

		a->n_checked++;
		d.kind = DIFF_SLOTS;
		d.tables = used[i];
		if (used[i] != w->used[i].units)
			differs(a, d);
		d.kind = DIFF_SLOTS_LIMIT;
		d.tables = w->limit[i].units;
		if (w->used[i].units > w->limit[i].units)
			differs(a, d);
	}
}

struct seen {
	int64_t holders, waiters;
	int32_t tenant_no;
};

static void count_places(struct imap *keys, const struct task *t)
{
	for (int i = 0; i < t->n_places; i++) {
		const struct place *p = &t->places[i];
		struct seen *s = imap_get(keys, (int64_t)p->key->hash);

		if (!list_linked(&p->node))
			continue;
		if (!s) {
			s = xcalloc(1, sizeof(*s));
			(void)imap_put(keys, (int64_t)p->key->hash, s);
		}
		s->tenant_no = t->queue->tenant_no;
		s->holders += i < t->n_held;
		s->waiters += i >= t->n_held;
	}
}

static void key_counters(struct eng_audit *a, const struct key *k, const struct seen *s)
{
	static const struct seen none;
	struct eng_diff d = {.key = k->hash, .type_no = k->strategy->def.strategy_no};

	s = s ? s : &none;
	if (a->tenant_no && s->tenant_no && s->tenant_no != a->tenant_no)
		return;
	a->n_checked++;
	d.kind = DIFF_KEY_HOLDERS;
	d.memory = k->n_holders;
	d.tables = s->holders;
	if (d.memory != d.tables)
		differs(a, d);
	d.kind = DIFF_KEY_WAITERS;
	d.memory = k->n_waiters;
	d.tables = s->waiters;
	if (d.memory != d.tables)
		differs(a, d);
}

void engine_audit_counters(const struct engine *e, struct eng_audit *a)
{
	int64_t waiting = 0, running = 0, backoff = 0, no;
	struct imap keys = {0};
	size_t it = 0;
	void *p;

	while ((p = imap_next(&e->tasks, &it, &no))) {
		const struct task *t = p;

		count_places(&keys, t);
		waiting += t->state == LIVE_QUEUED;
		running += t->state == LIVE_ASSIGNED || t->state == LIVE_STARTED;
		backoff += t->state == LIVE_BACKOFF;
	}
	it = 0;
	while ((p = imap_next(&e->workers, &it, &no)))
		if (!a->tenant_no || ((const struct worker *)p)->tenant_no == a->tenant_no)
			worker_counters(a, p);
	it = 0;
	while ((p = imap_next(&e->keys, &it, &no)))
		key_counters(a, p, imap_get(&keys, no));
	it = 0;
	while ((p = imap_next(&keys, &it, &no)))
		free(p);
	imap_fini(&keys);
	a->n_checked += 3;
	same(a, DIFF_TOTAL_QUEUED, 0, (int64_t)e->n_waiting, waiting);
	same(a, DIFF_TOTAL_RUNNING, 0, (int64_t)e->n_running, running);
	same(a, DIFF_TOTAL_BACKOFF, 0, (int64_t)e->n_backoff, backoff);
}

void engine_audit_tail(const struct engine *e, struct eng_audit *a, int32_t tenant_no, int32_t action_no, int8_t rank, int64_t lane)
{
	struct queue *q = imap_get(&e->queues, action_no);
	const struct tail *l = q ? tail_find(e, &q->ranks[rank], lane) : NULL;

	if ((a->tenant_no && a->tenant_no != tenant_no) || (a->is_unsettled && a->is_unsettled(a->arg, -(int64_t)action_no, false)))
		return;
	a->n_checked++;
	if (!l || (!l->has_rows && !l->loading))
		differs(a, (struct eng_diff){.kind = DIFF_TAIL_FORGOTTEN, .action_no = action_no, .key = (uint64_t)lane, .tables = rank});
}
