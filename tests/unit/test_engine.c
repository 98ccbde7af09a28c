/* The life of a task, row by row: what goes in, what must come out, and that memory stays whole after every step. */
#include "engine/engine.h"
#include "tap.h"

#include <string.h>

enum { TENANT = 7, ACTION = 40, STEP = 50, STEP_RETRY = 51, STEP_BACKOFF = 52, SECOND_US = 1000000 };

struct world {
	struct engine *e;
	struct now now;
	struct fx_list out;
	size_t from;			/* effects of the last step */
};

static void start(struct world *w, uint32_t heads_max)
{
	struct eng_conf conf = eng_conf_default;

	*w = (struct world){.now = {.mono_us = 5000000, .wall_us = 1800000000000000}};
	w->out.arena = arena_new(16u << 20);
	if (heads_max)
		conf.heads_max = conf.head_low = conf.load_max = heads_max;
	w->e = engine_new(&conf);
	for (int i = 0; i < 3; i++) {
		struct ev ev = {.kind = EV_STEP};

		ev.step = (struct ev_step){.step_no = STEP + i, .tenant_no = TENANT, .action_no = ACTION, .retries = i ? 2 : 0,
			.backoff_milli = i == 2 ? 2000 : 0, .backoff_max_s = 60, .schedule_ms = 300000, .exec_ms = 60000,
			.slots = {{1, 1}}};
		engine_step(w->e, w->now, &ev, 1, &w->out);
	}
}

static void end(struct world *w)
{
	engine_free(w->e);
	arena_free(w->out.arena);
	vec_fini(&w->out.v);
}

static void whole(const struct world *w)
{
	struct err err = {.code = ERR_OK};

	if (!engine_check(w->e, &err))
		CHECK_STR(err.msg, "");
}

/* Every step is a flush of its own, unless it is joined. */
static void step(struct world *w, const struct ev *ev)
{
	w->from = w->out.v.n;
	engine_step(w->e, w->now, ev, ev ? 1 : 0, &w->out);
	whole(w);
	engine_flush_sealed(w->e);
}

static void joined(struct world *w, const struct ev *ev)
{
	w->from = w->out.v.n;
	engine_step(w->e, w->now, ev, 1, &w->out);
	whole(w);
}

static void later(struct world *w, int64_t us)
{
	w->now.mono_us += us;
	w->now.wall_us += us;
}

static void pass(struct world *w, int64_t us)
{
	later(w, us);
	step(w, NULL);
}

static size_t count(const struct world *w, enum fx_kind kind)
{
	size_t n = 0;

	for (size_t i = w->from; i < w->out.v.n; i++)
		n += w->out.v.p[i].kind == kind;
	return n;
}

/* The only effect of that kind in the last step. */
static struct fx *only(struct world *w, enum fx_kind kind)
{
	CHECK_EQ(count(w, kind), 1);
	for (size_t i = w->from; i < w->out.v.n; i++)
		if (w->out.v.p[i].kind == kind)
			return &w->out.v.p[i];
	return NULL;
}

static int ref;

static struct ev about(enum ev_kind kind, int64_t id)
{
	return (struct ev){.kind = kind, .id = id, .tenant_no = TENANT, .attempt = -1, .ref = &ref};
}

static void worker(struct world *w, int32_t no, int32_t slots)
{
	static const int32_t actions[] = {ACTION};
	struct ev ev = {.kind = EV_WORKER, .worker_no = no};

	ev.worker = (struct ev_worker){.worker_no = no, .tenant_no = TENANT, .slots = {{1, slots}}, .actions = actions, .n_actions = 1};
	step(w, &ev);
}

static void stream(struct world *w, enum ev_kind kind, int32_t no, int64_t session)
{
	step(w, &(struct ev){.kind = kind, .worker_no = no, .session = session});
}

static void beat(struct world *w, int32_t no)
{
	step(w, &(struct ev){.kind = EV_BEAT, .worker_no = no});
}

static void up(struct world *w, int32_t no, int32_t slots)
{
	worker(w, no, slots);
	stream(w, EV_STREAM_UP, no, 1);
}

static int64_t trigger_for(struct world *w, int32_t step_no, int8_t rank, int64_t schedule_ms)
{
	struct ev ev = about(EV_NEW, engine_next_id(w->e, w->now, TENANT));

	ev.new = (struct ev_new){.id = ev.id, .tenant_no = TENANT, .step_no = step_no, .rank = rank, .schedule_ms = schedule_ms, .exec_ms = 60000};
	step(w, &ev);
	CHECK_EQ(only(w, FX_ANSWER)->code, ERR_OK);
	return ev.id;
}

