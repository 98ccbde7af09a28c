/* Is a workflow definition well formed?  Pure: looks at the message only.
 * Every refusal names the field, tasks by their index.  Says nothing about what is built: see def_unsupported(). */
#include "api_int.h"

#include "base/map.h"
#include "base/text.h"

#include <stdio.h>

enum {
	TASKS_MAX = 10000, PARENTS_MAX = 100000, NAME_BYTES_MAX = 512, TEXT_BYTES_MAX = 65536, RETRIES_MAX = 30000,
	BACKOFF_FACTOR_MAX = 1000, BACKOFF_SECONDS_MAX = 86400, STEP_SLOTS_MAX = 4, BATCH_SIZE_MAX = 100000,
	BATCH_INTERVAL_MAX_MS = 86400000, BATCH_RUNS_MAX = 10000, TRIGGERS_MAX = 1000
};

static bool name_check(ProtobufCBinaryData in, const char *field, struct err *err)
{
	struct str s = pb_raw(in);

	if (!s.n || s.n > NAME_BYTES_MAX)
		return err_set(err, ERR_INVALID, "%s: must have 1 to %d characters", field, NAME_BYTES_MAX);
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-')
			return err_set(err, ERR_INVALID, "%s: only letters, digits, '.', '_' and '-' are allowed", field);
	}
	return true;
}

static bool text_short(ProtobufCBinaryData in, const char *field, struct err *err)
{
	struct str s;

	return pb_str(in, field, &s, err) &&
	       (s.n <= TEXT_BYTES_MAX || err_set(err, ERR_INVALID, "%s: at most %d bytes", field, TEXT_BYTES_MAX));
}

static bool range(int64_t v, int64_t min, int64_t max, const char *field, struct err *err)
{
	return (v >= min && v <= max) ||
	       err_set(err, ERR_INVALID, "%s: must be %lld to %lld", field, (long long)min, (long long)max);
}

/* 2 or 3 parts, none empty. */
static bool action_check(ProtobufCBinaryData in, const char *field, struct err *err)
{
	struct str s;
	size_t parts = 1;

	if (!text_short(in, field, err) || !pb_str(in, field, &s, err))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != ':')
			continue;
		parts++;
		if (i == 0 || i + 1 == s.n || s.p[i + 1] == ':')
			parts = 99;
	}
	return (s.n && s.n <= 2 * NAME_BYTES_MAX && parts >= 2 && parts <= 3) ||
	       err_set(err, ERR_INVALID, "%s: must have 2 or 3 parts divided by ':'", field);
}

static bool duration_check(ProtobufCBinaryData in, const char *field, struct err *err)
{
	struct err why;
	int64_t ms;

	if (in.len == 0)
		return true;	/* the default */
	return duration_parse(pb_raw(in), &ms, &why) || err_set(err, ERR_INVALID, "%s: %s", field, why.msg);
}

static bool condition_check(const V1__BaseMatchCondition *b, const char *field, struct err *err)
{
	if (!b)
		return err_set(err, ERR_INVALID, "%s.base: is missing", field);
	if (b->action != V1__ACTION__QUEUE && b->action != V1__ACTION__CANCEL && b->action != V1__ACTION__SKIP)
		return err_set(err, ERR_INVALID, "%s.base.action: must be QUEUE, CANCEL or SKIP", field);
	return text_short(b->readable_data_key, field, err) && text_short(b->or_group_id, field, err) &&
	       text_short(b->expression, field, err);
}

static bool conditions_check(const V1__TaskConditions *c, const char *task, struct err *err)
{
	char f[128];

	for (size_t i = 0; c && i < c->n_parent_override_conditions; i++) {
		(void)snprintf(f, sizeof(f), "%s.conditions.parent_override_conditions[%zu]", task, i);
		if (!condition_check(c->parent_override_conditions[i]->cond, f, err) ||
		    !name_check(c->parent_override_conditions[i]->parent_readable_id, f, err))
			return false;
	}
	for (size_t i = 0; c && i < c->n_sleep_conditions; i++) {
		(void)snprintf(f, sizeof(f), "%s.conditions.sleep_conditions[%zu].sleep_for", task, i);
		if (!condition_check(c->sleep_conditions[i]->cond, f, err) || !duration_check(c->sleep_conditions[i]->sleep_for, f, err))
			return false;
		if (!c->sleep_conditions[i]->sleep_for.len)
			return err_set(err, ERR_INVALID, "%s: must not be empty", f);
	}
	for (size_t i = 0; c && i < c->n_user_event_conditions; i++) {
		(void)snprintf(f, sizeof(f), "%s.conditions.user_event_conditions[%zu].user_event_key", task, i);
		if (!condition_check(c->user_event_conditions[i]->cond, f, err) ||
		    !text_short(c->user_event_conditions[i]->user_event_key, f, err))
			return false;
		if (!c->user_event_conditions[i]->user_event_key.len)
			return err_set(err, ERR_INVALID, "%s: must not be empty", f);
	}
	return true;
}

