/* Cancelling and replaying many: by the ids given, or page by page of what a filter finds, newest first.
 * A cancel's filter is narrowed to runs that are not final: the others are no-ops.  A replay answers with those it has accepted. */
#include "api_int.h"

struct bulk {
	enum bulk_what what;
	const struct str *texts;
	size_t n_texts;
	const char *field;
	struct bulk_done done;
	bulk_reply_fn *reply;
	struct run_filter filter;
	struct read_tasks page;
	bool *ok;			/* REPLAY: which of the ids */
	size_t from;			/* ids of this page */
};

static struct step *finish(struct req *r)
{
	struct bulk *c = REQ_STATE(r, struct bulk);

	return c->reply(r, &c->done);
}

/* Of the ids from c->from on only the accepted ones stay. */
static void keep_accepted(struct bulk *c)
{
	size_t n = c->from;

	for (size_t i = c->from; i < c->done.n; i++)
		if (c->ok[i - c->from])
			c->done.ids[n++] = c->done.ids[i];
	c->done.n = n;
}

static struct step *replayed(struct req *r)
{
	keep_accepted(REQ_STATE(r, struct bulk));
	return finish(r);
}

static struct step *act(struct req *r, req_fn *next)
{
	struct bulk *c = REQ_STATE(r, struct bulk);
	const int64_t *ids = c->done.ids + c->from;
	size_t n = c->done.n - c->from;

	if (c->what == BULK_CANCEL) {
		svc_cancel(svc_of(r), tenant_of(r)->tenant_no, ids, (uint32_t)n, req_op(r, next));
	} else {
		c->ok = ARENA_ARRAY(req_arena(r), bool, n + 1);
		svc_replay(svc_of(r), tenant_of(r)->tenant_no, ids, n, c->ok, req_op(r, next));
	}
	return req_await(r);
}

static struct step *listed_known(struct req *r)
{
	struct bulk *c = REQ_STATE(r, struct bulk);
	int64_t *ids = ARENA_ARRAY(req_arena(r), int64_t, c->n_texts + 1);
	struct err err;
	size_t n = 0;

	for (size_t i = 0; i < c->n_texts; i++) {
		if (api_id(r, c->texts[i], c->field, &ids[n], &err))
			n++;
		else if (err.code != ERR_NOT_FOUND)	/* unknown ones are no-ops */
			return req_fail_err(r, &err);
	}
	c->done = (struct bulk_done){.ids = ids, .n = n};
	return act(r, c->what == BULK_CANCEL ? finish : replayed);
}

struct step *bulk_listed(struct req *r, enum bulk_what what, const struct str *texts, size_t n, const char *field, bulk_reply_fn *reply)
{
	struct bulk *c = REQ_STATE(r, struct bulk);

	*c = (struct bulk){.what = what, .texts = texts, .n_texts = n, .field = field, .reply = reply};
	return alias_settled(r, texts, n, listed_known);
}

static struct step *page_read(struct req *r);

static struct step *next_page(struct req *r)
{
	struct bulk *c = REQ_STATE(r, struct bulk);

	if (c->done.n + BULK_PAGE > CONF_BULK_IDS_MAX)
		return finish(r);
	read_runs(svc_db(svc_of(r)), req_arena(r), &c->filter, &c->page, req_op(r, page_read));
	return req_await(r);
}

static struct step *page_replayed(struct req *r)
{
	keep_accepted(REQ_STATE(r, struct bulk));
	return next_page(r);
}

static struct step *page_read(struct req *r)
{
	struct bulk *c = REQ_STATE(r, struct bulk);
	uint32_t n = MIN(c->page.n, (uint32_t)BULK_PAGE);

	c->from = c->done.n;
	for (uint32_t i = 0; i < n; i++)
		c->done.ids[c->done.n++] = c->page.tasks[i].id;
	if (n == 0)
		return finish(r);
	c->filter.before_id = c->page.tasks[n - 1].id;
	if (c->what == BULK_CANCEL)
		return act(r, n < BULK_PAGE ? finish : next_page);
	return act(r, n < BULK_PAGE ? replayed : page_replayed);
}

struct step *bulk_filtered(struct req *r, enum bulk_what what, const struct bulk_filter *f, bulk_reply_fn *reply)
{
	struct bulk *c = REQ_STATE(r, struct bulk);
	unsigned open = 1u << RUN_QUEUED | 1u << RUN_RUNNING, mask = f->status_mask;

	c->what = what;
	c->reply = reply;
	c->done.ids = ARENA_ARRAY(req_arena(r), int64_t, CONF_BULK_IDS_MAX);
	if (what == BULK_CANCEL)
		mask = (mask ? mask : open) & open;
	c->filter = (struct run_filter){.tenant_no = tenant_of(r)->tenant_no, .since_us = f->since_us, .until_us = f->until_us,
		.status_mask = mask, .workflow_nos = f->workflow_nos, .n_workflows = f->n_workflows, .meta_pairs = f->meta_pairs,
		.n_meta = f->n_meta, .meta_and = true, .limit = BULK_PAGE};
	return mask || what == BULK_REPLAY ? next_page(r) : finish(r);
}
