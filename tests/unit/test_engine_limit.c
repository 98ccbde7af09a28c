/* Rate limits and pause, rule by rule: when units are taken and stored, who comes first, who is told, what waits for ever. */
#include "engworld.h"

enum { BUCKET = 9, OTHER = 10, FLOW = 5, WINDOW_US = 10 * SECOND_US };

static void bucket(struct world *w, uint64_t hash, int32_t limit)
{
	struct ev ev = about(EV_BUCKET, 0);

	ev.bucket = (struct ev_bucket){.hash = hash, .limit = limit, .window_us = WINDOW_US};
	step(w, &ev);
	CHECK_EQ(only(w, FX_ANSWER)->code, ERR_OK);
}

static int64_t run_of(struct world *w, int32_t step_no, int8_t rank, const struct eng_limit *limits, uint32_t n)
{
	struct ev ev = about(EV_NEW, engine_next_id(w->e, w->now, TENANT));

	later(w, 1000);
	ev.new = (struct ev_new){.id = ev.id, .tenant_no = TENANT, .step_no = step_no, .rank = rank, .schedule_ms = 300000, .exec_ms = 60000,
		.limits = limits, .n_limits = n};
	step(w, &ev);
	CHECK_EQ(only(w, FX_ANSWER)->code, ERR_OK);
	return ev.id;
}

static int64_t run(struct world *w, int8_t rank, int32_t units)
{
	return run_of(w, STEP, rank, &(struct eng_limit){.bucket = BUCKET, .units = units, .limit = -1}, 1);
}

static struct eng_bucket_view left(const struct world *w, uint64_t hash)
{
	struct eng_bucket_view v = {.value = -1};

	CHECK(engine_bucket(w->e, hash, &v));
	return v;
}

static bool runs(const struct world *w, int64_t id)
{
	return view(w, id).state == LIVE_ASSIGNED;
}

static void begin(struct world *w, int32_t limit, int32_t slots)
{
	start(w, 0);
	if (limit >= 0)
		bucket(w, BUCKET, limit);
	up(w, 1, slots);
}

/* The row of the bucket is in the flush of the assignment, and nothing is written for a refill. */
TEST(units_are_stored_with_the_assignment)
{
	struct world w;
	struct fx *fx;
	int64_t a, b;

	begin(&w, 3, 10);
	a = run(&w, 3, 2);
	fx = only(&w, FX_BUCKET);
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_ASSIGNED);
	CHECK_EQ(count(&w, FX_SEAL), 0);
	CHECK_EQ(fx->value, 1);
	CHECK_EQ(fx->max, 3);
	CHECK_EQ(fx->started_at, w.now.wall_us);
	CHECK(runs(&w, a));
	b = run(&w, 3, 2);
	CHECK_EQ(count(&w, FX_BUCKET), 0);
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_QUEUED);
	CHECK_EQ(view(&w, b).limited_by, BUCKET);
	pass(&w, WINDOW_US - 1001);
	CHECK(!runs(&w, b));
	pass(&w, 1001);
	CHECK(runs(&w, b));
	CHECK_EQ(only(&w, FX_BUCKET)->value, 1);
	CHECK_EQ(only(&w, FX_BUCKET)->started_at, w.now.wall_us);
	end(&w);
}

/* Once for each attempt: which limit, how many, when. */
TEST(who_is_limited_is_told_once)
{
	struct world w;
	struct fx *fx;

	begin(&w, 1, 10);
	(void)run(&w, 3, 1);
	(void)run(&w, 3, 1);
	fx = only(&w, FX_NOTE);
	CHECK_EQ(fx->note, NOTE_RATE_LIMITED);
	CHECK_EQ(fx->lane, BUCKET);
	CHECK_EQ(fx->limit, 1);
	CHECK_EQ(fx->value, 0);
	CHECK_EQ(fx->max, 1);
	CHECK_EQ(fx->due_at, left(&w, BUCKET).refill_at);
	(void)run(&w, 3, 1);
	pass(&w, WINDOW_US);	/* one goes, the other is parked on */
	CHECK_EQ(count(&w, FX_ASSIGN), 1);
	CHECK_EQ(count(&w, FX_NOTE), 0);
	end(&w);
}

TEST(priority_and_age_at_the_refill)
{
	struct world w;
	int64_t old, young, high;

	begin(&w, 1, 10);
	(void)run(&w, 3, 1);
	old = run(&w, 3, 1);
	young = run(&w, 3, 1);
	high = run(&w, 1, 1);
	pass(&w, WINDOW_US);
	CHECK(runs(&w, high) && !runs(&w, old) && !runs(&w, young));
	pass(&w, WINDOW_US);
	CHECK(runs(&w, old) && !runs(&w, young));
	end(&w);
}

