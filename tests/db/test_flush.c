/* The flush and its owner against a real server: what is stored, and what happens when the connection or the row is lost. */
#include "storefix.h"

static int64_t count(struct fix *f, const char *what)
{
	char sql[200];

	snprintf(sql, sizeof(sql), "select count(*) from hatchet.%s", what);
	return pgnode_int(f->url, sql);
}

TEST(life_of_a_task)
{
	struct fix f;
	int64_t id;
	struct flush_end e;
	struct flush_live l;

	fix_active(&f, pgnode_new_db(), NULL);
	id = fix_id(&f, 1);
	fix_put(&f, id, 0);
	CHECK_EQ(flush_rows(f.flush), 2);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(count(&f, "live where state = 0 and worker_no is null and shard = 1 and rank = 3"), 1);

	flush_reset(f.flush);
	flush_assign(f.flush, 1, id, 5, f.now_us, f.now_us + 1000, 0);
	flush_start(f.flush, 1, id, f.now_us);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(count(&f, "live where state = 2 and worker_no = 5 and started_at is not null"), 1);

	flush_reset(f.flush);
	flush_touch(f.flush, 1, id, f.now_us + 5000, false);
	flush_touch(f.flush, 1, id, INT64_MIN, true);
	CHECK_EQ(flush_rows(f.flush), 1);
	flush_note(f.flush, 1, id, 0, f.now_us, NOTE_SLOT_RELEASED, STR("x"));
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(count(&f, "live where flags = 1 and due_at > assigned_at"), 1);
	CHECK_EQ(count(&f, "note where kind = 2 and body = 'x'"), 1);

	flush_reset(f.flush);
	e = fix_end(&f, id, ATTEMPT_FAILED);
	l = fix_live(&f, id, LIVE_BACKOFF);
	l.attempt = 1;
	l.app_retries = 1;
	l.rank = 0;
	flush_retry(f.flush, &e, &l);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(count(&f, "live where state = 3 and attempt = 1 and rank = 0 and worker_no is null and flags = 0"), 1);
	CHECK_EQ(count(&f, "attempt where status = 1 and convert_from(error, 'UTF8') = 'boom' and output is null"), 1);
	CHECK_EQ(count(&f, "stat_minute"), 1);
	CHECK_EQ(count(&f, "stat_minute where status = 8 and n = 1 and workflow_no = 7"), 1);

	flush_reset(f.flush);
	flush_requeue(f.flush, 1, id, f.now_us, f.now_us + 7000);
	flush_assign(f.flush, 1, id, 6, f.now_us, f.now_us + 1000, 0);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(count(&f, "live where state = 1 and worker_no = 6"), 1);

	flush_reset(f.flush);
	flush_void_start(f.flush, flush_start(f.flush, 1, id, f.now_us));
	e = fix_end(&f, id, ATTEMPT_COMPLETED);
	e.attempt = 1;
	flush_end(f.flush, &e);
	CHECK_EQ(flush_rows(f.flush), 1);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(count(&f, "live"), 0);
	CHECK_EQ(count(&f, "attempt where attempt = 1 and status = 0 and worker_no = 5 and error is null"), 1);
	CHECK_EQ(count(&f, "stat_minute where status = 2 and n = 1 and run_us = 2000 and workflow_no = 7"), 1);
	CHECK_EQ(count(&f, "task where metadata ->> 'k' = 'v' and child_index is null and parent_id is null"), 1);
	fix_close(&f);
}

TEST(minutes_are_summed)
{
	struct fix f;

	fix_active(&f, pgnode_new_db(), NULL);
	for (int round = 0; round < 2; round++) {
		flush_reset(f.flush);
		for (unsigned i = 0; i < 6; i++) {
			struct flush_end e = fix_end(&f, fix_id(&f, 10 * (unsigned)round + i), i % 2 ? ATTEMPT_TIMED_OUT : ATTEMPT_COMPLETED);

			e.finished_at = 1800000000000000;
			e.started_at = e.finished_at - 10;
			flush_end(f.flush, &e);
		}
		CHECK_EQ(fix_flush(&f), ERR_OK);
	}
	CHECK_EQ(count(&f, "stat_minute"), 4);
	CHECK_EQ(count(&f, "stat_minute where status in (10, 11) and n = 6 and minute < now()"), 2);
	CHECK_EQ(count(&f, "stat_minute where status = 2 and n = 6 and run_us = 60"), 1);
	CHECK_EQ(count(&f, "stat_minute where status = 3 and n = 6"), 1);
	/* a replay takes an end back, as far as the minute of creation goes */
	flush_reset(f.flush);
	flush_taken_up(f.flush, 1, fix_id(&f, 0));
	flush_taken_up(f.flush, 1, fix_id(&f, 999));
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(count(&f, "stat_minute where status = 10 and n = 5"), 1);
	CHECK_EQ(count(&f, "stat_minute where status = 2 and n = 6"), 1);
	fix_close(&f);
}

