/* Workflow definitions: what is refused and by which field, and that equal meanings have equal checksums. */
#include "../../src/api/api_int.h"
#include "tap.h"

#include <stdio.h>

enum { ARENA_BYTES = 16 << 20 };

struct maker {
	struct arena *a;
	V1__CreateWorkflowVersionRequest m;
	V1__CreateTaskOpts tasks[8];
	V1__CreateTaskOpts *ptrs[8];
};

static V1__CreateTaskOpts *task(struct maker *k, const char *name)
{
	V1__CreateTaskOpts *t = &k->tasks[k->m.n_tasks];

	v1__create_task_opts__init(t);
	t->readable_id = pb_set(str_c(name));
	t->action = pb_set(arena_strf(k->a, "wf:%s", name));
	k->ptrs[k->m.n_tasks++] = t;
	k->m.tasks = k->ptrs;
	return t;
}

static void parent(struct maker *k, V1__CreateTaskOpts *t, const char *name)
{
	ProtobufCBinaryData *p = ARENA_ARRAY(k->a, ProtobufCBinaryData, t->n_parents + 1);

	if (t->n_parents)
		memcpy(p, t->parents, sizeof(*p) * t->n_parents);
	p[t->n_parents++] = pb_set(str_c(name));
	t->parents = p;
}

/* They live as long as the test's process; reachable, so that the leak checker looks for others. */
static struct maker *makers[64];
static size_t n_makers;

static struct maker *maker(void)
{
	struct arena *a = arena_new(ARENA_BYTES);
	struct maker *k = ARENA_NEW(a, struct maker);

	CHECK(n_makers < ARRAY_LEN(makers));
	makers[n_makers++] = k;
	k->a = a;
	v1__create_workflow_version_request__init(&k->m);
	k->m.name = pb_set(STR("wf"));
	return k;
}

static void refused(struct maker *k, enum err_code code, const char *start)
{
	struct err err = {0};
	struct def d;

	CHECK(!def_make(k->a, &k->m, &d, &err));
	CHECK_EQ(err.code, code);
	if (!str_starts(str_c(err.msg), str_c(start)))
		CHECK_STR(err.msg, start);
}

static struct str sum(struct maker *k)
{
	struct err err = {0};
	struct def d;
	bool ok = def_make(k->a, &k->m, &d, &err);

	CHECK_STR(err.msg, "");
	CHECK(ok);
	CHECK_EQ(d.put.checksum.n, 32);
	return d.put.checksum;
}

static void sleep_condition(struct maker *k, V1__CreateTaskOpts *t, const char *group, const char *dur)
{
	V1__TaskConditions *c = t->conditions;
	V1__SleepMatchCondition *s = ARENA_NEW(k->a, V1__SleepMatchCondition), **all;

	if (!c) {
		c = t->conditions = ARENA_NEW(k->a, V1__TaskConditions);
		v1__task_conditions__init(c);
	}
	v1__sleep_match_condition__init(s);
	s->cond = ARENA_NEW(k->a, V1__BaseMatchCondition);
	v1__base_match_condition__init(s->cond);
	s->cond->action = V1__ACTION__QUEUE;
	s->cond->readable_data_key = pb_set(STR("k"));
	s->cond->or_group_id = pb_set(str_c(group));
	s->sleep_for = pb_set(str_c(dur));
	all = ARENA_ARRAY(k->a, V1__SleepMatchCondition *, c->n_sleep_conditions + 1);
	if (c->n_sleep_conditions)
		memcpy(all, c->sleep_conditions, sizeof(*all) * c->n_sleep_conditions);
	all[c->n_sleep_conditions++] = s;
	c->sleep_conditions = all;
}

TEST(defaults)
{
	struct maker *k = maker();
	struct err err;
	struct def d;

	task(k, "Step")->action = pb_set(STR("WF:Step"));
	CHECK(def_make(k->a, &k->m, &d, &err));
	CHECK_EQ(d.put.n_steps, 1);
	CHECK(!d.put.is_dag);
	CHECK_EQ(d.put.default_priority, 1);
	CHECK_STR(d.put.steps[0].action, "wf:step");
	CHECK_STR(d.put.steps[0].readable_id, "Step");
	CHECK_EQ(d.put.steps[0].exec_ms, 60000);
	CHECK_EQ(d.put.steps[0].schedule_ms, 300000);
	CHECK_STR(d.put.steps[0].slot_names[0], "default");
	CHECK_EQ(d.put.steps[0].slot_units[0], 1);
	CHECK_EQ(d.put.steps[0].slot_units[1], 0);
	CHECK_EQ(d.put.steps[0].backoff_milli, 0);
	CHECK_EQ(d.put.unsupported.n, 0);
	CHECK(d.put.definition.n > 0);
}