static int64_t trigger_step(struct world *w, int32_t step_no, int8_t rank)
{
	return trigger_for(w, step_no, rank, 300000);
}

static int64_t trigger(struct world *w)
{
	return trigger_step(w, STEP, 3);
}

static void report(struct world *w, enum ev_kind kind, int64_t id, int32_t attempt)
{
	struct ev ev = about(kind, id);

	ev.attempt = attempt;
	step(w, &ev);
}

static struct eng_task_view view(const struct world *w, int64_t id)
{
	struct eng_task_view v = {.state = -1};

	(void)engine_task(w->e, id, &v);
	return v;
}

static uint32_t running(const struct world *w, int32_t no)
{
	struct eng_worker_view v;

	CHECK(engine_worker(w->e, no, &v));
	return v.n_running;
}

TEST(born_assigned_started_completed)
{
	struct world w;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger(&w);
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_ASSIGNED);
	CHECK_EQ(only(&w, FX_INSERT)->worker_no, 1);
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 1);
	CHECK_EQ(only(&w, FX_PUSH)->attempt, 0);
	report(&w, EV_STARTED, id, 0);
	CHECK_EQ(only(&w, FX_START)->id, id);
	CHECK_EQ(only(&w, FX_ANSWER)->code, ERR_OK);
	report(&w, EV_STARTED, id, 0);
	CHECK_EQ(count(&w, FX_START), 0);	/* the first one wins */
	report(&w, EV_COMPLETED, id, 0);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_COMPLETED);
	CHECK_EQ(only(&w, FX_END)->start_index, -1);
	CHECK_EQ(view(&w, id).state, -1);
	CHECK_EQ(running(&w, 1), 0);
	report(&w, EV_COMPLETED, id, 0);
	CHECK_EQ(count(&w, FX_END), 0);
	CHECK_EQ(only(&w, FX_ANSWER)->code, ERR_NOT_FOUND);	/* the shell looks it up */
	end(&w);
}

TEST(waits_in_the_head_for_a_slot)
{
	struct world w;
	int64_t a, b, c;

	start(&w, 0);
	up(&w, 1, 1);
	a = trigger(&w);
	b = trigger(&w);
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_QUEUED);
	CHECK_EQ(count(&w, FX_PUSH), 0);
	c = trigger_step(&w, STEP, 1);	/* the better priority */
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_QUEUED);
	report(&w, EV_COMPLETED, a, 0);
	CHECK_EQ(only(&w, FX_ASSIGN)->id, c);
	CHECK_EQ(only(&w, FX_PUSH)->id, c);
	report(&w, EV_COMPLETED, c, 0);
	CHECK_EQ(only(&w, FX_ASSIGN)->id, b);
	end(&w);
}

TEST(first_in_first_out_inside_a_rank)
{
	struct world w;
	int64_t ids[20];

	start(&w, 0);
	for (int i = 0; i < 20; i++)
		ids[i] = trigger(&w);
	up(&w, 1, 1);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(only(&w, FX_PUSH)->id, ids[i]);
		report(&w, EV_COMPLETED, ids[i], 0);
	}
	end(&w);
}

/* What a load of the tail brings. */
static void loaded(struct world *w, int64_t id, int8_t rank)
{
	struct ev ev = about(EV_LOADED, id);

	ev.ref = NULL;
	ev.action_no = ACTION;
	ev.rank = rank;
	ev.restore = (struct ev_restore){.id = id, .tenant_no = TENANT, .step_no = STEP, .rank = rank, .queued_at = w->now.wall_us,
		.assigned_at = INT64_MIN, .started_at = INT64_MIN, .due_at = w->now.wall_us + 300 * (int64_t)SECOND_US,
		.schedule_ms = 300000, .exec_ms = 60000};
	joined(w, &ev);
}

static void load_done(struct world *w, int8_t rank, uint32_t n, uint32_t limit)
{
	struct ev ev = {.kind = EV_LOAD_DONE, .tenant_no = TENANT, .action_no = ACTION, .rank = rank, .n = n, .limit = limit};

	step(w, &ev);
}

