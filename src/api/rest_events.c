/* Events: list and one.  No run is started by an event yet, so the summaries count none. */
#include "api_int.h"

#include "base/text.h"

enum { LIST_LIMIT = 50, LIST_MAX = 1000, OFFSET_MAX = 10000, FILTER_MAX = 100 };

struct listing {
	struct event_filter f;
	struct read_events got;
	struct page page;
	int64_t id;
};

static void put_event(struct req *r, struct jw *w, const struct event_row *e)
{
	static const char *const counts[] = {"queued", "running", "succeeded", "failed", "cancelled"};
	int64_t created = id_unix_ms(e->id) * 1000;
	struct uuid u = api_uuid(r, e->id);

	jw_obj_begin(w);
	json_meta(w, &u, created, created);
	jw_kv_str(w, "key", e->key);
	jw_kv_uuid(w, "tenantId", &tenant_of(r)->uuid);
	jw_key(w, "workflowRunSummary");
	jw_obj_begin(w);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		jw_kv_i64(w, counts[i], 0);
	jw_obj_end(w);
	json_payload(w, "payload", e->payload);
	json_payload(w, "additionalMetadata", e->metadata);
	if (e->scope.n)
		jw_kv_str(w, "scope", e->scope);
	jw_kv_time(w, "seenAt", created);
	jw_key(w, "triggeredRuns");
	jw_arr_begin(w);
	jw_arr_end(w);
	jw_kv_bool(w, "payloadsRestricted", false);
	jw_obj_end(w);
}

static struct step *list_reply(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	struct reply_json j;

	json_begin(&j);
	jw_obj_begin(&j.w);
	json_pagination(&j.w, l->page.offset, l->page.limit, l->got.n);
	jw_key(&j.w, "rows");
	jw_arr_begin(&j.w);
	for (uint32_t i = 0; i < l->got.n; i++)
		put_event(r, &j.w, &l->got.p[i]);
	jw_arr_end(&j.w);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

static bool texts_of(struct req *r, const char *name, const struct str **ret, uint32_t *ret_n, struct err *err)
{
	struct str *p;

	*ret_n = (uint32_t)query_strs(r, name, FILTER_MAX, &p);
	*ret = p;
	for (uint32_t i = 0; i < *ret_n; i++)
		if (!text_check(p[i], name, err))
			return false;
	return true;
}

/* *ret_none: ids were asked for and none can exist */
static bool ids_of(struct req *r, struct event_filter *f, bool *ret_none, struct err *err)
{
	struct str *texts;
	size_t n = query_strs(r, "eventIds", FILTER_MAX, &texts);
	int64_t *ids = ARENA_ARRAY(req_arena(r), int64_t, n + 1);

	for (size_t i = 0; i < n; i++) {
		if (api_id(r, texts[i], "eventIds", &ids[f->n_ids], err))
			f->n_ids++;
		else if (err->code != ERR_NOT_FOUND)
			return false;
	}
	f->ids = ids;
	*ret_none = n > 0 && f->n_ids == 0;
	return true;
}

struct step *rest_event_list(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	struct event_filter *f = &l->f;
	struct str *pairs, s;
	struct err err;
	bool none;

	f->tenant_no = tenant_of(r)->tenant_no;
	if (!query_page(r, LIST_LIMIT, LIST_MAX, OFFSET_MAX, &l->page, &err) || !query_time(r, "since", false, 0, &f->since_us, &err) ||
	    !query_time(r, "until", false, INT64_MAX, &f->until_us, &err) || !texts_of(r, "keys", &f->keys, &f->n_keys, &err) ||
	    !texts_of(r, "scopes", &f->scopes, &f->n_scopes, &err) || !ids_of(r, f, &none, &err))
		return req_fail_err(r, &err);
	f->n_meta = (uint32_t)query_meta(r, "additionalMetadata", &pairs);
	f->meta_pairs = pairs;
	f->offset = l->page.offset;
	f->limit = l->page.limit;
	if (none || req_query(r, "workflowIds", 0, &s) || req_query(r, "workflowRunStatuses", 0, &s))
		return list_reply(r);	/* these ask for events that started runs */
	read_events(svc_db(svc_of(r)), req_arena(r), f, &l->got, req_op(r, list_reply));
	return req_await(r);
}

static struct step *event_reply(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	struct reply_json j;

	if (l->got.n == 0)
		return req_fail(r, ERR_NOT_FOUND, "there is no such event");
	json_begin(&j);
	put_event(r, &j.w, l->got.p);
	return json_end(r, 200, &j);
}

struct step *rest_event_get(struct req *r)
{
	struct listing *l = REQ_STATE(r, struct listing);
	struct err err;

	if (!api_id(r, req_param(r, "event"), "event", &l->id, &err))
		return req_fail_err(r, &err);
	l->f = (struct event_filter){.tenant_no = tenant_of(r)->tenant_no, .until_us = INT64_MAX, .ids = &l->id, .n_ids = 1, .limit = 1};
	read_events(svc_db(svc_of(r)), req_arena(r), &l->f, &l->got, req_op(r, event_reply));
	return req_await(r);
}
