/* Rate limits: those of a definition, those set by request, and the list of them. */
#include "api_int.h"

#include "base/text.h"

#include <stdio.h>

enum { LIST_LIMIT = 50, LIST_MAX = 1000, OFFSET_MAX = 1000000 };

/* A month has 30 days, a year 365. */
static const struct {
	int32_t s;
	const char *name;
} windows[] = {{1, "SECOND"}, {60, "MINUTE"}, {3600, "HOUR"}, {86400, "DAY"}, {7 * 86400, "WEEK"}, {30 * 86400, "MONTH"}, {365 * 86400, "YEAR"}};

static bool window_check(int duration, const char *field, struct err *err)
{
	return (duration >= 0 && (size_t)duration < ARRAY_LEN(windows)) ||
	       err_set(err, ERR_INVALID, "%s: %d is none of SECOND (0) to YEAR (6)", field, duration);
}

static bool key_check(ProtobufCBinaryData key, const char *field, struct err *err)
{
	struct str s;

	if (!pb_str(key, field, &s, err))
		return false;
	if (!s.n || s.n > CONF_KEY_BYTES_MAX)
		return err_set(err, ERR_INVALID, "%s: must have 1 to %d bytes", field, CONF_KEY_BYTES_MAX);
	return true;
}

/* --- of a definition ---------------------------------------------------------------------------------------------------------- */

static bool expressions_check(const V1__CreateTaskRateLimit *l, const char *field, struct err *err)
{
	unsigned number = CEL_K(INT) | CEL_K(UINT) | CEL_K(DOUBLE);
	char f[160];

	(void)snprintf(f, sizeof(f), "%s.key_expr", field);
	if (PB_HAS(l, key_expr) && !expression_check(l->key_expr, CEL_WORKFLOW, CEL_K(STRING), "a string", f, err))
		return false;
	(void)snprintf(f, sizeof(f), "%s.units_expr", field);
	if (PB_HAS(l, units_expr) && !expression_check(l->units_expr, CEL_WORKFLOW, number, "a number", f, err))
		return false;
	(void)snprintf(f, sizeof(f), "%s.limit_values_expr", field);
	return !PB_HAS(l, limit_values_expr) || expression_check(l->limit_values_expr, CEL_WORKFLOW, number, "a number", f, err);
}

static bool limit_check(const V1__CreateTaskRateLimit *l, const char *field, struct err *err)
{
	char f[160];

	(void)snprintf(f, sizeof(f), "%s.key", field);
	if (!PB_HAS(l, key_expr) && !key_check(l->key, f, err))
		return false;
	if (!PB_HAS(l, units) && !PB_HAS(l, units_expr))
		return err_set(err, ERR_INVALID, "%s: needs units or units_expr", field);
	if (PB_HAS(l, units) && l->units < 0)
		return err_set(err, ERR_INVALID, "%s.units: must be at least 0", field);
	(void)snprintf(f, sizeof(f), "%s.duration", field);
	return (!PB_HAS(l, duration) || window_check((int)l->duration, f, err)) && expressions_check(l, field, err);
}

bool rate_limits_check(const V1__CreateTaskOpts *t, const char *task, struct err *err)
{
	char f[96];

	if (t->n_rate_limits > ENG_TASK_LIMITS)
		return err_set(err, ERR_INVALID, "%s.rate_limits: %zu given, at most %d", task, t->n_rate_limits, ENG_TASK_LIMITS);
	for (size_t i = 0; i < t->n_rate_limits; i++) {
		(void)snprintf(f, sizeof(f), "%s.rate_limits[%zu]", task, i);
		if (!limit_check(t->rate_limits[i], f, err))
			return false;
	}
	return true;
}

struct str rate_limits_of(struct arena *a, const V1__CreateTaskOpts *t)
{
	struct cat_limit *out = ARENA_ARRAY(a, struct cat_limit, t->n_rate_limits + 1);

	if (t->n_rate_limits == 0)
		return STR_NULL;
	for (size_t i = 0; i < t->n_rate_limits; i++) {
		const V1__CreateTaskRateLimit *l = t->rate_limits[i];

		out[i] = (struct cat_limit){.key = pb_raw(l->key), .units = PB_HAS(l, units) ? l->units : 0,
			.window_s = windows[PB_HAS(l, duration) ? l->duration : 1].s};
		if (PB_HAS(l, key_expr))
			out[i].key_expr = pb_raw(l->key_expr);
		if (PB_HAS(l, units_expr))
			out[i].units_expr = pb_raw(l->units_expr);
		if (PB_HAS(l, limit_values_expr))
			out[i].limit_expr = pb_raw(l->limit_values_expr);
	}
	return cat_limits_format(a, out, (uint32_t)t->n_rate_limits);
}

