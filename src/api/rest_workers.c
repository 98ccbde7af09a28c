/* Workers: what the catalog knows of them, with their present state from the engine's memory. */
#include "api_int.h"

#include <stdio.h>

enum { LIST_LIMIT = 1000, LIST_MAX = 1000, OFFSET_MAX = 100000, STATUSES_MAX = 8, SILENT_US = 5000000 };

struct state {
	struct eng_worker_view view;
	bool has_view;
	int64_t last_seen_at;
	const char *status;
};

static struct state state_of(struct req *r, const struct cat_worker *w)
{
	struct state s = {.last_seen_at = w->last_seen_at};
	int64_t seen;

	s.has_view = svc_worker_view(svc_of(r), w->worker_no, &s.view, &seen);
	if (s.has_view && w->session_at != INT64_MIN)
		s.last_seen_at = MAX(s.last_seen_at, seen);
	if (!s.has_view || s.view.ended || !s.view.stream_open || s.last_seen_at == INT64_MIN ||
	    s.last_seen_at < api_now(r).wall_us - SILENT_US)
		s.status = "INACTIVE";
	else
		s.status = w->paused ? "PAUSED" : "ACTIVE";
	return s;
}

static void put_slots(struct req *r, struct jw *w, const struct cat_worker *k, const struct state *s)
{
	jw_obj_begin(w);
	for (size_t i = 0; i < CAT_SLOTS && k->slots[i].units > 0; i++) {
		int32_t used = 0;

		for (size_t n = 0; s->has_view && n < ENG_SLOT_TYPES && s->view.limit[n].units > 0; n++)
			if (s->view.limit[n].type_no == k->slots[i].type_no)
				used = s->view.used[n].units;
		jw_key_str(w, cat_slot_type_name(catalog_of(r), k->slots[i].type_no));
		jw_obj_begin(w);
		jw_kv_i64(w, "available", k->slots[i].units - used);
		jw_kv_i64(w, "limit", k->slots[i].units);
		jw_obj_end(w);
	}
	jw_obj_end(w);
}