static bool slots_check(const V1__CreateTaskOpts *t, const char *task, struct err *err)
{
	char f[96];

	(void)snprintf(f, sizeof(f), "%s.slot_requests", task);
	if (t->n_slot_requests > STEP_SLOTS_MAX)
		return err_set(err, ERR_INVALID, "%s: at most %d types", f, STEP_SLOTS_MAX);
	for (size_t i = 0; i < t->n_slot_requests; i++) {
		if (!text_short(t->slot_requests[i]->key, f, err))
			return false;
		if (!t->slot_requests[i]->key.len || t->slot_requests[i]->value <= 0)
			return err_set(err, ERR_INVALID, "%s: needs a type and units above 0", f);
	}
	return true;
}

static bool batch_check(const V1__TaskBatchConfig *b, const char *task, struct err *err)
{
	char f[96];

	if (!b)
		return true;
	(void)snprintf(f, sizeof(f), "%s.batch.batch_max_size", task);
	if (!range(b->batch_max_size, 1, BATCH_SIZE_MAX, f, err))
		return false;
	(void)snprintf(f, sizeof(f), "%s.batch.batch_max_interval_ms", task);
	if (PB_HAS(b, batch_max_interval_ms) && !range(b->batch_max_interval_ms, 1, BATCH_INTERVAL_MAX_MS, f, err))
		return false;
	(void)snprintf(f, sizeof(f), "%s.batch.batch_group_max_runs", task);
	if (PB_HAS(b, batch_group_max_runs) && !range(b->batch_group_max_runs, 1, BATCH_RUNS_MAX, f, err))
		return false;
	(void)snprintf(f, sizeof(f), "%s.batch.batch_group_key", task);
	return !PB_HAS(b, batch_group_key) || !b->batch_group_key.len ||
	       expression_check(b->batch_group_key, CEL_WORKFLOW, CEL_K(STRING), "a string", f, err);
}

static bool retries_check(const V1__CreateTaskOpts *t, const char *task, struct err *err)
{
	char f[96];

	(void)snprintf(f, sizeof(f), "%s.retries", task);
	if (!range(t->retries, 0, RETRIES_MAX, f, err))
		return false;
	(void)snprintf(f, sizeof(f), "%s.backoff_factor", task);
	if (PB_HAS(t, backoff_factor) && !(t->backoff_factor >= 1.0f && t->backoff_factor <= (float)BACKOFF_FACTOR_MAX))
		return err_set(err, ERR_INVALID, "%s: must be 1 to %d", f, BACKOFF_FACTOR_MAX);
	(void)snprintf(f, sizeof(f), "%s.backoff_max_seconds", task);
	return !PB_HAS(t, backoff_max_seconds) || range(t->backoff_max_seconds, 1, BACKOFF_SECONDS_MAX, f, err);
}

static bool task_labels_check(const V1__CreateTaskOpts *t, const char *task, struct err *err)
{
	char f[96];

	(void)snprintf(f, sizeof(f), "%s.worker_labels", task);
	return labels_check(t->worker_labels, t->n_worker_labels, f, err);
}

static bool task_check(const V1__CreateTaskOpts *t, const char *task, struct err *err)
{
	char f[96];

	(void)snprintf(f, sizeof(f), "%s.readable_id", task);
	if (!name_check(t->readable_id, f, err))
		return false;
	(void)snprintf(f, sizeof(f), "%s.action", task);
	if (!action_check(t->action, f, err))
		return false;
	(void)snprintf(f, sizeof(f), "%s.timeout", task);
	if (!duration_check(t->timeout, f, err))
		return false;
	(void)snprintf(f, sizeof(f), "%s.schedule_timeout", task);
	if (PB_HAS(t, schedule_timeout) && !duration_check(t->schedule_timeout, f, err))
		return false;
	for (size_t i = 0; i < t->n_concurrency; i++) {
		(void)snprintf(f, sizeof(f), "%s.concurrency[%zu]", task, i);
		if (!concurrency_check(t->concurrency[i], f, err))
			return false;
	}
	return retries_check(t, task, err) && slots_check(t, task, err) && rate_limits_check(t, task, err) &&
	       batch_check(t->batch, task, err) && task_labels_check(t, task, err) && conditions_check(t->conditions, task, err);
}

