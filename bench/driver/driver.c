/* Load on a server through real gRPC connections: clients that trigger, workers that run.  One thread, one JSON object out.
 *
 * A task carries its number in its input, which the worker reads from the action: no table of ids is needed, and every task
 * must be started and completed exactly once, or the run fails.  A worker sends COMPLETED only after STARTED was answered
 * (--no-wait: at once), so that each step is durable by itself. */
#include "rpc.h"

#include "base/arena.h"
#include "pb/dispatcher.pb-c.h"
#include "pb/pb.h"
#include "pb/v1.pb-c.h"
#include "pb/workflows.pb-c.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { HEARTBEAT_US = 4000000, STUCK_US = 60000000, BULK_MAX = 1000 };

struct task {
	int64_t planned, sent, acked, started, done;	/* us; 0: not yet */
};

struct worker {
	struct rpc_conn *conn;
	char id[64];
	int64_t beat_at;
};

static struct {
	const char *host, *port, *token, *name, *action;
	long workers, slots, conns, tasks, batch, in_bytes, out_bytes, window, calls, idle_s, delay_s, keys, entries, limit;
	long batched;
	const char *idempotent;
	bool is_metered, retries, priorities;
	double rate;
	bool no_wait, no_worker;
} opt = {.host = "127.0.0.1", .port = "7077", .name = "bench", .workers = 4, .slots = 500, .conns = 4, .tasks = 10000, .batch = 100,
	.in_bytes = 200, .out_bytes = 100, .window = 0, .calls = 4, .rate = 0, .entries = 1, .limit = 10};

static struct {
	struct arena *a;
	struct task *tasks;
	struct worker *workers;
	struct rpc_conn **clients;
	long sent, acked, started, done, listening, calls;
	int64_t began, ended, progress_at;
	bool failed;
	char *output;
} run;

static void failed(const char *what, int status, struct str why)
{
	(void)fprintf(stderr, "driver: %s: status %d: %.*s\n", what, status, STR_FMT(why));
	exit(1);
}

static char *pad(long bytes)
{
	char *p = malloc((size_t)bytes + 1);

	memset(p, 'x', (size_t)bytes);
	p[bytes] = '\0';
	return p;
}

/* --- workers --------------------------------------------------------------------------------------------------------------- */

struct report {
	struct worker *w;
	long n;
	int32_t retry;
	char run_id[40];
};

static void send_event(struct report *r, Hw__StepActionEventType type, rpc_done_fn *done)
{
	Hw__StepActionEvent m = HW__STEP_ACTION_EVENT__INIT;
	Hw__Timestamp at = HW__TIMESTAMP__INIT;
	struct arena *a = run.a;

	at.seconds = (int64_t)time(NULL);
	m.worker_id = pb_set(str_c(r->w->id));
	m.task_run_external_id = pb_set(str_c(r->run_id));
	m.job_run_id = m.task_run_external_id;
	m.action_id = pb_set(str_c(opt.action));
	m.event_timestamp = &at;
	m.event_type = type;
	if (type == HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_COMPLETED)
		m.event_payload = pb_set(str_c(run.output));
	PB_OPT(&m, retry_count, HW__STEP_ACTION_EVENT__HAS_RETRY_COUNT_RETRY_COUNT, r->retry);
	rpc_unary(r->w->conn, "/Dispatcher/SendStepActionEvent", pb_pack(a, PB_MSG(&m)), done, r);
	arena_reset(a);
}

static void completed(void *arg, int status, struct str msg)
{
	struct report *r = arg;

	if (status)
		failed("COMPLETED", status, msg);
	run.tasks[r->n].done = run.progress_at = rpc_now_us();
	run.done++;
	free(r);
}

static void first_failed(void *arg, int status, struct str msg)
{
	if (status)
		failed("FAILED", status, msg);
	free(arg);
}

static void started(void *arg, int status, struct str msg)
{
	if (status)
		failed("STARTED", status, msg);
	if (arg && opt.retries && ((struct report *)arg)->retry == 0)
		send_event(arg, HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_FAILED, first_failed);
	else if (arg)
		send_event(arg, HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_COMPLETED, completed);
}

