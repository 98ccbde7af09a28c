/* Workers as streams: who listens, what is written to whom.
 *
 * The newest stream of a worker is the one written to.  A push is written once; a stream without room keeps it here, in
 * order, and the engine assigns nothing more to that worker until there is room again. */
#include "svc_int.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { LISTEN_BEAT_US = 4000000 };

/* --- dictionary to engine ------------------------------------------------------------------------------------------------ */

void svc_step_event(struct svc *s, const struct cat_step *step)
{
	struct eng_place place = svc_place(s, 0, step->n_wants > 0, step->wants, step->n_wants);
	struct ev *ev = svc_event(s, EV_STEP);

	ev->step = (struct ev_step){.step_no = step->step_no, .tenant_no = step->version->workflow->tenant_no,
		.action_no = step->action->action_no, .workflow_no = step->version->workflow->workflow_no, .retries = step->retries, .backoff_milli = step->backoff_milli,
		.backoff_max_s = step->backoff_max_s, .schedule_ms = step->schedule_ms, .exec_ms = step->exec_ms,
		.batch = {.max_size = step->batch.max_size, .max_runs = step->batch.max_runs, .interval_us = step->batch.interval_ms * 1000},
		.sticky = step->version->sticky, .wants = place.wants, .n_wants = place.n_wants};
	for (uint32_t i = 0; i < step->n_strategies && i < ENG_STEP_ENTRIES; i++)
		ev->step.strategies[ev->step.n_strategies++] = step->strategies[i]->strategy_no;
	for (size_t i = 0; i < ENG_STEP_SLOTS && step->slots[i].units > 0; i++)
		ev->step.slots[i] = (struct eng_slot){step->slots[i].type_no, step->slots[i].units};
}

/* The action numbers must outlive the turn's events: they stay with the worker. */
void svc_worker_event(struct svc *s, struct cat_worker *w, bool restored)
{
	int32_t *actions = xmalloc(sizeof(*actions) * (w->n_actions + 1));
	struct ev *ev = svc_event(s, EV_WORKER);

	for (uint32_t i = 0; i < w->n_actions; i++)
		actions[i] = w->actions[i]->action_no;
	ev->worker_no = w->worker_no;
	ev->tenant_no = w->tenant_no;
	ev->worker = (struct ev_worker){.worker_no = w->worker_no, .tenant_no = w->tenant_no, .actions = actions,
		.n_actions = w->n_actions, .labels = svc_labels(s, w), .n_labels = w->n_labels, .paused = w->paused,
		.restored = restored};
	for (size_t i = 0; i < ENG_SLOT_TYPES && w->slots[i].units > 0; i++)
		ev->worker.slots[i] = (struct eng_slot){w->slots[i].type_no, w->slots[i].units};
	vec_push(&s->turn_memory, actions);
}

struct svc_worker *svc_worker_get(struct svc *s, struct cat_worker *cat)
{
	struct svc_worker *w = imap_get(&s->workers, cat->worker_no);

	if (w)
		return w;
	w = xcalloc(1, sizeof(*w));
	w->worker_no = cat->worker_no;
	w->tenant_no = cat->tenant_no;
	w->cat = cat;
	list_init(&w->pushes);
	(void)imap_put(&s->workers, cat->worker_no, w);
	return w;
}

static void worker_event(struct svc *s, const struct svc_worker *w, enum ev_kind kind, bool on, int64_t session)
{
	struct ev *ev = svc_event(s, kind);

	ev->worker_no = w->worker_no;
	ev->tenant_no = w->tenant_no;
	ev->on = on;
	ev->session = session;
}

/* --- pushes ---------------------------------------------------------------------------------------------------------------- */

static void push_failed(struct svc *s, struct push *p)
{
	struct ev *ev;

	if (p->batch) {
		batch_push_failed(s, p);
		return;
	}
	ev = svc_event(s, EV_PUSH_FAILED);
	ev->id = p->fx.id;
	ev->attempt = p->fx.attempt;
	ev->tenant_no = p->fx.tenant_no;
	ev->worker_no = p->worker_no;
	free(p);
}

struct too_large {
	struct op op;
	char text[200];
};

static void too_large_stored(struct op *op, const struct err *err)
{
	free(op->arg);
}

