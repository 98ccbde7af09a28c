/* Workers: silence, streams that come and go, deliveries that nobody confirms, slots. */
#include "engworld.h"

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

/* A report that names no attempt may be a late one of another worker. */
TEST(unnumbered_reports_are_no_sign_of_life)
{
	struct world w;
	int64_t a, b;

	start(&w, 0);
	up(&w, 1, 2);
	a = trigger(&w);
	b = trigger(&w);
	pass(&w, 20 * SECOND_US);
	report(&w, EV_STARTED, a, -1);
	pass(&w, 10 * SECOND_US);
	CHECK_EQ(count(&w, FX_RETRY), 2);
	CHECK_EQ(view(&w, b).attempt, 1);
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

TEST(a_refresh_confirms_nothing)
{
	struct world w;
	struct ev ev;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger(&w);
	stream(&w, EV_STREAM_UP, 1, 2);
	ev = about(EV_REFRESH, id);
	ev.ms = 15000;
	step(&w, &ev);
	CHECK_EQ(only(&w, FX_TOUCH)->due_at, w.now.wall_us + 75 * (int64_t)SECOND_US);
	pass(&w, 5 * SECOND_US);
	CHECK_EQ(only(&w, FX_RETRY)->status, ATTEMPT_LOST);
	end(&w);
}

/* The clock of the day may jump; what is due first still decides how the attempt ends. */
TEST(timeout_before_confirmation)
{
	struct world w;
	int64_t id;

	start(&w, 0);
	up(&w, 1, 1);
	id = trigger_step(&w, STEP_RETRY, 3);
	for (int s = 0; s < 57; s++) {
		pass(&w, SECOND_US);
		beat(&w, 1);
	}
	stream(&w, EV_STREAM_UP, 1, 2);
	w.now.wall_us -= 3600 * (int64_t)SECOND_US;
	pass(&w, 3 * SECOND_US);
	CHECK_EQ(only(&w, FX_RETRY)->status, ATTEMPT_TIMED_OUT);
	CHECK_EQ(view(&w, id).attempt, 1);
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