/* Behind a crowd that fits nowhere only a few are looked at; when one of the crowd goes, the next comes into sight. */
TEST(one_that_fits_comes_into_sight)
{
	struct world w;
	struct ev ev = {.kind = EV_STEP};
	int64_t first = 0, id;

	start(&w, 0);
	up(&w, 1, 1);
	for (int i = 0; i < 2; i++) {
		ev.step = (struct ev_step){.step_no = 60 + i, .tenant_no = TENANT, .action_no = ACTION, .schedule_ms = 300000,
			.exec_ms = 60000, .slots = {{1, 2}}};
		step(&w, &ev);
	}
	for (int i = 0; i < 32; i++) {
		id = trigger_step(&w, 60 + i % 2, 3);
		first = first ? first : id;
	}
	id = trigger(&w);
	CHECK_EQ(view(&w, id).state, LIVE_QUEUED);
	report(&w, EV_CANCEL, first, -1);
	CHECK_EQ(only(&w, FX_PUSH)->id, id);
	end(&w);
}

TEST(a_full_head_sends_newcomers_to_the_tail)
{
	struct world w;
	int64_t a, b, c;

	start(&w, 2);
	a = trigger(&w);
	b = trigger(&w);
	c = trigger(&w);
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_TAIL);
	CHECK_EQ(count(&w, FX_LOAD), 0);
	CHECK_EQ(view(&w, c).state, -1);
	CHECK_EQ(engine_stats(w.e).tails, 1);
	up(&w, 1, 1);
	CHECK_EQ(only(&w, FX_PUSH)->id, a);
	CHECK_EQ(only(&w, FX_LOAD)->rank, 3);
	/* whoever comes while there is a tail goes behind it, also with room in the head */
	(void)trigger(&w);
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_TAIL);
	loaded(&w, c, 3);
	load_done(&w, 3, 1, 2);
	CHECK_EQ(engine_stats(w.e).tails, 1);	/* something was added meanwhile: not known to be empty */
	report(&w, EV_COMPLETED, a, 0);
	CHECK_EQ(only(&w, FX_PUSH)->id, b);
	end(&w);
}

TEST(a_short_load_ends_the_tail)
{
	struct world w;
	int64_t a;

	start(&w, 1);
	a = trigger(&w);
	(void)trigger(&w);
	up(&w, 1, 1);
	CHECK_EQ(only(&w, FX_PUSH)->id, a);
	CHECK_EQ(only(&w, FX_LOAD)->limit, 1);
	load_done(&w, 3, 0, 1);
	CHECK_EQ(engine_stats(w.e).tails, 0);
	end(&w);
}

/* One queue without workers may fill all heads; another one's tail must still be loaded. */
TEST(full_heads_starve_nobody)
{
	struct world w;
	struct ev ev = {.kind = EV_STEP};
	struct ev_worker def;
	static const int32_t actions[] = {ACTION + 1};
	int64_t id;

	start(&w, 10);
	for (int i = 0; i < 12; i++)
		(void)trigger(&w);
	ev.step = (struct ev_step){.step_no = 90, .tenant_no = TENANT, .action_no = ACTION + 1, .schedule_ms = 300000, .exec_ms = 60000,
		.slots = {{1, 1}}};
	step(&w, &ev);
	id = trigger_step(&w, 90, 3);
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_TAIL);
	CHECK_EQ(only(&w, FX_LOAD)->action_no, ACTION + 1);
	ev = about(EV_LOADED, id);
	ev.action_no = ACTION + 1;
	ev.rank = 3;
	ev.restore = (struct ev_restore){.id = id, .tenant_no = TENANT, .step_no = 90, .rank = 3, .queued_at = w.now.wall_us,
		.assigned_at = INT64_MIN, .started_at = INT64_MIN, .due_at = w.now.wall_us + 1000000, .schedule_ms = 1000, .exec_ms = 60000};
	joined(&w, &ev);
	def = (struct ev_worker){.worker_no = 2, .tenant_no = TENANT, .slots = {{1, 1}}, .actions = actions, .n_actions = 1};
	ev = (struct ev){.kind = EV_WORKER, .worker_no = 2};
	ev.worker = def;
	step(&w, &ev);
	stream(&w, EV_STREAM_UP, 2, 1);
	CHECK_EQ(only(&w, FX_PUSH)->id, id);
	end(&w);
}

TEST(start_and_end_in_one_flush)
{
	struct world w;
	struct ev ev;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger(&w);
	ev = about(EV_STARTED, id);
	joined(&w, &ev);
	CHECK_EQ(only(&w, FX_START)->index, 0);
	ev = about(EV_COMPLETED, id);
	joined(&w, &ev);
	CHECK_EQ(only(&w, FX_END)->start_index, 0);	/* that START is void */
	CHECK_EQ(count(&w, FX_SEAL), 0);
	end(&w);
}

