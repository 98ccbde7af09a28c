/* Ids and statuses. */
#include "base/rand.h"
#include "model/id.h"
#include "model/model.h"
#include "tap.h"

TEST(id_parts)
{
	int64_t id = id_make(ID_EPOCH_MS + 5, 64 + 3, 0xffff);
	CHECK_EQ(id, 5LL << 22 | 3LL << 16 | 0xffff);
	CHECK_EQ(id_unix_ms(id), ID_EPOCH_MS + 5);
	CHECK(id_make(ID_EPOCH_MS + 1, 0, 0) > id_make(ID_EPOCH_MS, 63, 0xffff));
}

TEST(id_uuid_layout)
{
	struct id_secret s = {{1, 2, 3}};
	struct uuid u;
	char out[UUID_TEXT + 1];

	id_to_uuid(&s, id_make(0x019012345678, 0x2a, 0xf0ff), &u);
	uuid_format(&u, out);
	/* 48 bit time, 7, shard 101010 counter 111100, variant 10 and 0011111111 */
	CHECK(str_starts(str_c(out), STR("01901234-5678-7abc-8ff")));
}

TEST(id_uuid_both_ways)
{
	struct id_secret s = {{9}}, other = {{8}};
	struct rand64 r;
	struct uuid u;
	int64_t back;

	rand_seed(&r, 7);
	for (int i = 0; i < 2000; i++) {
		int64_t id = (int64_t)(rand_u64(&r) >> 1);
		id_to_uuid(&s, id, &u);
		CHECK(id_from_uuid(&s, &u, &back));
		CHECK_EQ(back, id);
		CHECK(!id_from_uuid(&other, &u, &back));
		size_t bit = rand_range(&r, 128);
		u.b[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		CHECK(!id_from_uuid(&s, &u, &back));
	}
	memset(&u, 0, sizeof(u));
	CHECK(!id_from_uuid(&s, &u, &back));
	memset(&u, 0xff, sizeof(u));
	CHECK(!id_from_uuid(&s, &u, &back));
}

TEST(status)
{
	enum run_status st;
	CHECK_EQ(run_status_of(LIVE_QUEUED, false, -1), RUN_QUEUED);
	CHECK_EQ(run_status_of(LIVE_ASSIGNED, false, ATTEMPT_FAILED), RUN_RUNNING);
	CHECK_EQ(run_status_of(LIVE_STARTED, false, -1), RUN_RUNNING);
	CHECK_EQ(run_status_of(LIVE_BACKOFF, false, ATTEMPT_FAILED), RUN_QUEUED);
	CHECK_EQ(run_status_of(LIVE_HELD, false, -1), RUN_QUEUED);
	CHECK_EQ(run_status_of(-1, true, ATTEMPT_LOST), RUN_QUEUED);
	CHECK_EQ(run_status_of(-1, false, ATTEMPT_COMPLETED), RUN_COMPLETED);
	CHECK_EQ(run_status_of(-1, false, ATTEMPT_CANCELLED), RUN_CANCELLED);
	CHECK_EQ(run_status_of(-1, false, ATTEMPT_TIMED_OUT), RUN_FAILED);
	CHECK_EQ(run_status_of(-1, false, ATTEMPT_SCHEDULE_TIMED_OUT), RUN_FAILED);
	CHECK_STR(run_status_name(RUN_CANCELLED), "CANCELLED");
	CHECK(run_status_parse(STR("running"), &st) && st == RUN_RUNNING);
	CHECK(!run_status_parse(STR("EVICTED"), &st));
	CHECK_STR(sdk_language_name(3), "TYPESCRIPT");
	CHECK(!sdk_language_name(0) && !sdk_language_name(5) && !sdk_language_name(-1));
	CHECK_EQ(rank_of_priority(3), 1);
}
