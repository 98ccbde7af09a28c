/* Tasks: one, its log, cancel. */
#include "api_int.h"

#include "base/text.h"

enum { LOG_LIMIT = 50, LOG_MAX = 1000, LEVELS_MAX = 8, META_MAX = 1000 };

/* --- one task ------------------------------------------------------------ */

struct one {
	int64_t id;
	int attempt;		/* counted from 0; -1 newest */
	struct read_tasks got;
	struct log_filter logs;
	struct read_logs lines;
};

/* ?attempt= counts from 1 */
static bool query_attempt(struct req *r, int *ret, struct err *err)
{
	struct str s;
	int64_t v = 0;

	*ret = -1;
	if (!req_query(r, "attempt", 0, &s))
		return true;
	if (!str_to_i64(s, &v) || v < 1 || v > INT16_MAX)
		return err_set(err, ERR_INVALID, "attempt: must be 1 to %d", INT16_MAX);
	*ret = (int)v - 1;
	return true;
}

static struct step *task_reply(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	const struct task_view *t = o->got.tasks;
	struct reply_json j;

	if (o->got.n == 0)
		return req_fail(r, ERR_NOT_FOUND, "there is no such task");
	if (o->attempt >= 0 && !task_attempt(t, o->attempt) &&
	    ((t->live_state < 0 && !t->in_tail) || t->live_attempt != o->attempt))
		return req_fail(r, ERR_NOT_FOUND, "the task has no attempt %d", o->attempt + 1);
	json_begin(&j);
	shape_task(r, &j.w, t, o->attempt);
	return json_end(r, 200, &j);
}

static struct step *task_get(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	struct err err;

	if (!api_id(r, req_param(r, "task"), "task", &o->id, &err) || !query_attempt(r, &o->attempt, &err))
		return req_fail_err(r, &err);
	read_tasks(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, &o->id, 1, READ_PAYLOADS | READ_ALL_ATTEMPTS | READ_CHILDREN, &o->got,
		   req_op(r, task_reply));
	return req_await(r);
}

struct step *rest_task_get(struct req *r)
{
	return alias_param(r, "task", ALIAS_TASK, task_get);
}

/* --- its log ------------------------------------------------------------ */

static void put_line(struct req *r, struct jw *w, const struct log_row *l, struct str name)
{
	jw_obj_begin(w);
	jw_kv_time(w, "createdAt", l->at);
	jw_kv_str(w, "message", l->body);
	json_payload(w, "metadata", l->metadata);
	json_id(r, w, "taskExternalId", l->task_id);
	jw_kv_str(w, "taskDisplayName", name);
	jw_kv_i64(w, "retryCount", l->attempt);
	jw_kv_i64(w, "attempt", l->attempt + 1);
	if (l->level.n)
		jw_kv_str(w, "level", l->level);
	jw_obj_end(w);
}

