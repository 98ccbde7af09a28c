/* Cancelling many: by the ids given, or page by page of what a filter finds.
 * A filter is narrowed to runs that are not final: the others are no-ops, so that after each page only new ones match and no
 * cursor is needed. */
#include "api_int.h"

struct cancel {
	const struct str *texts;
	size_t n_texts;
	const char *field;
	struct cancel_done done;
	cancel_reply_fn *reply;
	struct run_filter filter;
	struct read_tasks page;
};

static struct step *finish(struct req *r)
{
	struct cancel *c = REQ_STATE(r, struct cancel);

	return c->reply(r, &c->done);
}

static struct step *cancel_ids(struct req *r, const int64_t *ids, size_t n, cancel_reply_fn *reply)
{
	struct cancel *c = REQ_STATE(r, struct cancel);

	c->reply = reply;
	c->done = (struct cancel_done){.ids = (int64_t *)memcpy(ARENA_ARRAY(req_arena(r), int64_t, n + 1), ids, sizeof(*ids) * n), .n = n};
	svc_cancel(svc_of(r), tenant_of(r)->tenant_no, c->done.ids, (uint32_t)n, req_op(r, finish));
	return req_await(r);
}

static struct step *listed_known(struct req *r)
{
	struct cancel *c = REQ_STATE(r, struct cancel);
	int64_t *ids = ARENA_ARRAY(req_arena(r), int64_t, c->n_texts + 1);
	struct err err;
	size_t n = 0;

	for (size_t i = 0; i < c->n_texts; i++) {
		if (api_id(r, c->texts[i], c->field, &ids[n], &err))
			n++;
		else if (err.code != ERR_NOT_FOUND)	/* unknown ones are no-ops */
			return req_fail_err(r, &err);
	}
	return cancel_ids(r, ids, n, c->reply);
}

struct step *cancel_listed(struct req *r, const struct str *texts, size_t n, const char *field, cancel_reply_fn *reply)
{
	struct cancel *c = REQ_STATE(r, struct cancel);

	*c = (struct cancel){.texts = texts, .n_texts = n, .field = field, .reply = reply};
	return alias_settled(r, texts, n, listed_known);
}

static struct step *page_read(struct req *r);

static struct step *next_page(struct req *r)
{
	struct cancel *c = REQ_STATE(r, struct cancel);

	if (c->done.n + CANCEL_PAGE > CONF_CANCEL_IDS_MAX)
		return finish(r);
	read_runs(svc_db(svc_of(r)), req_arena(r), &c->filter, &c->page, req_op(r, page_read));
	return req_await(r);
}

static struct step *page_read(struct req *r)
{
	struct cancel *c = REQ_STATE(r, struct cancel);
	int64_t *ids = c->done.ids + c->done.n;
	uint32_t n = MIN(c->page.n, (uint32_t)CANCEL_PAGE);

	for (uint32_t i = 0; i < n; i++)
		ids[i] = c->page.tasks[i].id;
	c->done.n += n;
	if (n == 0)
		return finish(r);
	svc_cancel(svc_of(r), tenant_of(r)->tenant_no, ids, n, req_op(r, n < CANCEL_PAGE ? finish : next_page));
	return req_await(r);
}

struct step *cancel_filtered(struct req *r, const struct cancel_filter *f, cancel_reply_fn *reply)
{
	struct cancel *c = REQ_STATE(r, struct cancel);
	unsigned open = 1u << RUN_QUEUED | 1u << RUN_RUNNING;

	c->reply = reply;
	c->done.ids = ARENA_ARRAY(req_arena(r), int64_t, CONF_CANCEL_IDS_MAX);
	c->filter = (struct run_filter){.tenant_no = tenant_of(r)->tenant_no, .since_us = f->since_us, .until_us = f->until_us,
		.status_mask = (f->status_mask ? f->status_mask : open) & open, .workflow_nos = f->workflow_nos,
		.n_workflows = f->n_workflows, .meta_pairs = f->meta_pairs, .n_meta = f->n_meta, .meta_and = true,
		.limit = CANCEL_PAGE};
	return c->filter.status_mask ? next_page(r) : finish(r);
}
