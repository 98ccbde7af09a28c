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
	jw_kv_bool(w, "isPaused", wf->paused);
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