static void started_unwatched(void *arg, int status, struct str msg)
{
	if (status)
		failed("STARTED", status, msg);
}

/* --- batches --------------------------------------------------------------------------------------------------------------- */

struct member {
	long n;
	char run_id[40];
};

struct batch {
	struct worker *w;
	char id[40];
	size_t n;
	struct member members[];
};

static void send_batch(struct batch *b, Hw__StepActionEventType type, rpc_done_fn *done)
{
	Hw__BatchActionEvent m = HW__BATCH_ACTION_EVENT__INIT;
	Hw__Timestamp at = HW__TIMESTAMP__INIT;
	Hw__BatchActionEventItem *items = ARENA_ARRAY(run.a, Hw__BatchActionEventItem, b->n);

	at.seconds = (int64_t)time(NULL);
	m.worker_id = pb_set(str_c(b->w->id));
	m.action_id = pb_set(str_c(opt.action));
	PB_OPT(&m, batch_id, HW__BATCH_ACTION_EVENT__HAS_BATCH_ID_BATCH_ID, pb_set(str_c(b->id)));
	m.event_timestamp = &at;
	m.event_type = type;
	m.items = ARENA_ARRAY(run.a, Hw__BatchActionEventItem *, b->n);
	m.n_items = b->n;
	for (size_t i = 0; i < b->n; i++) {
		hw__batch_action_event_item__init(&items[i]);
		items[i].task_run_external_id = pb_set(str_c(b->members[i].run_id));
		if (type == HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_COMPLETED)
			items[i].event_payload = pb_set(str_c(run.output));
		m.items[i] = &items[i];
	}
	rpc_unary(b->w->conn, "/Dispatcher/SendBatchActionEvent", pb_pack(run.a, PB_MSG(&m)), done, b);
	arena_reset(run.a);
}

static void batch_completed(void *arg, int status, struct str msg)
{
	struct batch *b = arg;

	if (status)
		failed("COMPLETED of a batch", status, msg);
	run.progress_at = rpc_now_us();
	for (size_t i = 0; i < b->n; i++)
		run.tasks[b->members[i].n].done = run.progress_at;
	run.done += (long)b->n;
	free(b);
}

static void batch_started(void *arg, int status, struct str msg)
{
	if (status)
		failed("STARTED of a batch", status, msg);
	send_batch(arg, HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_COMPLETED, batch_completed);
}

/* Members stand in the payload as "RUN-ID":{"payload":{"input":{"n":N ... */
static void on_batch(struct worker *w, const Hw__AssignedAction *m)
{
	static const char between[] = "\":{\"payload\":{\"input\":{\"n\":";
	const char *p = (const char *)m->action_payload.data, *end = p + m->action_payload.len, *at;
	size_t n = (size_t)m->batch_start_payload->expected_size;
	struct batch *b = calloc(1, sizeof(*b) + n * sizeof(b->members[0]));

	b->w = w;
	(void)snprintf(b->id, sizeof(b->id), "%.*s", (int)m->batch_id.len, (const char *)m->batch_id.data);
	while ((at = memmem(p, (size_t)(end - p), between, sizeof(between) - 1))) {
		struct member *x = &b->members[b->n++];

		p = at + sizeof(between) - 1;
		x->n = atol(p);
		if (b->n > n || x->n < 0 || x->n >= opt.tasks || run.tasks[x->n].started)
			failed("member of a batch", (int)x->n, STR("started twice or never sent"));
		(void)snprintf(x->run_id, sizeof(x->run_id), "%.36s", at - 36);
		run.tasks[x->n].started = run.progress_at = rpc_now_us();
		run.started++;
	}
	if (b->n != n)
		failed("batch", (int)b->n, STR("not as many members as it says"));
	send_batch(b, HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_STARTED, batch_started);
}

static void put_batch(V1__CreateTaskOpts *task)
{
	static V1__TaskBatchConfig batch;

	v1__task_batch_config__init(&batch);
	batch.batch_max_size = (int32_t)opt.batched;
	PB_OPT(&batch, batch_max_interval_ms, V1__TASK_BATCH_CONFIG__HAS_BATCH_MAX_INTERVAL_MS_BATCH_MAX_INTERVAL_MS, 20);
	PB_OPT(&batch, batch_group_max_runs, V1__TASK_BATCH_CONFIG__HAS_BATCH_GROUP_MAX_RUNS_BATCH_GROUP_MAX_RUNS, 10000);
	task->batch = opt.batched ? &batch : NULL;
}

