/* SubscribeToWorkflowEvents by run id: what happens to a run, live, until it ends.
 * A run that has ended: OK at once.  One that does not exist: waited for up to 10 s, then NOT_FOUND. */
#include "svc_int.h"

#include <stdlib.h>

enum { ABSENT_WAIT_US = 10000000 };

struct watcher {
	struct list node;		/* svc.event_streams */
	struct list by_run;
	struct svc *s;
	struct stream *st;
	int32_t tenant_no;
	int64_t run_id;
	struct timer *absent;		/* running while the run is not known to exist */
	struct arena *a;
	struct op op;
	struct read_tasks got;
	bool is_asking, is_closed, seen;
};

struct watchers {
	struct list list;
};

static void watch_unlink(struct watcher *w)
{
	struct watchers *all = imap_get(&w->s->event_subs, w->run_id);

	if (!list_linked(&w->by_run))
		return;
	list_del(&w->by_run);
	if (all && list_empty(&all->list)) {
		(void)imap_del(&w->s->event_subs, w->run_id);
		free(all);
	}
}

static void watcher_free(struct watcher *w)
{
	timer_free(w->absent);
	arena_free(w->a);
	free(w);
}

static void watch_seen(struct watcher *w)
{
	w->seen = true;
	timer_clear(w->absent);
}

static void watch_absent(void *arg)
{
	struct watcher *w = arg;

	if (!w->seen)
		stream_end(w->st, ERR_NOT_FOUND, "workflow_run_id: no such run");
}

static void watch_looked(struct op *op, const struct err *err)
{
	struct watcher *w = op->arg;

	w->is_asking = false;
	if (w->is_closed) {
		watcher_free(w);
		return;
	}
	if (err) {
		stream_end(w->st, ERR_UNAVAILABLE, "the database is away; subscribe again");
		return;
	}
	if (w->got.n == 0)
		return;
	watch_seen(w);
	if (w->got.tasks[0].status >= RUN_COMPLETED)
		stream_end(w->st, ERR_OK, "");
}

static void watch_send(struct watcher *w, struct buf *b)
{
	if (stream_send(w->st, b) == STREAM_FULL)
		stream_end(w->st, ERR_EXHAUSTED, "events are read too slowly");
}

static void send_all(struct svc *s, int32_t tenant_no, int64_t run_id, struct buf *b, bool is_last)
{
	struct watchers *all = imap_get(&s->event_subs, run_id);

	if (all) {
		LIST_FOREACH_SAFE(it, &all->list) {
			struct watcher *w = LIST_ENTRY(it, struct watcher, by_run);

			if (w->tenant_no != tenant_no)
				continue;
			watch_seen(w);
			watch_send(w, b);
			if (is_last)
				stream_end(w->st, ERR_OK, "");	/* on_close unlinks, later */
		}
	}
	buf_unref(b);
}

void watch_on_commit(struct svc *s, const struct fx *fx)
{
	struct run_result r = {.id = fx->id, .step_no = fx->step_no, .status = RUN_QUEUED};

	if (imap_get(&s->event_subs, fx->id))
		send_all(s, fx->tenant_no, fx->id, encode_watch(s, WATCH_TASK_STARTED, &r, 0), false);
}

void watch_on_end(struct svc *s, const struct fx *fx, struct str payload)
{
	struct run_result r = {.id = fx->id, .step_no = fx->step_no, .status = run_status_of(-1, false, fx->status)};

	if (!imap_get(&s->event_subs, fx->id))
		return;
	if (fx->status == ATTEMPT_COMPLETED)
		r.output = payload;
	else
		r.error = payload;
	send_all(s, fx->tenant_no, fx->id, encode_watch(s, WATCH_TASK_ENDED, &r, fx->attempt), false);
	send_all(s, fx->tenant_no, fx->id, encode_watch(s, WATCH_RUN_ENDED, &r, fx->attempt), true);
}

static void watch_close(struct stream *st, void *arg)
{
	struct watcher *w = arg;

	watch_unlink(w);
	list_del(&w->node);
	w->is_closed = true;
	if (!w->is_asking)
		watcher_free(w);
}

struct step *svc_subscribe_events(struct svc *s, struct req *r, int32_t tenant_no, int64_t run_id)
{
	static const struct stream_ops ops = {.on_close = watch_close};
	struct watchers *all = imap_get(&s->event_subs, run_id);
	struct watcher *w;
	struct step *step;
	struct err err;

	if (!svc_is_ready(s, &err))
		return req_fail_err(r, &err);
	w = xcalloc(1, sizeof(*w));
	w->s = s;
	w->tenant_no = tenant_no;
	w->run_id = run_id;
	w->a = arena_new(1u << 26);
	w->absent = timer_new(s->loop, watch_absent, w);
	step = req_open_stream(r, &ops, w, &w->st);
	list_push_back(&s->event_streams, &w->node);
	if (!all) {
		all = xcalloc(1, sizeof(*all));
		list_init(&all->list);
		(void)imap_put(&s->event_subs, run_id, all);
	}
	list_push_back(&all->list, &w->by_run);
	timer_set(w->absent, loop_now(s->loop).mono_us + ABSENT_WAIT_US);
	w->is_asking = true;
	w->op = (struct op){.fn = watch_looked, .arg = w};
	read_tasks(s->db, w->a, tenant_no, &w->run_id, 1, 0, &w->got, &w->op);
	return step;
}

void watch_clear(struct svc *s)
{
	LIST_FOREACH_SAFE(it, &s->event_streams)
		stream_end(LIST_ENTRY(it, struct watcher, node)->st, ERR_UNAVAILABLE, "the server is going away; subscribe again");
}
