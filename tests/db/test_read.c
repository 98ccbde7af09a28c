/* What the API is shown, against rows written by flushes. */
#include "storefix.h"

#include "store/read.h"

static struct read_tasks runs(struct fix *f, struct run_filter filter)
{
	struct read_tasks ret = {0};
	struct wait_op w;

	filter.tenant_no = filter.tenant_no ? filter.tenant_no : 1;
	filter.until_us = filter.until_us ? filter.until_us : INT64_MAX;
	filter.limit = filter.limit ? filter.limit : 100;
	wait_init(&w, f->loop);
	read_runs(f->db, f->a, &filter, &ret, &w.op);
	wait_ok(&w);
	return ret;
}

static struct status_counts counts(struct fix *f, struct run_filter filter)
{
	struct status_counts ret;
	struct wait_op w;

	filter.tenant_no = 1;
	filter.until_us = filter.until_us ? filter.until_us : INT64_MAX;
	wait_init(&w, f->loop);
	read_counts(f->db, f->a, &filter, &ret, &w.op);
	wait_ok(&w);
	return ret;
}

static struct read_tasks tasks(struct fix *f, int32_t tenant, const int64_t *ids, uint32_t n, unsigned flags)
{
	struct read_tasks ret = {0};
	struct wait_op w;

	wait_init(&w, f->loop);
	read_tasks(f->db, f->a, tenant, ids, n, flags, &ret, &w.op);
	wait_ok(&w);
	return ret;
}

static void put(struct fix *f, unsigned n, int32_t workflow, struct str meta, int state)
{
	struct flush_task t = fix_task(f, fix_id(f, n));
	struct flush_live l = fix_live(f, t.id, state < 0 ? 0 : state);

	t.workflow_no = t.step_no = l.step_no = workflow;
	t.metadata = meta;
	t.worker_no = l.worker_no;
	if (n % 5 == 4)
		t.parent_id = fix_id(f, 1);
	flush_task(f->flush, &t);
	if (state < 0)
		flush_tail(f->flush, &l);
	else
		flush_live(f->flush, &l);
}

static void end(struct fix *f, unsigned n, int status, int attempt)
{
	struct flush_end e = fix_end(f, fix_id(f, n), status);

	e.attempt = (int16_t)attempt;
	e.workflow_no = n < 9 && n % 2 == 0 ? 8 : 7;
	flush_end(f->flush, &e);
}

/* 0 queued, 1 running, 2 completed, 3 failed after a retry, 4 cancelled, 5 in the tail, 6 queued for a retry, 7 completed
 * after a failure, 8 schedule timed out */
static void fill(struct fix *f)
{
	struct flush_end e;
	struct flush_live l;

	fix_active(f, pgnode_new_db(), NULL);
	pgnode_exec(f->url, "insert into hatchet.action (tenant_no, name) select 1, 'a' || i from generate_series(1, 12) i;"
		    "insert into hatchet.workflow (tenant_no, name) select 1, 'w' || i from generate_series(1, 8) i;"
		    "insert into hatchet.workflow_version (workflow_no, ordinal, checksum, definition) select i, 1, '', '' from generate_series(1, 8) i;"
		    "insert into hatchet.step (version_no, position, readable_id, action_no, exec_ms, schedule_ms, slot_types, slot_units)"
		    " select i, i, 's', 10, 1, 90000, '{}', '{}' from generate_series(1, 8) i");
	for (unsigned i = 0; i < 9; i++)
		put(f, i, i % 2 ? 7 : 8, i % 3 ? STR("{\"team\":\"red\",\"n\":\"1\"}") : STR("{\"team\":\"blue\"}"), i == 1 ? 1 : i == 5 ? -1 : 0);
	CHECK_EQ(fix_flush(f), ERR_OK);
	flush_reset(f->flush);
	for (unsigned i = 3; i <= 7; i++) {
		if (i == 4 || i == 5)
			continue;
		e = fix_end(f, fix_id(f, i), ATTEMPT_FAILED);
		l = fix_live(f, fix_id(f, i), 0);
		l.attempt = 1;
		l.rank = 0;
		flush_retry(f->flush, &e, &l);
	}
	CHECK_EQ(fix_flush(f), ERR_OK);
	flush_reset(f->flush);
	end(f, 2, ATTEMPT_COMPLETED, 0);
	end(f, 3, ATTEMPT_TIMED_OUT, 1);
	end(f, 4, ATTEMPT_CANCELLED, 0);
	end(f, 7, ATTEMPT_COMPLETED, 1);
	end(f, 8, ATTEMPT_SCHEDULE_TIMED_OUT, 0);
	CHECK_EQ(fix_flush(f), ERR_OK);
	flush_reset(f->flush);
}

