/* Two threads for what would block the loop: name resolution, password hashes.  They touch nothing but their job. */
#include "io_int.h"

#include "base/config.h"

#include <ev.h>
#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 2 };

struct job {
	struct list node;
	void (*work)(void *arg);
	void *arg;
	struct op *done;
};

struct offload {
	struct ev_loop *ev;
	ev_async wake;
	pthread_t threads[THREADS];
	pthread_mutex_t mutex;
	pthread_cond_t more;
	struct list todo, done;
	size_t n;
	bool stop;
};

static void *thread(void *arg)
{
	struct offload *o = arg;

	(void)pthread_mutex_lock(&o->mutex);
	for (;;) {
		struct job *j;

		while (list_empty(&o->todo) && !o->stop)
			(void)pthread_cond_wait(&o->more, &o->mutex);
		if (o->stop)
			break;
		j = LIST_ENTRY(o->todo.next, struct job, node);
		list_del(&j->node);
		(void)pthread_mutex_unlock(&o->mutex);
		j->work(j->arg);
		(void)pthread_mutex_lock(&o->mutex);
		list_push_back(&o->done, &j->node);
		ev_async_send(o->ev, &o->wake);
	}
	(void)pthread_mutex_unlock(&o->mutex);
	return NULL;
}

static void finished(struct ev_loop *ev, ev_async *w, int events)
{
	struct offload *o = w->data;

	for (;;) {
		struct job *j = NULL;
		struct op *op;

		(void)pthread_mutex_lock(&o->mutex);
		if (!list_empty(&o->done)) {
			j = LIST_ENTRY(o->done.next, struct job, node);
			list_del(&j->node);
			o->n--;
		}
		if (o->n == 0)
			ev_async_stop(ev, w);
		(void)pthread_mutex_unlock(&o->mutex);
		if (!j)
			return;
		op = j->done;
		free(j);
		op_done(op, NULL);
	}
}

struct offload *offload_new(struct loop *l)
{
	struct offload *o = xcalloc(1, sizeof(*o));

	o->ev = loop_ev(l);
	list_init(&o->todo);
	list_init(&o->done);
	(void)pthread_mutex_init(&o->mutex, NULL);
	(void)pthread_cond_init(&o->more, NULL);
	ev_async_init(&o->wake, finished);
	o->wake.data = o;
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&o->threads[i], NULL, thread, o) != 0)
			abort();
	return o;
}

bool offload_put(struct offload *o, void (*work)(void *arg), void *arg, struct op *done)
{
	struct job *j;
	bool ok;

	(void)pthread_mutex_lock(&o->mutex);
	ok = o->n < CONF_OFFLOAD_JOBS_MAX;
	if (ok) {
		j = xcalloc(1, sizeof(*j));
		*j = (struct job){.work = work, .arg = arg, .done = done};
		list_push_back(&o->todo, &j->node);
		if (o->n++ == 0)
			ev_async_start(o->ev, &o->wake);
		(void)pthread_cond_signal(&o->more);
	}
	(void)pthread_mutex_unlock(&o->mutex);
	return ok;
}

void offload_free(struct offload *o)
{
	(void)pthread_mutex_lock(&o->mutex);
	o->stop = true;
	(void)pthread_cond_broadcast(&o->more);
	(void)pthread_mutex_unlock(&o->mutex);
	for (int i = 0; i < THREADS; i++)
		(void)pthread_join(o->threads[i], NULL);
	free(o);
}
