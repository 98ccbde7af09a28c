/* Concurrency, strategy by strategy: who runs, who waits, who is cancelled; and that turns, retries and restarts keep to it. */
#include "engworld.h"

enum { FIRST = 90, SECOND = 91, STEP_ONE = 70, STEP_TWO = 71, STEP_AGAIN = 72 };

static void strategy(struct world *w, int32_t no, enum conc kind, int32_t max_runs)
{
	struct ev ev = {.kind = EV_STRATEGY};

	ev.strategy = (struct ev_strategy){.strategy_no = no, .kind = kind, .max_runs = max_runs};
	step(w, &ev);
}

static void define(struct world *w, int32_t no, uint32_t n, int32_t retries)
{
	struct ev ev = {.kind = EV_STEP};

	ev.step = (struct ev_step){.step_no = no, .tenant_no = TENANT, .action_no = ACTION, .schedule_ms = 300000, .exec_ms = 60000,
		.retries = retries, .slots = {{1, 1}}, .strategies = {FIRST, SECOND}, .n_strategies = n};
	step(w, &ev);
}

static void begin(struct world *w, enum conc kind, int32_t max_runs, int32_t slots)
{
	start(w, 0);
	strategy(w, FIRST, kind, max_runs);
	strategy(w, SECOND, CONC_GROUP_ROUND_ROBIN, 1);
	define(w, STEP_ONE, 1, 0);
	define(w, STEP_TWO, 2, 0);
	define(w, STEP_AGAIN, 1, 1);
	up(w, 1, slots);
}

static int64_t run_as(struct world *w, int32_t step_no, uint64_t key, uint64_t second, int32_t limit, int8_t rank)
{
	struct ev ev = about(EV_NEW, engine_next_id(w->e, w->now, TENANT));

	later(w, 1000);
	ev.new = (struct ev_new){.id = ev.id, .tenant_no = TENANT, .step_no = step_no, .rank = rank, .schedule_ms = 300000, .exec_ms = 60000,
		.entries = {{key, limit}, {second, -1}}};
	step(w, &ev);
	CHECK_EQ(only(w, FX_ANSWER)->code, ERR_OK);
	return ev.id;
}

static int64_t run(struct world *w, uint64_t key)
{
	return run_as(w, STEP_ONE, key, 0, -1, 3);
}


static bool lives(const struct world *w, int64_t id)
{
	struct eng_task_view v;

	return engine_task(w->e, id, &v);
}

static bool runs(struct world *w, int64_t id)
{
	struct eng_task_view v;

	return engine_task(w->e, id, &v) && v.state == LIVE_ASSIGNED;
}

static bool waits(struct world *w, int64_t id)
{
	struct eng_task_view v;

	return engine_task(w->e, id, &v) && v.state == LIVE_QUEUED;
}

TEST(round_robin_waits)
{
	struct world w;
	int64_t a, b, c, other;

	begin(&w, CONC_GROUP_ROUND_ROBIN, 1, 10);
	a = run(&w, 1);
	b = run(&w, 1);
	c = run_as(&w, STEP_ONE, 1, 0, -1, 1);
	other = run(&w, 2);
	CHECK(runs(&w, a) && waits(&w, b) && waits(&w, c) && runs(&w, other));
	report(&w, EV_COMPLETED, a, 0);
	CHECK(runs(&w, c) && waits(&w, b));	/* the better priority first */
	report(&w, EV_CANCEL, c, -1);
	CHECK(runs(&w, b));
	end(&w);
}

/* Who fits at once runs, the others are over at birth: one effect, nothing to delete. */
TEST(cancel_newest)
{
	struct world w;
	int64_t a, b, c;
	struct fx *fx;

	begin(&w, CONC_CANCEL_NEWEST, 2, 10);
	a = run(&w, 1);
	b = run(&w, 1);
	CHECK(runs(&w, a) && runs(&w, b));
	c = run_as(&w, STEP_ONE, 1, 0, -1, 1);
	fx = only(&w, FX_INSERT);
	CHECK(!lives(&w, c) && fx->place == PLACE_NONE && fx->status == ATTEMPT_CANCELLED && strcmp(fx->text, CANCEL_BY_STRATEGY) == 0);
	CHECK_EQ(count(&w, FX_END), 0);
	report(&w, EV_COMPLETED, a, 0);
	CHECK(runs(&w, run(&w, 1)));
	end(&w);
}