TEST(insert_and_end_never_share_a_flush)
{
	struct world w;
	struct ev ev;
	int64_t id;

	start(&w, 0);
	id = engine_next_id(w.e, w.now, TENANT);
	ev = about(EV_NEW, id);
	ev.new = (struct ev_new){.id = id, .tenant_no = TENANT, .step_no = STEP, .rank = 3, .schedule_ms = 300000, .exec_ms = 60000};
	joined(&w, &ev);
	ev = about(EV_CANCEL, id);
	joined(&w, &ev);
	CHECK_EQ(count(&w, FX_SEAL), 1);
	CHECK_EQ(w.out.v.p[w.from].kind, FX_SEAL);	/* before the END */
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_CANCELLED);
	end(&w);
}

/* Nor when something else was stored between them. */
TEST(insert_assign_and_end_never_share_a_flush)
{
	struct world w;
	struct ev ev;
	int64_t id;

	start(&w, 0);
	worker(&w, 1, 1);
	id = engine_next_id(w.e, w.now, TENANT);
	ev = about(EV_NEW, id);
	ev.new = (struct ev_new){.id = id, .tenant_no = TENANT, .step_no = STEP, .rank = 3, .schedule_ms = 300000, .exec_ms = 60000};
	joined(&w, &ev);
	joined(&w, &(struct ev){.kind = EV_STREAM_UP, .worker_no = 1, .session = 1});
	CHECK_EQ(only(&w, FX_ASSIGN)->id, id);
	ev = about(EV_STARTED, id);
	joined(&w, &ev);
	ev = about(EV_COMPLETED, id);
	joined(&w, &ev);
	CHECK_EQ(count(&w, FX_SEAL), 1);
	CHECK_EQ(w.out.v.p[w.from].kind, FX_SEAL);
	CHECK_EQ(only(&w, FX_END)->start_index, -1);	/* that START is in the flush before */
	end(&w);
}

/* What is over its backoff is assigned by the same flush. */
TEST(requeue_and_assign_share_a_flush)
{
	struct world w;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger_step(&w, STEP_BACKOFF, 3);
	report(&w, EV_FAILED, id, 0);
	pass(&w, 2 * SECOND_US);
	(void)only(&w, FX_REQUEUE);
	(void)only(&w, FX_ASSIGN);
	CHECK_EQ(count(&w, FX_SEAL), 0);
	end(&w);
}

TEST(failed_with_retries_left)
{
	struct world w;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger_step(&w, STEP_RETRY, 3);
	for (int i = 0; i < 2; i++) {
		report(&w, EV_FAILED, id, i);
		CHECK_EQ(only(&w, FX_RETRY)->attempt, i);
		CHECK_EQ(only(&w, FX_RETRY)->rank, 0);
		CHECK_EQ(only(&w, FX_RETRY)->app_retries, i + 1);
		CHECK_EQ(only(&w, FX_PUSH)->attempt, i + 1);
	}
	report(&w, EV_FAILED, id, 0);	/* late, of an attempt that is over */
	CHECK_EQ(count(&w, FX_RETRY) + count(&w, FX_END), 0);
	CHECK_EQ(only(&w, FX_ANSWER)->code, ERR_OK);
	report(&w, EV_FAILED, id, 2);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_FAILED);
	end(&w);
}

TEST(no_retry_means_none)
{
	struct world w;
	struct ev ev;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger_step(&w, STEP_RETRY, 3);
	ev = about(EV_FAILED, id);
	ev.no_retry = true;
	step(&w, &ev);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_FAILED);
	end(&w);
}

TEST(backoff_waits_without_a_slot)
{
	struct world w;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger_step(&w, STEP_BACKOFF, 3);
	report(&w, EV_FAILED, id, 0);
	CHECK_EQ(only(&w, FX_RETRY)->state, LIVE_BACKOFF);
	CHECK_EQ(only(&w, FX_RETRY)->due_at, w.now.wall_us + 2 * SECOND_US);	/* 2^1 s */
	CHECK_EQ(running(&w, 1), 0);
	pass(&w, 2 * SECOND_US - 1);
	CHECK_EQ(count(&w, FX_REQUEUE), 0);
	pass(&w, 1);
	CHECK_EQ(only(&w, FX_REQUEUE)->id, id);
	CHECK_EQ(only(&w, FX_PUSH)->attempt, 1);
	report(&w, EV_FAILED, id, 1);
	CHECK_EQ(only(&w, FX_RETRY)->due_at, w.now.wall_us + 4 * SECOND_US);	/* 2^2 s */
	end(&w);
}

