/* The door: events in order, then due deadlines, then assignment.
 *
 * Order inside a flush is fixed by kind (ends, retries, inserts, loads, requeues, assigns, starts, touches), so a second
 * effect on the same task may have to wait for the next flush: eng_store() seals when it must.  Nothing here reads a clock. */
#include "eng_int.h"

#include "base/config.h"
#include "model/id.h"

const struct eng_conf eng_conf_default = {.heads_max = CONF_HEADS_MAX, .head_low = 1000, .load_max = 1000, .internal_retries_max = 10,
	.worker_silent_us = 30000000, .confirm_us = 5000000, .scan_max = 500, .batch_bytes = ENG_BATCH_BYTES};

/* Position of an effect inside its flush; 0: not stored. */
static uint8_t phase_of(enum fx_kind kind)
{
	static const uint8_t phases[] = {[FX_END] = 2, [FX_RETRY] = 3, [FX_INSERT] = 4, [FX_REVIVE] = 4, [FX_LOAD] = 5, [FX_REQUEUE] = 6,
		[FX_ASSIGN] = 7, [FX_START] = 8, [FX_TOUCH] = 9, [FX_NOTE] = 10};	/* buckets are of no task */

	return (size_t)kind < ARRAY_LEN(phases) ? phases[kind] : 0;
}

static void seal(struct engine *e)
{
	buckets_store(e);	/* with the assignments that took of them */
	vec_push(&e->out->v, ((struct fx){.kind = FX_SEAL}));
	engine_flush_sealed(e);
}

static bool must_seal(const struct engine *e, enum fx_kind kind, const struct task *t)
{
	uint8_t phase = phase_of(kind);

	if (kind == FX_END)
		return t->insert_gen == e->gen;
	return t->gen == e->gen && (phase < t->phase || (kind == FX_RETRY && phase == t->phase));
}

void eng_seal_for(struct engine *e, enum fx_kind kind, struct task *const *tasks, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (must_seal(e, kind, tasks[i])) {
			seal(e);
			return;
		}
}

struct fx *eng_fx(struct engine *e, enum fx_kind kind, const struct task *t)
{
	struct fx fx = {.kind = kind, .start_index = -1, .queued_at = INT64_MIN, .assigned_at = INT64_MIN, .started_at = INT64_MIN,
		.finished_at = INT64_MIN, .due_at = INT64_MIN};

	if (t) {
		fx.id = t->id;
		fx.tenant_no = t->queue->tenant_no;
		fx.action_no = t->queue->action_no;
		fx.step_no = t->step->def.step_no;
		fx.worker_no = t->worker ? t->worker->worker_no : 0;
		fx.rank = t->rank;
		fx.state = t->state;
		fx.attempt = t->attempt;
		fx.app_retries = t->app_retries;
		fx.internal_retries = t->internal_retries;
		fx.queued_at = t->queued_at;
		fx.assigned_at = t->assigned_at;
		fx.started_at = t->started_at;
		fx.due_at = t->due_at;
		fx.released = t->released;
		fx.batch_id = batch_id(t);
	}
	vec_push(&e->out->v, fx);
	return &e->out->v.p[e->out->v.n - 1];
}

/* An END after anything but the INSERT or REVIVE of its own flush is harmless: the later updates find no row. */
struct fx *eng_store(struct engine *e, enum fx_kind kind, struct task *t)
{
	uint8_t phase = phase_of(kind);
	struct fx *fx;

	if (must_seal(e, kind, t))
		seal(e);
	fx = eng_fx(e, kind, t);
	if (kind == FX_END && t->gen == e->gen)
		fx->start_index = t->start_index;
	if (t->gen != e->gen)
		t->start_index = -1;
	t->gen = e->gen;
	t->phase = phase;
	if (kind == FX_INSERT || kind == FX_REVIVE)
		t->insert_gen = e->gen;
	if (kind == FX_START)
		fx->index = t->start_index = e->n_starts++;
	return fx;
}

void eng_answer(struct engine *e, const struct ev *ev, enum err_code code, const char *text)
{
	struct fx *fx;

	if (!ev->ref)
		return;
	fx = eng_fx(e, FX_ANSWER, NULL);
	fx->id = ev->id;
	fx->tenant_no = ev->tenant_no;
	fx->ref = ev->ref;
	fx->payload = ev->payload;
	fx->code = code;
	fx->text = text;
}

int64_t eng_mono(const struct engine *e, int64_t wall_us)
{
	return e->now.mono_us + (wall_us - e->now.wall_us);
}