TEST(backoff)
{
	struct maker *k = maker();
	V1__CreateTaskOpts *t = task(k, "a");
	struct err err;
	struct def d;

	PB_OPT(t, backoff_factor, V1__CREATE_TASK_OPTS__HAS_BACKOFF_FACTOR_BACKOFF_FACTOR, 1.5f);
	CHECK(def_make(k->a, &k->m, &d, &err));
	CHECK_EQ(d.put.steps[0].backoff_milli, 1500);
	CHECK_EQ(d.put.steps[0].backoff_max_s, 86400);
	t->backoff_factor = 0.5f;
	refused(k, ERR_INVALID, "tasks[0].backoff_factor: ");
	t->backoff_factor = 1001.0f;
	refused(k, ERR_INVALID, "tasks[0].backoff_factor: ");
	t->backoff_factor = __builtin_nanf("");
	refused(k, ERR_INVALID, "tasks[0].backoff_factor: ");
	t->backoff_factor = 2.0f;
	PB_OPT(t, backoff_max_seconds, V1__CREATE_TASK_OPTS__HAS_BACKOFF_MAX_SECONDS_BACKOFF_MAX_SECONDS, 86401);
	refused(k, ERR_INVALID, "tasks[0].backoff_max_seconds: ");
}

TEST(names)
{
	static const char *const bad[] = {"", "a b", "a/b", "\xc3\xa9", "a:b"};
	struct maker *k = maker();

	refused(k, ERR_INVALID, "tasks: ");
	(void)task(k, "a");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		k->m.name = pb_set(str_c(bad[i]));
		refused(k, ERR_INVALID, "name: ");
	}
	k->m.name = pb_set(STR("ok.name_1-2"));
	(void)sum(k);
	(void)task(k, "a");
	refused(k, ERR_INVALID, "tasks[1].readable_id: 'a' is used twice");
	k->tasks[1].readable_id = pb_set(STR("x y"));
	refused(k, ERR_INVALID, "tasks[1].readable_id: ");
}

TEST(actions)
{
	static const char *const bad[] = {"", "a", "a:", ":a", "a::b", "a:b:c:d", ":", "a:b:"};
	struct maker *k = maker();
	V1__CreateTaskOpts *t = task(k, "a");

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		t->action = pb_set(str_c(bad[i]));
		refused(k, ERR_INVALID, "tasks[0].action: ");
	}
	t->action = pb_set(STR("a:b:c"));
	(void)sum(k);
}

TEST(ranges)
{
	struct maker *k = maker();
	V1__CreateTaskOpts *t = task(k, "a");
	V1__Int32Entry slot = V1__INT32_ENTRY__INIT, *slots[] = {&slot};

	t->retries = -1;
	refused(k, ERR_INVALID, "tasks[0].retries: ");
	t->retries = 0;
	t->timeout = pb_set(STR("-5s"));
	refused(k, ERR_INVALID, "tasks[0].timeout: ");
	t->timeout = pb_set(STR("5"));
	refused(k, ERR_INVALID, "tasks[0].timeout: ");
	t->timeout = pb_set(STR("0h"));
	PB_OPT(t, schedule_timeout, V1__CREATE_TASK_OPTS__HAS_SCHEDULE_TIMEOUT_SCHEDULE_TIMEOUT, pb_set(STR("1d")));
	refused(k, ERR_INVALID, "tasks[0].schedule_timeout: ");
	t->schedule_timeout = pb_set(STR("1h"));
	slot.key = pb_set(STR("gpu"));
	t->slot_requests = slots;
	t->n_slot_requests = 1;
	refused(k, ERR_INVALID, "tasks[0].slot_requests: ");
	slot.value = 1;
	PB_OPT(&k->m, default_priority, V1__CREATE_WORKFLOW_VERSION_REQUEST__HAS_DEFAULT_PRIORITY_DEFAULT_PRIORITY, 4);
	refused(k, ERR_INVALID, "default_priority: ");
	k->m.default_priority = 3;
	(void)sum(k);
}

TEST(graph)
{
	struct maker *k = maker();
	V1__CreateTaskOpts *a = task(k, "a"), *b = task(k, "b");
	struct err err;
	size_t *order;

	parent(k, a, "c");
	refused(k, ERR_INVALID, "tasks[0].parents: there is no task 'c'");
	(void)task(k, "c");
	parent(k, b, "a");
	CHECK(def_order(k->a, &k->m, &order, &err));
	CHECK_EQ(order[0], 2);
	CHECK_EQ(order[1], 0);
	CHECK_EQ(order[2], 1);
	parent(k, &k->tasks[2], "b");
	refused(k, ERR_INVALID, "tasks[0].parents: the task depends on itself");
	a->n_parents = 0;
	(void)sum(k);
	parent(k, a, "a");
	refused(k, ERR_INVALID, "tasks[0].parents: the task depends on itself");
}

/* A diamond with a doubled edge: every task once, parents first, those of the same rank as declared. */
TEST(order_is_stable)
{
	struct maker *k = maker();
	V1__CreateTaskOpts *end = task(k, "end"), *right, *left;
	static const size_t want[] = {3, 1, 2, 0};
	struct err err;
	size_t *order;

	left = task(k, "left");
	right = task(k, "right");
	(void)task(k, "root");
	parent(k, left, "root");
	parent(k, right, "root");
	parent(k, right, "root");
	parent(k, end, "right");
	parent(k, end, "left");
	CHECK(def_order(k->a, &k->m, &order, &err));
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		CHECK_EQ(order[i], want[i]);
}