/* --- starts ---------------------------------------------------------------------------------------------------------------- */

static void on_action(void *arg, struct str msg)
{
	struct worker *w = arg;
	int64_t now = rpc_now_us();
	struct arena *a = arena_new(64u << 20);
	struct err err;
	Hw__AssignedAction *m = pb_unpack(a, &hw__assigned_action__descriptor, msg, &err);
	const char *at;
	struct report *r;

	if (!m)
		failed("action", 0, str_c(err.msg));
	if (m->action_type == HW__ACTION_TYPE__START_BATCH && opt.batched) {
		on_batch(w, m);
		arena_free(a);
		return;
	}
	if (m->action_type != HW__ACTION_TYPE__START_STEP_RUN)
		failed("action", (int)m->action_type, STR("only starts are expected"));
	r = calloc(1, sizeof(*r));
	at = memmem(m->action_payload.data, m->action_payload.len, "\"n\":", 4);
	r->w = w;
	r->n = at ? atol(at + 4) : -1;
	r->retry = m->retry_count;
	(void)snprintf(r->run_id, sizeof(r->run_id), "%.*s", (int)m->task_run_external_id.len, (const char *)m->task_run_external_id.data);
	arena_free(a);
	if (r->n < 0 || r->n >= opt.tasks || (run.tasks[r->n].started && r->retry == 0))
		failed("action", (int)r->n, STR("started twice or never sent"));
	run.started += !run.tasks[r->n].started;
	run.tasks[r->n].started = run.progress_at = now;
	if (opt.no_wait) {
		send_event(r, HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_STARTED, started_unwatched);
		started(r, 0, STR(""));
	} else {
		send_event(r, HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_STARTED, started);
	}
}

static void listen_ended(void *arg, int status, struct str msg)
{
	if (!run.ended)
		failed("ListenV2", status, msg);
}

static void beaten(void *arg, int status, struct str msg)
{
	if (status)
		failed("Heartbeat", status, msg);
}

static void beat(struct worker *w)
{
	Hw__HeartbeatRequest m = HW__HEARTBEAT_REQUEST__INIT;
	Hw__Timestamp at = HW__TIMESTAMP__INIT;

	at.seconds = (int64_t)time(NULL);
	m.worker_id = pb_set(str_c(w->id));
	m.heartbeat_at = &at;
	rpc_unary(w->conn, "/Dispatcher/Heartbeat", pb_pack(run.a, PB_MSG(&m)), beaten, w);
	arena_reset(run.a);
	w->beat_at = rpc_now_us() + HEARTBEAT_US;
}

static void registered(void *arg, int status, struct str msg)
{
	struct worker *w = arg;
	struct arena *a = arena_new(1u << 20);
	Hw__WorkerListenRequest listen = HW__WORKER_LISTEN_REQUEST__INIT;
	Hw__WorkerRegisterResponse *m;
	struct err err;

	if (status)
		failed("Register", status, msg);
	m = pb_unpack(a, &hw__worker_register_response__descriptor, msg, &err);
	if (!m)
		failed("Register", 0, str_c(err.msg));
	(void)snprintf(w->id, sizeof(w->id), "%.*s", (int)m->worker_id.len, (const char *)m->worker_id.data);
	listen.worker_id = pb_set(str_c(w->id));
	rpc_listen(w->conn, "/Dispatcher/ListenV2", pb_pack(a, PB_MSG(&listen)), on_action, listen_ended, w);
	arena_free(a);
	beat(w);
	run.listening++;
}

