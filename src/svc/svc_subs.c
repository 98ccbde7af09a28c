/* SubscribeToWorkflowRuns: one stream, many run ids, one message per run that has ended.
 *
 * An id is registered first and looked up after, so an end that commits in between is not missed.  Ids that do not exist
 * stay pending without polling.  A stream without room keeps its ended ids and reads their results again when there is.
 * Ids of SQL requests are looked up likewise; those that are no run yet wait for the one that takes them (svc_front.c). */
#include "svc_int.h"

#include "pb/dispatcher.pb-c.h"
#include "pb/pb.h"
#include "store/inbox.h"

#include <stdlib.h>

struct run_stream {
	struct list node;		/* svc.run_streams */
	struct svc *s;
	struct stream *st;
	int32_t tenant_no;
	struct list subs;		/* of struct sub, by_stream */
	uint32_t n_subs;
	VEC(int64_t) ask;		/* to look up at the end of the turn */
	VEC(struct uuid) ask_requests;	/* likewise; never both at once */
	bool is_asking, is_full, is_closed, half_closed;
	struct list ask_node;		/* svc.lookups */
};

struct sub {
	struct list by_stream, by_run;
	struct run_stream *rs;
	int64_t run_id;			/* 0: of a request that is no run yet */
	bool is_alias;
	struct uuid alias;		/* the id of the request */
};

struct run_subs {			/* everybody who waits for one run, or request */
	struct list subs;
};

struct asking {
	struct svc *s;
	struct run_stream *rs;
	struct arena *a;
	struct op op;
	struct read_tasks got;
	struct read_requests requests;
	union {
		int64_t ids[CONF_RUN_LOOKUP_MAX];
		struct uuid request_ids[CONF_RUN_LOOKUP_MAX];
	};
};

static struct str alias_key(const struct uuid *u)
{
	return (struct str){(const char *)u->b, sizeof(u->b)};
}

/* With those who wait for the same. */
static void sub_join(struct svc *s, struct sub *sub)
{
	struct run_subs *all = sub->run_id ? imap_get(&s->run_subs, sub->run_id) : smap_get(&s->request_subs, alias_key(&sub->alias));

	if (!all) {
		all = xcalloc(1, sizeof(*all));
		list_init(&all->subs);
		if (sub->run_id)
			(void)imap_put(&s->run_subs, sub->run_id, all);
		else
			(void)smap_put(&s->request_subs, alias_key(&sub->alias), all);
	}
	list_push_back(&all->subs, &sub->by_run);
}

static void sub_leave(struct svc *s, struct sub *sub)
{
	struct run_subs *all = sub->run_id ? imap_get(&s->run_subs, sub->run_id) : smap_get(&s->request_subs, alias_key(&sub->alias));

	list_del(&sub->by_run);
	if (!all || !list_empty(&all->subs))
		return;
	if (sub->run_id)
		(void)imap_del(&s->run_subs, sub->run_id);
	else
		(void)smap_del(&s->request_subs, alias_key(&sub->alias));
	free(all);
}

static void sub_free(struct svc *s, struct sub *sub)
{
	sub_leave(s, sub);
	list_del(&sub->by_stream);
	sub->rs->n_subs--;
	free(sub);
}

static void ask_again(struct run_stream *rs, int64_t id)
{
	vec_push(&rs->ask, id);
	if (!list_linked(&rs->ask_node))
		list_push_back(&rs->s->lookups, &rs->ask_node);
}

static void ask_request(struct run_stream *rs, const struct uuid *request)
{
	vec_push(&rs->ask_requests, *request);
	if (!list_linked(&rs->ask_node))
		list_push_back(&rs->s->lookups, &rs->ask_node);
}

/* Sends to one subscriber; true: done with it. */
static bool sub_send(struct sub *sub, struct buf *b, const struct run_result *r)
{
	struct run_stream *rs = sub->rs;
	struct run_result mine = *r;

	if (b) {
		if (!rs->is_full && stream_send(rs->st, b) == STREAM_FULL)
			rs->is_full = true;
		return !rs->is_full;
	}
	mine.alias = &sub->alias;
	if (!rs->is_full) {
		b = encode_run_finished(rs->s, &mine);
		rs->is_full = stream_send(rs->st, b) == STREAM_FULL;
		buf_unref(b);
	}
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

		if ((!only || sub->rs == only) && sub->rs->tenant_no == r->tenant_no && sub_send(sub, sub->is_alias ? NULL : b, r))
			sub_free(s, sub);
		if (is_last)
			break;	/* sub_free of the last one frees the list head */
	}
	buf_unref(b);
}