static void push_too_large(struct svc *s, struct push *p, size_t bytes)
{
	struct too_large *t = xcalloc(1, sizeof(*t));
	struct call *c;
	struct ev *ev;

	t->op = (struct op){.fn = too_large_stored, .arg = t};
	(void)snprintf(t->text, sizeof(t->text), "the assembled action has %zu bytes, more than the message limit of %u bytes", bytes,
		       s->conf.msg_bytes_max);
	c = call_new(s, CALL_SLOT, &t->op);
	c->payload = str_c(t->text);
	ev = svc_event(s, EV_PUSH_TOO_LARGE);
	ev->ref = c;
	ev->payload = c;
	ev->id = p->fx.id;
	ev->attempt = p->fx.attempt;
	ev->tenant_no = p->fx.tenant_no;
	ev->worker_no = p->worker_no;
	free(p);
}

static enum stream_sent push_write(struct svc *s, struct svc_worker *w, struct push *p, const struct input *in)
{
	struct buf *b = encode_start(s, &p->fx, in);
	enum stream_sent sent;

	if (b->n > s->conf.msg_bytes_max) {
		push_too_large(s, p, b->n);
		buf_unref(b);
		return STREAM_SENT;
	}
	sent = stream_send(w->listener->st, b);
	buf_unref(b);
	if (sent == STREAM_SENT) {
		input_drop(s, p->fx.id);
		free(p);
	}
	return sent;
}

/* A push may wait for its input or for the stream; meanwhile its attempt may be over, and its cancel already sent. */
bool push_is_current(const struct svc *s, const struct fx *fx)
{
	struct eng_task_view v;

	return s->engine && engine_task(s->engine, fx->id, &v) && v.state == LIVE_ASSIGNED && v.attempt == fx->attempt &&
	       v.worker_no == fx->worker_no && v.batch_id == fx->batch_id;
}

void svc_push_with(struct svc *s, struct push *p, const struct input *in)
{
	struct svc_worker *w = imap_get(&s->workers, p->worker_no);

	if (p->batch) {
		batch_push_ready(s, p);
		return;
	}
	if (!push_is_current(s, &p->fx)) {
		free(p);
		return;
	}
	if (!w || !w->listener) {
		push_failed(s, p);
		return;
	}
	if (list_empty(&w->pushes)) {
		enum stream_sent sent = push_write(s, w, p, in);

		if (sent == STREAM_SENT)
			return;
		if (sent == STREAM_GONE) {
			push_failed(s, p);
			return;
		}
		w->full_since_us = loop_now(s->loop).mono_us;
		worker_event(s, w, EV_STALL, true, 0);
	}
	list_push_back(&w->pushes, &p->node);
}

/* As push_write(), for all members. */
static enum stream_sent batch_write(struct svc *s, struct svc_worker *w, struct push *p)
{
	int64_t only;
	struct buf *b = batch_push_encode(s, p, &only);
	enum stream_sent sent;

	if (!b) {
		batch_push_sent(s, p);
		return STREAM_SENT;
	}
	if (b->n > s->conf.msg_bytes_max && only) {
		struct push *one = xmalloc(sizeof(*one));

		*one = (struct push){.worker_no = p->worker_no, .fx = p->fx};
		one->fx.id = only;
		push_too_large(s, one, b->n);
		batch_push_sent(s, p);
		sent = STREAM_SENT;
	} else {
		sent = b->n > s->conf.msg_bytes_max ? STREAM_GONE : stream_send(w->listener->st, b);
		if (sent == STREAM_SENT)
			batch_push_sent(s, p);
	}
	buf_unref(b);
	return sent;
}

void push_batch(struct svc *s, struct push *p)
{
	struct svc_worker *w = imap_get(&s->workers, p->worker_no);
	enum stream_sent sent = STREAM_FULL;

	if (!s->engine || !w || !w->listener) {
		push_failed(s, p);
		return;
	}
	if (list_empty(&w->pushes)) {
		sent = batch_write(s, w, p);
		if (sent == STREAM_SENT)
			return;
		if (sent == STREAM_GONE) {
			push_failed(s, p);
			return;
		}
		w->full_since_us = loop_now(s->loop).mono_us;
		worker_event(s, w, EV_STALL, true, 0);
	}
	list_push_back(&w->pushes, &p->node);
}

static void pushes_fail(struct svc *s, struct svc_worker *w)
{
	if (list_empty(&w->pushes))
		return;
	while (!list_empty(&w->pushes)) {
		struct push *p = LIST_ENTRY(w->pushes.next, struct push, node);

		list_del(&p->node);
		push_failed(s, p);
	}
	worker_event(s, w, EV_STALL, false, 0);
}