static void start_workers(void)
{
	ProtobufCBinaryData action = pb_set(str_c(opt.action));

	run.workers = calloc((size_t)opt.workers, sizeof(*run.workers));
	for (long i = 0; i < opt.workers; i++) {
		Hw__WorkerRegisterRequest m = HW__WORKER_REGISTER_REQUEST__INIT;
		char name[64];

		run.workers[i].conn = rpc_connect();
		(void)snprintf(name, sizeof(name), "%.40s-%ld", opt.name, i);
		m.worker_name = pb_set(str_c(name));
		m.n_actions = 1;
		m.actions = &action;
		PB_OPT(&m, slots, HW__WORKER_REGISTER_REQUEST__HAS_SLOTS_SLOTS, (int32_t)opt.slots);
		rpc_unary(run.workers[i].conn, "/Dispatcher/Register", pb_pack(run.a, PB_MSG(&m)), registered, &run.workers[i]);
		arena_reset(run.a);
	}
	while (run.listening < opt.workers)
		rpc_turn(-1);
}

static void heartbeats(void)
{
	int64_t now = rpc_now_us();

	for (long i = 0; run.workers && i < opt.workers; i++)
		if (run.workers[i].id[0] && now >= run.workers[i].beat_at)
			beat(&run.workers[i]);
}

/* --- clients --------------------------------------------------------------------------------------------------------------- */

static bool is_defined;

static void defined(void *arg, int status, struct str msg)
{
	if (status)
		failed("PutWorkflow", status, msg);
	is_defined = true;
}

/* The first entry counts by key, the second all tasks together, with room for each. */
static void put_rules(V1__CreateTaskOpts *task)
{
	static V1__Concurrency rules[2], *list[2];

	for (int i = 0; i < 2; i++) {
		v1__concurrency__init(&rules[i]);
		rules[i].expression = pb_set(i ? STR("'all'") : STR("input.k"));
		PB_OPT(&rules[i], max_runs, V1__CONCURRENCY__HAS_MAX_RUNS_MAX_RUNS, (int32_t)(i ? 1000000 : opt.limit));
		PB_OPT(&rules[i], limit_strategy, V1__CONCURRENCY__HAS_LIMIT_STRATEGY_LIMIT_STRATEGY,
		       V1__CONCURRENCY_LIMIT_STRATEGY__GROUP_ROUND_ROBIN);
		list[i] = &rules[i];
	}
	task->concurrency = list;
	task->n_concurrency = opt.keys && !opt.is_metered ? (size_t)opt.entries : 0;
}

/* A limit for each key that nobody reaches: its price is what is measured. */
static void put_limits(V1__CreateTaskOpts *task)
{
	static V1__CreateTaskRateLimit limit, *list = &limit;

	v1__create_task_rate_limit__init(&limit);
	limit.key = pb_set(STR("input.k"));
	PB_OPT(&limit, key_expr, V1__CREATE_TASK_RATE_LIMIT__HAS_KEY_EXPR_KEY_EXPR, pb_set(STR("input.k")));
	PB_OPT(&limit, units, V1__CREATE_TASK_RATE_LIMIT__HAS_UNITS_UNITS, 1);
	PB_OPT(&limit, limit_values_expr, V1__CREATE_TASK_RATE_LIMIT__HAS_LIMIT_VALUES_EXPR_LIMIT_VALUES_EXPR, pb_set(STR("2000000000")));
	PB_OPT(&limit, duration, V1__CREATE_TASK_RATE_LIMIT__HAS_DURATION_DURATION, V1__RATE_LIMIT_DURATION__HOUR);
	task->rate_limits = &list;
	task->n_rate_limits = opt.is_metered ? 1 : 0;
}

/* Keys that no other run has: looking, taking and giving back is what is measured. */
static void put_idempotency(V1__CreateWorkflowVersionRequest *m)
{
	static V1__IdempotencyConfig how;

	v1__idempotency_config__init(&how);
	how.expression = pb_set(arena_strf(run.a, "'%s-' + string(input.n)", opt.name));
	how.ttl_ms = 3600000;
	if (!opt.idempotent)
		return;
	PB_OPT(&how, method, V1__IDEMPOTENCY_CONFIG__HAS_METHOD_METHOD,
	       strcmp(opt.idempotent, "status") == 0 ? V1__IDEMPOTENCY_METHOD__STATUS : V1__IDEMPOTENCY_METHOD__TTL);
	m->idempotency = &how;
}

