/* The timeline of a task, and the checks of a trigger's texts. */
#include "../../src/api/api_int.h"
#include "tap.h"

enum { T0 = 1000000 };

static int64_t an_id(void)
{
	return id_make(ID_EPOCH_MS + 5000, 1, 7);
}

static int64_t created(void)
{
	return id_unix_ms(an_id()) * 1000;
}

static struct task_view a_task(void)
{
	return (struct task_view){.id = an_id(), .run_id = an_id(), .tenant_no = 1, .live_state = -1, .live_queued_at = INT64_MIN,
		.live_assigned_at = INT64_MIN, .live_started_at = INT64_MIN, .live_due_at = INT64_MIN};
}

static struct attempt_view an_attempt(int16_t no, int16_t status, int64_t from)
{
	return (struct attempt_view){.attempt = no, .status = status, .worker_no = 3, .queued_at = created() + from,
		.assigned_at = created() + from + 1, .started_at = created() + from + 2, .finished_at = created() + from + 3};
}

static void is(const struct tl_event *e, const char *kind, int attempt)
{
	CHECK_STR(tl_name(e->kind), kind);
	CHECK_EQ(e->attempt, attempt);
}

TEST(completed_at_once)
{
	struct arena *a = arena_new(1 << 20);
	struct task_view t = a_task();
	struct attempt_view v = an_attempt(0, ATTEMPT_COMPLETED, 0);
	struct tl_event *e;

	v.output = STR("{\"a\":1}");
	t.attempts = &v;
	t.n_attempts = 1;
	CHECK_EQ(timeline(a, &t, NULL, 0, &e), 6);
	is(&e[0], "CREATED", 0);
	is(&e[1], "QUEUED", 0);
	is(&e[2], "ASSIGNED", 0);
	is(&e[3], "SENT_TO_WORKER", 0);
	is(&e[4], "STARTED", 0);
	is(&e[5], "FINISHED", 0);
	CHECK_STR(e[5].output, "{\"a\":1}");
	CHECK_EQ(e[5].worker_no, 3);
	arena_free(a);
}

TEST(retry_after_failure)
{
	struct arena *a = arena_new(1 << 20);
	struct task_view t = a_task();
	struct attempt_view v[] = {an_attempt(0, ATTEMPT_FAILED, 0), an_attempt(1, ATTEMPT_TIMED_OUT, 10)};
	struct tl_event *e;
	size_t n;

	v[0].error = STR("boom");
	t.attempts = v;
	t.n_attempts = 2;
	n = timeline(a, &t, NULL, 0, &e);
	CHECK_EQ(n, 12);
	is(&e[5], "FAILED", 0);
	CHECK_STR(e[5].error, "boom");
	is(&e[6], "RETRYING", 1);
	is(&e[7], "QUEUED", 1);
	is(&e[8], "ASSIGNED", 1);
	is(&e[11], "TIMED_OUT", 1);	/* the last one: nothing follows */
	arena_free(a);
}

TEST(lost_worker)
{
	struct arena *a = arena_new(1 << 20);
	struct task_view t = a_task();
	struct attempt_view v = an_attempt(0, ATTEMPT_LOST, 0);
	struct tl_event *e;

	t.attempts = &v;
	t.n_attempts = 1;
	t.live_state = LIVE_STARTED;
	t.live_attempt = 1;
	t.live_worker_no = 9;
	t.live_queued_at = created() + 20;
	t.live_assigned_at = created() + 21;
	t.live_started_at = created() + 22;
	CHECK_EQ(timeline(a, &t, NULL, 0, &e), 10);
	is(&e[5], "REASSIGNED", 1);
	is(&e[6], "QUEUED", 1);
	is(&e[7], "ASSIGNED", 1);
	CHECK_EQ(e[7].worker_no, 9);
	is(&e[9], "STARTED", 1);
	/* lost for the last time: a failure, and no next attempt */
	t.live_state = -1;
	CHECK_EQ(timeline(a, &t, NULL, 0, &e), 6);
	is(&e[5], "FAILED", 0);
	arena_free(a);
}

TEST(backoff_is_not_queued)
{
	struct arena *a = arena_new(1 << 20);
	struct task_view t = a_task();
	struct attempt_view v = an_attempt(0, ATTEMPT_FAILED, 0);
	struct tl_event *e;

	t.attempts = &v;
	t.n_attempts = 1;
	t.live_state = LIVE_BACKOFF;
	t.live_attempt = 1;
	t.live_queued_at = created() + 50;
	CHECK_EQ(timeline(a, &t, NULL, 0, &e), 7);
	is(&e[6], "RETRYING", 1);
	arena_free(a);
}

