/* Figures of a tenant: tasks by status, ends over time, what waits and runs, queue by queue and task by task. */
#include "api_int.h"

#include "base/map.h"

enum { NAMES_MAX = 1000, POINTS_MAX = 1000 };
static const int64_t minute_us = 60000000, hour_us = 60 * 60000000LL;

/* --- by status ------------------------------------------------------------ */

struct counting {
	struct run_filter f;
	struct status_counts counts;
};

static struct step *metrics_reply(struct req *r)
{
	struct counting *c = REQ_STATE(r, struct counting);
	struct reply_json j;

	json_begin(&j);
	jw_arr_begin(&j.w);
	for (size_t i = 0; i < ARRAY_LEN(c->counts.n); i++) {
		jw_obj_begin(&j.w);
		jw_kv_c(&j.w, "status", run_status_name((enum run_status)i));
		jw_kv_i64(&j.w, "count", c->counts.n[i]);
		if (i == RUN_RUNNING) {
			jw_key(&j.w, "runningDetailCount");
			jw_obj_begin(&j.w);
			jw_kv_i64(&j.w, "evicted", 0);
			jw_kv_i64(&j.w, "onWorker", c->counts.n[i]);
			jw_obj_end(&j.w);
		}
		jw_obj_end(&j.w);
	}
	jw_arr_end(&j.w);
	return json_end(r, 200, &j);
}

static struct step *task_metrics(struct req *r)
{
	struct counting *c = REQ_STATE(r, struct counting);
	struct str *pairs, s;
	struct err err;
	int32_t *nos;

	c->f.tenant_no = tenant_of(r)->tenant_no;
	if (!query_time(r, "since", true, 0, &c->f.since_us, &err) || !query_time(r, "until", false, INT64_MAX, &c->f.until_us, &err) ||
	    !query_workflows(r, "workflow_ids", &nos, &c->f.n_workflows, &err))
		return req_fail_err(r, &err);
	c->f.workflow_nos = nos;
	c->f.n_meta = (uint32_t)query_meta(r, "additional_metadata", &pairs);
	c->f.meta_pairs = pairs;
	if (req_query(r, "triggering_event_external_id", 0, &s))
		return metrics_reply(r);	/* no run is started by an event yet */
	if (req_query(r, "parent_task_external_id", 0, &s) && !api_id(r, s, "parent_task_external_id", &c->f.parent_id, &err))
		return err.code == ERR_NOT_FOUND ? metrics_reply(r) : req_fail_err(r, &err);
	read_counts(svc_db(svc_of(r)), req_arena(r), &c->f, &c->counts, req_op(r, metrics_reply));
	return req_await(r);
}

struct step *rest_task_metrics(struct req *r)
{
	return alias_query(r, "parent_task_external_id", task_metrics);
}

/* --- ends over time ------------------------------------------------------------ */

struct pointing {
	int64_t from_us, size_us;
	struct read_points got;
};

static struct step *points_reply(struct req *r)
{
	struct pointing *p = REQ_STATE(r, struct pointing);
	struct reply_json j;

	json_begin(&j);
	jw_obj_begin(&j.w);
	jw_key(&j.w, "results");
	jw_arr_begin(&j.w);
	for (uint32_t i = 0; i < p->got.n; i++) {
		jw_obj_begin(&j.w);
		jw_kv_time(&j.w, "time", p->from_us + i * p->size_us);
		jw_kv_i64(&j.w, "SUCCEEDED", p->got.p[i].n[RUN_COMPLETED]);
		jw_kv_i64(&j.w, "FAILED", p->got.p[i].n[RUN_FAILED]);
		jw_obj_end(&j.w);
	}
	jw_arr_end(&j.w);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

static int64_t point_size(int64_t range_us)
{
	return range_us < 61 * minute_us ? minute_us : range_us < 12 * hour_us ? 5 * minute_us : range_us < 48 * hour_us ? 30 * minute_us :
	       range_us < 192 * hour_us ? 8 * hour_us : 24 * hour_us;
}

/* The last point holds the end of the window; as many come before it as cover the window's length, on whole multiples of UTC. */
struct step *rest_task_point_metrics(struct req *r)
{
	struct pointing *p = REQ_STATE(r, struct pointing);
	int64_t now = api_now(r).wall_us, after, before, n, last;
	struct err err;