TEST(cancel_in_progress)
{
	struct world w;
	int64_t a, b, c, better, worse;

	begin(&w, CONC_CANCEL_IN_PROGRESS, 2, 10);
	a = run(&w, 1);
	b = run(&w, 1);
	c = run(&w, 1);		/* the oldest goes */
	CHECK(!lives(&w, a) && runs(&w, b) && runs(&w, c));
	CHECK_EQ(only(&w, FX_CANCEL_PUSH)->id, a);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_CANCELLED);
	better = run_as(&w, STEP_ONE, 1, 0, -1, 1);
	CHECK(!lives(&w, b) && runs(&w, better) && runs(&w, c));
	worse = run(&w, 1);	/* newer than c, which has its priority */
	CHECK(!lives(&w, c) && runs(&w, worse) && runs(&w, better));
	CHECK(runs(&w, run_as(&w, STEP_ONE, 1, 0, -1, 1)) && !lives(&w, worse));
	CHECK(!lives(&w, run(&w, 1)) && runs(&w, better));	/* all that run are better */
	end(&w);
}

static void queued_except(enum conc kind, bool newest)
{
	struct world w;
	int64_t a, b, c, d;

	begin(&w, kind, 1, 10);
	a = run(&w, 1);
	b = run(&w, 1);
	CHECK(runs(&w, a) && waits(&w, b));
	c = run(&w, 1);
	CHECK(newest ? !lives(&w, b) && waits(&w, c) : waits(&w, b) && !lives(&w, c));
	d = run_as(&w, STEP_ONE, 1, 0, -1, 2);	/* a better priority, older or newer */
	CHECK(waits(&w, d) && !lives(&w, newest ? c : b));
	report(&w, EV_COMPLETED, a, 0);
	CHECK(runs(&w, d));
	end(&w);
}

TEST(cancel_queued_except_newest)
{
	queued_except(CONC_CANCEL_QUEUED_EXCEPT_NEWEST, true);
}

TEST(cancel_queued_except_oldest)
{
	queued_except(CONC_CANCEL_QUEUED_EXCEPT_OLDEST, false);
}

TEST(none_may_run)
{
	static const enum conc kinds[] = {CONC_CANCEL_NEWEST, CONC_CANCEL_IN_PROGRESS, CONC_CANCEL_QUEUED_EXCEPT_NEWEST,
		CONC_CANCEL_QUEUED_EXCEPT_OLDEST};
	struct world w;
	int64_t a;

	begin(&w, CONC_GROUP_ROUND_ROBIN, 0, 10);
	a = run(&w, 1);
	CHECK(waits(&w, a));
	pass(&w, 301 * (int64_t)SECOND_US);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_SCHEDULE_TIMED_OUT);
	end(&w);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		begin(&w, kinds[i], 0, 10);
		CHECK(!lives(&w, run(&w, 1)));
		end(&w);
	}
}

/* Earlier places are kept while a later one is waited for, and while a worker is. */
TEST(chain)
{
	struct world w;
	int64_t a, b, c, d;

	begin(&w, CONC_GROUP_ROUND_ROBIN, 2, 1);
	a = run_as(&w, STEP_TWO, 1, 7, -1, 3);
	b = run_as(&w, STEP_TWO, 1, 7, -1, 3);	/* has its place in 1, waits for 7 */
	c = run_as(&w, STEP_TWO, 1, 8, -1, 3);	/* 1 is full */
	d = run_as(&w, STEP_TWO, 2, 8, -1, 3);	/* has both places, and no worker */
	CHECK(runs(&w, a) && waits(&w, b) && waits(&w, c) && waits(&w, d));
	CHECK_EQ(view(&w, b).waits_for, 7);
	CHECK_EQ(view(&w, c).waits_for, 1);
	CHECK_EQ(view(&w, d).waits_for, 0);
	report(&w, EV_COMPLETED, a, 0);
	CHECK(runs(&w, d) || runs(&w, b));
	CHECK_EQ(view(&w, c).waits_for, 8);	/* it has a's place in 1 */
	end(&w);
}

/* The newest task that lives brings the limit of its key, and when it ends the next newest does. */
TEST(limit_of_its_own)
{
	struct world w;
	int64_t a, b, c;

	begin(&w, CONC_GROUP_ROUND_ROBIN, 9, 10);
	a = run_as(&w, STEP_ONE, 1, 0, 1, 3);
	b = run_as(&w, STEP_ONE, 1, 0, 1, 3);
	CHECK(runs(&w, a) && waits(&w, b));
	c = run_as(&w, STEP_ONE, 1, 0, 3, 3);
	CHECK(runs(&w, b) && runs(&w, c));
	report(&w, EV_COMPLETED, c, 0);
	CHECK(waits(&w, run_as(&w, STEP_ONE, 1, 0, 1, 3)));	/* two run, one may */
	end(&w);
}