static void put_labels(struct jw *w, const struct cat_worker *k)
{
	jw_arr_begin(w);
	for (uint32_t i = 0; i < k->n_labels; i++) {
		const struct cat_label *l = &k->labels[i];

		jw_obj_begin(w);
		json_meta(w, &k->uuid, k->created_at, k->created_at);
		jw_kv_str(w, "key", l->key);
		jw_key(w, "value");
		if (l->is_int) {	/* a text in the schema, whatever was registered */
			char text[16];

			(void)snprintf(text, sizeof(text), "%d", l->int_value);
			jw_c(w, text);
		} else {
			jw_str(w, l->str_value);
		}
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

static void put_runtime(struct jw *w, const struct cat_worker *k)
{
	jw_obj_begin(w);
	jw_kv_str(w, "sdkVersion", k->sdk_version);
	if (sdk_language_name(k->language))
		jw_kv_c(w, "language", sdk_language_name(k->language));
	jw_kv_str(w, "languageVersion", k->language_version);
	jw_kv_str(w, "os", k->os);
	jw_kv_str(w, "runtimeExtra", k->extra);
	jw_obj_end(w);
}

static bool serves(const struct cat_worker *k, const struct cat_workflow *wf)
{
	for (uint32_t s = 0; wf->latest && s < wf->latest->n_steps; s++)
		for (uint32_t i = 0; i < k->n_actions; i++)
			if (k->actions[i] == wf->latest->steps[s]->action)
				return true;
	return false;
}

static void put_workflows(struct req *r, struct jw *w, const struct cat_worker *k)
{
	struct cat_workflow **all;
	size_t n = cat_workflows(catalog_of(r), k->tenant_no, req_arena(r), &all);

	jw_arr_begin(w);
	for (size_t i = 0; i < n; i++) {
		if (!serves(k, all[i]))
			continue;
		jw_obj_begin(w);
		jw_kv_uuid(w, "id", &all[i]->uuid);
		jw_kv_str(w, "name", all[i]->name);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

static void put_worker(struct req *r, struct jw *w, const struct cat_worker *k, const struct state *s, bool whole)
{
	jw_obj_begin(w);
	json_meta(w, &k->uuid, k->created_at, k->created_at);
	jw_kv_str(w, "name", k->name);
	jw_kv_c(w, "type", "SELFHOSTED");
	json_time(w, "lastHeartbeatAt", s->last_seen_at);
	json_time(w, "lastListenerEstablished", k->session_at);
	jw_kv_c(w, "status", s->status);
	jw_key(w, "actions");
	jw_arr_begin(w);
	for (uint32_t i = 0; i < k->n_actions; i++)
		jw_str(w, k->actions[i]->name);
	jw_arr_end(w);
	jw_key(w, "slotConfig");
	put_slots(r, w, k, s);
	jw_key(w, "labels");
	put_labels(w, k);
	jw_key(w, "runtimeInfo");
	put_runtime(w, k);
	if (whole) {
		jw_key(w, "registeredWorkflows");
		put_workflows(r, w, k);
	}
	jw_obj_end(w);
}

/* "key:value", all must hold */
static bool has_labels(const struct cat_worker *k, const struct str *pairs, size_t n)
{
	for (size_t p = 0; p < n; p++) {
		const char *colon = memchr(pairs[p].p, ':', pairs[p].n);
		struct str key = {pairs[p].p, (size_t)(colon - pairs[p].p)}, value = {colon + 1, pairs[p].n - key.n - 1};
		bool found = false;

		for (uint32_t i = 0; i < k->n_labels && !found; i++) {
			const struct cat_label *l = &k->labels[i];
			int64_t v;

			found = str_eq(l->key, key) &&
				(l->is_int ? str_to_i64(value, &v) && v == l->int_value : str_eq(l->str_value, value));
		}
		if (!found)
			return false;
	}
	return true;
}

struct step *rest_worker_list(struct req *r)
{
	struct str *statuses, *labels;
	size_t n_statuses, n_labels, n, found = 0, shown = 0;
	struct cat_worker **all;
	struct reply_json j;
	struct page page;
	struct err err;

	if (!query_page(r, LIST_LIMIT, LIST_MAX, OFFSET_MAX, &page, &err))
		return req_fail_err(r, &err);
	n_statuses = query_strs(r, "statuses", STATUSES_MAX, &statuses);
	n_labels = query_meta(r, "labels", &labels);
	for (size_t i = 0; i < n_statuses; i++)
		if (!str_eq(statuses[i], STR("ACTIVE")) && !str_eq(statuses[i], STR("INACTIVE")) && !str_eq(statuses[i], STR("PAUSED")))
			return json_fail_field(r, "statuses", "must be ACTIVE, INACTIVE or PAUSED");
	n = cat_workers(catalog_of(r), tenant_of(r)->tenant_no, req_arena(r), &all);
	json_begin(&j);
	jw_obj_begin(&j.w);
	jw_key(&j.w, "rows");
	jw_arr_begin(&j.w);
	for (size_t i = 0; i < n; i++) {
		struct state s = state_of(r, all[i]);
		bool wanted = n_statuses == 0;

		for (size_t k = 0; k < n_statuses && !wanted; k++)
			wanted = str_eq(statuses[k], str_c(s.status));
		if (!wanted || !has_labels(all[i], labels, n_labels) || found++ < page.offset || shown >= page.limit)
			continue;
		put_worker(r, &j.w, all[i], &s, false);
		shown++;
	}
	jw_arr_end(&j.w);
	json_pagination(&j.w, page.offset, page.limit, found > page.offset ? MIN(found - page.offset, (size_t)page.limit) : 0);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

static struct step *worker_reply(struct req *r, const struct cat_worker *k)
{
	struct state s = state_of(r, k);
	struct reply_json j;

	json_begin(&j);
	put_worker(r, &j.w, k, &s, true);
	return json_end(r, 200, &j);
}

struct step *rest_worker_get(struct req *r)
{
	struct err err;
	const struct cat_worker *k = api_worker(r, req_param(r, "worker"), "worker", &err);

	return k ? worker_reply(r, k) : req_fail_err(r, &err);
}

static struct step *patched(struct req *r)
{
	return worker_reply(r, *REQ_STATE(r, struct cat_worker *));
}

struct step *rest_worker_patch(struct req *r)
{
	struct cat_worker **k = REQ_STATE(r, struct cat_worker *);
	const struct jv *body, *paused;
	struct err err;

	*k = api_worker(r, req_param(r, "worker"), "worker", &err);
	if (!*k)
		return req_fail_err(r, &err);
	body = json_parse(req_arena(r), req_body(r), &err);
	if (!body || jv_type(body) != JV_OBJ)
		return json_fail_field(r, "body", "must be a JSON object");
	paused = jv_get(body, "isPaused");
	if (jv_type(paused) == JV_ABSENT)
		return worker_reply(r, *k);
	if (jv_type(paused) != JV_BOOL)
		return json_fail_field(r, "isPaused", "must be true or false");
	svc_pause_worker(svc_of(r), *k, jv_bool(paused, false), req_op(r, patched));
	return req_await(r);
}
