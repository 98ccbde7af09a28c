/* The one normal form of a definition, its checksum, and the rows it becomes.
 * Invariant: two definitions that mean the same give the same bytes: tasks in topological order, maps sorted, defaults filled
 * in, durations in one spelling, or-groups numbered by order of appearance.  Takes checked definitions only. */
#include "api_int.h"

#include "base/map.h"
#include "base/text.h"
#include "crypto/hash.h"

#include <math.h>
#include <stdlib.h>

enum { EXEC_DEFAULT_MS = 60000, SCHEDULE_DEFAULT_MS = 300000, BACKOFF_DEFAULT_MAX_S = 86400, BATCH_RUNS = 100, BATCH_INTERVAL_MS = 1000 };

#define COPY(a, type, from) ((type *)memcpy(arena_alloc((a), sizeof(type)), (from), sizeof(type)))

static int64_t duration_or(struct str s, int64_t otherwise)
{
	int64_t ms;

	return s.n && duration_parse(s, &ms, NULL) ? ms : otherwise;
}

static int64_t exec_ms(const V1__CreateTaskOpts *t)
{
	return duration_or(pb_raw(t->timeout), EXEC_DEFAULT_MS);
}

static int64_t schedule_ms(const V1__CreateTaskOpts *t)
{
	return duration_or(PB_HAS(t, schedule_timeout) ? pb_raw(t->schedule_timeout) : STR_NULL, SCHEDULE_DEFAULT_MS);
}

static int cmp_str(struct str a, struct str b)
{
	int d = memcmp(a.p ? a.p : "", b.p ? b.p : "", MIN(a.n, b.n));

	return d ? d : (a.n > b.n) - (a.n < b.n);
}

static int cmp_slot(const void *a, const void *b)
{
	return cmp_str(pb_raw((*(V1__Int32Entry *const *)a)->key), pb_raw((*(V1__Int32Entry *const *)b)->key));
}

static int cmp_label(const void *a, const void *b)
{
	return cmp_str(pb_raw((*(V1__DesiredWorkerLabelsEntry *const *)a)->key),
		       pb_raw((*(V1__DesiredWorkerLabelsEntry *const *)b)->key));
}

/* --- parts ------------------------------------------------------------ */

static V1__Concurrency *norm_concurrency(struct arena *a, const V1__Concurrency *in)
{
	V1__Concurrency *c = COPY(a, V1__Concurrency, in);

	if (!PB_HAS(c, max_runs))
		PB_OPT(c, max_runs, V1__CONCURRENCY__HAS_MAX_RUNS_MAX_RUNS, 1);
	if (!PB_HAS(c, limit_strategy))
		PB_OPT(c, limit_strategy, V1__CONCURRENCY__HAS_LIMIT_STRATEGY_LIMIT_STRATEGY,
		       V1__CONCURRENCY_LIMIT_STRATEGY__CANCEL_IN_PROGRESS);
	if (PB_HAS(c, is_tenant_scoped) && !c->is_tenant_scoped)
		c->has_is_tenant_scoped_case = V1__CONCURRENCY__HAS_IS_TENANT_SCOPED__NOT_SET;
	return c;
}

struct groups {			/* or-group id of the client -> its number, as text */
	struct smap numbers;
	struct arena *a;
};

static V1__BaseMatchCondition *norm_base(struct groups *g, const V1__BaseMatchCondition *in)
{
	V1__BaseMatchCondition *b = COPY(g->a, V1__BaseMatchCondition, in);
	char *number = smap_get(&g->numbers, pb_raw(in->or_group_id));

	if (!number) {
		number = arena_strz(g->a, arena_strf(g->a, "%zu", g->numbers.n));
		(void)smap_put(&g->numbers, pb_raw(in->or_group_id), number);
	}
	b->or_group_id = pb_set(str_c(number));
	return b;
}