static void check_ids(struct fix *f, struct read_tasks got, const char *want, int line)
{
	struct str s = STR("");

	for (uint32_t i = 0; i < got.n; i++)
		s = arena_strf(f->a, "%.*s%lld", STR_FMT(s), (long long)(got.tasks[i].id - fix_id(f, 0)));
	tap_str(__FILE__, line, "ids", s, str_c(want));
}
#define IDS(got, want) check_ids(&f, got, want, __LINE__)
#define MASK(s) (1u << (s))

TEST(run_filters)
{
	struct fix f;
	struct str red[] = {STR("team:red")}, both[] = {STR("team:blue"), STR("n:1")}, odd[] = {STR("team")};
	int32_t seven[] = {7}, other[] = {99, 98};

	fill(&f);
	IDS(runs(&f, (struct run_filter){0}), "876543210");
	IDS(runs(&f, (struct run_filter){.status_mask = MASK(RUN_QUEUED)}), "650");
	IDS(runs(&f, (struct run_filter){.status_mask = MASK(RUN_RUNNING)}), "1");
	IDS(runs(&f, (struct run_filter){.status_mask = MASK(RUN_COMPLETED)}), "72");
	IDS(runs(&f, (struct run_filter){.status_mask = MASK(RUN_FAILED)}), "83");
	IDS(runs(&f, (struct run_filter){.status_mask = MASK(RUN_CANCELLED)}), "4");
	IDS(runs(&f, (struct run_filter){.status_mask = MASK(RUN_CANCELLED) | MASK(RUN_FAILED) | MASK(RUN_QUEUED)}), "865430");
	IDS(runs(&f, (struct run_filter){.status_mask = MASK(RUN_CANCELLED) | MASK(RUN_COMPLETED)}), "742");
	IDS(runs(&f, (struct run_filter){.status_mask = 31}), "876543210");
	IDS(runs(&f, (struct run_filter){.workflow_nos = seven, .n_workflows = 1}), "7531");
	IDS(runs(&f, (struct run_filter){.workflow_nos = other, .n_workflows = 2}), "");
	IDS(runs(&f, (struct run_filter){.workflow_nos = seven, .n_workflows = 1, .status_mask = MASK(RUN_QUEUED) | MASK(RUN_FAILED)}), "53");
	IDS(runs(&f, (struct run_filter){.meta_pairs = red, .n_meta = 1}), "875421");
	IDS(runs(&f, (struct run_filter){.meta_pairs = both, .n_meta = 2}), "876543210");
	IDS(runs(&f, (struct run_filter){.meta_pairs = both, .n_meta = 2, .meta_and = true}), "");
	IDS(runs(&f, (struct run_filter){.meta_pairs = odd, .n_meta = 1}), "");
	IDS(runs(&f, (struct run_filter){.meta_pairs = red, .n_meta = 1, .status_mask = MASK(RUN_QUEUED)}), "5");
	IDS(runs(&f, (struct run_filter){.parent_id = fix_id(&f, 1)}), "4");
	IDS(runs(&f, (struct run_filter){.parent_id = fix_id(&f, 2)}), "");
	/* worker 5 ran all that ended or failed once, and runs task 1 */
	IDS(runs(&f, (struct run_filter){.worker_no = 5}), "8764321");
	IDS(runs(&f, (struct run_filter){.worker_no = 6}), "");
	IDS(runs(&f, (struct run_filter){.limit = 2, .offset = 3}), "54");
	IDS(runs(&f, (struct run_filter){.limit = 2, .offset = 1, .status_mask = MASK(RUN_QUEUED) | MASK(RUN_FAILED)}), "65");
	IDS(runs(&f, (struct run_filter){.tenant_no = 2}), "");
	IDS(runs(&f, (struct run_filter){.since_us = f.now_us - 1000000, .until_us = f.now_us}), "876543210");
	IDS(runs(&f, (struct run_filter){.since_us = f.now_us + 1000000}), "");
	IDS(runs(&f, (struct run_filter){.until_us = f.now_us - 2000}), "");
	IDS(runs(&f, (struct run_filter){.since_us = -5, .status_mask = MASK(RUN_RUNNING)}), "1");
	/* what is older than the tenant keeps is not shown */
	pgnode_exec(f.url, "update hatchet.tenant set retention_hours = 0");
	IDS(runs(&f, (struct run_filter){0}), "");
	IDS(runs(&f, (struct run_filter){.status_mask = MASK(RUN_FAILED)}), "");
	fix_close(&f);
}