/* Even when it comes in the moment of the refill. */
TEST(a_newcomer_overtakes_nobody)
{
	struct world w;
	int64_t old, newcomer;

	begin(&w, 1, 10);
	(void)run(&w, 3, 1);
	old = run(&w, 3, 1);
	later(&w, WINDOW_US);
	newcomer = run(&w, 3, 1);
	CHECK(runs(&w, old) && !runs(&w, newcomer));
	end(&w);
}

TEST(all_units_or_none)
{
	const struct eng_limit both[] = {{.bucket = BUCKET, .units = 1, .limit = -1}, {.bucket = OTHER, .units = 1, .limit = -1}};
	struct world w;
	int64_t a;

	begin(&w, 5, 10);
	bucket(&w, OTHER, 1);
	CHECK(runs(&w, run_of(&w, STEP, 3, both, 2)));
	a = run_of(&w, STEP, 3, both, 2);
	CHECK_EQ(view(&w, a).limited_by, OTHER);
	CHECK_EQ(left(&w, BUCKET).value, 4);
	end(&w);
}

/* What was never set, and what is more than the limit, waits until that changes or its time is over. */
TEST(never)
{
	struct world w;
	int64_t unset, large;

	begin(&w, -1, 10);
	unset = run(&w, 3, 1);
	CHECK_EQ(only(&w, FX_NOTE)->max, -1);
	bucket(&w, BUCKET, 1);
	CHECK(runs(&w, unset));
	large = run(&w, 3, 2);
	pass(&w, WINDOW_US);
	CHECK_EQ(view(&w, large).limited_by, BUCKET);
	bucket(&w, BUCKET, 2);
	CHECK(runs(&w, large));
	large = run(&w, 3, 3);
	pass(&w, 301 * SECOND_US);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_SCHEDULE_TIMED_OUT);
	CHECK_EQ(view(&w, large).state, -1);
	end(&w);
}

/* Less at once; more, but not before the next window. */
TEST(another_limit)
{
	struct world w;

	begin(&w, 10, 10);
	(void)run(&w, 3, 2);
	bucket(&w, BUCKET, 5);
	CHECK_EQ(left(&w, BUCKET).value, 5);
	bucket(&w, BUCKET, 20);
	CHECK_EQ(left(&w, BUCKET).value, 5);
	pass(&w, WINDOW_US);
	CHECK_EQ(left(&w, BUCKET).value, 20);
	end(&w);
}

/* Without a worker nothing is taken, and others are let pass after a while. */
TEST(no_worker_takes_nothing)
{
	struct ev ev = {.kind = EV_STEP};
	struct world w;
	int64_t idle[4], a;

	begin(&w, 2, 10);
	ev.step = (struct ev_step){.step_no = 60, .tenant_no = TENANT, .action_no = ACTION + 1, .schedule_ms = 300000, .exec_ms = 60000,
		.slots = {{1, 1}}};
	step(&w, &ev);
	for (int i = 0; i < 4; i++)
		idle[i] = run_of(&w, 60, 3, &(struct eng_limit){.bucket = BUCKET, .units = 1, .limit = -1}, 1);
	CHECK_EQ(left(&w, BUCKET).value, 2);
	a = run(&w, 3, 2);
	for (int i = 0; i < 5 && !runs(&w, a); i++)
		pass(&w, 11000);
	CHECK(runs(&w, a));
	CHECK_EQ(left(&w, BUCKET).value, 0);
	CHECK_EQ(view(&w, idle[0]).state, LIVE_QUEUED);
	pass(&w, WINDOW_US);
	beat(&w, 1);
	a = run(&w, 3, 1);
	pass(&w, 11000);
	CHECK(runs(&w, a));
	CHECK(runs(&w, run(&w, 3, 1)));	/* those are counted no more */
	end(&w);
}

/* Of the limits that tasks bring along, the lowest counts; nothing is kept of a full one that nobody needs. */
TEST(dynamic)
{
	struct eng_limit five = {.bucket = BUCKET, .units = 1, .limit = 5, .window_us = SECOND_US}, two = five;
	struct eng_bucket_view v;
	struct world w;
	int64_t a, b;

	begin(&w, -1, 10);
	a = run_of(&w, STEP, 3, &five, 1);
	CHECK_EQ(left(&w, BUCKET).value, 4);
	CHECK(only(&w, FX_BUCKET)->is_dynamic);
	two.limit = 2;
	b = run_of(&w, STEP, 3, &two, 1);
	CHECK_EQ(left(&w, BUCKET).limit, 2);
	CHECK_EQ(left(&w, BUCKET).value, 1);
	report(&w, EV_COMPLETED, b, 0);
	CHECK_EQ(left(&w, BUCKET).limit, 5);
	report(&w, EV_COMPLETED, a, 0);
	CHECK_EQ(left(&w, BUCKET).value, 1);
	pass(&w, SECOND_US);
	CHECK_EQ(only(&w, FX_BUCKET)->max, -1);
	CHECK(!engine_bucket(w.e, BUCKET, &v));
	end(&w);
}