TEST(load_moves_the_best)
{
	struct fix f;
	struct loaded_row *rows;
	struct flush_end e;

	fix_active(&f, pgnode_new_db(), NULL);
	for (unsigned i = 0; i < 10; i++)
		fix_put_tail(&f, fix_id(&f, 9 - i));
	flush_load(f.flush, 1, 10, 3, 0, 4);
	flush_load(f.flush, 1, 10, 1, 0, 4);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(flush_loads(f.flush), 2);
	CHECK_EQ(flush_loaded(f.flush, 0, f.a, &rows), 4);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(rows[i].id, fix_id(&f, i));
	CHECK_EQ(rows[0].step_no, 9);
	CHECK_EQ(rows[0].schedule_ms, 300000);
	CHECK_EQ(rows[0].exec_ms, 60000);
	CHECK_EQ(rows[0].queued_at, f.now_us);
	CHECK(rows[0].has_payload);
	CHECK_STR(rows[0].input, "{\"n\":1}");
	CHECK_EQ(rows[0].child_index, -1);
	CHECK_EQ(flush_loaded(f.flush, 1, f.a, &rows), 0);
	CHECK_EQ(count(&f, "live where state = 0"), 4);
	CHECK_EQ(count(&f, "queue_item"), 6);
	CHECK_EQ(count(&f, "tail_depth where step_no = 9 and n = 6"), 1);

	flush_reset(f.flush);
	e = fix_end(&f, fix_id(&f, 9), ATTEMPT_CANCELLED);
	e.step_no = 9;
	e.in_tail = true;
	e.worker_no = 0;
	flush_end(f.flush, &e);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(count(&f, "queue_item"), 5);
	CHECK_EQ(count(&f, "attempt where status = 2 and worker_no is null"), 1);
	CHECK_EQ(count(&f, "tail_depth where step_no = 9 and n = 5"), 1);
	/* an end of what is not there takes nothing away */
	CHECK_EQ(fix_flush(&f), ERR_EXISTS);
	flush_reset(f.flush);
	e.attempt = 1;
	flush_end(f.flush, &e);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(count(&f, "tail_depth where step_no = 9 and n = 5"), 1);
	fix_close(&f);
}

TEST(load_skips_locked_rows)
{
	struct fix f;
	struct loaded_row *rows;
	struct db_sync *c;
	struct err err;

	fix_active(&f, pgnode_new_db(), NULL);
	for (unsigned i = 0; i < 3; i++)
		fix_put_tail(&f, fix_id(&f, i));
	CHECK_EQ(fix_flush(&f), ERR_OK);
	c = db_sync_open(f.url, &err);
	CHECK(c && db_sync_exec(c, "begin; select 1 from hatchet.queue_item order by id limit 1 for update", &err));
	flush_reset(f.flush);
	flush_load(f.flush, 1, 10, 3, 0, 10);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(flush_loaded(f.flush, 0, f.a, &rows), 2);
	CHECK_EQ(rows[0].id, fix_id(&f, 1));
	db_sync_close(c);
	fix_close(&f);
}

TEST(bad_data_is_refused_whole)
{
	struct fix f;
	struct flush_task t;
	int64_t id;

	fix_active(&f, pgnode_new_db(), NULL);
	id = fix_id(&f, 1);
	fix_put(&f, id, 0);
	t = fix_task(&f, fix_id(&f, 2));
	t.metadata = STR("{\"a\":\"\\u0000\"}");
	flush_task(f.flush, &t);
	CHECK_EQ(fix_flush(&f), ERR_INVALID);
	CHECK_EQ(count(&f, "task"), 0);
	CHECK_EQ(count(&f, "live"), 0);
	CHECK(owner_state(f.owner) == OWNER_ACTIVE);
	flush_reset(f.flush);
	fix_put(&f, id, 0);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	flush_reset(f.flush);
	fix_put(&f, id, 0);
	CHECK_EQ(fix_flush(&f), ERR_EXISTS);
	/* an id without a partition */
	flush_reset(f.flush);
	fix_put(&f, 5, 0);
	CHECK_EQ(fix_flush(&f), ERR_INVALID);
	CHECK_EQ(pgnode_int(f.url, "select flush_no from hatchet.engine"), 1);
	fix_close(&f);
}

