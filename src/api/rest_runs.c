/* Runs: list, ids, trigger, details, status, events.
 * A list of runs and one of tasks are the same as long as every run has one task. */
#include "api_int.h"

enum { LIST_LIMIT = 50, LIST_MAX = 1000, OFFSET_MAX = 10000, EVENTS_LIMIT = 1000 };

/* --- list ------------------------------------------------------------ */

struct listing {
	struct run_filter f;
	struct page page;
	struct read_tasks got;
	int64_t *ids;		/* external-ids: what earlier pages gave */
	size_t n_ids;
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
	/* no run is started by an event or holds a key yet */
	if (req_query(r, "triggering_event_external_id", 0, &s) || req_query(r, "idempotency_keys", 0, &s))
		*ret_none = true;
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
	return filter_running(r, f, ret_none, err) && filter_owners(r, f, ret_none, err) && filter_meta(r, f, err);
}

static struct step *list_read(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	struct reply_json j;

	for (uint32_t i = 0; l->f.flags & READ_PAYLOADS && i < l->got.n; i++)
		if (l->got.tasks[i].is_cut)
			return req_fail(r, ERR_INVALID, "limit: the payloads of this page are more than %d bytes; ask for fewer runs",
					CONF_PAYLOAD_READ_BYTES);
	json_begin(&j);
	jw_obj_begin(&j.w);
	json_pagination(&j.w, l->page.offset, l->page.limit, l->got.n);
	jw_key(&j.w, "rows");
	jw_arr_begin(&j.w);
	for (uint32_t i = 0; i < l->got.n; i++)
		shape_task(r, &j.w, &l->got.tasks[i], -1);
	jw_arr_end(&j.w);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

struct step *rest_run_list(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	bool only_tasks, payloads, none;
	struct err err;

	if (!query_page(r, LIST_LIMIT, LIST_MAX, OFFSET_MAX, &l->page, &err) || !query_bool(r, "only_tasks", true, &only_tasks, &err) ||
	    !query_bool(r, "include_payloads", false, &payloads, &err) || !read_filter(r, &l->f, &none, &err))
		return req_fail_err(r, &err);
	if (none)
		return list_read(r);
	l->f.offset = l->page.offset;
	l->f.limit = l->page.limit;
	l->f.flags = payloads ? READ_PAYLOADS : 0;
	read_runs(svc_db(svc_of(r)), req_arena(r), &l->f, &l->got, req_op(r, list_read));
	return req_await(r);
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

static struct step *ids_page_read(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);

	for (uint32_t i = 0; i < l->got.n && i < LIST_MAX; i++)
		l->ids[l->n_ids++] = l->got.tasks[i].id;
	if (l->got.n < LIST_MAX || l->f.offset + LIST_MAX > OFFSET_MAX)
		return ids_reply(r);
	l->f.offset += LIST_MAX;
	read_runs(svc_db(svc_of(r)), req_arena(r), &l->f, &l->got, req_op(r, ids_page_read));
	return req_await(r);
}

struct step *rest_run_external_ids(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	struct err err;
	bool none;

	if (!read_filter(r, &l->f, &none, &err))
		return req_fail_err(r, &err);
	l->ids = ARENA_ARRAY(req_arena(r), int64_t, OFFSET_MAX + LIST_MAX);
	if (none)
		return ids_reply(r);
	l->f.limit = LIST_MAX;
	read_runs(svc_db(svc_of(r)), req_arena(r), &l->f, &l->got, req_op(r, ids_page_read));
	return req_await(r);
}

/* --- one run ------------------------------------------------------------ */

struct one {
	struct svc_trigger_item item;
	int64_t id;
	struct read_tasks got;
	struct read_notes notes;
	struct page page;
};

static void put_shape(struct req *r, struct jw *w, const struct task_view *t)
{
	const struct cat_step *step = cat_step(catalog_of(r), t->step_no);

	jw_arr_begin(w);
	if (step) {
		jw_obj_begin(w);
		json_id(r, w, "taskExternalId", t->id);
		jw_kv_uuid(w, "stepId", &step->uuid);
		jw_key(w, "childrenStepIds");
		jw_arr_begin(w);
		jw_arr_end(w);
		jw_kv_str(w, "taskName", step->readable_id);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

static struct step *run_reply(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	const struct task_view *t = o->got.tasks;
	struct tl_event *e;
	struct reply_json j;
	size_t n;

	if (o->got.n == 0)
		return req_fail(r, ERR_NOT_FOUND, "there is no such run");
	n = timeline(req_arena(r), t, o->notes.p, o->notes.n, &e);
	json_begin(&j);
	jw_obj_begin(&j.w);
	jw_key(&j.w, "run");
	shape_run(r, &j.w, t);
	jw_key(&j.w, "tasks");
	jw_arr_begin(&j.w);
	shape_task(r, &j.w, t, -1);
	jw_arr_end(&j.w);
	jw_key(&j.w, "taskEvents");
	shape_events(r, &j.w, t, e, n, false, (struct page){0, UINT32_MAX});
	jw_key(&j.w, "shape");
	put_shape(r, &j.w, t);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

static struct step *events_reply(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	const struct task_view *t = o->got.tasks;
	struct tl_event *e;
	struct reply_json j;
	size_t n, left;

	if (o->got.n == 0)
		return req_fail(r, ERR_NOT_FOUND, "there is no such run or task");
	n = timeline(req_arena(r), t, o->notes.p, o->notes.n, &e);
	left = o->page.offset < n ? n - o->page.offset : 0;
	json_begin(&j);
	jw_obj_begin(&j.w);
	json_pagination(&j.w, o->page.offset, o->page.limit, MIN(left, (size_t)o->page.limit));
	jw_key(&j.w, "rows");
	shape_events(r, &j.w, t, e, n, true, o->page);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

/* Task, every attempt and notes, both at once. */
static struct step *read_whole(struct req *r, req_fn *next)
{
	struct one *o = REQ_STATE(r, struct one);
	struct db *db = svc_db(svc_of(r));
	int32_t tenant_no = tenant_of(r)->tenant_no;

	read_tasks(db, req_arena(r), tenant_no, &o->id, 1, READ_PAYLOADS | READ_ALL_ATTEMPTS, &o->got, req_op(r, next));
	read_notes(db, req_arena(r), tenant_no, o->id, &o->notes, req_op(r, next));
	return req_await(r);
}

struct step *rest_run_get(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	struct err err;

	if (!api_id(r, req_param(r, "run"), "run", &o->id, &err))
		return req_fail_err(r, &err);
	return read_whole(r, run_reply);
}

static struct step *task_or_run_events(struct req *r, const char *param)
{
	struct one *o = REQ_STATE(r, struct one);
	struct err err;

	if (!api_id(r, req_param(r, param), param, &o->id, &err) ||
	    !query_page(r, LIST_LIMIT, EVENTS_LIMIT, OFFSET_MAX, &o->page, &err))
		return req_fail_err(r, &err);
	return read_whole(r, events_reply);
}

struct step *rest_run_task_events(struct req *r)
{
	return task_or_run_events(r, "run");
}

struct step *rest_task_events(struct req *r)
{
	return task_or_run_events(r, "task");
}

static struct step *status_reply(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	struct reply_json j;

	if (o->got.n == 0)
		return req_fail(r, ERR_NOT_FOUND, "there is no such run");
	json_begin(&j);
	jw_c(&j.w, run_status_name(o->got.tasks[0].status));
	return json_end(r, 200, &j);
}

struct step *rest_run_status(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	struct err err;

	if (!api_id(r, req_param(r, "run"), "run", &o->id, &err))
		return req_fail_err(r, &err);
	read_tasks(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, &o->id, 1, 0, &o->got, req_op(r, status_reply));
	return req_await(r);
}

/* --- trigger ------------------------------------------------------------ */

static struct step *triggered(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);

	o->id = o->item.id;
	return read_whole(r, run_reply);
}

static struct str json_text(struct req *r, const struct jv *v)
{
	struct strb b;
	struct jw w;
	struct str s;

	if (jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL)
		return STR_NULL;
	strb_init(&b, req_body(r).n * 6 + 64);	/* an escape takes six bytes at most */
	jw_init(&w, &b);
	jw_val(&w, v);
	s = arena_dup(req_arena(r), strb_str(&b));
	strb_fini(&b);
	return s;
}

struct step *rest_run_trigger(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	struct trigger_args t = {.child_index = -1};
	const struct jv *body, *priority;
	struct err err;

	body = json_parse(req_arena(r), req_body(r), &err);
	if (!body)
		return req_fail(r, ERR_INVALID, "body: %.280s", err.msg);
	if (jv_type(jv_get(body, "workflowName")) != JV_STR)
		return json_fail_field(r, "workflowName", "is required");
	if (jv_type(jv_get(body, "input")) != JV_OBJ)
		return json_fail_field(r, "input", "must be an object");
	priority = jv_get(body, "priority");
	if (jv_type(priority) != JV_ABSENT && jv_type(priority) != JV_NULL && jv_type(priority) != JV_INT)
		return json_fail_field(r, "priority", "must be 1 to 3");
	t.name = jv_str(jv_get(body, "workflowName"));
	t.input = json_text(r, jv_get(body, "input"));
	t.metadata = json_text(r, jv_get(body, "additionalMetadata"));
	t.has_priority = jv_type(priority) == JV_INT;
	t.priority = (int32_t)MAX(MIN(jv_i64(priority, 0), 4), 0);
	if (!trigger_check(r, &t, &o->item, &err))
		return req_fail_err(r, &err);
	svc_trigger(svc_of(r), tenant_of(r)->tenant_no, &o->item, 1, req_op(r, triggered));
	return req_await(r);
}