/* Names are distinct, parents exist. */
static bool names_check(const V1__CreateWorkflowVersionRequest *m, struct smap *by_name, struct err *err)
{
	size_t edges = 0;

	for (size_t i = 0; i < m->n_tasks; i++)
		if (smap_put(by_name, pb_raw(m->tasks[i]->readable_id), (void *)(uintptr_t)(i + 1)))
			return err_set(err, ERR_INVALID, "tasks[%zu].readable_id: '%.*s' is used twice", i,
				       (int)MIN(m->tasks[i]->readable_id.len, 100u), (const char *)m->tasks[i]->readable_id.data);
	if (m->on_failure_task && smap_get(by_name, pb_raw(m->on_failure_task->readable_id)))
		return err_set(err, ERR_INVALID, "on_failure_task.readable_id: is used by a task");
	for (size_t i = 0; i < m->n_tasks; i++) {
		const V1__CreateTaskOpts *t = m->tasks[i];

		edges += t->n_parents;
		for (size_t k = 0; k < t->n_parents; k++)
			if (!smap_get(by_name, pb_raw(t->parents[k])))
				return err_set(err, ERR_INVALID, "tasks[%zu].parents: there is no task '%.*s'", i,
					       (int)MIN(t->parents[k].len, 100u), (const char *)t->parents[k].data);
	}
	return edges <= PARENTS_MAX || err_set(err, ERR_INVALID, "tasks: more than %d parents in all", PARENTS_MAX);
}

/* Parents first; tasks whose parents came at the same time stay as declared.  false: @err names one on a cycle. */
static bool order(struct arena *a, const V1__CreateWorkflowVersionRequest *m, const struct smap *by_name, size_t *ret, struct err *err)
{
	size_t n = m->n_tasks, edges = 0, done = 0, filled = 0;
	size_t *open = ARENA_ARRAY(a, size_t, n), *first = ARENA_ARRAY(a, size_t, n + 1), *child;

#define PARENT(i, k) ((size_t)(uintptr_t)smap_get(by_name, pb_raw(m->tasks[i]->parents[k])) - 1)
	for (size_t i = 0; i < n; i++) {
		edges += open[i] = m->tasks[i]->n_parents;
		for (size_t k = 0; k < open[i]; k++)
			first[PARENT(i, k) + 1]++;
	}
	for (size_t i = 0; i < n; i++)
		first[i + 1] += first[i];
	child = ARENA_ARRAY(a, size_t, edges + 1);
	for (size_t i = n; i-- > 0;)	/* backwards: the children of each end up as declared */
		for (size_t k = 0; k < m->tasks[i]->n_parents; k++)
			child[--first[PARENT(i, k) + 1]] = i;
#undef PARENT
	for (size_t i = 0; i < n; i++)
		if (open[i] == 0)
			ret[filled++] = i;
	while (done < filled) {
		size_t i = ret[done++], end = i + 2 <= n ? first[i + 2] : edges;

		for (size_t k = first[i + 1]; k < end; k++)
			if (--open[child[k]] == 0)
				ret[filled++] = child[k];
	}
	for (size_t i = 0; i < n && filled < n; i++)
		if (open[i])
			return err_set(err, ERR_INVALID, "tasks[%zu].parents: the task depends on itself", i);
	return true;
}

bool def_order(struct arena *a, const V1__CreateWorkflowVersionRequest *m, size_t **ret, struct err *err)
{
	struct smap by_name = {0};
	bool ok;

	*ret = ARENA_ARRAY(a, size_t, m->n_tasks);
	ok = names_check(m, &by_name, err) && order(a, m, &by_name, *ret, err);
	smap_fini(&by_name);
	return ok;
}

