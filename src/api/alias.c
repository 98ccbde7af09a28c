/* Ids of SQL requests, as hatchet.enqueue() returns them: wherever a run or its task is asked for, they stand for it.
 *
 * A handler has them looked up before it begins (alias_param, alias_ids); from then on api_id() knows them.  A request that is no
 * run yet reads as a run that is QUEUED, one that was refused as a run that FAILED with the reason; neither has a task.
 * Does not decide what is taken or refused: src/svc/svc_front.c. */
#include "api_int.h"

#include "base/text.h"

#include <stdlib.h>

enum { SETTLE_US = 20000000 };

static int by_id(const void *key, const void *v)
{
	return memcmp(((const struct uuid *)key)->b, ((const struct request_view *)v)->id.b, sizeof(struct uuid));
}

static const struct request_view *find(struct req *r, const struct uuid *u)
{
	const struct read_requests *got = &((struct who *)req_user(r))->requests;

	return got->n ? bsearch(u, got->p, got->n, sizeof(got->p[0]), by_id) : NULL;
}

const struct request_view *alias_find(struct req *r, struct str text)
{
	struct uuid u;

	return uuid_parse(text, &u) ? find(r, &u) : NULL;
}

bool alias_id(struct req *r, const struct uuid *u, int64_t *ret)
{
	const struct request_view *v = find(r, u);

	if (!v || v->state != REQUEST_TAKEN)
		return false;
	*ret = v->run_id;
	return true;
}

struct step *alias_ids(struct req *r, const struct str *texts, size_t n, req_fn *next)
{
	struct who *w = req_user(r);
	struct uuid *ids = ARENA_ARRAY(req_arena(r), struct uuid, n + 1);
	uint32_t n_ids = 0;

	for (size_t i = 0; i < n; i++)
		if (uuid_parse(texts[i], &ids[n_ids]) && uuid_is_request(&ids[n_ids]))
			n_ids++;
	if (!n_ids)
		return next(r);
	w->asked = ids;
	w->n_asked = n_ids;
	read_requests(svc_db(svc_of(r)), req_arena(r), w->tenant->tenant_no, ids, n_ids, &w->requests, req_op(r, next));
	return req_await(r);
}

struct step *alias_query(struct req *r, const char *name, req_fn *next)
{
	struct str text;

	return req_query(r, name, 0, &text) ? alias_ids(r, &text, 1, next) : next(r);
}

/* --- those that wait are waited for ------------------------------------------------------------------------------------------ */

static struct step *ask_again(struct req *r);

static struct step *settled(struct req *r)
{
	struct who *w = req_user(r);
	bool waits = false;

	for (uint32_t i = 0; i < w->requests.n; i++)
		waits |= w->requests.p[i].state == REQUEST_WAITS;
	if (!waits)
		return w->alias_next(r);
	if (api_now(r).mono_us > w->alias_until_us)
		return req_fail(r, ERR_UNAVAILABLE, "some of the SQL requests wait for their turn to become runs; try again");
	svc_front_wait(svc_of(r), req_op(r, ask_again));
	return req_await(r);
}

static struct step *ask_again(struct req *r)
{
	struct who *w = req_user(r);

	read_requests(svc_db(svc_of(r)), req_arena(r), w->tenant->tenant_no, w->asked, w->n_asked, &w->requests, req_op(r, settled));
	return req_await(r);
}

struct step *alias_settled(struct req *r, const struct str *texts, size_t n, req_fn *next)
{
	struct who *w = req_user(r);

	w->alias_next = next;
	w->alias_until_us = api_now(r).mono_us + SETTLE_US;
	return alias_ids(r, texts, n, settled);
}

/* --- those that are no run --------------------------------------------------------------------------------------------------- */

/* As a task: waiting, or failed in its first attempt.  Its id tells the time of the request and is shown as the request's. */
static struct task_view view_of(struct req *r, const struct request_view *v)
{
	struct who *w = req_user(r);
	const struct cat_workflow *wf = cat_workflow_by_name(catalog_of(r), w->tenant->tenant_no, v->workflow);
	const struct cat_version *version = wf ? wf->latest : NULL;
	struct task_view t = {.id = id_make(request_unix_ms(&v->id), w->tenant->tenant_no, 0), .tenant_no = w->tenant->tenant_no,
		.workflow_no = wf ? wf->workflow_no : 0, .version_no = version ? version->version_no : 0,
		.step_no = version && version->n_steps ? version->steps[0]->step_no : 0, .input = v->input, .metadata = v->metadata,
		.priority = v->priority ? v->priority : version ? version->default_priority : 1, .live_queued_at = INT64_MIN,
		.live_assigned_at = INT64_MIN, .live_started_at = INT64_MIN, .live_due_at = INT64_MIN};

	t.run_id = t.id;
	t.live_state = v->state == REQUEST_WAITS ? LIVE_QUEUED : -1;
	t.status = v->state == REQUEST_WAITS ? RUN_QUEUED : RUN_FAILED;
	w->open_id = t.id;
	w->open_uuid = v->id;
	if (v->state != REQUEST_REFUSED)
		return t;
	t.n_attempts = 1;
	t.attempts = ARENA_NEW(req_arena(r), struct attempt_view);
	*t.attempts = (struct attempt_view){.status = ATTEMPT_FAILED, .queued_at = INT64_MIN, .assigned_at = INT64_MIN,
		.started_at = INT64_MIN, .finished_at = id_unix_ms(v->run_id) * 1000, .error = v->why};
	return t;
}

static void put_empty(struct jw *w, const char *key)
{
	jw_key(w, key);
	jw_arr_begin(w);
	jw_arr_end(w);
}

static struct step *reply_open(struct req *r, const struct request_view *v, enum alias_route route)
{
	struct task_view t = view_of(r, v);
	struct reply_json j;

	if (route == ALIAS_INPUT)
		return req_reply_http(r, 200, "application/json", t.input);
	json_begin(&j);
	if (route == ALIAS_STATUS) {
		jw_c(&j.w, run_status_name(t.status));
	} else if (route == ALIAS_TASK) {
		shape_task(r, &j.w, &t, -1);
	} else if (route == ALIAS_WHY) {
		why_request(&j.w, v);
	} else {
		jw_obj_begin(&j.w);
		if (route == ALIAS_RUN) {
			jw_key(&j.w, "run");
			shape_run(r, &j.w, &t);
			put_empty(&j.w, "tasks");
			put_empty(&j.w, "taskEvents");
			put_empty(&j.w, "shape");
		} else {
			json_pagination(&j.w, 0, 1, 0);
			put_empty(&j.w, "rows");
		}
		jw_obj_end(&j.w);
	}
	return json_end(r, 200, &j);
}

static struct step *param_found(struct req *r)
{
	struct who *w = req_user(r);
	const struct request_view *v = find(r, w->asked);

	if (!v)
		return req_fail(r, ERR_NOT_FOUND, "there is no such request");
	return v->state == REQUEST_TAKEN ? w->alias_next(r) : reply_open(r, v, w->alias_route);
}

struct step *alias_param(struct req *r, const char *param, enum alias_route route, req_fn *next)
{
	struct who *w = req_user(r);
	struct str text = req_param(r, param);
	struct uuid u;

	if (!uuid_parse(text, &u) || !uuid_is_request(&u))
		return next(r);
	w->alias_next = next;
	w->alias_route = route;
	return alias_ids(r, &text, 1, param_found);
}