TEST(execution_timeout)
{
	struct world w;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger_step(&w, STEP_RETRY, 3);
	for (int i = 0; i < 3; i++) {
		for (int s = 0; s < 59; s++) {
			pass(&w, SECOND_US);
			beat(&w, 1);
		}
		CHECK_EQ(view(&w, id).attempt, i);
		pass(&w, SECOND_US);
		CHECK_EQ(only(&w, FX_CANCEL_PUSH)->attempt, i);
		if (i < 2)
			CHECK_EQ(only(&w, FX_RETRY)->status, ATTEMPT_TIMED_OUT);
		else
			CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_TIMED_OUT);
	}
	CHECK_STR(only(&w, FX_END)->text, "Task exceeded timeout of 1m0s");
	end(&w);
}

TEST(refresh_moves_the_timeout)
{
	struct world w;
	struct ev ev;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger(&w);
	report(&w, EV_STARTED, id, 0);
	ev = about(EV_REFRESH, id);
	ev.ms = 15000;
	step(&w, &ev);
	CHECK_EQ(only(&w, FX_ANSWER)->due_at, w.now.wall_us + 75 * (int64_t)SECOND_US);
	CHECK_EQ(only(&w, FX_TOUCH)->due_at, w.now.wall_us + 75 * (int64_t)SECOND_US);
	for (int s = 0; s < 74; s++) {
		pass(&w, SECOND_US);
		beat(&w, 1);
	}
	CHECK_EQ(view(&w, id).state, LIVE_STARTED);
	pass(&w, SECOND_US);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_TIMED_OUT);
	report(&w, EV_REFRESH, id, -1);
	CHECK_EQ(only(&w, FX_ANSWER)->code, ERR_NOT_FOUND);
	end(&w);
}

TEST(schedule_timeout_in_the_head)
{
	struct world w;
	int64_t id;

	start(&w, 0);
	id = trigger(&w);
	pass(&w, 300 * (int64_t)SECOND_US - 1);
	CHECK_EQ(view(&w, id).state, LIVE_QUEUED);
	pass(&w, 1);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_SCHEDULE_TIMED_OUT);
	CHECK(!only(&w, FX_END)->in_tail);
	end(&w);
}

static void expired(struct world *w, int64_t id)
{
	struct ev ev = about(EV_EXPIRED, id);

	ev.ref = NULL;
	ev.action_no = ACTION;
	ev.rank = 3;
	ev.tail = true;
	ev.restore = (struct ev_restore){.id = id, .tenant_no = TENANT, .step_no = STEP, .rank = 3, .queued_at = w->now.wall_us, .schedule_ms = 300000};
	step(w, &ev);
}

static void scan_done(struct world *w, uint32_t n)
{
	step(w, &(struct ev){.kind = EV_SCAN_DONE, .tenant_no = TENANT, .action_no = ACTION, .rank = 3, .n = n, .limit = 500});
}

TEST(schedule_timeout_in_the_tail)
{
	struct world w;
	int64_t id;

	start(&w, 1);
	(void)trigger_for(&w, STEP, 3, 9000000);
	id = trigger(&w);
	pass(&w, 300 * (int64_t)SECOND_US);
	CHECK_EQ(only(&w, FX_SCAN)->rank, 3);
	expired(&w, id);
	CHECK(only(&w, FX_END)->in_tail);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_SCHEDULE_TIMED_OUT);
	CHECK_STR(only(&w, FX_END)->text, "exceeded its schedule timeout of 5m0s");
	scan_done(&w, 1);
	CHECK_EQ(count(&w, FX_SCAN), 0);
	end(&w);
}

/* What is due while a load is in flight is not touched, and not forgotten either. */
TEST(due_in_the_tail_during_a_load)
{
	struct world w;
	int64_t a, b;

	start(&w, 1);
	a = trigger_for(&w, STEP, 3, 9000000);
	b = trigger(&w);
	pass(&w, 300 * (int64_t)SECOND_US);
	(void)only(&w, FX_SCAN);
	report(&w, EV_CANCEL, a, -1);
	(void)only(&w, FX_LOAD);
	expired(&w, b);
	CHECK_EQ(count(&w, FX_END), 0);
	scan_done(&w, 1);
	pass(&w, SECOND_US);
	(void)only(&w, FX_SCAN);
	end(&w);
}

TEST(a_head_that_empties_loads_its_tail)
{
	struct world w;

	start(&w, 1);
	(void)trigger(&w);
	later(&w, SECOND_US);
	(void)trigger(&w);
	pass(&w, 299 * (int64_t)SECOND_US);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_SCHEDULE_TIMED_OUT);
	(void)only(&w, FX_LOAD);
	end(&w);
}

