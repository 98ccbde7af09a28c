/* JSON replies and the query parameters of lists: one way to write each, so that every route behaves alike. */
#include "api_int.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

void json_begin(struct reply_json *j)
{
	strb_init(&j->b, CONF_REPLY_JSON_BYTES_MAX);
	jw_init(&j->w, &j->b);
}

struct step *json_end(struct req *r, unsigned status, struct reply_json *j)
{
	struct step *s;

	if (j->b.overflow)
		s = req_fail(r, ERR_EXHAUSTED, "the answer would be larger than %d bytes; ask for fewer rows", CONF_REPLY_JSON_BYTES_MAX);
	else
		s = req_reply_http(r, status, "application/json", strb_str(&j->b));
	strb_fini(&j->b);
	return s;
}

/* A time has no zero here: the writer of json.h takes 0 for null, which no stored time is. */
void json_time(struct jw *w, const char *key, int64_t wall_us)
{
	if (wall_us != INT64_MIN)
		jw_kv_time(w, key, wall_us);
}

void json_id(struct req *r, struct jw *w, const char *key, int64_t id)
{
	struct uuid u = api_uuid(r, id);

	jw_kv_uuid(w, key, &u);
}

void json_meta(struct jw *w, const struct uuid *u, int64_t created_us, int64_t updated_us)
{
	jw_key(w, "metadata");
	jw_obj_begin(w);
	jw_kv_uuid(w, "id", u);
	jw_kv_time(w, "createdAt", created_us);
	jw_kv_time(w, "updatedAt", updated_us);
	jw_obj_end(w);
}

void json_payload(struct jw *w, const char *key, struct str json)
{
	jw_kv_raw(w, key, json.n && !str_eq(json, STR("null")) ? json : STR("{}"));
}

void json_pages(struct jw *w, uint32_t offset, uint32_t limit, bool has_more)
{
	int64_t current = 1 + offset / limit;

	jw_key(w, "pagination");
	jw_obj_begin(w);
	jw_kv_i64(w, "current_page", current);
	jw_kv_i64(w, "next_page", current + 1);
	jw_kv_i64(w, "num_pages", has_more ? current + 1 : current);
	jw_obj_end(w);
}

void json_pagination(struct jw *w, uint32_t offset, uint32_t limit, size_t n_rows)
{
	json_pages(w, offset, limit, n_rows >= limit);
}

struct step *json_fail_field(struct req *r, const char *field, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return req_fail(r, ERR_INVALID, "%s: %.200s", field, text);
}

/* --- query ------------------------------------------------------------ */

bool query_int(struct req *r, const char *name, int64_t min, int64_t max, int64_t otherwise, uint32_t *ret, struct err *err)
{
	struct str s;
	int64_t v = otherwise;

	if (req_query(r, name, 0, &s) && (!str_to_i64(s, &v) || v < min || v > max))
		return err_set(err, ERR_INVALID, "%s: must be %lld to %lld", name, (long long)min, (long long)max);
	*ret = (uint32_t)v;
	return true;
}

bool query_page(struct req *r, uint32_t default_limit, uint32_t max_limit, uint32_t max_offset, struct page *ret, struct err *err)
{
	return query_int(r, "limit", 1, max_limit, default_limit, &ret->limit, err) &&
	       query_int(r, "offset", 0, max_offset, 0, &ret->offset, err);
}

bool query_time(struct req *r, const char *name, bool required, int64_t otherwise, int64_t *ret, struct err *err)
{
	struct str s;

	*ret = otherwise;
	if (!req_query(r, name, 0, &s) || !s.n)
		return !required || err_set(err, ERR_INVALID, "%s: is required", name);
	return rfc3339_parse(s, ret) || err_set(err, ERR_INVALID, "%s: must be an RFC 3339 time", name);
}

bool query_bool(struct req *r, const char *name, bool required, bool *ret, struct err *err)
{
	struct str s;

	*ret = false;
	if (!req_query(r, name, 0, &s))
		return !required || err_set(err, ERR_INVALID, "%s: is required", name);
	*ret = str_ieq(s, STR("true"));
	return *ret || str_ieq(s, STR("false")) || err_set(err, ERR_INVALID, "%s: must be true or false", name);
}

bool query_statuses(struct req *r, const char *name, unsigned *ret_mask, struct err *err)
{
	struct str s;

	*ret_mask = 0;
	for (unsigned i = 0; req_query(r, name, i, &s); i++) {
		enum run_status st;

		if (!run_status_parse(s, &st))
			return err_set(err, ERR_INVALID, "%s: '%.*s' is not a status", name, (int)MIN(s.n, 50u), s.p);
		*ret_mask |= 1u << st;
	}
	return true;
}

size_t query_strs(struct req *r, const char *name, size_t max, struct str **ret)
{
	struct str s;
	size_t n = 0;

	while (n < max && req_query(r, name, (unsigned)n, &s))
		n++;
	*ret = ARENA_ARRAY(req_arena(r), struct str, n + 1);
	for (size_t i = 0; i < n; i++)
		(void)req_query(r, name, (unsigned)i, &(*ret)[i]);
	return n;
}

enum { PAIRS_MAX = 100 };

size_t query_meta(struct req *r, const char *name, struct str **ret)
{
	size_t n = query_strs(r, name, PAIRS_MAX, ret), kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct str s = (*ret)[i];

		if (s.n && memchr(s.p, ':', s.n) && text_check(s, name, NULL))
			(*ret)[kept++] = s;
	}
	return kept;
}

int32_t workflow_no_of(struct req *r, const struct uuid *u)
{
	struct cat_workflow *w = cat_workflow_by_uuid(catalog_of(r), u);

	return w && w->tenant_no == tenant_of(r)->tenant_no ? w->workflow_no : 0;
}

bool query_workflows(struct req *r, const char *name, int32_t **ret, uint32_t *ret_n, struct err *err)
{
	struct str *ids;
	size_t n = query_strs(r, name, PAIRS_MAX, &ids);
	struct uuid u;

	*ret = ARENA_ARRAY(req_arena(r), int32_t, n + 1);
	*ret_n = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		if (!uuid_parse(ids[i], &u))
			return err_set(err, ERR_INVALID, "%s: must be UUIDs of 36 characters", name);
		(*ret)[i] = workflow_no_of(r, &u);
	}
	return true;
}
