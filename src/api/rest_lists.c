/* Lists of runs and tasks, and their ids alone.
 * A list of runs and one of tasks are the same as long as every run has one task. */
#include "api_int.h"

#include "base/text.h"

enum { LIST_LIMIT = 50, LIST_MAX = 1000, OFFSET_MAX = 1000000000, SKIP_MAX = 10000, KEYS_MAX = 100 };

struct listing {
	struct run_filter f;
	struct page page;
	struct read_tasks got;
	int64_t *ids;		/* external-ids: what the pages gave so far */
	size_t n_ids;
	struct arena *pages[2];	/* by turns: one may still be in use where the next page is asked for */
	size_t n_pages;
};

/* running_filter narrows RUNNING to runs parked off their worker, of which there are none yet, or on it. */
static bool filter_running(struct req *r, struct run_filter *f, bool *ret_none, struct err *err)
{
	unsigned all = (1u << 5) - 1, running = 1u << RUN_RUNNING;
	struct str s;

	if (!req_query(r, "running_filter", 0, &s) || str_eq(s, STR("ALL")) || str_eq(s, STR("ON_WORKER")))
		return true;
	if (!str_eq(s, STR("EVICTED")))
		return err_set(err, ERR_INVALID, "running_filter: must be ALL, EVICTED or ON_WORKER");
	f->status_mask = (f->status_mask ? f->status_mask : all) & ~running;
	*ret_none = f->status_mask == 0;
	return true;
}

static bool filter_owners(struct req *r, struct run_filter *f, bool *ret_none, struct err *err)
{
	struct str s;
	struct err why;

	if (req_query(r, "worker_id", 0, &s)) {
		struct cat_worker *w = api_worker(r, s, "worker_id", &why);

		if (!w && why.code == ERR_INVALID)
			return err_set(err, ERR_INVALID, "%s", why.msg);
		if (w)
			f->worker_no = w->worker_no;
		else
			*ret_none = true;
	}
	if (req_query(r, "parent_task_external_id", 0, &s) && !api_id(r, s, "parent_task_external_id", &f->parent_id, &why)) {
		if (why.code == ERR_INVALID)
			return err_set(err, ERR_INVALID, "%s", why.msg);
		*ret_none = true;
	}
	/* no run is started by an event yet */
	if (req_query(r, "triggering_event_external_id", 0, &s))
		*ret_none = true;
	return true;
}

static bool filter_keys(struct req *r, struct run_filter *f, struct err *err)
{
	struct str *keys, s;
	uint32_t n = 0;

	while (req_query(r, "idempotency_keys", n, &s))
		if (n++ == KEYS_MAX)
			return err_set(err, ERR_INVALID, "idempotency_keys: at most %d", KEYS_MAX);
	f->idempotency_keys = keys = ARENA_ARRAY(req_arena(r), struct str, n + 1);
	for (f->n_keys = 0; f->n_keys < n; f->n_keys++) {
		(void)req_query(r, "idempotency_keys", f->n_keys, &keys[f->n_keys]);
		if (!text_check(keys[f->n_keys], "idempotency_keys", err))
			return false;
	}
	return true;
}

static bool filter_meta(struct req *r, struct run_filter *f, struct err *err)
{
	struct str *pairs, op;

	f->n_meta = (uint32_t)query_meta(r, "additional_metadata", &pairs);
	f->meta_pairs = pairs;
	if (!req_query(r, "additional_metadata_operator", 0, &op))
		return true;
	f->meta_and = str_eq(op, STR("AND"));
	return f->meta_and || str_eq(op, STR("OR")) || err_set(err, ERR_INVALID, "additional_metadata_operator: must be AND or OR");
}

static bool read_filter(struct req *r, struct run_filter *f, bool *ret_none, struct err *err)
{
	int32_t *nos;

	*ret_none = false;
	f->tenant_no = tenant_of(r)->tenant_no;
	if (!query_time(r, "since", true, 0, &f->since_us, err) || !query_time(r, "until", false, INT64_MAX, &f->until_us, err) ||
	    !query_statuses(r, "statuses", &f->status_mask, err) || !query_workflows(r, "workflow_ids", &nos, &f->n_workflows, err))
		return false;
	f->workflow_nos = nos;
	return filter_running(r, f, ret_none, err) && filter_owners(r, f, ret_none, err) && filter_keys(r, f, err) &&
	       filter_meta(r, f, err);
}

