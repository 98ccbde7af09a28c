/* Workflows, their versions, and the tenant.  Read from the catalog, so nothing here waits but deletion. */
#include "api_int.h"

#include "base/text.h"

enum { LIST_LIMIT = 50, LIST_MAX = 1000, OFFSET_MAX = 100000 };

static bool contains_ci(struct str hay, struct str needle)
{
	if (!needle.n)
		return true;
	for (size_t i = 0; i + needle.n <= hay.n; i++)
		if (str_ieq((struct str){hay.p + i, needle.n}, needle))
			return true;
	return false;
}

/* WorkflowVersionMeta, the part both shapes share */
static void put_version_head(struct jw *w, const struct cat_version *v)
{
	json_meta(w, &v->uuid, v->created_at, v->created_at);
	jw_kv_c(w, "version", "");
	jw_kv_i64(w, "order", v->ordinal);
	jw_kv_uuid(w, "workflowId", &v->workflow->uuid);
}

static void put_workflow(struct req *r, struct jw *w, const struct cat_workflow *wf)
{
	jw_obj_begin(w);
	json_meta(w, &wf->uuid, wf->created_at, wf->latest ? wf->latest->created_at : wf->created_at);
	jw_kv_str(w, "name", wf->name);
	jw_kv_str(w, "description", wf->description);
	jw_kv_bool(w, "isPaused", wf->pause.is_paused);
	jw_kv_c(w, "pausedWorkflowCronRunQueueBehavior", wf->pause.drops_cron ? "DROP" : "QUEUE");
	jw_kv_c(w, "pausedWorkflowScheduledRunQueueBehavior", wf->pause.drops_scheduled ? "DROP" : "QUEUE");
	if (wf->pause.is_paused && wf->pause.ttl_ms > 0)
		jw_kv_str(w, "pausedWorkflowQueueTTL", duration_format(req_arena(r), wf->pause.ttl_ms));
	jw_kv_uuid(w, "tenantId", &tenant_of(r)->uuid);
	jw_key(w, "versions");
	jw_arr_begin(w);
	if (wf->latest) {
		jw_obj_begin(w);
		put_version_head(w, wf->latest);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	jw_key(w, "tags");
	jw_arr_begin(w);
	jw_arr_end(w);
	jw_obj_end(w);
}

struct step *rest_workflow_list(struct req *r)
{
	struct cat_workflow **all;
	struct reply_json j;
	struct page page;
	struct str name = STR_NULL;
	struct err err;
	size_t n, found = 0, shown = 0;

	if (!query_page(r, LIST_LIMIT, LIST_MAX, OFFSET_MAX, &page, &err))
		return req_fail_err(r, &err);
	(void)req_query(r, "name", 0, &name);
	n = cat_workflows(catalog_of(r), tenant_of(r)->tenant_no, req_arena(r), &all);
	json_begin(&j);
	jw_obj_begin(&j.w);
	jw_key(&j.w, "rows");
	jw_arr_begin(&j.w);
	/* SDKs look a workflow up by name and need the exact one on the first page: it comes first */
	for (int exact = 1; exact >= 0; exact--)
		for (size_t i = 0; i < n; i++) {
			if (!contains_ci(all[i]->name, name) || (name.n && str_eq(all[i]->name, name)) != exact)
				continue;
			if (found++ < page.offset || shown >= page.limit)
				continue;
			put_workflow(r, &j.w, all[i]);
			shown++;
		}
	jw_arr_end(&j.w);
	jw_key(&j.w, "pagination");
	jw_obj_begin(&j.w);
	jw_kv_i64(&j.w, "current_page", 1 + page.offset / page.limit);
	jw_kv_i64(&j.w, "next_page", 2 + page.offset / page.limit);
	jw_kv_i64(&j.w, "num_pages", (int64_t)((found + page.limit - 1) / page.limit));
	jw_obj_end(&j.w);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

struct step *rest_workflow_get(struct req *r)
{
	struct err err;
	const struct cat_workflow *wf = api_workflow(r, req_param(r, "workflow"), "workflow", &err);
	struct reply_json j;

	if (!wf)
		return req_fail_err(r, &err);
	json_begin(&j);
	put_workflow(r, &j.w, wf);
	return json_end(r, 200, &j);
}

static struct step *deleted(struct req *r)
{
	return req_reply_http(r, 204, NULL, STR_NULL);
}

struct step *rest_workflow_delete(struct req *r)
{
	struct err err;
	struct cat_workflow *wf = api_workflow(r, req_param(r, "workflow"), "workflow", &err);

	if (!wf)
		return req_fail_err(r, &err);
	cat_delete_workflow(catalog_of(r), wf, req_op(r, deleted));
	return req_await(r);
}

/* --- pause ---------------------------------------------------------------- */

static struct step *patched(struct req *r)
{
	struct reply_json j;

	json_begin(&j);
	put_workflow(r, &j.w, *REQ_STATE(r, struct cat_workflow *));
	return json_end(r, 200, &j);
}

static bool read_behaviour(const struct jv *pause, const char *name, bool *ret_drops, struct err *err)
{
	const struct jv *v = jv_get(pause, name);

	*ret_drops = jv_type(v) == JV_STR && str_eq(jv_str(v), STR("DROP"));
	return *ret_drops || jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL || (jv_type(v) == JV_STR && str_eq(jv_str(v), STR("QUEUE"))) ||
	       err_set(err, ERR_INVALID, "pause.%s: must be DROP or QUEUE", name);
}

static bool read_ttl(const struct jv *pause, int64_t *ret_ms, struct err *err)
{
	const struct jv *v = jv_get(pause, "pausedWorkflowQueueTTL");
	struct err why;

	*ret_ms = 0;
	if (jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL)
		return true;
	if (jv_type(v) != JV_STR || !duration_parse(jv_str(v), ret_ms, &why) || *ret_ms <= 0)
		return err_set(err, ERR_INVALID, "pause.pausedWorkflowQueueTTL: must be a duration above 0, such as 30m");
	return true;
}

struct step *rest_workflow_patch(struct req *r)
{
	struct cat_workflow **w = REQ_STATE(r, struct cat_workflow *);
	const struct jv *body, *pause;
	bool cron, scheduled, on;
	struct str action;
	int64_t ttl_ms;
	struct err err;

	*w = api_workflow(r, req_param(r, "workflow"), "workflow", &err);
	if (!*w)
		return req_fail_err(r, &err);
	body = json_parse(req_arena(r), req_body(r), &err);
	if (!body || jv_type(body) != JV_OBJ)
		return json_fail_field(r, "body", "must be a JSON object");
	pause = jv_get(body, "pause");
	if (jv_type(pause) == JV_ABSENT || jv_type(pause) == JV_NULL)
		return patched(r);
	if (jv_type(pause) != JV_OBJ)
		return json_fail_field(r, "pause", "must be an object");
	action = jv_type(jv_get(pause, "action")) == JV_STR ? jv_str(jv_get(pause, "action")) : STR("");
	on = str_eq(action, STR("pause"));
	if (!on && !str_eq(action, STR("unpause")))
		return json_fail_field(r, "pause.action", "must be pause or unpause");
	if (!read_behaviour(pause, "pausedWorkflowCronRunQueueBehavior", &cron, &err) ||
	    !read_behaviour(pause, "pausedWorkflowScheduledRunQueueBehavior", &scheduled, &err) || !read_ttl(pause, &ttl_ms, &err))
		return req_fail_err(r, &err);
	svc_pause_workflow(svc_of(r), *w, on, ttl_ms, cron, scheduled, req_op(r, patched));
	return req_await(r);
}

/* --- a version ------------------------------------------------------------ */

static void put_step(struct req *r, struct jw *w, const struct cat_step *s)
{
	jw_obj_begin(w);
	json_meta(w, &s->uuid, s->version->created_at, s->version->created_at);
	jw_kv_str(w, "readableId", s->readable_id);
	jw_kv_uuid(w, "tenantId", &tenant_of(r)->uuid);
	jw_kv_uuid(w, "jobId", &s->version->uuid);
	jw_kv_str(w, "action", s->action->name);
	jw_kv_str(w, "timeout", duration_format(req_arena(r), s->exec_ms));
	jw_kv_bool(w, "isDurable", s->is_durable);
	jw_key(w, "slotRequests");
	jw_obj_begin(w);
	for (size_t i = 0; i < CAT_SLOTS && s->slots[i].units > 0; i++) {
		jw_key_str(w, cat_slot_type_name(catalog_of(r), s->slots[i].type_no));
		jw_i64(w, s->slots[i].units);
	}
	jw_obj_end(w);
	jw_obj_end(w);
}

static void put_jobs(struct req *r, struct jw *w, const struct cat_version *v)
{
	jw_arr_begin(w);
	jw_obj_begin(w);
	json_meta(w, &v->uuid, v->created_at, v->created_at);
	jw_kv_uuid(w, "tenantId", &tenant_of(r)->uuid);
	jw_kv_uuid(w, "versionId", &v->uuid);
	jw_kv_str(w, "name", v->workflow->name);
	jw_key(w, "steps");
	jw_arr_begin(w);
	for (uint32_t i = 0; i < v->n_steps; i++)
		put_step(r, w, v->steps[i]);
	jw_arr_end(w);
	jw_obj_end(w);
	jw_arr_end(w);
}

struct step *rest_workflow_version(struct req *r)
{
	struct err err;
	const struct cat_workflow *wf = api_workflow(r, req_param(r, "workflow"), "workflow", &err);
	const struct cat_version *v = wf ? wf->latest : NULL;
	struct reply_json j;
	struct str want;
	struct uuid u;

	if (!wf)
		return req_fail_err(r, &err);
	if (req_query(r, "version", 0, &want)) {
		if (!uuid_parse(want, &u))
			return json_fail_field(r, "version", "must be a UUID of 36 characters");
		v = cat_version_by_uuid(catalog_of(r), &u);
	}
	if (!v || v->workflow != wf)
		return req_fail(r, ERR_NOT_FOUND, "the workflow has no such version");
	json_begin(&j);
	jw_obj_begin(&j.w);
	put_version_head(&j.w, v);
	jw_kv_i64(&j.w, "defaultPriority", v->default_priority);
	if (v->n_steps)
		jw_kv_str(&j.w, "scheduleTimeout", duration_format(req_arena(r), v->steps[0]->schedule_ms));
	jw_key(&j.w, "workflow");
	put_workflow(r, &j.w, wf);
	jw_key(&j.w, "jobs");
	put_jobs(r, &j.w, v);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

/* --- the tenant ------------------------------------------------------------ */

struct step *rest_tenant_get(struct req *r)
{
	const struct cat_tenant *t = tenant_of(r);
	struct reply_json j;

	json_begin(&j);
	jw_obj_begin(&j.w);
	json_meta(&j.w, &t->uuid, t->created_at, t->created_at);
	jw_kv_str(&j.w, "name", t->name);
	jw_kv_str(&j.w, "slug", t->slug);
	jw_kv_c(&j.w, "version", "V1");
	jw_kv_c(&j.w, "serverUrl", api_of(r)->conf.public_url);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}
