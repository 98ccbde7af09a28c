/* Workers: slots, sessions, signs of life.  The silence deadline is re-armed lazily, so a heartbeat touches no heap. */
#include "eng_int.h"

void worker_seen(struct engine *e, struct worker *w)
{
	w->last_seen = e->now.mono_us;
	if (w->is_silent) {
		w->is_silent = false;
		worker_dirty(e, w);
	}
}

static void worker_free(struct engine *e, struct worker *w)
{
	for (size_t i = 0; i < w->queues.n; i++) {
		struct queue *q = w->queues.p[i];

		for (size_t j = 0; j < q->workers.n; j++)
			if (q->workers.p[j] == w) {
				memmove(&q->workers.p[j], &q->workers.p[j + 1], (q->workers.n - j - 1) * sizeof(q->workers.p[0]));
				q->workers.n--;
				break;
			}
	}
	heap_del(&e->dues, &w->silent.it);
	list_del(&w->dirty);
	(void)imap_del(&e->workers, w->worker_no);
	vec_fini(&w->queues);
	vec_fini(&w->labels);
	free(w);
}

static void set_labels(struct worker *w, const struct ev_worker *def)
{
	vec_clear(&w->labels);
	for (uint32_t i = 0; i < def->n_labels; i++)
		vec_push(&w->labels, def->labels[i]);
}

void worker_silent(struct engine *e, struct worker *w)
{
	int64_t until = w->last_seen + e->conf.worker_silent_us;

	if (until > e->now.mono_us) {
		heap_set(&e->dues, &w->silent.it, until);
		return;
	}
	w->is_silent = true;	/* first, or what it loses would come back to it */
	while (!list_empty(&w->running))
		task_lost(e, LIST_ENTRY(w->running.next, struct task, wnode), NOTE_REASSIGNED,
			  "the worker gave no sign of life for 30 s");
	if (!w->stream_open)
		worker_free(e, w);
}

static void worker_new(struct engine *e, const struct ev_worker *def)
{
	struct worker *w = imap_get(&e->workers, def->worker_no);

	if (w)
		return;
	w = xcalloc(1, sizeof(*w));
	w->worker_no = def->worker_no;
	w->tenant_no = def->tenant_no;
	w->paused = def->paused;
	w->last_seen = e->now.mono_us;
	w->silent = (struct due){.kind = DUE_WORKER, .it = {.tie = def->worker_no}};
	list_init(&w->running);
	memcpy(w->limit, def->slots, sizeof(w->limit));
	for (size_t i = 0; i < ENG_SLOT_TYPES; i++)
		w->used[i].type_no = w->limit[i].type_no;
	set_labels(w, def);
	for (uint32_t i = 0; i < def->n_actions; i++) {
		struct queue *q = queue_get(e, def->tenant_no, def->actions[i]);

		vec_push(&w->queues, q);
		vec_push(&q->workers, w);
	}
	(void)imap_put(&e->workers, def->worker_no, w);
	heap_set(&e->dues, &w->silent.it, w->last_seen + e->conf.worker_silent_us);
}

/* What was written to an older stream and not yet confirmed gets a little time from now. */
static void stream_up(struct engine *e, struct worker *w, int64_t session)
{
	if (session <= w->session)
		return;
	w->session = session;
	w->stream_open = true;
	w->ended = false;
	w->stalled = false;
	LIST_FOREACH(it, &w->running) {
		struct task *t = LIST_ENTRY(it, struct task, wnode);

		if (t->state != LIVE_ASSIGNED || t->session == session || t->confirming)
			continue;
		t->confirming = true;
		t->confirm_at = e->now.mono_us + e->conf.confirm_us;
		task_confirm(e, t, t->due.it.at);
	}
	worker_dirty(e, w);
}

void worker_event(struct engine *e, const struct ev *ev)
{
	struct worker *w = imap_get(&e->workers, ev->worker_no);

	if (ev->kind == EV_WORKER) {
		worker_new(e, &ev->worker);
		return;
	}
	if (!w)
		return;
	if (ev->kind == EV_LABELS) {
		set_labels(w, &ev->worker);
		worker_dirty(e, w);
		return;
	}
	if (ev->kind != EV_STALL && ev->kind != EV_PAUSE && ev->kind != EV_STREAM_DOWN)
		worker_seen(e, w);
	if (ev->kind == EV_STREAM_UP) {
		stream_up(e, w, ev->session);
	} else if (ev->kind == EV_STREAM_DOWN) {
		if (ev->session == w->session)
			w->stream_open = false;
	} else if (ev->kind == EV_PAUSE || ev->kind == EV_STALL) {
		*(ev->kind == EV_PAUSE ? &w->paused : &w->stalled) = ev->on;
		worker_dirty(e, w);
	} else if (ev->kind == EV_WORKER_END) {
		w->ended = true;
	}
	if (!w->silent.it.idx)
		heap_set(&e->dues, &w->silent.it, w->last_seen + e->conf.worker_silent_us);
}