/* An end that was final and has a next attempt was taken up again by a replay; retries are counted anew. */
TEST(replay)
{
	struct arena *a = arena_new(1 << 20);
	struct task_view t = a_task();
	struct attempt_view v[] = {an_attempt(0, ATTEMPT_FAILED, 0), an_attempt(1, ATTEMPT_FAILED, 10), an_attempt(2, ATTEMPT_FAILED, 500000)};
	struct tl_event *e;
	size_t n;

	v[1].is_final = true;
	t.attempts = v;
	t.n_attempts = 3;
	t.live_state = LIVE_QUEUED;
	t.live_attempt = 3;
	t.live_queued_at = created() + 500003;
	n = timeline(a, &t, NULL, 0, &e);
	CHECK_EQ(n, 20);
	is(&e[6], "RETRYING", 1);
	CHECK_STR(e[6].message, "retry 1");
	is(&e[11], "FAILED", 1);
	is(&e[12], "RETRIED_BY_USER", 2);
	CHECK_EQ(e[12].at, created() + 500000);
	is(&e[13], "QUEUED", 2);
	is(&e[18], "RETRYING", 3);
	CHECK_STR(e[18].message, "retry 1");
	t.live_state = LIVE_BACKOFF;
	t.live_due_at = v[2].finished_at + 2500000;
	n = timeline(a, &t, NULL, 0, &e);
	CHECK_EQ(n, 19);
	CHECK(str_starts(e[18].message, STR("retry 1 in 2.5s, at 2024-01-01T00:00:08")));
	arena_free(a);
}

TEST(never_assigned)
{
	struct arena *a = arena_new(1 << 20);
	struct task_view t = a_task();
	struct attempt_view v = an_attempt(0, ATTEMPT_SCHEDULE_TIMED_OUT, 0);
	struct tl_event *e;

	v.assigned_at = v.started_at = INT64_MIN;
	v.worker_no = 0;
	t.attempts = &v;
	t.n_attempts = 1;
	CHECK_EQ(timeline(a, &t, NULL, 0, &e), 3);
	is(&e[2], "SCHEDULING_TIMED_OUT", 0);
	arena_free(a);
}

TEST(notes_take_their_place)
{
	struct arena *a = arena_new(1 << 20);
	struct task_view t = a_task();
	struct attempt_view v = an_attempt(0, ATTEMPT_COMPLETED, 0);
	struct note_view notes[] = {
		{.at = created() + 2, .kind = NOTE_SLOT_RELEASED, .body = STR("by the task")},
		{.at = created() + 2, .kind = NOTE_CANCEL_REQUESTED},
		{.at = created() + 1, .kind = NOTE_TIMEOUT_REFRESHED},
	};
	struct tl_event *e;

	t.attempts = &v;
	t.n_attempts = 1;
	CHECK_EQ(timeline(a, &t, notes, ARRAY_LEN(notes), &e), 8);
	is(&e[4], "TIMEOUT_REFRESHED", 0);
	is(&e[6], "SLOT_RELEASED", 0);
	CHECK_STR(e[6].message, "by the task");
	is(&e[7], "FINISHED", 0);
	arena_free(a);
}

TEST(trigger_texts)
{
	struct trigger_args t = {.input = STR("{\"a\":1}"), .child_index = -1};
	struct str input, meta;
	struct err err;

	CHECK(trigger_check_texts(&t, T0, &input, &meta, &err));
	CHECK_STR(input, "{\"a\":1}");
	CHECK(!meta.p);
	t.metadata = STR("null");
	CHECK(trigger_check_texts(&t, T0, &input, &meta, &err));
	CHECK(!meta.p);
	t.metadata = STR("[]");
	CHECK(!trigger_check_texts(&t, T0, &input, &meta, &err));
	CHECK_EQ(err.code, ERR_INVALID);
	CHECK(str_starts(str_c(err.msg), STR("additional_metadata")));
	t.metadata = STR_NULL;
	t.input = STR("{\"a\":\"\\u0000\"}");
	CHECK(!trigger_check_texts(&t, T0, &input, &meta, &err));
	CHECK(str_starts(str_c(err.msg), STR("input")));
	t.input = STR("");
	t.has_priority = true;
	t.priority = 4;
	CHECK(!trigger_check_texts(&t, T0, &input, &meta, &err));
	CHECK(str_starts(str_c(err.msg), STR("priority")));
	t.priority = 3;
	CHECK(trigger_check_texts(&t, T0, &input, &meta, &err));
}

TEST(trigger_size)
{
	struct trigger_args t = {.input = STR("\"0123456789\""), .child_index = -1};
	struct str input, meta;
	struct err err;

	CHECK(trigger_check_texts(&t, (64 << 10) + 12, &input, &meta, &err));
	CHECK(!trigger_check_texts(&t, (64 << 10) + 11, &input, &meta, &err));
	CHECK_EQ(err.code, ERR_EXHAUSTED);
	CHECK_STR(err.msg, "input and additional_metadata have 12 bytes, at most 11 are allowed");
}

TEST(texts_lose_their_nuls)
{
	struct arena *a = arena_new(1 << 20);
	struct str s;

	CHECK(api_clean_text(a, (struct str){"a\0b\0", 4}, &s));
	CHECK_STR(s, "ab");
	CHECK(!api_clean_text(a, STR("\xff"), &s));
	CHECK(api_clean_text(a, STR_NULL, &s));
	CHECK_STR(api_lower(a, STR("AbZ:9")), "abz:9");
	arena_free(a);
}