/* --- set by request ------------------------------------------------------------------------------------------------------------- */

static struct step *put_done(struct req *r)
{
	Hw__PutRateLimitResponse out = HW__PUT_RATE_LIMIT_RESPONSE__INIT;

	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_put_rate_limit(struct req *r)
{
	const Hw__PutRateLimitRequest *m;
	struct err err;

	m = api_msg(r, &hw__put_rate_limit_request__descriptor, &err);
	if (!m || !key_check(m->key, "key", &err) || !window_check((int)m->duration, "duration", &err))
		return req_fail_err(r, &err);
	if (m->limit < 0)
		return req_fail(r, ERR_INVALID, "limit: must be at least 0");
	svc_put_rate_limit(svc_of(r), tenant_of(r)->tenant_no, pb_raw(m->key), m->limit, windows[m->duration].s, req_op(r, put_done));
	return req_await(r);
}

static struct step *deleted(struct req *r)
{
	return req_reply_http(r, 204, NULL, STR_NULL);
}

struct step *rest_rate_limit_delete(struct req *r)
{
	struct str key;

	if (!req_query(r, "key", 0, &key) || !key.n || key.n > CONF_KEY_BYTES_MAX)
		return req_fail(r, ERR_INVALID, "key: must have 1 to %d bytes", CONF_KEY_BYTES_MAX);
	svc_put_rate_limit(svc_of(r), tenant_of(r)->tenant_no, key, -1, 1, req_op(r, deleted));
	return req_await(r);
}

/* --- the list --------------------------------------------------------------------------------------------------------------------- */

struct limit_list {
	struct limit_filter f;
	struct page page;
	struct read_limits got;
};

static const char *window_name(int32_t s)
{
	for (size_t i = 0; i < ARRAY_LEN(windows); i++)
		if (windows[i].s == s)
			return windows[i].name;
	return "";
}

static struct step *list_read(struct req *r)
{
	struct limit_list *l = REQ_STATE(r, struct limit_list);
	struct reply_json j;

	json_begin(&j);
	jw_obj_begin(&j.w);
	json_pages(&j.w, l->page.offset, l->page.limit, l->got.total > (int64_t)l->page.offset + l->got.n);
	jw_key(&j.w, "rows");
	jw_arr_begin(&j.w);
	for (uint32_t i = 0; i < l->got.n; i++) {
		const struct limit_row *b = &l->got.p[i];

		jw_obj_begin(&j.w);
		jw_kv_str(&j.w, "key", b->key);
		jw_kv_uuid(&j.w, "tenantId", &tenant_of(r)->uuid);
		jw_kv_i64(&j.w, "limitValue", b->limit);
		jw_kv_i64(&j.w, "value", b->value);
		jw_kv_str(&j.w, "window", str_c(window_name(b->window_s)));
		json_time(&j.w, "lastRefill", b->window_start);
		jw_obj_end(&j.w);
	}
	jw_arr_end(&j.w);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

static bool read_order(struct req *r, struct limit_filter *f, struct err *err)
{
	struct str s;

	f->order = LIMITS_BY_KEY;
	if (req_query(r, "orderByField", 0, &s)) {
		if (str_eq(s, STR("value")))
			f->order = LIMITS_BY_VALUE;
		else if (str_eq(s, STR("limitValue")))
			f->order = LIMITS_BY_LIMIT;
		else if (!str_eq(s, STR("key")))
			return err_set(err, ERR_INVALID, "orderByField: must be key, value or limitValue");
	}
	if (!req_query(r, "orderByDirection", 0, &s))
		return true;
	f->is_descending = str_ieq(s, STR("desc"));
	return f->is_descending || str_ieq(s, STR("asc")) || err_set(err, ERR_INVALID, "orderByDirection: must be asc or desc");
}

struct step *rest_rate_limit_list(struct req *r)
{
	struct limit_list *l = REQ_STATE(r, struct limit_list);
	struct err err;

	if (!query_page(r, LIST_LIMIT, LIST_MAX, OFFSET_MAX, &l->page, &err) || !read_order(r, &l->f, &err))
		return req_fail_err(r, &err);
	if (!req_query(r, "search", 0, &l->f.search))
		l->f.search = STR("");
	l->f.tenant_no = tenant_of(r)->tenant_no;
	l->f.offset = l->page.offset;
	l->f.limit = l->page.limit;
	read_limit_page(svc_db(svc_of(r)), req_arena(r), &l->f, &l->got, req_op(r, list_read));
	return req_await(r);
}