TEST(read_only_database_sheds)
{
	struct fix f;

	fix_active(&f, pgnode_new_db(), NULL);
	fix_put(&f, fix_id(&f, 1), 0);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	pgnode_exec(f.url, "alter system set default_transaction_read_only = on");
	pgnode_exec(f.url, "select pg_reload_conf()");
	enum err_code code = ERR_OK;
	for (unsigned i = 2; code == ERR_OK; i++) {
		/* the setting reaches the session within moments */
		flush_reset(f.flush);
		fix_put(&f, fix_id(&f, i), 0);
		code = fix_flush(&f);
	}
	CHECK_EQ(code, ERR_EXHAUSTED);
	CHECK(owner_state(f.owner) == OWNER_ACTIVE);
	pgnode_exec(f.url, "alter system reset default_transaction_read_only");
	pgnode_exec(f.url, "select pg_reload_conf()");
	while (code == ERR_EXHAUSTED)
		code = fix_flush(&f);
	CHECK_EQ(code, ERR_OK);
	fix_close(&f);
}

TEST(lost_fence_aborts)
{
	struct fix f;

	fix_active(&f, pgnode_new_db(), NULL);
	pgnode_exec(f.url, "update hatchet.engine set epoch = epoch + 1, ended_at = now()");
	fix_put(&f, fix_id(&f, 1), 0);
	CHECK_EQ(fix_flush(&f), ERR_ABORTED);
	CHECK_EQ(count(&f, "task"), 0);
	/* alone, so it owns again, as a new engine */
	CHECK(wait_until(f.loop, fix_is_active, &f, 5000));
	CHECK_EQ(f.n_states, 3);
	CHECK_EQ(f.states[1], OWNER_STANDBY);
	CHECK_EQ(count(&f, "engine"), 2);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	CHECK_EQ(count(&f, "live"), 1);
	fix_close(&f);
}

static void lose_then_settle(void (*lose)(struct pgproxy *p), size_t bytes_min)
{
	struct fix f;
	struct pgproxy *p = pgproxy_new();
	const char *url = pgnode_new_db();
	struct loaded_row *rows;

	fix_active(&f, url, pgproxy_url(p, url));
	for (unsigned i = 0; i < 200; i++)
		fix_put_tail(&f, fix_id(&f, i));
	CHECK_EQ(fix_flush(&f), ERR_OK);
	for (unsigned round = 0; round < 3; round++) {
		flush_reset(f.flush);
		for (unsigned i = 0; i < 100; i++)
			fix_put(&f, fix_id(&f, 1000 + 100 * round + i), 1);
		flush_load(f.flush, 1, 10, 3, 0, 50);
		pgproxy_only(p, bytes_min);
		lose(p);
		CHECK_EQ(fix_flush(&f), ERR_OK);
		CHECK_EQ(pgproxy_losses(p), round + 1);
		CHECK_EQ(flush_loaded(f.flush, 0, f.a, &rows), 50);
		CHECK_EQ(rows[0].id, fix_id(&f, 50 * round));
		CHECK_EQ(rows[49].id, fix_id(&f, 50 * round + 49));
	}
	/* one more: a connection that broke behind its reply is noticed then */
	flush_reset(f.flush);
	fix_put(&f, fix_id(&f, 5000), 1);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	/* never left ACTIVE, nothing twice, nothing missing */
	CHECK_EQ(f.n_states, 1);
	CHECK_EQ(count(&f, "task"), 501);
	CHECK_EQ(count(&f, "live where state = 1"), 301);
	CHECK_EQ(count(&f, "live where state = 0"), 150);
	CHECK_EQ(count(&f, "queue_item"), 50);
	CHECK_EQ(pgnode_int(f.url, "select flush_no from hatchet.engine"), 5);
	CHECK_EQ(pgnode_int(f.url, "select epoch from hatchet.engine"), 4);
	fix_close(&f);
}

TEST(request_lost)
{
	lose_then_settle(pgproxy_lose_request, 1000);
}

TEST(request_half_lost)
{
	lose_then_settle(pgproxy_lose_half, 1000);
}

TEST(reply_lost)
{
	lose_then_settle(pgproxy_lose_reply, 1);
}

