/* The life of a task, row by row: what goes in, what must come out, and that memory stays whole after every step. */
#include "engworld.h"

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

TEST(durations_as_go_writes_them)
{
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {{300, "300ms"}, {1000, "1s"}, {1250, "1.25s"}, {1005, "1.005s"}, {60000, "1m0s"}, {61500, "1m1.5s"}, {3600500, "1h0m0.5s"}};
	struct world w;

	start(&w, 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char want[80] = "exceeded its schedule timeout of ";

		(void)trigger_for(&w, STEP, 3, cases[i].ms);
		pass(&w, cases[i].ms * 1000);
		strcat(want, cases[i].text);
		CHECK_STR(only(&w, FX_END)->text, want);
	}
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
	ev.restore = (struct ev_restore){.id = 12345, .tenant_no = TENANT, .step_no = STEP, .rank = 3, .user_rank = 3};
	step(&w, &ev);
	CHECK(only(&w, FX_END)->in_tail);
	CHECK_EQ(only(&w, FX_ANSWER)->code, ERR_OK);
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

TEST(restored_rows)
{
	struct world w;
	struct ev ev = about(EV_RESTORE, 1001);

	start(&w, 0);
	worker(&w, 1, 5);
	ev.ref = NULL;
	ev.restore = (struct ev_restore){.id = 1001, .tenant_no = TENANT, .step_no = STEP, .worker_no = 1, .state = LIVE_STARTED, .rank = 3, .user_rank = 3,
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
