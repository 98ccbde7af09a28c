/* The event loop on libev.
 *
 * A turn: wait, I/O and timer callbacks, then (just before waiting again) deferred work and the turn-end hooks.  The hooks
 * may defer more: a few rounds are run at once, what is left keeps the loop from blocking.  The clock is sampled once, after
 * the wait. */
#include "io/loop.h"
#include "io_int.h"

#include "base/vec.h"

#include <ev.h>
#include <time.h>

enum { ROUNDS_MAX = 4 };

struct hook {
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	struct ev_loop *ev;
	ev_prepare prepare;
	ev_check check;
	ev_idle idle;
	struct list defers;
	VEC(struct hook) hooks;
	struct now now;
	struct offload *offload;
	VEC(void *) extras;	/* signal and child watchers */
};

struct timer {
	ev_timer ev;
	struct loop *l;
	void (*fn)(void *arg);
	void *arg;
};

struct watch {
	ev_io ev;
	struct loop *l;
	void (*fn)(void *arg, int events);
	void *arg;
};

int64_t loop_mono_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void sample(struct loop *l)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	l->now.wall_us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
	l->now.mono_us = loop_mono_us();
}

static void run_defers(struct loop *l)
{
	struct list batch;

	list_init(&batch);
	while (!list_empty(&l->defers)) {
		struct list *n = l->defers.next;

		list_del(n);
		list_push_back(&batch, n);
	}
	while (!list_empty(&batch)) {
		struct defer *d = LIST_ENTRY(batch.next, struct defer, node);

		list_del(&d->node);
		d->fn(d->arg);
	}
}

static void turn_end(struct ev_loop *ev, ev_prepare *w, int events)
{
	struct loop *l = w->data;

	for (int round = 0; round < ROUNDS_MAX; round++) {
		run_defers(l);
		for (size_t i = 0; i < l->hooks.n; i++)
			l->hooks.p[i].fn(l->hooks.p[i].arg);
		if (list_empty(&l->defers))
			break;
	}
	if (list_empty(&l->defers))
		ev_idle_stop(ev, &l->idle);
	else
		ev_idle_start(ev, &l->idle);
}

static void turn_begin(struct ev_loop *ev, ev_check *w, int events)
{
	sample(w->data);
}

static void idle(struct ev_loop *ev, ev_idle *w, int events)
{
}

struct loop *loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof(*l));

	l->ev = ev_default_loop(EVFLAG_AUTO);
	assert(l->ev);
	list_init(&l->defers);
	ev_prepare_init(&l->prepare, turn_end);
	ev_check_init(&l->check, turn_begin);
	ev_idle_init(&l->idle, idle);
	l->prepare.data = l->check.data = l;
	ev_set_priority(&l->check, EV_MAXPRI);
	ev_set_priority(&l->prepare, EV_MINPRI);
	ev_prepare_start(l->ev, &l->prepare);
	ev_check_start(l->ev, &l->check);
	sample(l);
	return l;
}

void loop_free(struct loop *l)
{
	if (l->offload)
		offload_free(l->offload);
	ev_prepare_stop(l->ev, &l->prepare);
	ev_check_stop(l->ev, &l->check);
	ev_idle_stop(l->ev, &l->idle);
	ev_loop_destroy(l->ev);
	for (size_t i = 0; i < l->extras.n; i++)
		free(l->extras.p[i]);
	vec_fini(&l->extras);
	vec_fini(&l->hooks);
	free(l);
}

void loop_run(struct loop *l)
{
	sample(l);
	(void)ev_run(l->ev, 0);
}

void loop_stop(struct loop *l)
{
	ev_break(l->ev, EVBREAK_ALL);
}

struct now loop_now(const struct loop *l)
{
	return l->now;
}

void loop_defer(struct loop *l, struct defer *d, void (*fn)(void *arg), void *arg)
{
	if (list_linked(&d->node))
		return;
	d->fn = fn;
	d->arg = arg;
	list_push_back(&l->defers, &d->node);
}

void defer_cancel(struct defer *d)
{
	list_del(&d->node);
}