static bool texts_check(const V1__CreateWorkflowVersionRequest *m, struct err *err)
{
	struct err why;

	if (!text_short(m->description, "description", err) || !text_short(m->version, "version", err))
		return false;
	if (m->n_event_triggers > TRIGGERS_MAX || m->n_cron_triggers > TRIGGERS_MAX || m->n_default_filters > TRIGGERS_MAX)
		return err_set(err, ERR_INVALID, "event_triggers, cron_triggers, default_filters: at most %d each", TRIGGERS_MAX);
	for (size_t i = 0; i < m->n_event_triggers; i++)
		if (!text_short(m->event_triggers[i], "event_triggers", err))
			return false;
	for (size_t i = 0; i < m->n_cron_triggers; i++)
		if (!text_short(m->cron_triggers[i], "cron_triggers", err))
			return false;
	if (PB_HAS(m, cron_input) && m->cron_input.len && !json_check(pb_raw(m->cron_input), JSON_F_NO_NUL, "cron_input", err))
		return false;
	if (PB_HAS(m, input_json_schema) && m->input_json_schema.len &&
	    !json_check(pb_raw(m->input_json_schema), 0, "input_json_schema", err))
		return false;
	for (size_t i = 0; i < m->n_default_filters; i++) {
		const V1__DefaultFilter *f = m->default_filters[i];

		if (!f->expression.len || !text_short(f->expression, "default_filters", &why) ||
		    !text_short(f->scope, "default_filters", &why))
			return err_set(err, ERR_INVALID, "default_filters[%zu]: needs an expression", i);
		if (PB_HAS(f, payload) && f->payload.len && !json_check(pb_raw(f->payload), JSON_F_OBJECT, "default_filters: payload", err))
			return false;
	}
	return true;
}

static const int64_t TTL_MS_MAX = 10LL * 365 * 86400 * 1000;

static bool idempotency_check(const V1__IdempotencyConfig *m, struct err *err)
{
	if (!m->expression.len)
		return err_set(err, ERR_INVALID, "idempotency.expression: must not be empty");
	if (m->ttl_ms < 1 || m->ttl_ms > TTL_MS_MAX)
		return err_set(err, ERR_INVALID, "idempotency.ttl_ms: must be 1 to %lld", (long long)TTL_MS_MAX);
	if (PB_HAS(m, method) && m->method != V1__IDEMPOTENCY_METHOD__TTL && m->method != V1__IDEMPOTENCY_METHOD__STATUS)
		return err_set(err, ERR_INVALID, "idempotency.method: %d is not known", (int)m->method);
	return expression_check(m->expression, CEL_IDEMPOTENCY, CEL_K(STRING), "a string", "idempotency.expression", err);
}

static bool rules_check(const V1__CreateWorkflowVersionRequest *m, struct err *err)
{
	if (m->concurrency && !concurrency_check(m->concurrency, "concurrency", err))
		return false;
	for (size_t i = 0; i < m->n_concurrency_arr; i++) {
		char f[64];

		(void)snprintf(f, sizeof(f), "concurrency_arr[%zu]", i);
		if (!concurrency_check(m->concurrency_arr[i], f, err))
			return false;
	}
	if (PB_HAS(m, default_priority) && !range(m->default_priority, 1, 3, "default_priority", err))
		return false;
	if (PB_HAS(m, sticky) && m->sticky != V1__STICKY_STRATEGY__SOFT && m->sticky != V1__STICKY_STRATEGY__HARD)
		return err_set(err, ERR_INVALID, "sticky: %d is not known", (int)m->sticky);
	return !m->idempotency || idempotency_check(m->idempotency, err);
}

bool def_check(const V1__CreateWorkflowVersionRequest *m, struct err *err)
{
	if (!name_check(m->name, "name", err) || !texts_check(m, err) || !rules_check(m, err))
		return false;
	if (m->n_tasks == 0 || m->n_tasks > TASKS_MAX)
		return err_set(err, ERR_INVALID, "tasks: must be 1 to %d", TASKS_MAX);
	for (size_t i = 0; i < m->n_tasks; i++) {
		char f[32];

		(void)snprintf(f, sizeof(f), "tasks[%zu]", i);
		if (!task_check(m->tasks[i], f, err))
			return false;
	}
	if (m->on_failure_task) {
		if (!task_check(m->on_failure_task, "on_failure_task", err))
			return false;
		if (m->on_failure_task->n_parents)
			return err_set(err, ERR_INVALID, "on_failure_task.parents: must be empty");
	}
	return true;
}