TEST(backends_terminated_under_load)
{
	struct fix f;
	int64_t sent = 0;

	fix_active(&f, pgnode_new_db(), NULL);
	for (unsigned round = 0; round < 60; round++) {
		struct wait_op w;

		flush_reset(f.flush);
		for (unsigned i = 0; i < 50; i++)
			fix_put(&f, fix_id(&f, 100 * round + i), 0);
		wait_init(&w, f.loop);
		owner_flush(f.owner, f.flush, &w.op);
		if (round % 3 == 0)
			pgnode_exec(f.url, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
				    " and application_name = 'hatchet' and query not like '%pg_terminate%'");
		wait_ok(&w);
		sent += 50;
	}
	CHECK_EQ(count(&f, "task"), sent);
	CHECK_EQ(count(&f, "live"), sent);
	CHECK_EQ(f.n_states, 1);
	CHECK(f.n_down > 5);
	fix_close(&f);
}

static bool is_standby(void *arg)
{
	return owner_state(((struct fix *)arg)->owner) == OWNER_STANDBY;
}

TEST(standby_takes_over)
{
	struct fix a, b;
	struct pgproxy *p = pgproxy_new();
	const char *url = pgnode_new_db();
	int64_t started;
	struct wait_op w;

	fix_active(&a, url, pgproxy_url(p, url));
	fix_put(&a, fix_id(&a, 1), 0);
	CHECK_EQ(fix_flush(&a), ERR_OK);
	fix_open(&b, url, NULL, a.loop);
	CHECK(wait_until(a.loop, is_standby, &b, 5000));
	CHECK_STR(owner_active_address(b.owner), "here:7077");

	/* the owner's way to the database is gone: as if its machine were */
	pgproxy_refuse(p, true);
	flush_reset(a.flush);
	fix_put(&a, fix_id(&a, 2), 0);
	pgproxy_only(p, 1000);
	pgproxy_lose_request(p);
	wait_init(&w, a.loop);
	owner_flush(a.owner, a.flush, &w.op);
	started = loop_mono_us();
	CHECK(wait_until(a.loop, fix_is_active, &b, 5000));
	CHECK(loop_mono_us() - started < 5000000);
	CHECK(!w.is_done);
	fix_put(&b, fix_id(&b, 3), 0);
	CHECK_EQ(fix_flush(&b), ERR_OK);

	/* the old owner comes back and must know that it is none */
	pgproxy_refuse(p, false);
	wait_for_op(&w);
	CHECK_EQ(w.err.code, ERR_ABORTED);
	CHECK(wait_until(a.loop, is_standby, &a, 5000));
	CHECK_EQ(count(&b, "task"), 2);
	CHECK_EQ(pgnode_int(url, "select count(distinct engine_id) from hatchet.shard"), 1);

	/* a clean end hands over at the next try */
	wait_init(&w, a.loop);
	owner_end(b.owner, &w.op);
	wait_ok(&w);
	CHECK_EQ(owner_state(b.owner), OWNER_ENDED);
	CHECK(wait_until(a.loop, fix_is_active, &a, 3000));
	fix_close(&b);
	fix_close(&a);
}

TEST(two_start_at_once)
{
	struct fix a, b;
	const char *url = pgnode_new_db();

	fix_open(&a, url, NULL, NULL);
	fix_open(&b, url, NULL, a.loop);
	CHECK(wait_until(a.loop, fix_is_active, &a, 3000) || wait_until(a.loop, fix_is_active, &b, 3000));
	CHECK(wait_until(a.loop, is_standby, fix_is_active(&a) ? &b : &a, 3000));
	CHECK(fix_is_active(&a) != fix_is_active(&b));
	fix_close(&b);
	fix_close(&a);
}

TEST(end_waits_for_the_flush)
{
	struct fix f;
	struct wait_op w, e;

	fix_active(&f, pgnode_new_db(), NULL);
	fix_put(&f, fix_id(&f, 1), 0);
	wait_init(&w, f.loop);
	wait_init(&e, f.loop);
	owner_flush(f.owner, f.flush, &w.op);
	owner_end(f.owner, &e.op);
	wait_ok(&e);
	CHECK(w.is_done && w.ok);
	CHECK_EQ(count(&f, "engine where ended_at is not null"), 1);
	CHECK_EQ(count(&f, "shard where engine_id is not null"), 0);
	fix_close(&f);
}

/* last of the program: it takes the server down */
TEST(zz_server_crash)
{
	struct fix f;
	struct wait_op w;

	fix_active(&f, pgnode_new_db(), NULL);
	fix_put(&f, fix_id(&f, 1), 0);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	flush_reset(f.flush);
	fix_put(&f, fix_id(&f, 2), 0);
	pgnode_crash();
	wait_init(&w, f.loop);
	owner_flush(f.owner, f.flush, &w.op);
	pgnode_restart();
	wait_ok(&w);
	CHECK_EQ(count(&f, "live"), 2);
	CHECK_EQ(f.n_states, 1);
	fix_close(&f);
}