struct engine *engine_new(const struct eng_conf *conf)
{
	struct engine *e = xcalloc(1, sizeof(*e));

	e->conf = *conf;
	e->gen = 1;
	list_init(&e->dirty_queues);
	list_init(&e->dirty_keys);
	list_init(&e->starving_keys);
	list_init(&e->dirty_buckets);
	list_init(&e->unstored_buckets);
	list_init(&e->dirty_workers);
	return e;
}

void engine_free(struct engine *e)
{
	size_t it = 0;
	int64_t key;
	void *p;

	if (!e)
		return;
	while ((p = imap_next(&e->steps, &it, &key))) {
		need_free(((struct step *)p)->need);
		free(p);
	}
	it = 0;
	while ((p = imap_next(&e->tasks, &it, &key))) {
		free(((struct task *)p)->places);
		free(((struct task *)p)->takes);
	}
	it = 0;
	while ((p = imap_next(&e->keys, &it, &key)))
		key_free(p);
	it = 0;
	while ((p = imap_next(&e->buckets, &it, &key)))
		bucket_free(p);
	imap_fini(&e->buckets);
	it = 0;
	while ((p = imap_next(&e->flows, &it, &key)))
		flow_free(p);
	imap_fini(&e->flows);
	it = 0;
	while ((p = imap_next(&e->strategies, &it, &key)))
		free(p);
	it = 0;
	while ((p = imap_next(&e->needs, &it, &key)))
		need_free(p);
	it = 0;
	while ((p = imap_next(&e->queues, &it, &key))) {
		struct queue *q = p;

		vec_fini(&q->workers);
		for (int i = 0; i < 4; i++)
			tail_fini(&q->ranks[i]);
		free(q);
	}
	it = 0;
	while ((p = imap_next(&e->workers, &it, &key))) {
		vec_fini(&((struct worker *)p)->queues);
		vec_fini(&((struct worker *)p)->labels);
		free(p);
	}
	for (size_t i = 0; i < e->slabs.n; i++)
		free(e->slabs.p[i]);
	vec_fini(&e->slabs);
	it = 0;
	while ((p = imap_next(&e->families, &it, &key)))
		free(p);
	recent_fini(&e->gone);
	recent_fini(&e->cancelled);
	vec_fini(&e->orphaned);
	batches_free(e);
	imap_fini(&e->families);
	imap_fini(&e->tasks);
	imap_fini(&e->steps);
	imap_fini(&e->queues);
	imap_fini(&e->workers);
	imap_fini(&e->needs);
	imap_fini(&e->keys);
	imap_fini(&e->strategies);
	heap_fini(&e->dues);
	free(e);
}

int64_t engine_next_id(struct engine *e, struct now now, int32_t tenant_no)
{
	int64_t ms = now.wall_us / 1000, last_ms = id_unix_ms(e->last_id);
	uint16_t counter = 0;

	if (ms <= last_ms) {
		ms = last_ms;
		counter = (uint16_t)(e->last_id & 0xffff);
		if (counter == UINT16_MAX)
			ms++;
		counter++;
	}
	e->last_id = id_make(ms, 0, counter);
	return id_make(ms, tenant_no, counter);
}

void engine_id_floor(struct engine *e, int64_t id)
{
	int64_t floor = id_make(id_unix_ms(id), 0, UINT16_MAX);

	if (id > 0 && floor > e->last_id)
		e->last_id = floor;
}

void engine_flush_sealed(struct engine *e)
{
	e->gen++;
	e->n_starts = 0;
}

int64_t engine_next_deadline_us(const struct engine *e)
{
	const struct heap_item *it = heap_min(&e->dues);

	return it ? it->at : INT64_MAX;
}

static void step_event(struct engine *e, const struct ev_step *def)
{
	struct step *s = imap_get(&e->steps, def->step_no);

	if (!s) {
		s = xcalloc(1, sizeof(*s));
		(void)imap_put(&e->steps, def->step_no, s);
	}
	s->def = *def;
	s->flow = flow_get(e, def->workflow_no);
	if (!s->need)
		s->need = need_of_step(e, s);
	s->def.wants = NULL;	/* the need has its own */
	s->def.n_wants = 0;
}

