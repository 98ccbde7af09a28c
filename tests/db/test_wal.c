/* Bytes of WAL per task through its whole life, in batches of 1000: the price of the schema, kept from creeping up.
 * 200 B in, 100 B out, STARTED stored by itself. */
#include "storefix.h"

#include <stdlib.h>

#define BATCH 1000
#define ROUNDS 20
enum way { BORN_ASSIGNED, HEAD, TAIL };

static int64_t wal_at(struct fix *f)
{
	return pgnode_int(f->url, "select (pg_current_wal_insert_lsn() - '0/0')::int8");
}

static void must_flush(struct fix *f)
{
	CHECK_EQ(fix_flush(f), ERR_OK);
	flush_reset(f->flush);
}

static void one_batch(struct fix *f, enum way way, unsigned from)
{
	static char in[201], out[101];

	memset(in, 'x', 200);
	memset(out, 'y', 100);
	for (unsigned i = 0; i < BATCH; i++) {
		struct flush_task t = fix_task(f, fix_id(f, from + i));
		struct flush_live l = fix_live(f, t.id, way == BORN_ASSIGNED ? 1 : 0);

		t.input = str_c(in);
		t.metadata = STR_NULL;
		t.worker_no = l.worker_no;
		flush_task(f->flush, &t);
		if (way == TAIL)
			flush_tail(f->flush, &l);
		else
			flush_live(f->flush, &l);
	}
	must_flush(f);
	if (way == TAIL) {
		flush_load(f->flush, 1, 10, 3, 0, BATCH);
		must_flush(f);
	}
	if (way != BORN_ASSIGNED) {
		for (unsigned i = 0; i < BATCH; i++)
			flush_assign(f->flush, 1, fix_id(f, from + i), 5, f->now_us, f->now_us + 60000000, 0);
		must_flush(f);
	}
	for (unsigned i = 0; i < BATCH; i++)
		flush_start(f->flush, 1, fix_id(f, from + i), f->now_us);
	must_flush(f);
	for (unsigned i = 0; i < BATCH; i++) {
		struct flush_end e = fix_end(f, fix_id(f, from + i), ATTEMPT_COMPLETED);

		e.output = str_c(out);
		flush_end(f->flush, &e);
	}
	must_flush(f);
}

static void measure(enum way way, int64_t limit)
{
	struct fix f;
	int64_t wal, us, per;

	fix_active(&f, pgnode_new_db(), NULL);
	one_batch(&f, way, 0);	/* pages exist, plans are made */
	wal = wal_at(&f);
	us = loop_mono_us();
	for (unsigned r = 1; r <= ROUNDS; r++)
		one_batch(&f, way, r * BATCH);
	us = loop_mono_us() - us;
	per = (wal_at(&f) - wal) / (ROUNDS * BATCH);
	printf("# %lld B of WAL per task (at most %lld), %lld tasks/s\n", (long long)per, (long long)limit,
	       (long long)(ROUNDS * BATCH * 1000000LL / us));
	CHECK(per <= limit);
	CHECK_EQ(pgnode_int(f.url, "select count(*) from hatchet.attempt"), (ROUNDS + 1) * BATCH);
	CHECK_EQ(pgnode_int(f.url, "select count(*) from hatchet.live"), 0);
	fix_close(&f);
}

TEST(born_assigned)
{
	measure(BORN_ASSIGNED, 1200);
}

TEST(through_the_head)
{
	measure(HEAD, 1320);
}

TEST(through_the_tail)
{
	measure(TAIL, 1640);
}