void loop_on_turn_end(struct loop *l, void (*fn)(void *arg), void *arg)
{
	vec_push(&l->hooks, ((struct hook){fn, arg}));
}

static void timer_cb(struct ev_loop *ev, ev_timer *w, int events)
{
	struct timer *t = w->data;

	t->fn(t->arg);
}

struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct timer *t = xcalloc(1, sizeof(*t));

	t->l = l;
	t->fn = fn;
	t->arg = arg;
	ev_init(&t->ev, timer_cb);
	t->ev.data = t;
	return t;
}

void timer_set(struct timer *t, int64_t mono_us)
{
	int64_t left = mono_us - loop_mono_us();

	ev_timer_stop(t->l->ev, &t->ev);
	ev_now_update(t->l->ev);
	ev_timer_set(&t->ev, left > 0 ? (double)left / 1e6 : 0., 0.);
	ev_timer_start(t->l->ev, &t->ev);
}

void timer_clear(struct timer *t)
{
	ev_timer_stop(t->l->ev, &t->ev);
}

void timer_free(struct timer *t)
{
	if (!t)
		return;
	ev_timer_stop(t->l->ev, &t->ev);
	free(t);
}

static void watch_cb(struct ev_loop *ev, ev_io *w, int events)
{
	struct watch *x = w->data;

	x->fn(x->arg, ((events & EV_READ) ? WATCH_READ : 0) | ((events & EV_WRITE) ? WATCH_WRITE : 0));
}

struct watch *watch_new(struct loop *l, void (*fn)(void *arg, int events), void *arg)
{
	struct watch *w = xcalloc(1, sizeof(*w));

	w->l = l;
	w->fn = fn;
	w->arg = arg;
	ev_init(&w->ev, watch_cb);
	w->ev.data = w;
	return w;
}

void watch_set(struct watch *w, int fd, int events)
{
	int want = ((events & WATCH_READ) ? EV_READ : 0) | ((events & WATCH_WRITE) ? EV_WRITE : 0);

	if (ev_is_active(&w->ev)) {
		if (w->ev.fd == fd && (w->ev.events & (EV_READ | EV_WRITE)) == want)
			return;
		ev_io_stop(w->l->ev, &w->ev);
	}
	if (!want)
		return;
	ev_io_set(&w->ev, fd, want);
	ev_io_start(w->l->ev, &w->ev);
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	ev_io_stop(w->l->ev, &w->ev);
	free(w);
}

struct on_signal {
	ev_signal ev;
	void (*fn)(void *arg);
	void *arg;
};

static void signal_cb(struct ev_loop *ev, ev_signal *w, int events)
{
	struct on_signal *s = w->data;

	s->fn(s->arg);
}

void loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg), void *arg)
{
	struct on_signal *s = xcalloc(1, sizeof(*s));

	s->fn = fn;
	s->arg = arg;
	ev_signal_init(&s->ev, signal_cb, signo);
	s->ev.data = s;
	ev_signal_start(l->ev, &s->ev);
	vec_push(&l->extras, (void *)s);
}

struct on_child {
	ev_child ev;
	void (*fn)(void *arg, int status);
	void *arg;
};

static void child_cb(struct ev_loop *ev, ev_child *w, int events)
{
	struct on_child *c = w->data;

	ev_child_stop(ev, w);
	c->fn(c->arg, w->rstatus);
}

void loop_on_child(struct loop *l, int pid, void (*fn)(void *arg, int status), void *arg)
{
	struct on_child *c = xcalloc(1, sizeof(*c));

	c->fn = fn;
	c->arg = arg;
	ev_child_init(&c->ev, child_cb, pid, 0);
	c->ev.data = c;
	ev_child_start(l->ev, &c->ev);
	vec_push(&l->extras, (void *)c);
}

void *loop_ev(struct loop *l)
{
	return l->ev;
}

bool loop_offload(struct loop *l, void (*work)(void *arg), void *arg, struct op *done)
{
	if (!l->offload)
		l->offload = offload_new(l);
	return offload_put(l->offload, work, arg, done);
}