static V1__TaskConditions *norm_conditions(struct groups *g, const V1__TaskConditions *in)
{
	V1__TaskConditions *c;

	if (!in || in->n_parent_override_conditions + in->n_sleep_conditions + in->n_user_event_conditions == 0)
		return NULL;
	c = COPY(g->a, V1__TaskConditions, in);
	c->parent_override_conditions = ARENA_ARRAY(g->a, V1__ParentOverrideMatchCondition *, in->n_parent_override_conditions);
	for (size_t i = 0; i < in->n_parent_override_conditions; i++) {
		V1__ParentOverrideMatchCondition *p =
			COPY(g->a, V1__ParentOverrideMatchCondition, in->parent_override_conditions[i]);

		p->cond = norm_base(g, p->cond);
		p->cond->readable_data_key = p->parent_readable_id;	/* SDKs may put the time of day into the key */
		c->parent_override_conditions[i] = p;
	}
	c->sleep_conditions = ARENA_ARRAY(g->a, V1__SleepMatchCondition *, in->n_sleep_conditions);
	for (size_t i = 0; i < in->n_sleep_conditions; i++) {
		c->sleep_conditions[i] = COPY(g->a, V1__SleepMatchCondition, in->sleep_conditions[i]);
		c->sleep_conditions[i]->cond = norm_base(g, in->sleep_conditions[i]->cond);
	}
	c->user_event_conditions = ARENA_ARRAY(g->a, V1__UserEventMatchCondition *, in->n_user_event_conditions);
	for (size_t i = 0; i < in->n_user_event_conditions; i++) {
		c->user_event_conditions[i] = COPY(g->a, V1__UserEventMatchCondition, in->user_event_conditions[i]);
		c->user_event_conditions[i]->cond = norm_base(g, in->user_event_conditions[i]->cond);
	}
	return c;
}

static void norm_labels(struct arena *a, V1__CreateTaskOpts *t, const V1__CreateTaskOpts *in)
{
	t->worker_labels = ARENA_ARRAY(a, V1__DesiredWorkerLabelsEntry *, in->n_worker_labels + 1);
	for (size_t i = 0; i < in->n_worker_labels; i++) {
		V1__DesiredWorkerLabelsEntry *e = COPY(a, V1__DesiredWorkerLabelsEntry, in->worker_labels[i]);
		V1__DesiredWorkerLabels *v = COPY(a, V1__DesiredWorkerLabels, e->value);

		if (!PB_HAS(v, required))
			PB_OPT(v, required, V1__DESIRED_WORKER_LABELS__HAS_REQUIRED_REQUIRED, false);
		if (!PB_HAS(v, comparator))
			PB_OPT(v, comparator, V1__DESIRED_WORKER_LABELS__HAS_COMPARATOR_COMPARATOR, V1__WORKER_LABEL_COMPARATOR__EQUAL);
		if (!PB_HAS(v, weight))
			PB_OPT(v, weight, V1__DESIRED_WORKER_LABELS__HAS_WEIGHT_WEIGHT, 100);
		e->value = v;
		t->worker_labels[i] = e;
	}
	qsort(t->worker_labels, t->n_worker_labels, sizeof(t->worker_labels[0]), cmp_label);
}

static void norm_slots(struct arena *a, V1__CreateTaskOpts *t, const V1__CreateTaskOpts *in)
{
	struct str usual = in->is_durable ? STR("durable") : STR("default");

	t->slot_requests = ARENA_ARRAY(a, V1__Int32Entry *, in->n_slot_requests + 1);
	memcpy(t->slot_requests, in->slot_requests ? in->slot_requests : t->slot_requests, sizeof(t->slot_requests[0]) * in->n_slot_requests);
	qsort(t->slot_requests, t->n_slot_requests, sizeof(t->slot_requests[0]), cmp_slot);
	if (t->n_slot_requests == 1 && str_eq(pb_raw(t->slot_requests[0]->key), usual) && t->slot_requests[0]->value == 1)
		t->n_slot_requests = 0;
}

static V1__CreateTaskOpts *norm_task(struct groups *g, const V1__CreateTaskOpts *in)
{
	V1__CreateTaskOpts *t = COPY(g->a, V1__CreateTaskOpts, in);

	t->action = pb_set(api_lower(g->a, pb_raw(in->action)));
	t->timeout = pb_set(duration_format(g->a, exec_ms(in)));
	PB_OPT(t, schedule_timeout, V1__CREATE_TASK_OPTS__HAS_SCHEDULE_TIMEOUT_SCHEDULE_TIMEOUT,
	       pb_set(duration_format(g->a, schedule_ms(in))));
	t->inputs = pb_set(STR_NULL);
	if (!PB_HAS(t, backoff_factor))
		t->has_backoff_max_seconds_case = V1__CREATE_TASK_OPTS__HAS_BACKOFF_MAX_SECONDS__NOT_SET;
	else if (!PB_HAS(t, backoff_max_seconds))
		PB_OPT(t, backoff_max_seconds, V1__CREATE_TASK_OPTS__HAS_BACKOFF_MAX_SECONDS_BACKOFF_MAX_SECONDS, BACKOFF_DEFAULT_MAX_S);
	t->concurrency = ARENA_ARRAY(g->a, V1__Concurrency *, in->n_concurrency + 1);
	for (size_t i = 0; i < in->n_concurrency; i++)
		t->concurrency[i] = norm_concurrency(g->a, in->concurrency[i]);
	norm_labels(g->a, t, in);
	norm_slots(g->a, t, in);
	t->conditions = norm_conditions(g, in->conditions);
	return t;
}

