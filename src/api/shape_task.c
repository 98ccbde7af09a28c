/* Tasks and runs as the REST clients see them.  Every field marked required there is present and not null.
 * A run of one task and that task are the same row with the same id. */
#include "api_int.h"

#include "base/text.h"

struct str task_display_name(struct arena *a, struct str name, int64_t id)
{
	return arena_strf(a, "%.*s-%lld", STR_FMT(name), (long long)(id_unix_ms(id) / 1000));
}

const struct attempt_view *task_attempt(const struct task_view *t, int attempt)
{
	if (attempt < 0)
		return t->n_attempts ? &t->attempts[t->n_attempts - 1] : NULL;
	for (uint32_t i = 0; i < t->n_attempts; i++)
		if (t->attempts[i].attempt == attempt)
			return &t->attempts[i];
	return NULL;
}

/* What is shown of one attempt, ended or not. */
struct shown {
	int attempt;
	enum run_status status;
	int64_t started_at, finished_at;
	struct str output, error;
};

static struct shown shown_of(const struct task_view *t, int attempt)
{
	bool is_live = t->live_state >= 0 || t->in_tail;
	const struct attempt_view *v = is_live && (attempt < 0 || attempt == t->live_attempt) ? NULL : task_attempt(t, attempt);
	struct shown s = {.attempt = is_live ? t->live_attempt : 0, .status = t->status, .started_at = INT64_MIN,
		.finished_at = INT64_MIN};

	if (v) {
		s.attempt = v->attempt;
		s.status = run_status_of(-1, false, v->status);
		s.started_at = v->started_at;
		s.finished_at = v->finished_at;
		s.output = s.status == RUN_COMPLETED ? v->output : STR_NULL;
		s.error = s.status == RUN_FAILED ? v->error : STR_NULL;
	} else if (is_live && t->live_state == LIVE_STARTED) {
		s.started_at = t->live_started_at;
	}
	return s;
}

static void put_error(struct jw *w, struct str error)
{
	if (error.n)
		jw_kv_str(w, "errorMessage", error);
}

static void put_times(struct jw *w, const struct shown *s)
{
	json_time(w, "startedAt", s->started_at);
	json_time(w, "finishedAt", s->finished_at);
	if (s->started_at != INT64_MIN && s->finished_at != INT64_MIN)
		jw_kv_i64(w, "duration", (s->finished_at - s->started_at) / 1000);
}

static void put_key(struct jw *w, const struct task_view *t)
{
	if (t->idempotency_key.p)
		jw_kv_str(w, "idempotencyKey", t->idempotency_key);
}

static void put_workflow(struct req *r, struct jw *w, const struct task_view *t)
{
	const struct cat_version *v = cat_version(catalog_of(r), t->version_no);
	const struct cat_workflow *wf = cat_workflow(catalog_of(r), t->workflow_no);
	static const struct uuid none;

	jw_key(w, "workflowId");
	if (wf)
		jw_uuid(w, &wf->uuid);
	else
		jw_c(w, "00000000-0000-0000-0000-000000000000");
	if (v && !uuid_eq(&v->uuid, &none))
		jw_kv_uuid(w, "workflowVersionId", &v->uuid);
}

void shape_task(struct req *r, struct jw *w, const struct task_view *t, int attempt)
{
	const struct cat_step *step = cat_step(catalog_of(r), t->step_no);
	const struct cat_workflow *wf = cat_workflow(catalog_of(r), t->workflow_no);
	int64_t created = id_unix_ms(t->id) * 1000;
	struct shown s = shown_of(t, attempt);
	struct uuid u = api_uuid(r, t->id);

	jw_obj_begin(w);
	json_meta(w, &u, created, s.finished_at != INT64_MIN ? s.finished_at : created);
	jw_kv_i64(w, "taskId", t->id);
	jw_kv_uuid(w, "taskExternalId", &u);
	json_id(r, w, "workflowRunExternalId", t->run_id);
	jw_kv_uuid(w, "tenantId", &tenant_of(r)->uuid);
	jw_kv_c(w, "type", "TASK");
	jw_kv_str(w, "displayName", task_display_name(req_arena(r), step ? step->readable_id : STR("task"), t->id));
	jw_kv_c(w, "status", run_status_name(s.status));
	jw_kv_i64(w, "retryCount", s.attempt);
	jw_kv_i64(w, "attempt", s.attempt + 1);
	jw_kv_time(w, "createdAt", created);
	jw_kv_time(w, "taskInsertedAt", created);
	put_times(w, &s);
	json_payload(w, "input", t->input);
	json_payload(w, "output", s.output);
	json_payload(w, "additionalMetadata", t->metadata);
	put_key(w, t);
	put_error(w, s.error);
	if (step) {
		jw_kv_str(w, "actionId", step->action->name);
		jw_kv_uuid(w, "stepId", &step->uuid);
	}
	put_workflow(r, w, t);
	if (wf)
		jw_kv_str(w, "workflowName", wf->name);
	if (t->parent_id)
		json_id(r, w, "parentTaskExternalId", t->parent_id);
	jw_kv_i64(w, "numSpawnedChildren", t->n_children);	/* they are found by parent_task_external_id */
	jw_kv_bool(w, "isDurable", step && step->is_durable);
	jw_kv_bool(w, "isEvicted", false);
	jw_kv_bool(w, "payloadsRestricted", false);
	jw_obj_end(w);
}