static void dispatch(struct engine *e, const struct ev *ev)
{
	switch (ev->kind) {
	case EV_STRATEGY:
		strategy_event(e, &ev->strategy);
		break;
	case EV_FLOW:
		flow_event(e, ev);
		break;
	case EV_BUCKET:
		bucket_event(e, ev);
		break;
	case EV_STEP:
		step_event(e, &ev->step);
		break;
	case EV_WORKER:
	case EV_LABELS:
	case EV_STREAM_UP:
	case EV_STREAM_DOWN:
	case EV_BEAT:
	case EV_PAUSE:
	case EV_WORKER_END:
	case EV_STALL:
		worker_event(e, ev);
		break;
	case EV_NEW:
	case EV_STARTED:
	case EV_COMPLETED:
	case EV_FAILED:
	case EV_CANCEL:
	case EV_REPLAY:
	case EV_RELEASE_SLOT:
	case EV_REFRESH:
	case EV_PUSH_FAILED:
	case EV_PUSH_TOO_LARGE:
	case EV_REFUSED:
	case EV_RESTORE:
	case EV_LOADED:
		task_event(e, ev);
		break;
	case EV_ECHO:
		eng_answer(e, ev, ERR_OK, NULL);
		break;
	case EV_TAIL:
	case EV_LOAD_DONE:
	case EV_EXPIRED:
	case EV_SCAN_DONE:
		tail_event(e, ev);
		break;
	}
}

static void fire(struct engine *e)
{
	struct heap_item *it;

	while ((it = heap_min(&e->dues)) && it->at <= e->now.mono_us) {
		struct due *d = container_of(it, struct due, it);

		heap_del(&e->dues, it);
		switch (d->kind) {
		case DUE_TASK:
			task_due(e, container_of(d, struct task, due));
			break;
		case DUE_CONFIRM:
			task_confirm_due(e, container_of(d, struct task, due));
			break;
		case DUE_WORKER:
			worker_silent(e, container_of(d, struct worker, silent));
			break;
		case DUE_BUCKET:
			bucket_due(e, container_of(d, struct bucket, due));
			break;
		case DUE_GROUP:
			group_due(e, d);
			break;
		case DUE_TAIL:
			tail_due(e, container_of(d, struct rank, due));
			break;
		}
	}
}

void engine_step(struct engine *e, struct now now, const struct ev *evs, size_t n, struct fx_list *out)
{
	e->now = now;
	e->out = out;
	for (size_t i = 0; i < n; i++) {
		dispatch(e, &evs[i]);
		family_run(e);
	}
	do {	/* again, when the wall clock has jumped over what was armed just now */
		settle(e);	/* who gets his place now is not overdue for it */
		fire(e);
		sched_run(e);
	} while (engine_next_deadline_us(e) <= now.mono_us);
	buckets_store(e);
	e->out = NULL;
}

bool engine_has_step(const struct engine *e, int32_t step_no)
{
	return imap_get(&e->steps, step_no) != NULL;
}

bool engine_task(const struct engine *e, int64_t id, struct eng_task_view *ret)
{
	const struct task *t = imap_get(&e->tasks, id);

	if (!t)
		return false;
	*ret = (struct eng_task_view){.id = id, .tenant_no = t->queue->tenant_no, .step_no = t->step->def.step_no,
		.action_no = t->queue->action_no, .worker_no = t->worker ? t->worker->worker_no : 0, .state = t->state,
		.rank = t->rank, .attempt = t->attempt, .queued_at = t->queued_at, .assigned_at = t->assigned_at,
		.started_at = t->started_at, .due_at = t->due_at,
		.limited_by = t->parked ? t->parked->bucket->hash : 0, .units = t->parked ? t->parked->units : 0,
		.is_paused = t->is_paused, .batch_id = batch_id(t), .waits_for = t->waits && !t->parked && !t->is_paused && t->n_held < t->n_places ? t->places[t->n_held].key->hash : 0};
	return true;
}

bool engine_worker(const struct engine *e, int32_t worker_no, struct eng_worker_view *ret)
{
	const struct worker *w = imap_get(&e->workers, worker_no);

	if (!w)
		return false;
	*ret = (struct eng_worker_view){.last_seen_mono_us = w->last_seen, .stream_open = w->stream_open, .paused = w->paused,
		.ended = w->ended, .n_running = w->n_running};
	memcpy(ret->limit, w->limit, sizeof(ret->limit));
	memcpy(ret->used, w->used, sizeof(ret->used));
	return true;
}

struct eng_stats engine_stats(const struct engine *e)
{
	return (struct eng_stats){.queued = e->n_waiting, .running = e->n_running, .backoff = e->n_backoff, .workers = e->workers.n,
		.tails = e->n_tails};
}
