/* SubscribeToWorkflowRuns: one stream, many run ids, one message per run that has ended.
 *
 * An id is registered first and looked up after, so an end that commits in between is not missed.  Ids that do not exist
 * stay pending without polling.  A stream without room keeps its ended ids and reads their results again when there is. */
#include "svc_int.h"

#include "pb/dispatcher.pb-c.h"
#include "pb/pb.h"

#include <stdlib.h>

struct run_stream {
	struct list node;		/* svc.run_streams */
	struct svc *s;
	struct stream *st;
	int32_t tenant_no;
	struct list subs;		/* of struct sub, by_stream */
	uint32_t n_subs;
	VEC(int64_t) ask;		/* to look up at the end of the turn */
	bool is_asking, is_full, is_closed, half_closed;
	struct list ask_node;		/* svc.lookups */
};

struct sub {
	struct list by_stream, by_run;
	struct run_stream *rs;
	int64_t run_id;
};

struct run_subs {			/* everybody who waits for one run */
	struct list subs;
};

struct asking {
	struct svc *s;
	struct run_stream *rs;
	struct arena *a;
	struct op op;
	struct read_tasks got;
	int64_t ids[CONF_RUN_LOOKUP_MAX];
};

static void sub_free(struct svc *s, struct sub *sub)
{
	struct run_subs *all = imap_get(&s->run_subs, sub->run_id);

	list_del(&sub->by_run);
	list_del(&sub->by_stream);
	sub->rs->n_subs--;
	if (all && list_empty(&all->subs)) {
		(void)imap_del(&s->run_subs, sub->run_id);
		free(all);
	}
	free(sub);
}

static void ask_again(struct run_stream *rs, int64_t id)
{
	vec_push(&rs->ask, id);
	if (!list_linked(&rs->ask_node))
		list_push_back(&rs->s->lookups, &rs->ask_node);
}

/* Sends to one subscriber; true: done with it. */
static bool sub_send(struct sub *sub, struct buf *b)
{
	struct run_stream *rs = sub->rs;

	if (!rs->is_full && stream_send(rs->st, b) == STREAM_FULL)
		rs->is_full = true;
	return !rs->is_full;
}

static void deliver(struct svc *s, const struct run_result *r, struct run_stream *only)
{
	struct run_subs *all = imap_get(&s->run_subs, r->id);
	struct buf *b;

	if (!all)
		return;
	b = encode_run_finished(s, r);
	LIST_FOREACH_SAFE(it, &all->subs) {
		struct sub *sub = LIST_ENTRY(it, struct sub, by_run);
		bool is_last = it_next == &all->subs;

		if ((!only || sub->rs == only) && sub->rs->tenant_no == r->tenant_no && sub_send(sub, b))
			sub_free(s, sub);
		if (is_last)
			break;	/* sub_free of the last one frees the list head */
	}
	buf_unref(b);
}

static struct run_result result_of(const struct task_view *t)
{
	struct run_result r = {.id = t->id, .tenant_no = t->tenant_no, .step_no = t->step_no, .status = t->status};

	if (t->n_attempts > 0) {
		r.output = t->attempts[t->n_attempts - 1].output;
		r.error = t->attempts[t->n_attempts - 1].error;
	}
	return r;
}

static void rs_free(struct run_stream *rs)
{
	vec_fini(&rs->ask);
	list_del(&rs->ask_node);
	free(rs);
}

static void asked(struct op *op, const struct err *err)
{
	struct asking *k = op->arg;
	struct svc *s = k->s;
	struct run_stream *rs = k->rs;

	rs->is_asking = false;
	for (uint32_t i = 0; !err && !rs->is_closed && i < k->got.n; i++) {
		struct run_result r = result_of(&k->got.tasks[i]);

		if (r.status >= RUN_COMPLETED && k->got.tasks[i].is_cut)
			ask_again(rs, r.id);
		else if (r.status >= RUN_COMPLETED)
			deliver(s, &r, rs);
	}
	if (rs->is_closed)
		rs_free(rs);
	else if (err && s->loaded)
		stream_end(rs->st, ERR_UNAVAILABLE, "the database is away; subscribe again");
	else if (rs->ask.n > 0 && !list_linked(&rs->ask_node))
		list_push_back(&s->lookups, &rs->ask_node);
	arena_free(k->a);
	free(k);
}