TEST(durable_is_refused)
{
	struct maker *k = maker();

	task(k, "a")->is_durable = true;
	refused(k, ERR_UNIMPLEMENTED, "task 'a' is durable");
}

/* What one SDK writes and another leaves out, or random ids of a start, make no new version. */
TEST(same_meaning_same_checksum)
{
	struct maker *k = maker(), *o = maker();
	V1__CreateTaskOpts *a = task(k, "a"), *b = task(o, "a");
	V1__Int32Entry slot = V1__INT32_ENTRY__INIT, *slots[] = {&slot};

	slot.key = pb_set(STR("default"));
	slot.value = 1;
	b->slot_requests = slots;
	b->n_slot_requests = 1;
	b->timeout = pb_set(STR("60s"));
	b->inputs = pb_set(STR("{}"));
	b->action = pb_set(STR("WF:A"));
	b->conditions = ARENA_NEW(o->a, V1__TaskConditions);
	v1__task_conditions__init(b->conditions);
	PB_OPT(b, schedule_timeout, V1__CREATE_TASK_OPTS__HAS_SCHEDULE_TIMEOUT_SCHEDULE_TIMEOUT, pb_set(STR("5m")));
	o->m.version = pb_set(STR("v2"));
	CHECK(str_eq(sum(k), sum(o)));
	slot.value = 2;
	CHECK(!str_eq(sum(k), sum(o)));
	slot.value = 1;
	a->retries = 1;
	CHECK(!str_eq(sum(k), sum(o)));
}

TEST(or_groups_are_numbered)
{
	struct maker *k = maker(), *o = maker(), *p = maker();
	V1__CreateTaskOpts *a = task(k, "a"), *b = task(o, "a"), *c = task(p, "a");

	sleep_condition(k, a, "6b0c", "10s");
	sleep_condition(k, a, "6b0c", "20s");
	sleep_condition(k, a, "91fe", "30s");
	sleep_condition(o, b, "ffff", "10s");
	sleep_condition(o, b, "ffff", "20s");
	sleep_condition(o, b, "aaaa", "30s");
	sleep_condition(p, c, "ffff", "10s");
	sleep_condition(p, c, "aaaa", "20s");
	sleep_condition(p, c, "aaaa", "30s");
	CHECK(str_eq(sum(k), sum(o)));
	CHECK(!str_eq(sum(k), sum(p)));
	a->conditions->sleep_conditions[0]->cond->action = V1__ACTION__CREATE;
	refused(k, ERR_INVALID, "tasks[0].conditions.sleep_conditions[0]");
}

TEST(declared_order_does_not_matter_to_a_chain)
{
	struct maker *k = maker(), *o = maker();

	(void)task(k, "a");
	parent(k, task(k, "b"), "a");
	parent(o, task(o, "b"), "a");
	(void)task(o, "a");
	CHECK(str_eq(sum(k), sum(o)));
}

TEST(unsupported_is_named)
{
	struct maker *k = maker();
	V1__CreateTaskOpts *a = task(k, "a"), fail = V1__CREATE_TASK_OPTS__INIT;
	V1__Concurrency c = V1__CONCURRENCY__INIT, *cs[] = {&c};
	ProtobufCBinaryData key = pb_set(STR("user:created"));
	struct err err;
	struct def d;

	k->m.event_triggers = &key;
	k->m.n_event_triggers = 1;
	CHECK(def_make(k->a, &k->m, &d, &err));
	CHECK_STR(d.put.unsupported, "");	/* direct triggers work all the same */
	a->concurrency = cs;
	a->n_concurrency = 1;
	refused(k, ERR_INVALID, "tasks[0].concurrency[0].expression: ");
	c.expression = pb_set(STR("input.a"));
	PB_OPT(&k->m, sticky, V1__CREATE_WORKFLOW_VERSION_REQUEST__HAS_STICKY_STICKY, V1__STICKY_STRATEGY__SOFT);
	CHECK(def_make(k->a, &k->m, &d, &err));
	CHECK_STR(d.put.unsupported, "");
	CHECK_EQ(d.put.n_strategies, 1);
	CHECK_STR(d.put.strategies[0].expression, "input.a");
	CHECK_EQ(d.put.sticky, STICKY_SOFT);
	fail.readable_id = pb_set(STR("on-failure"));
	fail.action = pb_set(STR("wf:on-failure"));
	k->m.on_failure_task = &fail;
	sleep_condition(k, task(k, "b"), "g", "1s");
	CHECK(def_make(k->a, &k->m, &d, &err));
	CHECK_STR(d.put.unsupported, "more than one task, an on-failure task, conditions");
	CHECK(d.put.is_dag);
	CHECK_EQ(d.put.n_steps, 3);
	CHECK(d.put.steps[2].is_on_failure);
}
