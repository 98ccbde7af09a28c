/* One run: trigger, details, status, events.  A run of one task and that task are the same. */
#include "api_int.h"

enum { EVENTS_LIMIT = 50, EVENTS_MAX = 1000, EVENTS_OFFSET_MAX = 10000 };

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

	read_tasks(db, req_arena(r), tenant_no, &o->id, 1, READ_PAYLOADS | READ_ALL_ATTEMPTS | READ_CHILDREN, &o->got, req_op(r, next));
	read_notes(db, req_arena(r), tenant_no, o->id, &o->notes, req_op(r, next));
	return req_await(r);
}

static struct step *run_get(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	struct err err;

	if (!api_id(r, req_param(r, "run"), "run", &o->id, &err))
		return req_fail_err(r, &err);
	return read_whole(r, run_reply);
}

struct step *rest_run_get(struct req *r)
{
	return alias_param(r, "run", ALIAS_RUN, run_get);
}

static struct step *task_or_run_events(struct req *r, const char *param)
{
	struct one *o = REQ_STATE(r, struct one);
	struct err err;

	if (!api_id(r, req_param(r, param), param, &o->id, &err) ||
	    !query_page(r, EVENTS_LIMIT, EVENTS_MAX, EVENTS_OFFSET_MAX, &o->page, &err))
		return req_fail_err(r, &err);
	return read_whole(r, events_reply);
}

static struct step *run_task_events(struct req *r)
{
	return task_or_run_events(r, "run");
}

struct step *rest_run_task_events(struct req *r)
{
	return alias_param(r, "run", ALIAS_ROWS, run_task_events);
}

static struct step *task_events(struct req *r)
{
	return task_or_run_events(r, "task");
}

struct step *rest_task_events(struct req *r)
{
	return alias_param(r, "task", ALIAS_ROWS, task_events);
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

static struct step *run_status(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	struct err err;

	if (!api_id(r, req_param(r, "run"), "run", &o->id, &err))
		return req_fail_err(r, &err);
	read_tasks(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, &o->id, 1, 0, &o->got, req_op(r, status_reply));
	return req_await(r);
}

struct step *rest_run_status(struct req *r)
{
	return alias_param(r, "run", ALIAS_STATUS, run_status);
}

/* --- trigger ------------------------------------------------------------ */

static struct step *triggered(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);

	if (o->item.holder_id)
		return collision_reply(r, &o->item, 1, false);
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