TEST(run_counts)
{
	struct fix f;
	struct status_counts c;
	int32_t seven[] = {7};

	fill(&f);
	c = counts(&f, (struct run_filter){0});
	CHECK_EQ(c.n[RUN_QUEUED], 3);
	CHECK_EQ(c.n[RUN_RUNNING], 1);
	CHECK_EQ(c.n[RUN_COMPLETED], 2);
	CHECK_EQ(c.n[RUN_FAILED], 2);
	CHECK_EQ(c.n[RUN_CANCELLED], 1);
	c = counts(&f, (struct run_filter){.workflow_nos = seven, .n_workflows = 1});
	CHECK_EQ(c.n[RUN_QUEUED], 1);
	CHECK_EQ(c.n[RUN_COMPLETED], 1);
	CHECK_EQ(c.n[RUN_FAILED], 1);
	/* a minute of ten thousand, of which only a part is asked for */
	for (unsigned i = 0; i < 10000; i++) {
		struct flush_task t = fix_task(&f, fix_id(&f, 1000 + i));

		flush_task(f.flush, &t);
		end(&f, 1000 + i, ATTEMPT_COMPLETED, 0);
	}
	CHECK_EQ(fix_flush(&f), ERR_OK);
	for (int64_t since = 0; since < f.now_us; since += f.now_us - 1000000) {
		c = counts(&f, (struct run_filter){.since_us = since});
		CHECK_EQ(c.n[RUN_COMPLETED], 10002);
		CHECK_EQ(c.n[RUN_QUEUED], 3);
		CHECK_EQ(c.n[RUN_RUNNING], 1);
		CHECK_EQ(c.n[RUN_FAILED], 2);
		CHECK_EQ(c.n[RUN_CANCELLED], 1);
	}
	c = counts(&f, (struct run_filter){.since_us = f.now_us + 1000000});
	CHECK_EQ(c.n[RUN_COMPLETED], 0);
	fix_close(&f);
}

TEST(task_views)
{
	struct fix f;
	struct read_tasks r;
	int64_t ids[5];
	const struct task_view *t;

	fill(&f);
	ids[0] = fix_id(&f, 3);
	ids[1] = fix_id(&f, 5);
	ids[2] = fix_id(&f, 1);
	ids[3] = 77;
	ids[4] = fix_id(&f, 8);
	r = tasks(&f, 1, ids, 5, READ_PAYLOADS | READ_ALL_ATTEMPTS);
	IDS(r, "8531");
	t = &r.tasks[2];
	CHECK_EQ(t->status, RUN_FAILED);
	CHECK_EQ(t->n_attempts, 2);
	CHECK_EQ(t->attempts[0].status, ATTEMPT_FAILED);
	CHECK_EQ(t->attempts[1].status, ATTEMPT_TIMED_OUT);
	CHECK_EQ(t->attempts[1].attempt, 1);
	CHECK_STR(t->attempts[1].error, "boom");
	CHECK(!t->attempts[1].output.p);
	CHECK_EQ(t->attempts[1].started_at, f.now_us);
	CHECK_EQ(t->live_state, -1);
	CHECK_STR(t->input, "{\"n\":1}");
	CHECK_STR(t->metadata, "{\"team\": \"blue\"}");
	t = &r.tasks[1];
	CHECK(t->in_tail);
	CHECK_EQ(t->status, RUN_QUEUED);
	CHECK_EQ(t->rank, 3);
	CHECK_EQ(t->live_queued_at, f.now_us);
	t = &r.tasks[3];
	CHECK_EQ(t->status, RUN_RUNNING);
	CHECK_EQ(t->live_state, LIVE_ASSIGNED);
	CHECK_EQ(t->live_worker_no, 5);
	CHECK_EQ(t->live_started_at, INT64_MIN);
	r = tasks(&f, 1, ids, 5, 0);
	CHECK_EQ(r.tasks[2].n_attempts, 1);
	CHECK_EQ(r.tasks[2].attempts[0].attempt, 1);
	CHECK(!r.tasks[2].input.p && !r.tasks[2].attempts[0].error.p);
	CHECK_EQ(tasks(&f, 2, ids, 5, 0).n, 0);
	IDS(tasks(&f, 0, ids, 5, 0), "8531");
	fix_close(&f);
}