/* Triggered while all heads were full, and nobody was there to run it. */
TEST(a_worker_that_comes_gets_the_tail)
{
	struct world w;

	start(&w, 1);
	(void)trigger(&w);
	(void)trigger(&w);
	up(&w, 1, 5);
	(void)only(&w, FX_PUSH);
	(void)only(&w, FX_LOAD);
	end(&w);
}

TEST(cancel_in_every_state)
{
	struct world w;
	struct ev ev;
	int64_t id;

	start(&w, 0);
	id = trigger(&w);
	report(&w, EV_CANCEL, id, -1);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_CANCELLED);
	CHECK_EQ(count(&w, FX_CANCEL_PUSH), 0);
	up(&w, 1, 1);
	id = trigger(&w);
	report(&w, EV_CANCEL, id, -1);
	CHECK_EQ(only(&w, FX_CANCEL_PUSH)->worker_no, 1);
	CHECK_EQ(running(&w, 1), 0);
	id = trigger(&w);
	report(&w, EV_STARTED, id, 0);
	report(&w, EV_CANCEL, id, -1);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_CANCELLED);
	id = trigger_step(&w, STEP_BACKOFF, 3);
	report(&w, EV_FAILED, id, 0);
	report(&w, EV_CANCEL, id, -1);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_CANCELLED);
	pass(&w, 10 * SECOND_US);
	CHECK_EQ(count(&w, FX_REQUEUE), 0);
	/* in the tail: the shell read its keys */
	ev = about(EV_CANCEL, 12345);
	ev.tail = true;
	ev.action_no = ACTION;
	ev.rank = 3;
	ev.restore = (struct ev_restore){.id = 12345, .tenant_no = TENANT, .step_no = STEP, .rank = 3};
	step(&w, &ev);
	CHECK(only(&w, FX_END)->in_tail);
	CHECK_EQ(only(&w, FX_ANSWER)->code, ERR_OK);
	end(&w);
}

TEST(cancel_during_a_load_waits_for_it)
{
	struct world w;
	struct ev ev;
	int64_t b;

	start(&w, 1);
	(void)trigger(&w);
	b = trigger(&w);
	up(&w, 1, 1);
	(void)only(&w, FX_LOAD);
	ev = about(EV_CANCEL, b);
	ev.tail = true;
	ev.action_no = ACTION;
	ev.rank = 3;
	ev.restore = (struct ev_restore){.id = b, .tenant_no = TENANT, .step_no = STEP, .rank = 3};
	joined(&w, &ev);
	CHECK_EQ(count(&w, FX_END), 0);
	loaded(&w, b, 3);
	load_done(&w, 3, 1, 1);
	CHECK_EQ(only(&w, FX_END)->id, b);
	CHECK(!only(&w, FX_END)->in_tail);
	CHECK_EQ(only(&w, FX_ANSWER)->code, ERR_OK);
	end(&w);
}

static struct ev seen_in_tail(enum ev_kind kind, int64_t id)
{
	struct ev ev = about(kind, id);

	ev.tail = true;
	ev.action_no = ACTION;
	ev.rank = 3;
	ev.restore = (struct ev_restore){.id = id, .tenant_no = TENANT, .step_no = STEP, .rank = 3, .schedule_ms = 1000};
	if (kind == EV_EXPIRED)
		ev.ref = NULL;
	return ev;
}

/* Two reads may see the same row in the tail; what has ended once does not end again. */
TEST(two_cancels_of_one_task_in_the_tail)
{
	struct world w;
	struct ev ev;
	int64_t id;

	start(&w, 1);
	(void)trigger(&w);
	id = trigger(&w);
	ev = seen_in_tail(EV_CANCEL, id);
	step(&w, &ev);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_CANCELLED);
	step(&w, &ev);
	CHECK_EQ(count(&w, FX_END), 0);
	CHECK_EQ(only(&w, FX_ANSWER)->code, ERR_NOT_FOUND);	/* the shell looks again and finds it final */
	ev = seen_in_tail(EV_EXPIRED, id);
	step(&w, &ev);
	CHECK_EQ(count(&w, FX_END), 0);
	end(&w);
}

/* Seen in the tail, then loaded, run and over before the read's answer comes in. */
TEST(seen_in_the_tail_too_long_ago)
{
	struct world w;
	struct ev ev;
	int64_t a, b;

	start(&w, 1);
	a = trigger(&w);
	b = trigger(&w);
	up(&w, 1, 1);
	(void)only(&w, FX_LOAD);
	loaded(&w, b, 3);
	load_done(&w, 3, 1, 1);
	report(&w, EV_COMPLETED, a, 0);
	report(&w, EV_COMPLETED, b, 0);
	CHECK_EQ(only(&w, FX_END)->id, b);
	load_done(&w, 3, 0, 1);
	ev = seen_in_tail(EV_CANCEL, b);
	step(&w, &ev);
	CHECK_EQ(count(&w, FX_END), 0);
	CHECK_EQ(only(&w, FX_ANSWER)->code, ERR_NOT_FOUND);
	ev = seen_in_tail(EV_EXPIRED, b);
	step(&w, &ev);
	CHECK_EQ(count(&w, FX_END), 0);
	end(&w);
}