static struct step *log_reply(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	const struct cat_step *step;
	struct reply_json j;
	struct str name;

	if (o->got.n == 0)
		return req_fail(r, ERR_NOT_FOUND, "there is no such task");
	step = cat_step(catalog_of(r), o->got.tasks[0].step_no);
	name = task_display_name(req_arena(r), step ? step->readable_id : STR("task"), o->id);
	json_begin(&j);
	jw_obj_begin(&j.w);
	json_pagination(&j.w, 0, o->logs.limit, o->lines.n);
	jw_key(&j.w, "rows");
	jw_arr_begin(&j.w);
	for (uint32_t i = 0; i < o->lines.n; i++)
		put_line(r, &j.w, &o->lines.p[i], name);
	jw_arr_end(&j.w);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

static bool read_log_filter(struct req *r, struct log_filter *f, struct err *err)
{
	struct str *levels, s;
	struct page page;

	if (!query_page(r, LOG_LIMIT, LOG_MAX, 0, &page, err) || !query_time(r, "since", false, INT64_MIN, &f->since_us, err) ||
	    !query_time(r, "until", false, INT64_MAX, &f->until_us, err) || !query_attempt(r, &f->attempt, err))
		return false;
	f->limit = page.limit;
	if (req_query(r, "search", 0, &f->search) && !text_check(f->search, "search", err))
		return false;
	f->n_levels = (uint32_t)query_strs(r, "levels", LEVELS_MAX, &levels);
	f->levels = levels;
	for (uint32_t i = 0; i < f->n_levels; i++)
		if (!str_eq(levels[i], STR("DEBUG")) && !str_eq(levels[i], STR("INFO")) && !str_eq(levels[i], STR("WARN")) &&
		    !str_eq(levels[i], STR("ERROR")))
			return err_set(err, ERR_INVALID, "levels: must be DEBUG, INFO, WARN or ERROR");
	if (!req_query(r, "order_by_direction", 0, &s))
		return true;
	f->descending = str_ieq(s, STR("DESC"));
	return f->descending || str_ieq(s, STR("ASC")) || err_set(err, ERR_INVALID, "order_by_direction: must be ASC or DESC");
}

static struct step *task_logs(struct req *r)
{
	struct one *o = REQ_STATE(r, struct one);
	struct db *db = svc_db(svc_of(r));
	struct err err;

	if (!api_id(r, req_param(r, "task"), "task", &o->id, &err) || !read_log_filter(r, &o->logs, &err))
		return req_fail_err(r, &err);
	o->logs.tenant_no = tenant_of(r)->tenant_no;
	o->logs.task_id = o->id;
	read_tasks(db, req_arena(r), o->logs.tenant_no, &o->id, 1, 0, &o->got, req_op(r, log_reply));
	read_logs(db, req_arena(r), &o->logs, &o->lines, req_op(r, log_reply));
	return req_await(r);
}

struct step *rest_task_logs(struct req *r)
{
	return alias_param(r, "task", ALIAS_ROWS, task_logs);
}

/* --- cancel, replay ------------------------------------------------------------ */

static struct step *ids_reply(struct req *r, const struct bulk_done *done)
{
	struct reply_json j;

	json_begin(&j);
	jw_obj_begin(&j.w);
	jw_key(&j.w, "ids");
	jw_arr_begin(&j.w);
	for (size_t i = 0; i < done->n; i++) {
		struct uuid u = api_uuid(r, done->ids[i]);

		jw_uuid(&j.w, &u);
	}
	jw_arr_end(&j.w);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

static bool body_time(const struct jv *v, const char *field, bool required, int64_t otherwise, int64_t *ret, struct err *err)
{
	*ret = otherwise;
	if (jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL)
		return !required || err_set(err, ERR_INVALID, "%s: is required", field);
	return (jv_type(v) == JV_STR && rfc3339_parse(jv_str(v), ret)) || err_set(err, ERR_INVALID, "%s: must be an RFC 3339 time", field);
}

static bool body_list(const struct jv *v, const char *field, size_t max, struct err *err)
{
	if (jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL)
		return true;
	if (jv_type(v) != JV_ARR || jv_len(v) > max)
		return err_set(err, ERR_INVALID, "%s: must be a list of at most %zu", field, max);
	for (size_t i = 0; i < jv_len(v); i++)
		if (jv_type(jv_at(v, i)) != JV_STR)
			return err_set(err, ERR_INVALID, "%s[%zu]: must be a text", field, i);
	return true;
}

/* A list that is present but says nothing must not widen what is meant: every entry is checked. */
static bool filter_lists(struct req *r, const struct jv *v, struct bulk_filter *f, struct err *err)
{
	const struct jv *statuses = jv_get(v, "statuses"), *ids = jv_get(v, "workflowIds"), *meta = jv_get(v, "additionalMetadata");
	int32_t *nos = ARENA_ARRAY(req_arena(r), int32_t, META_MAX);
	struct str *pairs = ARENA_ARRAY(req_arena(r), struct str, META_MAX);
	struct uuid u;

	if (!body_list(statuses, "filter.statuses", META_MAX, err) || !body_list(ids, "filter.workflowIds", META_MAX, err) ||
	    !body_list(meta, "filter.additionalMetadata", META_MAX, err))
		return false;
	for (size_t i = 0; i < jv_len(statuses); i++) {
		enum run_status s;

		if (!run_status_parse(jv_str(jv_at(statuses, i)), &s))
			return err_set(err, ERR_INVALID, "filter.statuses[%zu]: is not a status", i);
		f->status_mask |= 1u << s;
	}
	for (size_t i = 0; i < jv_len(ids); i++) {
		if (!uuid_parse(jv_str(jv_at(ids, i)), &u))
			return err_set(err, ERR_INVALID, "filter.workflowIds[%zu]: must be a UUID of 36 characters", i);
		nos[f->n_workflows++] = workflow_no_of(r, &u);
	}
	for (size_t i = 0; i < jv_len(meta); i++) {
		pairs[f->n_meta] = jv_str(jv_at(meta, i));
		if (!pairs[f->n_meta].n || !memchr(pairs[f->n_meta].p, ':', pairs[f->n_meta].n))
			return err_set(err, ERR_INVALID, "filter.additionalMetadata[%zu]: must be key:value", i);
		if (!text_check(pairs[f->n_meta++], "filter.additionalMetadata", err))
			return false;
	}
	f->workflow_nos = nos;
	f->meta_pairs = pairs;
	return true;
}

static struct step *act_on_list(struct req *r, enum bulk_what what, const struct jv *list)
{
	struct str *texts;
	struct err err;
	size_t n = jv_len(list);

	if (!body_list(list, "externalIds", CONF_BULK_IDS_MAX, &err))
		return req_fail_err(r, &err);
	texts = ARENA_ARRAY(req_arena(r), struct str, n + 1);
	for (size_t i = 0; i < n; i++)
		texts[i] = jv_str(jv_at(list, i));
	return bulk_listed(r, what, texts, n, "externalIds", ids_reply);
}

static struct step *act_on(struct req *r, enum bulk_what what)
{
	struct bulk_filter f = {0};
	const struct jv *body, *ids, *filter;
	struct err err;
	bool has_ids, has_filter;

	body = json_parse(req_arena(r), req_body(r), &err);
	if (!body)
		return req_fail(r, ERR_INVALID, "body: %.280s", err.msg);
	ids = jv_get(body, "externalIds");
	filter = jv_get(body, "filter");
	has_ids = jv_type(ids) != JV_ABSENT && jv_type(ids) != JV_NULL;
	has_filter = jv_type(filter) != JV_ABSENT && jv_type(filter) != JV_NULL;
	if (has_ids == has_filter)
		return req_fail(r, ERR_INVALID, "externalIds: either this or filter must be given");
	if (has_ids)
		return act_on_list(r, what, ids);
	if (jv_type(filter) != JV_OBJ)
		return json_fail_field(r, "filter", "must be an object");
	if (!body_time(jv_get(filter, "since"), "filter.since", true, 0, &f.since_us, &err) ||
	    !body_time(jv_get(filter, "until"), "filter.until", false, INT64_MAX, &f.until_us, &err) ||
	    !filter_lists(r, filter, &f, &err))
		return req_fail_err(r, &err);
	return bulk_filtered(r, what, &f, ids_reply);
}

struct step *rest_tasks_cancel(struct req *r)
{
	return act_on(r, BULK_CANCEL);
}

struct step *rest_tasks_replay(struct req *r)
{
	return act_on(r, BULK_REPLAY);
}