int64_t task_queued_at(const struct task_view *t)
{
	bool is_live = t->live_state >= 0 || t->in_tail;
	int64_t at = is_live ? t->live_queued_at : t->n_attempts ? t->attempts[t->n_attempts - 1].queued_at : INT64_MIN;

	return at == INT64_MIN ? id_unix_ms(t->id) * 1000 : at;
}

void shape_timing(struct req *r, struct jw *w, const struct task_view *t, uint32_t depth)
{
	const struct cat_step *step = cat_step(catalog_of(r), t->step_no);
	int64_t created = id_unix_ms(t->id) * 1000;
	struct shown s = shown_of(t, -1);
	struct uuid u = api_uuid(r, t->id);

	jw_obj_begin(w);
	json_meta(w, &u, created, s.finished_at != INT64_MIN ? s.finished_at : created);
	jw_kv_i64(w, "depth", depth);
	jw_kv_c(w, "status", run_status_name(s.status));
	jw_kv_bool(w, "isEvicted", false);
	jw_kv_str(w, "taskDisplayName", task_display_name(req_arena(r), step ? step->readable_id : STR("task"), t->id));
	jw_kv_uuid(w, "taskExternalId", &u);
	jw_kv_i64(w, "taskId", t->id);
	jw_kv_time(w, "taskInsertedAt", created);
	jw_kv_uuid(w, "tenantId", &tenant_of(r)->uuid);
	if (t->parent_id)
		json_id(r, w, "parentTaskExternalId", t->parent_id);
	jw_kv_time(w, "queuedAt", task_queued_at(t));
	json_time(w, "startedAt", s.started_at);
	json_time(w, "finishedAt", s.finished_at);
	json_id(r, w, "workflowRunId", t->run_id);
	jw_kv_i64(w, "retryCount", s.attempt);
	jw_kv_i64(w, "attempt", s.attempt + 1);
	jw_obj_end(w);
}

struct str run_display_name(struct req *r, const struct task_view *t)
{
	const struct cat_workflow *wf = cat_workflow(catalog_of(r), t->workflow_no);

	return task_display_name(req_arena(r), wf ? wf->name : STR("run"), t->run_id);
}

void shape_run(struct req *r, struct jw *w, const struct task_view *t)
{
	int64_t created = id_unix_ms(t->id) * 1000;
	struct shown s = shown_of(t, -1);
	struct uuid u = api_uuid(r, t->id);

	jw_obj_begin(w);
	json_meta(w, &u, created, s.finished_at != INT64_MIN ? s.finished_at : created);
	jw_kv_uuid(w, "tenantId", &tenant_of(r)->uuid);
	jw_kv_c(w, "status", run_status_name(t->status));
	jw_kv_str(w, "displayName", run_display_name(r, t));
	jw_kv_time(w, "createdAt", created);
	put_times(w, &s);
	json_payload(w, "input", t->input);
	json_payload(w, "output", s.output);
	json_payload(w, "additionalMetadata", t->metadata);
	put_key(w, t);
	put_error(w, s.error);
	put_workflow(r, w, t);
	if (t->parent_id)
		json_id(r, w, "parentTaskExternalId", t->parent_id);
	jw_kv_bool(w, "payloadsRestricted", false);
	jw_obj_end(w);
}

void shape_events(struct req *r, struct jw *w, const struct task_view *t, const struct tl_event *e, size_t n, bool newest_first,
		  struct page page)
{
	const struct cat_step *step = cat_step(catalog_of(r), t->step_no);
	struct str name = task_display_name(req_arena(r), step ? step->readable_id : STR("task"), t->id);
	struct uuid u = api_uuid(r, t->id);

	jw_arr_begin(w);
	for (size_t i = page.offset; i < n && i - page.offset < page.limit; i++) {
		size_t at = newest_first ? n - 1 - i : i;
		const struct cat_worker *worker = e[at].worker_no ? cat_worker(catalog_of(r), e[at].worker_no) : NULL;

		jw_obj_begin(w);
		jw_kv_i64(w, "id", (int64_t)at + 1);
		jw_kv_uuid(w, "taskId", &u);
		jw_kv_time(w, "timestamp", e[at].at);
		jw_kv_c(w, "eventType", tl_name(e[at].kind));
		if (worker && (e[at].kind == TL_ASSIGNED || e[at].kind == TL_SENT))
			jw_kv_str(w, "message", arena_strf(req_arena(r), "%s worker %.*s", e[at].kind == TL_SENT ? "sent to" : "assigned to",
							   STR_FMT(worker->name)));
		else
			jw_kv_str(w, "message", e[at].message);
		put_error(w, e[at].error);
		if (e[at].output.n)
			jw_kv_str(w, "output", e[at].output);
		if (worker)
			jw_kv_uuid(w, "workerId", &worker->uuid);
		jw_kv_str(w, "taskDisplayName", name);
		jw_kv_i64(w, "retryCount", e[at].attempt);
		jw_kv_i64(w, "attempt", e[at].attempt + 1);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}