TEST(another_tenant_sees_nothing)
{
	struct world w;
	struct ev ev;
	int64_t id;

	start(&w, 0);
	id = trigger(&w);
	ev = about(EV_CANCEL, id);
	ev.tenant_no = TENANT + 1;
	step(&w, &ev);
	CHECK_EQ(only(&w, FX_ANSWER)->code, ERR_NOT_FOUND);
	CHECK_EQ(view(&w, id).state, LIVE_QUEUED);
	end(&w);
}

TEST(silent_worker_loses_its_tasks)
{
	struct world w;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger(&w);
	report(&w, EV_STARTED, id, 0);
	pass(&w, 30 * SECOND_US - 1);
	CHECK_EQ(view(&w, id).state, LIVE_STARTED);
	pass(&w, 1);
	CHECK_EQ(only(&w, FX_RETRY)->status, ATTEMPT_LOST);
	CHECK_EQ(only(&w, FX_RETRY)->internal_retries, 1);
	CHECK_EQ(only(&w, FX_RETRY)->app_retries, 0);
	CHECK_EQ(only(&w, FX_NOTE)->note, NOTE_REASSIGNED);
	CHECK_EQ(count(&w, FX_PUSH), 0);	/* its stream is open, but nobody is there */
	beat(&w, 1);
	CHECK_EQ(only(&w, FX_PUSH)->attempt, 1);
	end(&w);
}

TEST(a_worker_that_reconnects_keeps_its_tasks)
{
	struct world w;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger(&w);
	report(&w, EV_STARTED, id, 0);
	later(&w, 10 * SECOND_US);
	stream(&w, EV_STREAM_DOWN, 1, 1);
	later(&w, 19 * SECOND_US);
	stream(&w, EV_STREAM_UP, 1, 2);
	pass(&w, 29 * SECOND_US);
	CHECK_EQ(view(&w, id).state, LIVE_STARTED);
	stream(&w, EV_STREAM_DOWN, 1, 1);	/* of the old session: says nothing about the new one */
	beat(&w, 1);
	(void)trigger(&w);
	report(&w, EV_COMPLETED, id, 0);
	CHECK_EQ(only(&w, FX_PUSH)->worker_no, 1);
	end(&w);
}

TEST(a_lost_stream_is_no_sign_of_life)
{
	struct world w;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger(&w);
	report(&w, EV_STARTED, id, 0);
	later(&w, 20 * SECOND_US);
	stream(&w, EV_STREAM_DOWN, 1, 1);
	pass(&w, 10 * SECOND_US);
	CHECK_EQ(only(&w, FX_RETRY)->status, ATTEMPT_LOST);
	end(&w);
}

TEST(unconfirmed_delivery)
{
	struct world w;
	int64_t a, b, c;

	start(&w, 0);
	up(&w, 1, 2);
	a = trigger(&w);
	b = trigger(&w);
	stream(&w, EV_STREAM_DOWN, 1, 1);
	c = trigger(&w);
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_QUEUED);
	later(&w, SECOND_US);
	stream(&w, EV_STREAM_UP, 1, 2);
	CHECK_EQ(count(&w, FX_PUSH), 0);	/* both slots are taken: the worker may have got them */
	pass(&w, SECOND_US);
	report(&w, EV_STARTED, a, 0);	/* it had got this one */
	pass(&w, 4 * SECOND_US - 1);
	CHECK_EQ(view(&w, b).attempt, 0);
	pass(&w, 1);
	CHECK_EQ(only(&w, FX_CANCEL_PUSH)->id, b);
	CHECK_EQ(only(&w, FX_RETRY)->id, b);
	CHECK_EQ(only(&w, FX_RETRY)->internal_retries, 1);
	CHECK_EQ(only(&w, FX_PUSH)->id, b);	/* rank 0 passes c */
	CHECK_EQ(view(&w, a).state, LIVE_STARTED);
	CHECK_EQ(view(&w, c).state, LIVE_QUEUED);
	end(&w);
}