/* --- the whole ------------------------------------------------------------ */

V1__CreateWorkflowVersionRequest *def_normalise(struct arena *a, const V1__CreateWorkflowVersionRequest *in, const size_t *order)
{
	V1__CreateWorkflowVersionRequest *m = COPY(a, V1__CreateWorkflowVersionRequest, in);
	struct groups g = {.a = a};
	size_t n = 0;

	m->tasks = ARENA_ARRAY(a, V1__CreateTaskOpts *, in->n_tasks);
	for (size_t i = 0; i < m->n_tasks; i++)
		m->tasks[i] = norm_task(&g, in->tasks[order[i]]);
	if (in->on_failure_task)
		m->on_failure_task = norm_task(&g, in->on_failure_task);
	smap_fini(&g.numbers);
	m->concurrency_arr = ARENA_ARRAY(a, V1__Concurrency *, in->n_concurrency_arr + 1);
	if (in->concurrency)
		m->concurrency_arr[n++] = norm_concurrency(a, in->concurrency);
	for (size_t i = 0; i < in->n_concurrency_arr; i++)
		m->concurrency_arr[n++] = norm_concurrency(a, in->concurrency_arr[i]);
	m->n_concurrency_arr = n;
	m->concurrency = NULL;
	if (!PB_HAS(m, default_priority))
		PB_OPT(m, default_priority, V1__CREATE_WORKFLOW_VERSION_REQUEST__HAS_DEFAULT_PRIORITY_DEFAULT_PRIORITY, 1);
	if (m->idempotency) {
		m->idempotency = COPY(a, V1__IdempotencyConfig, m->idempotency);
		if (!PB_HAS(m->idempotency, method))
			PB_OPT(m->idempotency, method, V1__IDEMPOTENCY_CONFIG__HAS_METHOD_METHOD, V1__IDEMPOTENCY_METHOD__TTL);
	}
	return m;
}

struct wants {
	const V1__CreateWorkflowVersionRequest *m;
	bool conditions;
};

static void task_wants(struct wants *w, const V1__CreateTaskOpts *t)
{
	const V1__TaskConditions *c = t->conditions;

	w->conditions |= c && c->n_parent_override_conditions + c->n_sleep_conditions + c->n_user_event_conditions > 0;
}

struct str def_unsupported(struct arena *a, const V1__CreateWorkflowVersionRequest *m)
{
	struct wants w = {.m = m};
	struct str out = STR_NULL;

	for (size_t i = 0; i < m->n_tasks; i++)
		task_wants(&w, m->tasks[i]);
	if (m->on_failure_task)
		task_wants(&w, m->on_failure_task);
	const struct {
		bool on;
		const char *word;
	} words[] = {
		{m->n_tasks > 1, "more than one task"},
		{m->on_failure_task != NULL, "an on-failure task"},
		{w.conditions, "conditions"},
	};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (words[i].on)
			out = arena_strf(a, "%.*s%s%s", STR_FMT(out), out.n ? ", " : "", words[i].word);
	return out;
}