/* What became of a request: its subscribers wait for the run from now on, or have their answer. */
static void request_ended(struct svc *s, int32_t tenant_no, const struct uuid *request, int64_t run_id, struct str why, struct run_stream *only)
{
	const struct run_result refused = {.tenant_no = tenant_no, .status = RUN_FAILED, .error = why};
	struct run_subs *all = smap_get(&s->request_subs, alias_key(request));
	struct eng_task_view view;

	if (!all)
		return;
	LIST_FOREACH_SAFE(it, &all->subs) {
		struct sub *sub = LIST_ENTRY(it, struct sub, by_run);
		bool is_last = it_next == &all->subs;

		if ((only && sub->rs != only) || sub->rs->tenant_no != tenant_no) {
			/* not theirs */
		} else if (why.p) {
			if (sub_send(sub, NULL, &refused))
				sub_free(s, sub);
		} else {
			sub_leave(s, sub);
			sub->run_id = run_id;
			sub_join(s, sub);
			if (!s->engine || !engine_task(s->engine, run_id, &view))
				ask_again(sub->rs, run_id);	/* it has ended already */
		}
		if (is_last)
			break;	/* with the last one its list has gone */
	}
}

void subs_on_request(struct svc *s, int32_t tenant_no, const struct uuid *request, int64_t run_id)
{
	struct run_subs *all = smap_get(&s->request_subs, alias_key(request));

	if (run_id)
		request_ended(s, tenant_no, request, run_id, STR_NULL, NULL);
	else if (all)
		LIST_FOREACH(it, &all->subs)
			ask_request(LIST_ENTRY(it, struct sub, by_run)->rs, request);
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
	vec_fini(&rs->ask_requests);
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
	for (uint32_t i = 0; !err && !rs->is_closed && i < k->requests.n; i++) {
		const struct request_view *v = &k->requests.p[i];

		if (v->state != REQUEST_WAITS)
			request_ended(s, rs->tenant_no, &v->id, v->run_id, v->state == REQUEST_REFUSED ? v->why : STR_NULL, rs);
	}
	if (rs->is_closed)
		rs_free(rs);
	else if (err && s->loaded)
		stream_end(rs->st, ERR_UNAVAILABLE, "the database is away; subscribe again");
	else if ((rs->ask.n > 0 || rs->ask_requests.n > 0) && !list_linked(&rs->ask_node))
		list_push_back(&s->lookups, &rs->ask_node);
	arena_free(k->a);
	free(k);
}

static void ask(struct svc *s, struct run_stream *rs)
{
	struct asking *k = xmalloc(sizeof(*k));
	bool runs = rs->ask.n > 0;
	uint32_t n = (uint32_t)MIN(runs ? rs->ask.n : rs->ask_requests.n, CONF_RUN_LOOKUP_MAX);

	k->s = s;
	k->rs = rs;
	k->a = arena_new(1u << 30);
	k->op = (struct op){.fn = asked, .arg = k};
	k->got.n = k->requests.n = 0;
	rs->is_asking = true;
	if (!runs) {
		memcpy(k->request_ids, rs->ask_requests.p, n * sizeof(*k->request_ids));
		rs->ask_requests.n -= n;
		memmove(rs->ask_requests.p, rs->ask_requests.p + n, rs->ask_requests.n * sizeof(*rs->ask_requests.p));
		read_requests(s->db, k->a, rs->tenant_no, k->request_ids, n, &k->requests, &k->op);
		return;
	}
	memcpy(k->ids, rs->ask.p, n * sizeof(*k->ids));
	rs->ask.n -= n;
	memmove(rs->ask.p, rs->ask.p + n, rs->ask.n * sizeof(*rs->ask.p));
	read_tasks(s->db, k->a, rs->tenant_no, k->ids, n, READ_PAYLOADS, &k->got, &k->op);
}

void subs_turn(struct svc *s)
{
	while (!list_empty(&s->lookups)) {
		struct run_stream *rs = LIST_ENTRY(s->lookups.next, struct run_stream, ask_node);

		list_del(&rs->ask_node);
		if (!rs->is_asking && !rs->is_full && (rs->ask.n > 0 || rs->ask_requests.n > 0))
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
	struct eng_task_view view;
	struct uuid u;
	struct sub *sub;
	struct arena *a = arena_new(1u << 20);
	Hw__SubscribeToWorkflowRunsRequest *m;
	struct err err;
	int64_t id = 0;
	bool ok;

	m = msg.n > 4096 ? NULL : pb_unpack(a, &hw__subscribe_to_workflow_runs_request__descriptor, msg, &err);
	ok = m && pb_uuid(m->workflow_run_id, "workflow_run_id", &u, &err) &&
	     (uuid_is_request(&u) || id_from_uuid(catalog_id_secret(s->catalog), &u, &id));
	arena_free(a);
	if (!ok)
		return;	/* malformed ids are skipped, as clients expect */
	if (rs->n_subs >= s->conf.subscriptions_max) {
		stream_end(st, ERR_EXHAUSTED, "too many runs subscribed on one stream");
		return;
	}
	sub = xcalloc(1, sizeof(*sub));
	*sub = (struct sub){.rs = rs, .run_id = id, .is_alias = id == 0, .alias = u};
	rs->n_subs++;
	list_push_back(&rs->subs, &sub->by_stream);
	sub_join(s, sub);
	if (sub->is_alias)
		ask_request(rs, &u);
	else if (!s->engine || !engine_task(s->engine, id, &view))
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

		if (!sub->run_id)
			ask_request(rs, &sub->alias);
		else if (!rs->s->engine || !engine_task(rs->s->engine, sub->run_id, &view))
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