void svc_push_cancel(struct svc *s, const struct fx *fx)
{
	struct svc_worker *w = imap_get(&s->workers, fx->worker_no);
	struct buf *b;

	if (!w || !w->listener)
		return;
	/* not written yet: nothing to cancel */
	LIST_FOREACH(it, &w->pushes) {
		struct push *p = LIST_ENTRY(it, struct push, node);

		if (!p->batch && p->fx.id == fx->id && p->fx.attempt == fx->attempt) {
			list_del(&p->node);
			free(p);
			return;
		}
	}
	b = encode_cancel(s, fx);
	if (stream_send(w->listener->st, b) == STREAM_FULL)
		log_warn("cancel not sent: the worker does not read its stream", F_I64("worker", fx->worker_no), F_I64("task", fx->id));
	buf_unref(b);
}

/* --- streams --------------------------------------------------------------------------------------------------------------- */

static void listen_drain(struct stream *st, void *arg)
{
	struct listener *l = arg;
	struct svc *s = l->s;
	struct svc_worker *w = l->w;

	if (!w || w->listener != l)
		return;
	while (!list_empty(&w->pushes)) {
		struct push *p = LIST_ENTRY(w->pushes.next, struct push, node);
		struct input *in = imap_get(&s->inputs, p->fx.id);
		enum stream_sent sent;

		list_del(&p->node);
		if (p->batch) {
			if (batch_write(s, w, p) == STREAM_SENT)
				continue;
			list_push_front(&w->pushes, &p->node);
			return;
		}
		if (!push_is_current(s, &p->fx)) {
			free(p);
			continue;
		}
		if (!in) {	/* ended meanwhile, or dropped to save memory: its attempt starts over */
			push_failed(s, p);
			continue;
		}
		sent = push_write(s, w, p, in);
		if (sent == STREAM_SENT)
			continue;
		list_push_front(&w->pushes, &p->node);
		return;
	}
	worker_event(s, w, EV_STALL, false, 0);
}

static void listen_close(struct stream *st, void *arg)
{
	struct listener *l = arg;
	struct svc *s = l->s;
	struct svc_worker *w = l->w;

	list_del(&l->node);
	if (w && w->listener == l) {
		w->listener = NULL;
		if (s->loaded) {
			worker_event(s, w, EV_STREAM_DOWN, false, l->session);
			pushes_fail(s, w);
			cat_worker_times(s->catalog, w->cat, INT64_MIN, loop_now(s->loop).wall_us, INT64_MIN, &svc_noop);
		}
	}
	free(l);
}

static void beat_listeners(void *arg)
{
	struct svc *s = arg;
	bool any = false;

	LIST_FOREACH(it, &s->listeners) {
		struct listener *l = LIST_ENTRY(it, struct listener, node);

		if (!l->beats || !l->w)
			continue;
		any = true;
		if (s->loaded)
			worker_event(s, l->w, EV_BEAT, false, 0);
	}
	if (any)
		timer_set(s->beat_timer, loop_now(s->loop).mono_us + LISTEN_BEAT_US);
}

struct step *svc_listen(struct svc *s, struct req *r, struct cat_worker *cat, bool beats)
{
	static const struct stream_ops ops = {.on_drain = listen_drain, .on_close = listen_close};
	struct eng_worker_view view;
	struct svc_worker *w;
	struct listener *l;
	struct step *step;
	struct err err;

	if (!svc_is_ready(s, &err))
		return req_fail_err(r, &err);
	w = svc_worker_get(s, cat);
	if (!engine_worker(s->engine, w->worker_no, &view))
		svc_worker_event(s, cat, false);
	pushes_fail(s, w);
	l = xcalloc(1, sizeof(*l));
	*l = (struct listener){.s = s, .w = w, .session = ++s->next_session, .beats = beats};
	step = req_open_stream(r, &ops, l, &l->st);
	w->listener = l;
	w->had_stream = true;
	list_push_back(&s->listeners, &l->node);
	worker_event(s, w, EV_STREAM_UP, true, l->session);
	cat_worker_times(s->catalog, cat, loop_now(s->loop).wall_us, loop_now(s->loop).wall_us, INT64_MIN, &svc_noop);
	if (beats)
		timer_set(s->beat_timer, loop_now(s->loop).mono_us + LISTEN_BEAT_US);
	return step;
}

/* --- unary calls ----------------------------------------------------------------------------------------------------------- */

bool svc_heartbeat(struct svc *s, struct cat_worker *cat, struct err *err)
{
	struct svc_worker *w;
	int64_t now = loop_now(s->loop).mono_us;

	if (!svc_is_ready(s, err))
		return false;
	w = svc_worker_get(s, cat);
	worker_event(s, w, EV_BEAT, false, 0);
	if (!list_empty(&w->pushes) && now - w->full_since_us > (int64_t)CONF_WORKER_FULL_MS * 1000)
		pushes_fail(s, w);
	if (w->had_stream && !w->listener)
		return err_set(err, ERR_PRECONDITION, "the worker's listen stream is gone; listen again");
	return true;
}