static bool step_fill(struct arena *a, const V1__CreateTaskOpts *t, bool on_failure, struct cat_put_step *s, struct err *err)
{
	const struct cat_want *wants;
	uint32_t n_wants;

	if (t->is_durable)
		return err_set(err, ERR_UNIMPLEMENTED, "task '%.*s' is durable: durable tasks are not built yet, nothing was registered",
			       (int)MIN(t->readable_id.len, 150u), (const char *)t->readable_id.data);
	*s = (struct cat_put_step){
		.readable_id = pb_raw(t->readable_id),
		.action = api_lower(a, pb_raw(t->action)),
		.retries = t->retries,
		.exec_ms = exec_ms(t),
		.schedule_ms = schedule_ms(t),
		.is_on_failure = on_failure,
	};
	if (PB_HAS(t, backoff_factor)) {
		s->backoff_milli = (int32_t)lroundf(t->backoff_factor * 1000.0f);
		s->backoff_max_s = PB_HAS(t, backoff_max_seconds) ? t->backoff_max_seconds : BACKOFF_DEFAULT_MAX_S;
	}
	if (!t->n_slot_requests) {
		s->slot_names[0] = STR("default");
		s->slot_units[0] = 1;
	}
	for (size_t i = 0, k = 0; i < t->n_slot_requests; i++) {
		size_t at = 0;

		while (at < k && !str_eq(s->slot_names[at], pb_raw(t->slot_requests[i]->key)))
			at++;
		s->slot_names[at] = pb_raw(t->slot_requests[i]->key);
		s->slot_units[at] = t->slot_requests[i]->value;
		k = MAX(k, at + 1);
	}
	n_wants = labels_read(a, t->worker_labels, t->n_worker_labels, &wants);
	if (n_wants)
		s->labels = cat_wants_format(a, wants, n_wants);
	s->limits = rate_limits_of(a, t);
	if (t->batch)
		s->batch = cat_batch_format(a, &(struct cat_batch){.max_size = t->batch->batch_max_size,
			.max_runs = PB_HAS(t->batch, batch_group_max_runs) ? t->batch->batch_group_max_runs : BATCH_RUNS,
			.interval_ms = PB_HAS(t->batch, batch_max_interval_ms) ? t->batch->batch_max_interval_ms : BATCH_INTERVAL_MS,
			.expression = PB_HAS(t->batch, batch_group_key) ? pb_raw(t->batch->batch_group_key) : STR_NULL});
	return true;
}

bool def_steps(struct arena *a, const V1__CreateWorkflowVersionRequest *m, struct cat_put *put, struct err *err)
{
	size_t n = m->n_tasks + (m->on_failure_task ? 1 : 0);
	struct cat_put_step *s = ARENA_ARRAY(a, struct cat_put_step, n);

	for (size_t i = 0; i < m->n_tasks; i++)
		if (!step_fill(a, m->tasks[i], false, &s[i], err))
			return false;
	if (m->on_failure_task && !step_fill(a, m->on_failure_task, true, &s[m->n_tasks], err))
		return false;
	put->steps = s;
	put->n_steps = (uint32_t)n;
	put->is_dag = n > 1;
	return true;
}

bool def_make(struct arena *a, const V1__CreateWorkflowVersionRequest *in, struct def *ret, struct err *err)
{
	V1__CreateWorkflowVersionRequest *hashed;
	uint8_t sum[SHA256_BYTES];
	size_t *order;

	*ret = (struct def){0};
	if (!def_check(in, err) || !def_order(a, in, &order, err) || !def_steps(a, in, &ret->put, err))
		return false;
	ret->norm = def_normalise(a, in, order);
	if (!def_strategies(a, ret->norm, &ret->put, err))
		return false;
	hashed = COPY(a, V1__CreateWorkflowVersionRequest, ret->norm);
	hashed->version = pb_set(STR_NULL);	/* free text of the user: alone it makes no new version */
	sha256(pb_pack(a, PB_MSG(hashed)), sum);
	ret->put.checksum = arena_dup(a, (struct str){(const char *)sum, sizeof(sum)});
	ret->put.definition = pb_pack(a, PB_MSG(ret->norm));
	ret->put.name = pb_raw(in->name);
	ret->put.description = pb_raw(in->description);
	ret->put.default_priority = (int16_t)ret->norm->default_priority;
	if (PB_HAS(in, sticky))
		ret->put.sticky = in->sticky == V1__STICKY_STRATEGY__HARD ? STICKY_HARD : STICKY_SOFT;
	if (ret->norm->idempotency)
		ret->put.idempotency = (struct cat_idempotency){.expression = pb_raw(ret->norm->idempotency->expression),
			.ttl_ms = ret->norm->idempotency->ttl_ms,
			.is_status = ret->norm->idempotency->method == V1__IDEMPOTENCY_METHOD__STATUS};
	ret->put.unsupported = def_unsupported(a, in);
	return true;
}