TEST(recovery)
{
	struct fix f;
	struct read_live live;
	struct read_tails tails;
	struct read_inputs in;
	struct wait_op w;
	int64_t max, next, ids[2];
	int32_t tenants[2] = {1, 1};

	fill(&f);
	flush_touch(f.flush, 1, fix_id(&f, 1), INT64_MIN, true);
	CHECK_EQ(fix_flush(&f), ERR_OK);
	wait_init(&w, f.loop);
	read_live(f.db, f.a, &live, &w.op);
	wait_ok(&w);
	CHECK_EQ(live.n, 3);
	CHECK_EQ(live.p[1].id, fix_id(&f, 1));
	CHECK(live.p[1].released && !live.p[0].released);
	CHECK_EQ(live.p[1].state, LIVE_ASSIGNED);
	CHECK_EQ(live.p[1].worker_no, 5);
	CHECK_EQ(live.p[1].exec_ms, 60000);
	CHECK_EQ(live.p[2].attempt, 1);
	CHECK_EQ(live.p[2].rank, 0);

	wait_init(&w, f.loop);
	read_max_id(f.db, f.a, &max, &w.op);
	wait_ok(&w);
	CHECK_EQ(max, fix_id(&f, 8));

	/* a step of the action with the shortest schedule timeout bounds when a tail row can be due */
	pgnode_exec(f.url, "insert into hatchet.step (version_no, position, readable_id, action_no, exec_ms, schedule_ms, slot_types, slot_units)"
		" values (1, 99, 's', 10, 1, 20000, '{}', '{}')");
	wait_init(&w, f.loop);
	read_tails(f.db, f.a, &tails, &w.op);
	wait_ok(&w);
	CHECK_EQ(tails.n, 1);
	CHECK_EQ(tails.p[0].action_no, 10);
	CHECK_EQ(tails.p[0].rank, 3);
	CHECK_EQ(tails.p[0].due_at, f.now_us / 1000 * 1000 + 20000000);

	/* due_at of the fixture is 60 s from now */
	wait_init(&w, f.loop);
	read_tail_due(f.db, f.a, 1, 10, 3, f.now_us + 10000000, 10, INT64_MIN, 0, &live, &next, &w.op);
	wait_ok(&w);
	CHECK_EQ(live.n, 0);
	CHECK_EQ(next, f.now_us / 1000 * 1000 + 20000000);
	wait_init(&w, f.loop);
	read_tail_due(f.db, f.a, 1, 10, 3, f.now_us + 30000000, 10, INT64_MIN, 0, &live, &next, &w.op);
	wait_ok(&w);
	CHECK_EQ(live.n, 0);
	CHECK_EQ(next, f.now_us + 60000000);
	wait_init(&w, f.loop);
	read_tail_due(f.db, f.a, 1, 10, 3, f.now_us + 60000000, 10, INT64_MIN, 0, &live, &next, &w.op);
	wait_ok(&w);
	CHECK_EQ(live.n, 1);
	CHECK_EQ(live.p[0].id, fix_id(&f, 5));
	CHECK_EQ(live.p[0].tenant_no, 1);
	CHECK_EQ(live.p[0].due_at, f.now_us + 60000000);
	CHECK_EQ(live.p[0].step_no, 7);
	CHECK_EQ(next, INT64_MIN);

	ids[0] = fix_id(&f, 4);
	ids[1] = 5;
	wait_init(&w, f.loop);
	read_inputs(f.db, f.a, ids, tenants, 2, &in, &w.op);
	wait_ok(&w);
	CHECK_EQ(in.n, 1);
	CHECK_STR(in.p[0].input, "{\"n\":1}");
	CHECK_EQ(in.p[0].parent_id, fix_id(&f, 1));
	CHECK_EQ(in.p[0].child_index, -1);
	fix_close(&f);
}

