/* A run and what belongs to it: how its tasks and their children lie in time, the names of many runs, tasks of many runs.
 * Knows runs of one task only: the task of a run has the run's id. */
#include "api_int.h"

#include <stdlib.h>

enum { DEPTH_MAX = 10, ROWS_MAX = 1000, IDS_MAX = 1000 };

struct family {
	int64_t id;
	uint32_t depth;
	int64_t *ids;
	struct read_tasks got;
};

/* --- timings ------------------------------------------------------------ */

struct node {
	const struct task_view *t;
	int64_t parent_id, queued_at;
	uint32_t depth;
	size_t first, end;	/* its children among the nodes */
};

/* Children of one parent stand together, in the order in which they were queued. */
static int by_parent(const void *pa, const void *pb)
{
	const struct node *a = pa, *b = pb;

	if (a->parent_id != b->parent_id)
		return a->parent_id < b->parent_id ? -1 : 1;
	if (a->queued_at != b->queued_at)
		return a->queued_at < b->queued_at ? -1 : 1;
	return (a->t->id > b->t->id) - (a->t->id < b->t->id);
}

static size_t first_of(const struct node *nodes, size_t n, int64_t parent_id)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (nodes[mid].parent_id < parent_id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The tree of @root, each task before its children; gives how many.  A parent is older than its children: no circles. */
static size_t depth_first(struct arena *a, const struct read_tasks *got, int64_t root, struct node **ret)
{
	struct node *nodes = ARENA_ARRAY(a, struct node, got->n + 1), *stack[DEPTH_MAX + 2], *out;
	size_t n_out = 0, top = 0;

	for (uint32_t i = 0; i < got->n; i++)
		nodes[i] = (struct node){.t = &got->tasks[i], .parent_id = got->tasks[i].id == root ? 0 : got->tasks[i].parent_id,
			.queued_at = task_queued_at(&got->tasks[i])};
	qsort(nodes, got->n, sizeof(*nodes), by_parent);
	for (uint32_t i = 0; i < got->n; i++) {
		nodes[i].first = first_of(nodes, got->n, nodes[i].t->id);
		nodes[i].end = first_of(nodes, got->n, nodes[i].t->id + 1);
	}
	out = *ret = ARENA_ARRAY(a, struct node, got->n + 1);
	if (got->n && nodes[0].t->id == root) {
		out[n_out++] = nodes[0];
		stack[top++] = &nodes[0];
	}
	while (top) {
		struct node *p = stack[top - 1], *c;

		if (p->first == p->end) {
			top--;
			continue;
		}
		c = &nodes[p->first++];
		c->depth = (uint32_t)top;
		out[n_out++] = *c;
		if (top < ARRAY_LEN(stack))
			stack[top++] = c;
	}
	return n_out;
}

static struct step *timings_reply(struct req *r)
{
	struct family *f = REQ_STATE(r, struct family);
	struct reply_json j;
	struct node *nodes;
	size_t n;

	if (f->got.n == 0)
		return req_fail(r, ERR_NOT_FOUND, "there is no such run");
	n = depth_first(req_arena(r), &f->got, f->id, &nodes);
	json_begin(&j);
	jw_obj_begin(&j.w);
	json_pages(&j.w, 0, ROWS_MAX, false);
	jw_key(&j.w, "rows");
	jw_arr_begin(&j.w);
	for (size_t i = 0; i < n; i++)
		shape_timing(r, &j.w, nodes[i].t, nodes[i].depth);
	jw_arr_end(&j.w);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

static struct step *run_task_timings(struct req *r)
{
	struct family *f = REQ_STATE(r, struct family);
	struct err err;

	if (!api_id(r, req_param(r, "run"), "run", &f->id, &err) || !query_int(r, "depth", 0, DEPTH_MAX, 0, &f->depth, &err))
		return req_fail_err(r, &err);
	read_tree(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, f->id, f->depth, ROWS_MAX, &f->got, req_op(r, timings_reply));
	return req_await(r);
}

struct step *rest_run_task_timings(struct req *r)
{
	return alias_param(r, "run", ALIAS_ROWS, run_task_timings);
}

/* --- many runs ------------------------------------------------------------ */

/* The runs named by query parameter @name; those that cannot be are left out. */
static bool query_runs(struct req *r, const char *name, struct family *f, uint32_t *ret_n, struct err *err)
{
	struct str *texts;
	size_t n = query_strs(r, name, IDS_MAX + 1, &texts);

	if (n == 0 || n > IDS_MAX)
		return err_set(err, ERR_INVALID, "%s: 1 to %d must be given", name, IDS_MAX);
	f->ids = ARENA_ARRAY(req_arena(r), int64_t, n);
	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		if (api_id(r, texts[i], name, &f->ids[*ret_n], err))
			++*ret_n;
		else if (err->code != ERR_NOT_FOUND)
			return false;
	}
	return true;
}

static struct step *names_reply(struct req *r)
{
	struct family *f = REQ_STATE(r, struct family);
	struct reply_json j;

	json_begin(&j);
	jw_obj_begin(&j.w);
	json_pages(&j.w, 0, IDS_MAX, false);
	jw_key(&j.w, "rows");
	jw_arr_begin(&j.w);
	for (uint32_t i = 0; i < f->got.n; i++) {
		const struct task_view *t = &f->got.tasks[i];
		struct uuid u = api_uuid(r, t->run_id);
		int64_t created = id_unix_ms(t->run_id) * 1000;

		jw_obj_begin(&j.w);
		json_meta(&j.w, &u, created, created);
		jw_kv_str(&j.w, "displayName", run_display_name(r, t));
		jw_obj_end(&j.w);
	}
	jw_arr_end(&j.w);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

struct step *rest_run_display_names(struct req *r)
{
	struct family *f = REQ_STATE(r, struct family);
	struct err err;
	uint32_t n;

	if (!query_runs(r, "external_ids", f, &n, &err))
		return req_fail_err(r, &err);
	read_tasks(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, f->ids, n, 0, &f->got, req_op(r, names_reply));
	return req_await(r);
}

static struct step *dags_reply(struct req *r)
{
	struct family *f = REQ_STATE(r, struct family);
	struct reply_json j;

	json_begin(&j);
	jw_arr_begin(&j.w);
	for (uint32_t i = 0; i < f->got.n; i++) {
		jw_obj_begin(&j.w);
		json_id(r, &j.w, "dagId", f->got.tasks[i].run_id);
		jw_key(&j.w, "children");
		jw_arr_begin(&j.w);
		shape_task(r, &j.w, &f->got.tasks[i], -1);
		jw_arr_end(&j.w);
		jw_obj_end(&j.w);
	}
	jw_arr_end(&j.w);
	return json_end(r, 200, &j);
}

struct step *rest_dag_tasks(struct req *r)
{
	struct family *f = REQ_STATE(r, struct family);
	struct str tenant;
	struct err err;
	struct uuid u;
	uint32_t n;

	if (!req_query(r, "tenant", 0, &tenant) || !uuid_parse(tenant, &u))
		return json_fail_field(r, "tenant", "must be a UUID of 36 characters");
	if (!uuid_eq(&u, &tenant_of(r)->uuid))
		return req_fail(r, ERR_DENIED, "tenant: the token is not of this tenant");
	if (!query_runs(r, "dag_ids", f, &n, &err))
		return req_fail_err(r, &err);
	read_tasks(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, f->ids, n, READ_ERRORS | READ_CHILDREN, &f->got,
		   req_op(r, dags_reply));
	return req_await(r);
}

/* --- older routes that are still asked for ------------------------------------------------------------ */

static struct step *input_reply(struct req *r)
{
	struct family *f = REQ_STATE(r, struct family);
	struct str input = f->got.n ? f->got.tasks[0].input : STR_NULL;

	if (f->got.n == 0)
		return req_fail(r, ERR_NOT_FOUND, "there is no such run");
	return req_reply_http(r, 200, "application/json", input.n && !str_eq(input, STR("null")) ? input : STR("{}"));
}

static struct step *run_input(struct req *r)
{
	struct family *f = REQ_STATE(r, struct family);
	struct err err;

	if (!api_id(r, req_param(r, "run"), "run", &f->id, &err))
		return req_fail_err(r, &err);
	read_tasks(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, &f->id, 1, READ_PAYLOADS, &f->got, req_op(r, input_reply));
	return req_await(r);
}

struct step *rest_run_input(struct req *r)
{
	return alias_param(r, "run", ALIAS_INPUT, run_input);
}

/* Asked by SDKs when a result has no output of a task; this answer is what they know. */
struct step *rest_run_shape(struct req *r)
{
	return req_fail(r, ERR_INVALID, "this route is deprecated: use /api/v1/stable/workflow-runs/{run}");
}