	if (!query_time(r, "finishedBefore", false, now, &before, &err) ||
	    !query_time(r, "createdAfter", false, before - 24 * hour_us, &after, &err))
		return req_fail_err(r, &err);
	if (after < 0 || before <= after)
		return json_fail_field(r, "createdAfter", "must be before finishedBefore");
	p->size_us = point_size(before - after);
	n = (before - after + p->size_us - 1) / p->size_us;
	if (n > POINTS_MAX)
		return json_fail_field(r, "createdAfter", "the window must not be longer than %d days", POINTS_MAX);
	last = (before - 1) / p->size_us;
	p->from_us = MAX(0, (last - n + 1) * p->size_us);
	p->got.n = (uint32_t)(last - p->from_us / p->size_us + 1);
	read_points(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, p->from_us, (uint32_t)(p->size_us / 1000000), &p->got,
		    req_op(r, points_reply));
	return req_await(r);
}

/* --- what waits and runs ------------------------------------------------------------ */

struct depths {
	struct read_depths got;
	int32_t *workflow_nos;		/* queue-metrics: of these only, if there are any */
	uint32_t n_workflows;
	struct str *names;		/* task-stats likewise */
	size_t n_names;
};

static void add_depth(struct depth_row *sum, const struct depth_row *d)
{
	for (int c = 0; c < DEPTH_CLASSES; c++) {
		sum->n[c] += d->n[c];
		if (d->oldest[c] && (!sum->oldest[c] || d->oldest[c] < sum->oldest[c]))
			sum->oldest[c] = d->oldest[c];
		if (d->oldest_first[c] && (!sum->oldest_first[c] || d->oldest_first[c] < sum->oldest_first[c]))
			sum->oldest_first[c] = d->oldest_first[c];
	}
}

/* The sums of all rows that have a key in common: name of the queue, name of the task, UUID of the workflow. */
struct depth_sum {
	struct str key;
	const struct cat_step *step;	/* one of them */
	struct depth_row of;
};
typedef struct str depth_key_fn(const struct cat_step *s);

static struct str queue_of(const struct cat_step *s)
{
	return s->action->name;
}

static struct str name_of(const struct cat_step *s)
{
	return s->readable_id;
}

static struct str workflow_of(const struct cat_step *s)
{
	return (struct str){(const char *)s->version->workflow->uuid.b, sizeof(s->version->workflow->uuid.b)};
}

static bool is_wanted(const struct depths *d, const struct cat_step *s)
{
	bool found = !d->n_workflows && !d->n_names;

	for (uint32_t i = 0; i < d->n_workflows && !found; i++)
		found = d->workflow_nos[i] == s->version->workflow->workflow_no;
	for (size_t i = 0; i < d->n_names && !found; i++)
		found = str_eq(d->names[i], s->readable_id);
	return found;
}

static size_t sum_by(struct req *r, const struct depths *d, depth_key_fn *key, struct depth_sum **ret)
{
	struct depth_sum *sums = *ret = ARENA_ARRAY(req_arena(r), struct depth_sum, d->got.n + 1);
	struct smap at = {0};
	size_t n = 0;

	for (uint32_t i = 0; i < d->got.n; i++) {
		const struct cat_step *step = cat_step(catalog_of(r), d->got.p[i].step_no);
		size_t slot;

		if (!step || !is_wanted(d, step))
			continue;
		slot = (size_t)(uintptr_t)smap_get(&at, key(step));
		if (!slot) {
			sums[n] = (struct depth_sum){.key = key(step), .step = step};
			slot = ++n;
			(void)smap_put(&at, key(step), (void *)(uintptr_t)slot);
		}
		add_depth(&sums[slot - 1].of, &d->got.p[i]);
	}
	smap_fini(&at);
	return n;
}

static int64_t waiting(const struct depth_row *d)
{
	return d->n[DEPTH_HEAD] + d->n[DEPTH_TAIL];
}

static void put_queue_metrics(struct jw *w, const struct depth_row *d)
{
	jw_obj_begin(w);
	jw_kv_i64(w, "numQueued", waiting(d));
	jw_kv_i64(w, "numRunning", d->n[DEPTH_RUNNING]);
	jw_kv_i64(w, "numPending", d->n[DEPTH_PENDING]);
	jw_obj_end(w);
}

static void put_queues(struct req *r, struct jw *w, const struct depths *d)
{
	struct depth_sum *sums;
	size_t n = sum_by(r, d, queue_of, &sums);

	jw_obj_begin(w);
	for (size_t i = 0; i < n; i++) {
		jw_key_str(w, sums[i].key);
		jw_i64(w, waiting(&sums[i].of));
	}
	jw_obj_end(w);
}

static struct step *queue_reply(struct req *r)
{
	struct depths *d = REQ_STATE(r, struct depths);
	struct depth_row total = {0};
	struct depth_sum *sums;
	struct reply_json j;
	size_t n = sum_by(r, d, workflow_of, &sums);