/* What one read brings into memory is bounded; each read gets on by at least one row. */
TEST(large_payloads_are_cut)
{
	struct fix f;
	struct read_tasks r;
	struct read_inputs in;
	struct wait_op w;
	int64_t ids[8];
	int32_t tenants[8] = {1, 1, 1, 1, 1, 1, 1, 1};
	unsigned cut = 0;

	fill(&f);
	for (unsigned i = 0; i < 8; i++)
		ids[i] = fix_id(&f, i);
	pgnode_exec(f.url, "update hatchet.task set input = convert_to(repeat('x', 7000000), 'UTF8')");
	r = tasks(&f, 1, ids, 8, READ_PAYLOADS);
	CHECK(r.n >= 4);
	for (unsigned i = 0; i < r.n; i++) {
		cut += r.tasks[i].is_cut;
		CHECK_EQ(r.tasks[i].is_cut, i >= 3);
		CHECK_EQ(r.tasks[i].input.n, i >= 3 ? 0 : 7000000);
	}
	CHECK_EQ(cut, r.n - 3);
	r = tasks(&f, 1, ids, 8, 0);
	CHECK_EQ(r.tasks[0].input.n, 0);
	wait_init(&w, f.loop);
	read_inputs(f.db, f.a, ids, tenants, 8, &in, &w.op);
	wait_ok(&w);
	for (unsigned i = 0; i < in.n; i++)
		CHECK_EQ(in.p[i].is_cut, i >= 3);
	fix_close(&f);
}

TEST(notes_and_minutes)
{
	struct fix f;
	struct read_notes n;
	struct read_points m = {.n = 5};
	struct wait_op w;

	fill(&f);
	flush_note(f.flush, 1, fix_id(&f, 1), 0, f.now_us + 5, NOTE_REASSIGNED, STR_NULL);
	flush_note(f.flush, 1, fix_id(&f, 1), 0, f.now_us, NOTE_COULD_NOT_SEND, STR("full"));
	CHECK_EQ(fix_flush(&f), ERR_OK);
	wait_init(&w, f.loop);
	read_notes(f.db, f.a, 1, fix_id(&f, 1), &n, &w.op);
	wait_ok(&w);
	CHECK_EQ(n.n, 2);
	CHECK_EQ(n.p[0].kind, NOTE_COULD_NOT_SEND);
	CHECK_STR(n.p[0].body, "full");
	CHECK_EQ(n.p[1].at, f.now_us + 5);
	wait_init(&w, f.loop);
	read_points(f.db, f.a, 1, (f.now_us / 60000000 - 3) * 60000000, 60, &m, &w.op);
	wait_ok(&w);
	CHECK_EQ(m.p[3].n[RUN_COMPLETED], 2);
	CHECK_EQ(m.p[3].n[RUN_FAILED], 2);
	CHECK_EQ(m.p[3].n[RUN_CANCELLED], 1);
	CHECK_EQ(m.p[2].n[RUN_COMPLETED] + m.p[4].n[RUN_COMPLETED], 0);
	fix_close(&f);
}

TEST(logs)
{
	struct fix f;
	struct log_writer *lw;
	struct read_logs r;
	struct wait_op w[300], one;
	struct str warn[] = {STR("WARN")};
	struct log_filter lf = {.tenant_no = 1, .until_us = INT64_MAX, .attempt = -1, .limit = 1000};
	struct pgproxy *p = pgproxy_new();
	const char *url = pgnode_new_db();
	struct log_row row = {.tenant_no = 1, .level = STR("INFO")};

	fix_active(&f, url, pgproxy_url(p, url));
	lw = log_writer_new(f.db);
	row.task_id = lf.task_id = fix_id(&f, 1);
	for (int i = 0; i < 300; i++) {
		row.at = f.now_us + i;
		row.body = i == 7 ? STR("Needle") : STR("hay");
		row.level = i % 10 ? STR("INFO") : STR("WARN");
		row.metadata = i ? STR_NULL : STR("{}");
		row.attempt = i == 9;
		wait_init(&w[i], f.loop);
		if (i == 1)
			pgproxy_lose_reply(p);	/* of the big batch: sent again, nothing twice */
		log_writer_put(lw, &row, &w[i].op);
		if (i == 0)
			wait_ok(&w[0]);
	}
	for (int i = 1; i < 300; i++)
		wait_ok(&w[i]);
	CHECK_EQ(pgproxy_losses(p), 1);
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.log_line"), 300);
	wait_init(&one, f.loop);
	read_logs(f.db, f.a, &lf, &r, &one.op);
	wait_ok(&one);
	CHECK_EQ(r.n, 300);
	CHECK_EQ(r.p[0].at, f.now_us);
	CHECK_STR(r.p[0].metadata, "{}");
	lf.search = STR("nEEdle");
	wait_init(&one, f.loop);
	read_logs(f.db, f.a, &lf, &r, &one.op);
	wait_ok(&one);
	CHECK_EQ(r.n, 1);
	CHECK_EQ(r.p[0].at, f.now_us + 7);
	lf = (struct log_filter){.tenant_no = 1, .task_id = lf.task_id, .until_us = INT64_MAX, .attempt = -1, .limit = 3,
		.levels = warn, .n_levels = 1, .descending = true, .since_us = f.now_us + 50};
	wait_init(&one, f.loop);
	read_logs(f.db, f.a, &lf, &r, &one.op);
	wait_ok(&one);
	CHECK_EQ(r.n, 3);
	CHECK_EQ(r.p[0].at, f.now_us + 290);
	lf = (struct log_filter){.tenant_no = 1, .task_id = lf.task_id, .until_us = INT64_MAX, .attempt = 1, .limit = 3};
	wait_init(&one, f.loop);
	read_logs(f.db, f.a, &lf, &r, &one.op);
	wait_ok(&one);
	CHECK_EQ(r.n, 1);

	/* one bad row fails alone: its day has no partition */
	for (int i = 0; i < 20; i++) {
		row.at = f.now_us + 1000 + i;
		row.task_id = i == 13 ? 5 : fix_id(&f, 1);
		wait_init(&w[i], f.loop);
		log_writer_put(lw, &row, &w[i].op);
	}
	for (int i = 0; i < 20; i++) {
		wait_for_op(&w[i]);
		CHECK_EQ(w[i].ok, i != 13);
	}
	CHECK_EQ(w[13].err.code, ERR_INVALID);
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.log_line"), 319);
	log_writer_free(lw);
	fix_close(&f);
}