static void put_workflow(void)
{
	V1__CreateWorkflowVersionRequest m = V1__CREATE_WORKFLOW_VERSION_REQUEST__INIT;
	V1__CreateTaskOpts task = V1__CREATE_TASK_OPTS__INIT, *tasks = &task;

	task.readable_id = m.name = pb_set(str_c(opt.name));
	task.action = pb_set(str_c(opt.action));
	task.timeout = pb_set(STR("600s"));
	PB_OPT(&task, schedule_timeout, V1__CREATE_TASK_OPTS__HAS_SCHEDULE_TIMEOUT_SCHEDULE_TIMEOUT, pb_set(STR("24h")));
	put_rules(&task);
	put_limits(&task);
	put_batch(&task);
	put_idempotency(&m);
	task.retries = opt.retries ? 1 : 0;
	m.n_tasks = 1;
	m.tasks = &tasks;
	rpc_unary(run.clients[0], "/v1.AdminService/PutWorkflow", pb_pack(run.a, PB_MSG(&m)), defined, NULL);
	arena_reset(run.a);
	while (!is_defined)
		rpc_turn(-1);
}

struct trigger {
	long from, n;
	struct rpc_conn *conn;
};

static void triggered(void *arg, int status, struct str msg)
{
	struct trigger *t = arg;
	int64_t now = rpc_now_us();

	if (status)
		failed("trigger", status, msg);
	for (long i = 0; i < t->n; i++)
		run.tasks[t->from + i].acked = now;
	run.acked += t->n;
	run.calls--;
	run.progress_at = now;
	free(t);
}

static ProtobufCBinaryData input_of(long n)
{
	static char *filler;
	long rest = opt.in_bytes - 24 - (opt.keys ? 16 : 0);

	if (!filler)
		filler = pad(MAX(rest, 0));
	if (opt.keys)
		return pb_set(arena_strf(run.a, "{\"n\":%ld,\"k\":\"key%06ld\",\"pad\":\"%s\"}", n, n % opt.keys, filler));
	return pb_set(arena_strf(run.a, "{\"n\":%ld,\"pad\":\"%s\"}", n, filler));
}

static void trigger(long n, int64_t planned)
{
	static V1__TriggerWorkflowRequest items[BULK_MAX], *list[BULK_MAX];
	struct trigger *t = calloc(1, sizeof(*t));
	int64_t now = rpc_now_us();

	t->from = run.sent;
	t->n = n;
	t->conn = run.clients[(run.sent / opt.batch) % opt.conns];
	for (long i = 0; i < n; i++) {
		v1__trigger_workflow_request__init(&items[i]);
		items[i].name = pb_set(str_c(opt.name));
		items[i].input = input_of(t->from + i);
		if (opt.priorities)
			PB_OPT(&items[i], priority, V1__TRIGGER_WORKFLOW_REQUEST__HAS_PRIORITY_PRIORITY, (int32_t)(1 + (t->from + i) % 3));
		list[i] = &items[i];
		run.tasks[t->from + i].sent = now;
		run.tasks[t->from + i].planned = planned ? planned : now;
	}
	if (opt.batch == 1) {
		rpc_unary(t->conn, "/WorkflowService/TriggerWorkflow", pb_pack(run.a, PB_MSG(&items[0])), triggered, t);
	} else {
		Hw__BulkTriggerWorkflowRequest m = HW__BULK_TRIGGER_WORKFLOW_REQUEST__INIT;

		m.n_workflows = (size_t)n;
		m.workflows = list;
		rpc_unary(t->conn, "/WorkflowService/BulkTriggerWorkflow", pb_pack(run.a, PB_MSG(&m)), triggered, t);
	}
	arena_reset(run.a);
	run.sent += n;
	run.calls++;
}

/* Sends what is due; gives the time until the next is, -1: nothing is planned. */
static int64_t triggers(void)
{
	while (run.sent < opt.tasks) {
		long n = MIN(opt.batch, opt.tasks - run.sent);
		int64_t planned = 0;

		if (opt.rate > 0) {
			int64_t wait;

			planned = run.began + (int64_t)((double)run.sent / opt.rate * 1e6);
			wait = planned - rpc_now_us();
			if (wait > 0)
				return wait;
		} else if (run.calls >= opt.calls * opt.conns || (opt.window && run.sent + n - run.done > opt.window)) {
			return -1;
		}
		trigger(n, planned);
	}
	return -1;
}