TEST(limit_changes_at_once)
{
	struct world w;
	int64_t a, b;

	begin(&w, CONC_GROUP_ROUND_ROBIN, 1, 10);
	a = run(&w, 1);
	b = run(&w, 1);
	CHECK(runs(&w, a) && waits(&w, b));
	strategy(&w, FIRST, CONC_GROUP_ROUND_ROBIN, 2);
	CHECK(runs(&w, b));
	strategy(&w, FIRST, CONC_CANCEL_IN_PROGRESS, 1);
	CHECK(!lives(&w, a) && runs(&w, b));
	end(&w);
}

/* A retry comes first; one that backs off gives its place away. */
TEST(retry)
{
	struct world w;
	int64_t a, b;

	begin(&w, CONC_GROUP_ROUND_ROBIN, 1, 10);
	a = run_as(&w, STEP_AGAIN, 1, 0, -1, 3);
	b = run(&w, 1);
	report(&w, EV_FAILED, a, 0);
	CHECK(runs(&w, a) && view(&w, a).attempt == 1 && waits(&w, b));
	report(&w, EV_COMPLETED, a, 1);
	CHECK(runs(&w, b));
	end(&w);
}

/* Keys take turns whatever their lengths; inside a key the oldest comes first. */
TEST(turns)
{
	struct world w;
	int64_t ids[12], first;
	uint64_t want[] = {1, 2, 3, 1, 2, 3, 1, 2, 1, 1, 1};

	begin(&w, CONC_GROUP_ROUND_ROBIN, 100, 1);
	first = run(&w, 9);
	for (int i = 0; i < 11; i++)
		ids[i] = run(&w, i < 6 ? 1 : i < 9 ? 2 : 3);	/* 6 of the first, 3 of the second, 2 of the third */
	for (int i = 0; i < 11; i++) {
		int64_t got;

		report(&w, EV_COMPLETED, i ? ids[11] : first, 0);
		got = ids[11] = only(&w, FX_PUSH)->id;
		for (int k = 0; k < 11; k++)
			if (ids[k] == got)
				CHECK_EQ(k < 6 ? 1 : k < 9 ? 2 : 3, want[i]);
	}
	end(&w);
}

/* Who ran before the restart holds its place, also when those that wait are restored first. */
TEST(restored_holders_count)
{
	struct world w;
	struct ev evs[3] = {{.kind = EV_RESTORE, .id = 1001, .tenant_no = TENANT}, {.kind = EV_RESTORE, .id = 1002, .tenant_no = TENANT},
		{.kind = EV_RESTORE, .id = 1003, .tenant_no = TENANT}};

	begin(&w, CONC_GROUP_ROUND_ROBIN, 1, 10);
	for (int i = 0; i < 3; i++)
		evs[i].restore = (struct ev_restore){.id = evs[i].id, .tenant_no = TENANT, .step_no = STEP_ONE, .state = i == 2 ? LIVE_STARTED : LIVE_QUEUED,
			.worker_no = i == 2, .rank = 3, .user_rank = 3, .queued_at = w.now.wall_us, .assigned_at = i == 2 ? w.now.wall_us : INT64_MIN,
			.started_at = i == 2 ? w.now.wall_us : INT64_MIN, .due_at = w.now.wall_us + SECOND_US, .schedule_ms = 300000,
			.exec_ms = 60000, .entries = {{1, -1}}};
	w.from = w.out.v.n;
	engine_step(w.e, w.now, evs, 3, &w.out);
	whole(&w);
	engine_flush_sealed(w.e);
	CHECK(waits(&w, 1001) && waits(&w, 1002) && lives(&w, 1003));
	CHECK_EQ(count(&w, FX_ASSIGN), 0);
	report(&w, EV_COMPLETED, 1003, 0);
	CHECK(runs(&w, 1001) && waits(&w, 1002));
	end(&w);
}

/* A child that takes the place of its own parent is cancelled with it. */
TEST(child_displaces_its_parent)
{
	struct world w;
	int64_t parent;
	struct ev ev;

	begin(&w, CONC_CANCEL_IN_PROGRESS, 1, 10);
	parent = run(&w, 1);
	ev = about(EV_NEW, engine_next_id(w.e, w.now, TENANT));
	ev.new = (struct ev_new){.id = ev.id, .tenant_no = TENANT, .step_no = STEP_ONE, .rank = 3, .schedule_ms = 300000, .exec_ms = 60000,
		.parent_id = parent, .entries = {{1, -1}}};
	step(&w, &ev);
	CHECK(!lives(&w, parent) && !lives(&w, ev.id));
	CHECK_EQ(count(&w, FX_PUSH), 0);
	end(&w);
}