static void ask(struct svc *s, struct run_stream *rs)
{
	struct asking *k = xmalloc(sizeof(*k));
	uint32_t n = (uint32_t)MIN(rs->ask.n, CONF_RUN_LOOKUP_MAX);

	k->s = s;
	k->rs = rs;
	k->a = arena_new(1u << 30);
	k->op = (struct op){.fn = asked, .arg = k};
	memcpy(k->ids, rs->ask.p, n * sizeof(*k->ids));
	rs->ask.n -= n;
	memmove(rs->ask.p, rs->ask.p + n, rs->ask.n * sizeof(*rs->ask.p));
	rs->is_asking = true;
	read_tasks(s->db, k->a, rs->tenant_no, k->ids, n, READ_PAYLOADS, &k->got, &k->op);
}

void subs_turn(struct svc *s)
{
	while (!list_empty(&s->lookups)) {
		struct run_stream *rs = LIST_ENTRY(s->lookups.next, struct run_stream, ask_node);

		list_del(&rs->ask_node);
		if (!rs->is_asking && !rs->is_full && rs->ask.n > 0)
			ask(s, rs);	/* the rest is queued again by asked() */
	}
}

void subs_on_end(struct svc *s, const struct fx *fx, struct str payload)
{
	struct run_result r = {.id = fx->id, .tenant_no = fx->tenant_no, .step_no = fx->step_no};

	r.status = run_status_of(-1, false, fx->status);
	if (fx->status == ATTEMPT_COMPLETED)
		r.output = payload;
	else
		r.error = payload;
	deliver(s, &r, NULL);
}

static void rs_msg(struct stream *st, struct str msg, void *arg)
{
	struct run_stream *rs = arg;
	struct svc *s = rs->s;
	struct run_subs *all;
	struct eng_task_view view;
	struct uuid u;
	struct sub *sub;
	struct arena *a = arena_new(1u << 20);
	Hw__SubscribeToWorkflowRunsRequest *m;
	struct err err;
	int64_t id;
	bool ok;

	m = msg.n > 4096 ? NULL : pb_unpack(a, &hw__subscribe_to_workflow_runs_request__descriptor, msg, &err);
	ok = m && pb_uuid(m->workflow_run_id, "workflow_run_id", &u, &err) && id_from_uuid(catalog_id_secret(s->catalog), &u, &id);
	arena_free(a);
	if (!ok)
		return;	/* malformed ids are skipped, as clients expect */
	if (rs->n_subs >= s->conf.subscriptions_max) {
		stream_end(st, ERR_EXHAUSTED, "too many runs subscribed on one stream");
		return;
	}
	all = imap_get(&s->run_subs, id);
	if (!all) {
		all = xcalloc(1, sizeof(*all));
		list_init(&all->subs);
		(void)imap_put(&s->run_subs, id, all);
	}
	sub = xcalloc(1, sizeof(*sub));
	sub->rs = rs;
	sub->run_id = id;
	rs->n_subs++;
	list_push_back(&all->subs, &sub->by_run);
	list_push_back(&rs->subs, &sub->by_stream);
	if (!s->engine || !engine_task(s->engine, id, &view))
		ask_again(rs, id);
}

static void rs_half_close(struct stream *st, void *arg)
{
	stream_end(st, ERR_OK, "");
}

static void rs_drain(struct stream *st, void *arg)
{
	struct run_stream *rs = arg;

	rs->is_full = false;
	LIST_FOREACH(it, &rs->subs) {
		struct sub *sub = LIST_ENTRY(it, struct sub, by_stream);
		struct eng_task_view view;

		if (!rs->s->engine || !engine_task(rs->s->engine, sub->run_id, &view))
			ask_again(rs, sub->run_id);
	}
}

static void rs_close(struct stream *st, void *arg)
{
	struct run_stream *rs = arg;

	while (!list_empty(&rs->subs))
		sub_free(rs->s, LIST_ENTRY(rs->subs.next, struct sub, by_stream));
	list_del(&rs->node);
	list_del(&rs->ask_node);
	rs->is_closed = true;
	if (!rs->is_asking)
		rs_free(rs);
}

struct step *svc_subscribe_runs(struct svc *s, struct req *r, int32_t tenant_no)
{
	static const struct stream_ops ops = {.on_msg = rs_msg, .on_half_close = rs_half_close, .on_drain = rs_drain,
		.on_close = rs_close};
	struct run_stream *rs;
	struct err err;

	if (!svc_is_ready(s, &err))
		return req_fail_err(r, &err);
	rs = xcalloc(1, sizeof(*rs));
	rs->s = s;
	rs->tenant_no = tenant_no;
	list_init(&rs->subs);
	list_push_back(&s->run_streams, &rs->node);
	return req_open_stream(r, &ops, rs, &rs->st);
}

void subs_clear(struct svc *s)
{
	LIST_FOREACH_SAFE(it, &s->run_streams)
		stream_end(LIST_ENTRY(it, struct run_stream, node)->st, ERR_UNAVAILABLE, "the server is going away; subscribe again");
}