/* What was taken before a restart stays taken. */
TEST(restored)
{
	struct world w;
	struct ev ev = {.kind = EV_BUCKET, .tenant_no = TENANT};
	int64_t a;

	start(&w, 0);
	ev.bucket = (struct ev_bucket){.hash = BUCKET, .limit = 3, .window_us = WINDOW_US, .restored = true, .value = 1, .since = w.now.wall_us - SECOND_US};
	step(&w, &ev);
	CHECK_EQ(count(&w, FX_BUCKET), 0);
	up(&w, 1, 10);
	CHECK(runs(&w, run(&w, 3, 1)));
	a = run(&w, 3, 1);
	CHECK(!runs(&w, a));
	pass(&w, 9 * SECOND_US);
	CHECK(runs(&w, a));
	end(&w);
}

/* --- pause -------------------------------------------------------------------------------------------------------------------- */

static void flow(struct world *w, bool on, int64_t ttl_us)
{
	struct ev ev = about(EV_FLOW, 0);

	ev.flow = (struct ev_flow){.workflow_no = FLOW, .is_paused = on, .paused_at = w->now.wall_us, .unpaused_at = on ? INT64_MIN : w->now.wall_us,
		.ttl_us = ttl_us};
	step(w, &ev);
	CHECK_EQ(only(w, FX_ANSWER)->code, ERR_OK);
}

static int64_t resting(struct world *w)
{
	struct ev ev = {.kind = EV_STEP};

	ev.step = (struct ev_step){.step_no = 61, .tenant_no = TENANT, .action_no = ACTION, .workflow_no = FLOW, .schedule_ms = 300000,
		.exec_ms = 60000, .slots = {{1, 1}}};
	step(w, &ev);
	return run_of(w, 61, 3, NULL, 0);
}

TEST(paused_and_on_again)
{
	struct world w;
	int64_t a;

	begin(&w, -1, 10);
	flow(&w, true, 0);
	a = resting(&w);
	CHECK_EQ(only(&w, FX_INSERT)->place, PLACE_QUEUED);
	CHECK(view(&w, a).is_paused);
	CHECK(runs(&w, trigger(&w)));	/* another workflow's */
	pass(&w, 400 * SECOND_US);	/* longer than its schedule timeout */
	CHECK(view(&w, a).is_paused);
	beat(&w, 1);
	flow(&w, false, 0);
	CHECK(runs(&w, a));
	end(&w);
}

TEST(paused_for_too_long)
{
	struct world w;
	int64_t a;

	begin(&w, -1, 10);
	flow(&w, true, 5 * SECOND_US);
	later(&w, 3 * SECOND_US);
	a = resting(&w);
	pass(&w, 4 * SECOND_US);
	CHECK(view(&w, a).is_paused);	/* its time runs since it is there */
	pass(&w, SECOND_US);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_CANCELLED);
	CHECK_STR(only(&w, FX_END)->text, CANCEL_BY_PAUSE);
	end(&w);
}

/* Also for what is read from its rows after a restart. */
TEST(the_budget_of_a_restored_one)
{
	struct ev ev = {.kind = EV_FLOW};
	struct world w;
	int64_t id;

	start(&w, 0);
	ev.flow = (struct ev_flow){.workflow_no = FLOW, .paused_at = w.now.wall_us - 500 * SECOND_US, .unpaused_at = w.now.wall_us - SECOND_US};
	step(&w, &ev);
	id = resting(&w) + 1;
	ev = about(EV_RESTORE, id);
	ev.restore = (struct ev_restore){.id = id, .tenant_no = TENANT, .step_no = 61, .state = LIVE_QUEUED, .rank = 3, .user_rank = 3,
		.queued_at = w.now.wall_us - 400 * SECOND_US, .assigned_at = INT64_MIN, .started_at = INT64_MIN,
		.due_at = w.now.wall_us - 100 * SECOND_US, .schedule_ms = 300000, .exec_ms = 60000};
	step(&w, &ev);
	pass(&w, 298 * SECOND_US);
	CHECK_EQ(view(&w, id).state, LIVE_QUEUED);
	pass(&w, 2 * SECOND_US);
	CHECK_EQ(view(&w, id).state, -1);
	end(&w);
}

/* The budget begins anew with the end of the pause. */
TEST(the_budget_after_a_pause)
{
	struct world w;
	int64_t a;

	start(&w, 0);
	flow(&w, true, 0);
	a = resting(&w);
	pass(&w, 400 * SECOND_US);
	flow(&w, false, 0);
	pass(&w, 299 * SECOND_US);
	CHECK_EQ(view(&w, a).state, LIVE_QUEUED);
	pass(&w, 2 * SECOND_US);
	CHECK_EQ(only(&w, FX_END)->status, ATTEMPT_SCHEDULE_TIMED_OUT);
	end(&w);
}