static struct step *list_read(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	uint32_t n = MIN(l->got.n, l->page.limit);
	struct reply_json j;

	for (uint32_t i = 0; l->f.flags & READ_PAYLOADS && i < n; i++)
		if (l->got.tasks[i].is_cut)
			return req_fail(r, ERR_INVALID, "limit: the payloads of this page are more than %d bytes; ask for fewer runs",
					CONF_PAYLOAD_READ_BYTES);
	if (n == l->page.limit)
		page_mark_set(r, &l->f, l->page.offset + n, l->got.tasks[n - 1].id);
	json_begin(&j);
	jw_obj_begin(&j.w);
	json_pages(&j.w, l->page.offset, l->page.limit, l->got.n > n);
	jw_key(&j.w, "rows");
	jw_arr_begin(&j.w);
	for (uint32_t i = 0; i < n; i++)
		shape_task(r, &j.w, &l->got.tasks[i], -1);
	jw_arr_end(&j.w);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

static struct step *run_list(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	bool only_tasks, payloads, none;
	struct err err;

	if (!query_page(r, LIST_LIMIT, LIST_MAX, OFFSET_MAX, &l->page, &err) || !query_bool(r, "only_tasks", true, &only_tasks, &err) ||
	    !query_bool(r, "include_payloads", false, &payloads, &err) || !read_filter(r, &l->f, &none, &err))
		return req_fail_err(r, &err);
	if (none)
		return list_read(r);
	l->f.before_id = page_mark_get(r, &l->f, l->page.offset);
	l->f.offset = l->f.before_id ? 0 : l->page.offset;
	if (l->f.offset > SKIP_MAX)
		return req_fail(r, ERR_INVALID, "offset: beyond %d, pages are reached one after the other with the same filter", SKIP_MAX);
	l->f.limit = l->page.limit + 1;
	l->f.flags = READ_CHILDREN | (payloads ? READ_PAYLOADS : READ_ERRORS);
	read_runs(svc_db(svc_of(r)), req_arena(r), &l->f, &l->got, req_op(r, list_read));
	return req_await(r);
}

struct step *rest_run_list(struct req *r)
{
	return alias_query(r, "parent_task_external_id", run_list);
}

static struct step *ids_reply(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	struct reply_json j;

	json_begin(&j);
	jw_arr_begin(&j.w);
	for (size_t i = 0; i < l->n_ids; i++) {
		struct uuid u = api_uuid(r, l->ids[i]);

		jw_uuid(&j.w, &u);
	}
	jw_arr_end(&j.w);
	return json_end(r, 200, &j);
}

static struct step *ids_read(struct req *r);

/* Page by page, each from where the one before ended; rows of a page are not kept. */
static struct step *ids_page_read(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);

	for (uint32_t i = 0; i < l->got.n; i++)
		l->ids[l->n_ids++] = l->got.tasks[i].id;
	if (l->got.n < LIST_MAX || l->n_ids + LIST_MAX > CONF_EXTERNAL_IDS_MAX)
		return ids_reply(r);
	l->f.before_id = l->ids[l->n_ids - 1];
	return ids_read(r);
}

static struct step *ids_read(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	struct arena *a = l->pages[l->n_pages++ & 1];

	arena_reset(a);
	read_runs(svc_db(svc_of(r)), a, &l->f, &l->got, req_op(r, ids_page_read));
	return req_await(r);
}

static void free_arena(void *a)
{
	arena_free(a);
}

static struct step *run_external_ids(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	struct err err;
	bool none;

	if (!read_filter(r, &l->f, &none, &err))
		return req_fail_err(r, &err);
	if (none)
		return ids_reply(r);
	l->ids = ARENA_ARRAY(req_arena(r), int64_t, CONF_EXTERNAL_IDS_MAX);
	for (size_t i = 0; i < ARRAY_LEN(l->pages); i++) {
		l->pages[i] = arena_new(16u << 20);
		arena_own(req_arena(r), l->pages[i], free_arena);
	}
	l->f.limit = LIST_MAX;
	return ids_read(r);
}

struct step *rest_run_external_ids(struct req *r)
{
	return alias_query(r, "parent_task_external_id", run_external_ids);
}