struct registering {
	struct svc *s;
	struct cat_worker **ret;
	struct op op;
	struct op *outer;
};

static void registered(struct op *op, const struct err *err)
{
	struct registering *g = op->arg;

	if (!err && g->s->loaded)
		svc_worker_event(g->s, *g->ret, false);
	op_done(g->outer, err);
	free(g);
}

void svc_register(struct svc *s, const struct cat_worker_new *n, struct cat_worker **ret, struct op *op)
{
	struct registering *g = xcalloc(1, sizeof(*g));

	*g = (struct registering){.s = s, .ret = ret, .outer = op};
	g->op = (struct op){.fn = registered, .arg = g};
	cat_register_worker(s->catalog, n, ret, &g->op);
}

struct pausing {
	struct svc *s;
	struct cat_worker *w;
	bool paused;
	struct op op;
	struct op *outer;
};

static void paused_stored(struct op *op, const struct err *err)
{
	struct pausing *p = op->arg;

	if (!err && p->s->loaded)
		worker_event(p->s, svc_worker_get(p->s, p->w), EV_PAUSE, p->paused, 0);
	op_done(p->outer, err);
	free(p);
}

void svc_pause_worker(struct svc *s, struct cat_worker *w, bool paused, struct op *op)
{
	struct pausing *p = xcalloc(1, sizeof(*p));

	*p = (struct pausing){.s = s, .w = w, .paused = paused, .outer = op};
	p->op = (struct op){.fn = paused_stored, .arg = p};
	cat_worker_paused(s->catalog, w, paused, &p->op);
}

struct labelling {
	struct svc *s;
	struct cat_worker *w;
	struct op op;
	struct op *outer;
};

static void labels_stored(struct op *op, const struct err *err)
{
	struct labelling *l = op->arg;

	if (!err && l->s->loaded) {
		struct ev *ev = svc_event(l->s, EV_LABELS);

		ev->worker_no = l->w->worker_no;
		ev->tenant_no = l->w->tenant_no;
		ev->worker = (struct ev_worker){.labels = svc_labels(l->s, l->w), .n_labels = l->w->n_labels};
	}
	op_done(l->outer, err);
	free(l);
}

void svc_label_worker(struct svc *s, struct cat_worker *w, const struct cat_label *merge, uint32_t n, struct op *op)
{
	struct labelling *l = xcalloc(1, sizeof(*l));

	*l = (struct labelling){.s = s, .w = w, .outer = op};
	l->op = (struct op){.fn = labels_stored, .arg = l};
	cat_worker_labels(s->catalog, w, merge, n, &l->op);
}

void svc_unsubscribe(struct svc *s, struct cat_worker *w, struct op *op)
{
	if (s->loaded)
		worker_event(s, svc_worker_get(s, w), EV_WORKER_END, false, 0);
	cat_worker_times(s->catalog, w, INT64_MIN, loop_now(s->loop).wall_us, loop_now(s->loop).wall_us, op);
}

bool svc_worker_view(const struct svc *s, int32_t worker_no, struct eng_worker_view *ret, int64_t *ret_last_seen_wall_us)
{
	struct now now = loop_now(s->loop);

	if (!s->engine || !engine_worker(s->engine, worker_no, ret))
		return false;
	*ret_last_seen_wall_us = now.wall_us - (now.mono_us - ret->last_seen_mono_us);
	return true;
}

/* Ownership lost or stop: streams end, so that workers come back to whoever is active. */
void svc_worker_clear(struct svc *s)
{
	size_t it = 0;
	int64_t key;
	struct svc_worker *w;

	LIST_FOREACH_SAFE(n, &s->listeners) {
		struct listener *l = LIST_ENTRY(n, struct listener, node);

		l->w = NULL;
		list_del(&l->node);
		stream_end(l->st, ERR_UNAVAILABLE, "the server is going away; connect again");
	}
	while ((w = imap_next(&s->workers, &it, &key))) {
		while (!list_empty(&w->pushes)) {
			struct push *p = LIST_ENTRY(w->pushes.next, struct push, node);

			list_del(&p->node);
			if (p->batch)
				batch_push_free(p->batch);
			free(p);
		}
		free(w);
	}
	imap_fini(&s->workers);
	s->workers = (struct imap){0};
}

void svc_worker_init(struct svc *s)
{
	s->beat_timer = timer_new(s->loop, beat_listeners, s);
}

void svc_worker_fini(struct svc *s)
{
	svc_worker_clear(s);
	timer_free(s->beat_timer);
}