TEST(events)
{
	struct fix f;
	struct event_writer *ew;
	struct read_events r;
	struct wait_op w;
	struct event_row rows[3];
	struct str keys[] = {STR("k1")}, scopes[] = {STR("s")}, meta[] = {STR("a:b")};
	struct event_filter ef = {.tenant_no = 1, .until_us = INT64_MAX, .limit = 10};
	int64_t ids[1];

	fix_active(&f, pgnode_new_db(), NULL);
	ew = event_writer_new(f.db);
	for (unsigned i = 0; i < 3; i++)
		rows[i] = (struct event_row){.tenant_no = 1, .id = fix_id(&f, i), .key = i ? STR("k1") : STR("k0"),
			.scope = i == 2 ? STR("s") : STR_NULL, .payload = STR("\x01\0x"), .metadata = i ? STR("{\"a\":\"b\"}") : STR_NULL};
	wait_init(&w, f.loop);
	event_writer_put(ew, rows, 3, &w.op);
	wait_ok(&w);
	wait_init(&w, f.loop);
	read_events(f.db, f.a, &ef, &r, &w.op);
	wait_ok(&w);
	CHECK_EQ(r.n, 3);
	CHECK_EQ(r.p[0].id, fix_id(&f, 2));
	CHECK_STR(r.p[0].payload, STR("\x01\0x"));
	CHECK_STR(r.p[0].metadata, "{\"a\": \"b\"}");
	CHECK(!r.p[2].metadata.p);
	ef.keys = keys;
	ef.n_keys = 1;
	ef.offset = 1;
	wait_init(&w, f.loop);
	read_events(f.db, f.a, &ef, &r, &w.op);
	wait_ok(&w);
	CHECK_EQ(r.n, 1);
	CHECK_EQ(r.p[0].id, fix_id(&f, 1));
	ef = (struct event_filter){.tenant_no = 1, .until_us = INT64_MAX, .limit = 10, .scopes = scopes, .n_scopes = 1,
		.meta_pairs = meta, .n_meta = 1};
	wait_init(&w, f.loop);
	read_events(f.db, f.a, &ef, &r, &w.op);
	wait_ok(&w);
	CHECK_EQ(r.n, 1);
	ids[0] = fix_id(&f, 0);
	ef = (struct event_filter){.tenant_no = 1, .until_us = INT64_MAX, .limit = 10, .ids = ids, .n_ids = 1};
	wait_init(&w, f.loop);
	read_events(f.db, f.a, &ef, &r, &w.op);
	wait_ok(&w);
	CHECK_EQ(r.n, 1);
	CHECK_STR(r.p[0].key, "k0");
	event_writer_free(ew);
	fix_close(&f);
}