/* --- figures --------------------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void percentiles(const char *name, size_t from, size_t to)
{
	int64_t *v = malloc(sizeof(*v) * (size_t)opt.tasks);

	for (long i = 0; i < opt.tasks; i++)
		v[i] = *(int64_t *)((char *)&run.tasks[i] + to) - *(int64_t *)((char *)&run.tasks[i] + from);
	qsort(v, (size_t)opt.tasks, sizeof(*v), by_size);
	printf(", \"%s_p50_ms\": %.3f, \"%s_p99_ms\": %.3f, \"%s_max_ms\": %.3f", name, (double)v[opt.tasks / 2] / 1000, name,
	       (double)v[opt.tasks * 99 / 100] / 1000, name, (double)v[opt.tasks - 1] / 1000);
	free(v);
}

static void report(void)
{
	double s = (double)(run.ended - run.began) / 1e6;
	int64_t acked = 0, first = INT64_MAX;

	for (long i = 0; i < opt.tasks; i++) {
		acked = MAX(acked, run.tasks[i].acked);
		first = MIN(first, run.tasks[i].started ? run.tasks[i].started : first);
	}
	printf("{\"tasks\": %ld, \"seconds\": %.3f, \"tasks_per_s\": %.1f, \"enqueue_per_s\": %.1f", opt.tasks, s, (double)opt.tasks / s,
	       (double)opt.tasks / ((double)(acked - run.began) / 1e6));
	percentiles("ack", offsetof(struct task, sent), offsetof(struct task, acked));
	percentiles("delay", offsetof(struct task, planned), offsetof(struct task, sent));
	if (!opt.no_worker) {
		printf(", \"drain_per_s\": %.1f", (double)opt.tasks / ((double)(run.ended - first) / 1e6));
		percentiles("start", offsetof(struct task, sent), offsetof(struct task, started));
		percentiles("done", offsetof(struct task, sent), offsetof(struct task, done));
	}
	printf("}\n");
}

static void load(void)
{
	run.tasks = calloc((size_t)opt.tasks + 1, sizeof(*run.tasks));
	run.began = run.progress_at = rpc_now_us();
	while ((opt.no_worker ? run.acked : run.done) < opt.tasks) {
		int64_t wait = triggers();

		rpc_turn(wait < 0 ? 1000000 : MIN(wait, 1000000));
		heartbeats();
		if (opt.delay_s && rpc_now_us() > run.began + opt.delay_s * 1000000) {
			opt.delay_s = 0;
			start_workers();
		}
		if (rpc_now_us() - run.progress_at > STUCK_US)
			failed("stuck", (int)run.done, STR("no progress for a minute"));
	}
	run.ended = rpc_now_us();
	report();
}

static void idle(void)
{
	int64_t end = rpc_now_us() + opt.idle_s * 1000000;

	printf("listening\n");
	(void)fflush(stdout);
	while (rpc_now_us() < end) {
		rpc_turn(100000);
		heartbeats();
	}
	run.ended = rpc_now_us();
}

static const char help[] =
	"Load on a hatchet server over gRPC.\n\n"
	"  --host ADDRESS --port PORT   where; default 127.0.0.1 7077; the token comes from HATCHET_CLIENT_TOKEN\n"
	"  --name NAME                  workflow and action; default bench\n"
	"  --tasks N                    default 10000\n"
	"  --batch N                    tasks per call, 1: TriggerWorkflow; default 100, at most 1000\n"
	"  --rate N                     tasks per second; default flat out\n"
	"  --conns N --calls N          client connections; calls in flight on each; default 4 and 4\n"
	"  --window N                   tasks sent and not yet done; default no limit\n"
	"  --workers N --slots N        each on a connection of its own; default 4 of 500\n"
	"  --no-worker                  only trigger\n"
	"  --delay S                    workers come S seconds after the first trigger\n"
	"  --no-wait                    COMPLETED without waiting for STARTED\n"
	"  --input-bytes N --output-bytes N   default 200 and 100\n"
	"  --keys N --limit N           concurrency: keys, and tasks of a key that may run at once; default none and 10\n"
	"  --entries 1|2                2: a second entry that counts all tasks together\n"
	"  --metered                    rate limits in place of concurrency, one for each key\n"
	"  --batched N                  a batch task of up to N\n"
	"  --idempotent ttl|status      a key for each task\n"
	"  --retries                    each task fails once\n"
	"  --priorities                 1, 2 and 3 in turn\n"
	"  --idle S                     no load: workers connected and beating for S seconds\n";

static void options(int argc, char **argv)
{
	static const struct option longs[] = {{"host", 1, NULL, 'h'}, {"port", 1, NULL, 'p'}, {"name", 1, NULL, 'n'}, {"tasks", 1, NULL, 't'},
		{"batch", 1, NULL, 'b'}, {"rate", 1, NULL, 'r'}, {"conns", 1, NULL, 'c'}, {"calls", 1, NULL, 'k'}, {"window", 1, NULL, 'w'},
		{"workers", 1, NULL, 'W'}, {"slots", 1, NULL, 's'}, {"no-wait", 0, NULL, 'N'}, {"no-worker", 0, NULL, 'X'},
		{"delay", 1, NULL, 'd'}, {"input-bytes", 1, NULL, 'i'}, {"output-bytes", 1, NULL, 'o'}, {"idle", 1, NULL, 'I'},
		{"keys", 1, NULL, 'K'}, {"limit", 1, NULL, 'L'}, {"entries", 1, NULL, 'E'}, {"metered", 0, NULL, 'M'},
		{"batched", 1, NULL, 'B'}, {"idempotent", 1, NULL, 'D'}, {"retries", 0, NULL, 'R'}, {"priorities", 0, NULL, 'P'},
		{"help", 0, NULL, '?'}, {NULL, 0, NULL, 0}};
	int o;

	opt.token = getenv("HATCHET_CLIENT_TOKEN");
	while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (o) {
		case 'h': opt.host = optarg; break;
		case 'p': opt.port = optarg; break;
		case 'n': opt.name = optarg; break;
		case 't': opt.tasks = atol(optarg); break;
		case 'b': opt.batch = MIN(MAX(atol(optarg), 1), BULK_MAX); break;
		case 'r': opt.rate = atof(optarg); break;
		case 'c': opt.conns = MAX(atol(optarg), 1); break;
		case 'k': opt.calls = atol(optarg); break;
		case 'w': opt.window = atol(optarg); break;
		case 'W': opt.workers = atol(optarg); break;
		case 's': opt.slots = atol(optarg); break;
		case 'N': opt.no_wait = true; break;
		case 'X': opt.no_worker = true; break;
		case 'd': opt.delay_s = atol(optarg); break;
		case 'i': opt.in_bytes = atol(optarg); break;
		case 'o': opt.out_bytes = atol(optarg); break;
		case 'K': opt.keys = atol(optarg); break;
		case 'L': opt.limit = atol(optarg); break;
		case 'E': opt.entries = MIN(MAX(atol(optarg), 1), 2); break;
		case 'M': opt.is_metered = true; break;
		case 'B': opt.batched = atol(optarg); break;
		case 'D': opt.idempotent = optarg; break;
		case 'R': opt.retries = true; break;
		case 'P': opt.priorities = true; break;
		case 'I': opt.idle_s = atol(optarg); break;
		default: (void)fputs(help, stderr); exit(2);
		}
	if (!opt.token) {
		(void)fputs("driver: HATCHET_CLIENT_TOKEN is not set\n", stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	options(argc, argv);
	run.a = arena_new(256u << 20);
	opt.action = arena_strz(arena_new(4096), arena_strf(run.a, "%s:%s", opt.name, opt.name));
	run.output = malloc((size_t)opt.out_bytes + 64);
	(void)snprintf(run.output, (size_t)opt.out_bytes + 64, "{\"r\":\"%s\"}", pad(MAX(opt.out_bytes - 8, 0)));
	rpc_init(opt.host, opt.port, opt.token);
	run.clients = calloc((size_t)opt.conns, sizeof(struct rpc_conn *));
	for (long i = 0; i < opt.conns; i++)
		run.clients[i] = rpc_connect();
	put_workflow();
	if (!opt.no_worker && !opt.delay_s)
		start_workers();
	if (opt.idle_s)
		idle();
	else
		load();
	rpc_fini();
	return 0;
}
