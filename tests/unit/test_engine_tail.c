/* The tail: what waits in the database only, its loads, deadlines and cancels, and reads that come in late. */
#include "engworld.h"

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
	ev.restore = (struct ev_restore){.id = id, .tenant_no = TENANT, .step_no = 90, .rank = 3, .user_rank = 3, .queued_at = w.now.wall_us,
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

static void expired(struct world *w, int64_t id)
{
	struct ev ev = about(EV_EXPIRED, id);

	ev.ref = NULL;
	ev.action_no = ACTION;
	ev.rank = 3;
	ev.tail = true;
	ev.restore = (struct ev_restore){.id = id, .tenant_no = TENANT, .step_no = STEP, .rank = 3, .user_rank = 3, .queued_at = w->now.wall_us, .schedule_ms = 300000};
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
	ev.restore = (struct ev_restore){.id = b, .tenant_no = TENANT, .step_no = STEP, .rank = 3, .user_rank = 3};
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
	ev.restore = (struct ev_restore){.id = id, .tenant_no = TENANT, .step_no = STEP, .rank = 3, .user_rank = 3, .schedule_ms = 1000};
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