TEST(internal_retries_have_an_end)
{
	struct world w;
	int64_t id;
	int n = 0;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger(&w);
	while (view(&w, id).state == LIVE_ASSIGNED && n++ < 20) {
		struct ev ev = about(EV_PUSH_FAILED, id);

		ev.attempt = n - 1;
		ev.ref = NULL;
		step(&w, &ev);
	}
	CHECK_EQ(n, 11);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_FAILED);
	CHECK_STR(only(&w, FX_END)->text, "Task reached its maximum reassignment count");
	end(&w);
}

TEST(paused_ended_and_stalled_workers_get_nothing)
{
	static const enum ev_kind kinds[] = {EV_PAUSE, EV_STALL, EV_WORKER_END};
	struct world w;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct ev ev = {.kind = kinds[i], .worker_no = 1, .on = true};
		int64_t id;

		start(&w, 0);
		up(&w, 1, 2);
		id = trigger(&w);
		step(&w, &ev);
		(void)trigger(&w);
		CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_QUEUED);
		report(&w, EV_COMPLETED, id, 0);	/* what it runs stays with it */
		CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_COMPLETED);
		CHECK_EQ(count(&w, FX_PUSH), 0);
		ev.on = false;
		step(&w, &ev);
		CHECK_EQ(count(&w, FX_PUSH), kinds[i] != EV_WORKER_END);
		end(&w);
	}
}

TEST(a_released_slot_is_free_at_once)
{
	struct world w;
	int64_t a;

	start(&w, 0);
	up(&w, 1, 1);
	a = trigger(&w);
	(void)trigger(&w);
	report(&w, EV_RELEASE_SLOT, a, -1);
	CHECK(only(&w, FX_TOUCH)->released);
	CHECK_EQ(only(&w, FX_NOTE)->note, NOTE_SLOT_RELEASED);
	(void)only(&w, FX_PUSH);
	CHECK_EQ(running(&w, 1), 2);
	report(&w, EV_COMPLETED, a, 0);
	CHECK_EQ(running(&w, 1), 1);
	end(&w);
}

TEST(workers_take_turns)
{
	struct world w;
	int32_t seen[4] = {0};

	start(&w, 0);
	up(&w, 1, 10);
	up(&w, 2, 10);
	up(&w, 3, 10);
	for (int i = 0; i < 9; i++) {
		(void)trigger(&w);
		seen[only(&w, FX_PUSH)->worker_no]++;
	}
	CHECK_EQ(seen[1], 3);
	CHECK_EQ(seen[2], 3);
	CHECK_EQ(seen[3], 3);
	end(&w);
}

TEST(restored_rows)
{
	struct world w;
	struct ev ev = about(EV_RESTORE, 1001);

	start(&w, 0);
	worker(&w, 1, 5);
	ev.ref = NULL;
	ev.restore = (struct ev_restore){.id = 1001, .tenant_no = TENANT, .step_no = STEP, .worker_no = 1, .state = LIVE_STARTED, .rank = 3,
		.queued_at = w.now.wall_us, .assigned_at = w.now.wall_us, .started_at = w.now.wall_us,
		.due_at = w.now.wall_us + 60 * (int64_t)SECOND_US, .schedule_ms = 1000, .exec_ms = 60000};
	step(&w, &ev);
	ev.id = ev.restore.id = 1002;
	ev.restore.state = LIVE_ASSIGNED;
	ev.restore.started_at = INT64_MIN;
	step(&w, &ev);
	ev.id = ev.restore.id = 1003;
	ev.restore.worker_no = 99;	/* nobody knows it */
	step(&w, &ev);
	CHECK_EQ(only(&w, FX_RETRY)->status, ATTEMPT_LOST);
	CHECK_EQ(running(&w, 1), 2);
	stream(&w, EV_STREAM_UP, 1, 5);
	CHECK_EQ(only(&w, FX_PUSH)->id, 1003);
	pass(&w, 5 * SECOND_US);
	CHECK_EQ(only(&w, FX_RETRY)->id, 1002);	/* not confirmed; 1001 was started and stays */
	CHECK_EQ(view(&w, 1001).state, LIVE_STARTED);
	end(&w);
}

TEST(ids_never_repeat)
{
	struct world w;
	int64_t last = 0;

	start(&w, 0);
	for (int i = 0; i < 200000; i++) {
		int64_t id = engine_next_id(w.e, w.now, TENANT);

		CHECK(id > last);
		last = id;
		if (i == 100000)
			w.now.wall_us -= 5 * SECOND_US;	/* the clock jumps back */
	}
	engine_id_floor(w.e, last + (1000LL << 22));
	CHECK(engine_next_id(w.e, w.now, TENANT) > last + (1000LL << 22));
	end(&w);
}