	for (size_t i = 0; i < n; i++)
		add_depth(&total, &sums[i].of);
	json_begin(&j);
	jw_obj_begin(&j.w);
	jw_key(&j.w, "total");
	put_queue_metrics(&j.w, &total);
	jw_key(&j.w, "workflow");
	jw_obj_begin(&j.w);
	for (size_t i = 0; i < n; i++) {
		char text[UUID_TEXT + 1];

		uuid_format(&sums[i].step->version->workflow->uuid, text);
		jw_key(&j.w, text);
		put_queue_metrics(&j.w, &sums[i].of);
	}
	jw_obj_end(&j.w);
	jw_key(&j.w, "queues");
	put_queues(r, &j.w, d);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

struct step *rest_queue_metrics(struct req *r)
{
	struct depths *d = REQ_STATE(r, struct depths);
	struct str *pairs;
	struct err err;
	size_t n;

	if (!query_workflows(r, "workflows", &d->workflow_nos, &d->n_workflows, &err))
		return req_fail_err(r, &err);
	n = query_meta(r, "additionalMetadata", &pairs);
	read_depths(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, pairs, (uint32_t)n, &d->got, req_op(r, queue_reply));
	return req_await(r);
}

static struct step *queues_reply(struct req *r)
{
	struct reply_json j;

	json_begin(&j);
	jw_obj_begin(&j.w);
	jw_key(&j.w, "queues");
	put_queues(r, &j.w, REQ_STATE(r, struct depths));
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

struct step *rest_step_run_queue_metrics(struct req *r)
{
	struct depths *d = REQ_STATE(r, struct depths);

	read_depths(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, NULL, 0, &d->got, req_op(r, queues_reply));
	return req_await(r);
}

/* --- task by task ------------------------------------------------------------ */

static int64_t oldest_of(const int64_t *ids, const int *classes, size_t n)
{
	int64_t id = 0;

	for (size_t i = 0; i < n; i++)
		if (ids[classes[i]] && (!id || ids[classes[i]] < id))
			id = ids[classes[i]];
	return id;
}

static void put_oldest(struct jw *w, const char *key, int64_t id)
{
	if (id)
		jw_kv_time(w, key, id_unix_ms(id) * 1000);
}

/* @only: the rows of one task name */
static void put_stat(struct req *r, struct jw *w, const struct depths *only, const struct depth_row *d, const int *classes, size_t n_classes)
{
	struct depth_sum *queues;
	size_t n = sum_by(r, only, queue_of, &queues);
	int64_t total = 0;

	for (size_t i = 0; i < n_classes; i++)
		total += d->n[classes[i]];
	jw_obj_begin(w);
	jw_kv_i64(w, "total", total);
	jw_key(w, "queues");
	jw_obj_begin(w);
	for (size_t q = 0; q < n; q++) {
		int64_t in_queue = 0;

		for (size_t i = 0; i < n_classes; i++)
			in_queue += queues[q].of.n[classes[i]];
		if (in_queue) {
			jw_key_str(w, queues[q].key);
			jw_i64(w, in_queue);
		}
	}
	jw_obj_end(w);
	put_oldest(w, "oldest", oldest_of(d->oldest, classes, n_classes));
	put_oldest(w, "oldestExcludingRetries", oldest_of(d->oldest_first, classes, n_classes));
	jw_obj_end(w);
}

static struct step *stats_reply(struct req *r)
{
	static const int queued[] = {DEPTH_HEAD, DEPTH_PENDING, DEPTH_TAIL}, running[] = {DEPTH_RUNNING};
	struct depths *d = REQ_STATE(r, struct depths);
	struct depth_sum *sums;
	struct reply_json j;
	size_t n = sum_by(r, d, name_of, &sums);

	json_begin(&j);
	jw_obj_begin(&j.w);
	for (size_t i = 0; i < n; i++) {
		struct depths only = {.got = d->got, .names = &sums[i].key, .n_names = 1};

		jw_key_str(&j.w, sums[i].key);
		jw_obj_begin(&j.w);
		jw_key(&j.w, "queued");
		put_stat(r, &j.w, &only, &sums[i].of, queued, ARRAY_LEN(queued));
		jw_key(&j.w, "running");
		put_stat(r, &j.w, &only, &sums[i].of, running, ARRAY_LEN(running));
		jw_obj_end(&j.w);
	}
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

struct step *rest_task_stats(struct req *r)
{
	struct depths *d = REQ_STATE(r, struct depths);

	d->n_names = query_strs(r, "taskNames", NAMES_MAX, &d->names);
	read_depths(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, NULL, 0, &d->got, req_op(r, stats_reply));
	return req_await(r);
}
