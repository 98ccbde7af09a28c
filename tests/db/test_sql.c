/* Every statement of src/store/sql: does it parse, with how many parameters, and by which plan. */
#include "pgnode.h"
#include "model/model.h"
#include "sql.h"
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>

static struct db_sync *open_db(const char *url)
{
	struct err err;
	struct db_sync *c = db_sync_open(url, &err);

	if (!c)
		tap_fail(__FILE__, __LINE__, "%s", err.msg);
	return c;
}

static void run(struct db_sync *c, const char *sql)
{
	struct err err;

	if (!db_sync_exec(c, sql, &err))
		tap_fail(__FILE__, __LINE__, "%.200s: %s", sql, err.msg);
}

static const struct db_rows *rows_of(struct db_sync *c, struct arena *a, const char *sql)
{
	const struct db_rows *rows;
	struct err err;

	if (!db_sync_query(c, a, sql, NULL, 0, &rows, &err))
		tap_fail(__FILE__, __LINE__, "%.200s: %s", sql, err.msg);
	return rows;
}

static void prepare(struct db_sync *c, struct arena *a, int id)
{
	run(c, arena_strf(a, "prepare \"%s\" as %s", sql_stmts[id].name, sql_stmts[id].text).p);
}

TEST(all_prepare)
{
	struct db_sync *c = open_db(pgnode_new_db());
	struct arena *a = arena_new(16u << 20);
	const struct db_rows *rows;

	CHECK(SQL_IDS > 40);
	for (int id = 1; id < SQL_IDS; id++) {
		if (id == SQL_SESSION_LISTEN)
			run(c, sql_stmts[id].text);
		else
			prepare(c, a, id);
	}
	rows = rows_of(c, a, "select name, coalesce(array_length(parameter_types, 1), 0) from pg_prepared_statements");
	CHECK_EQ(db_rows_n(rows), SQL_IDS - 2);
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		int id = 1;

		while (!str_eq(db_rows_text(rows, i, 0), str_c(sql_stmts[id].name)))
			id++;
		CHECK_EQ(strtol(db_rows_text(rows, i, 1).p, NULL, 10), sql_stmts[id].n_params);
	}
	arena_free(a);
	db_sync_close(c);
}

/* enough rows that a scan would be chosen wherever a plan leaves the choice */
static const char fill[] =
	"insert into hatchet.task (tenant_no, id, run_id, workflow_no, version_no, step_no, action_no, priority, schedule_ms, exec_ms,"
	" metadata) select 1 + i % 3, i, i, i % 5, 1, 1, i % 7, 1, 1000, 1000, '{\"a\":\"b\"}' from generate_series("
	" hatchet.day_lo(hatchet.utc_today()), hatchet.day_lo(hatchet.utc_today()) + 30000) i;"
	"insert into hatchet.attempt (tenant_no, task_id, attempt, status, finished_at) select tenant_no, id, 0, id % 6, now()"
	" from hatchet.task where id % 3 > 0;"
	"insert into hatchet.live (tenant_no, id, shard, state, attempt, app_retries, internal_retries, rank, action_no, step_no)"
	" select tenant_no, id, 1, 0, 0, 0, 0, 3, action_no, 1 from hatchet.task where id % 3 = 0 and id % 2 = 0;"
	"insert into hatchet.queue_item (tenant_no, action_no, rank, id, attempt, app_retries, internal_retries)"
	" select tenant_no, action_no, 3, id, 0, 0, 0 from hatchet.task where id % 3 = 0 and id % 2 = 1;"
	"insert into hatchet.request (tenant_no, id, run_id) select tenant_no, gen_random_uuid(), id from hatchet.task;"
	"insert into hatchet.inbox (tenant_no, id, bytes, workflow, input) select tenant_no, gen_random_uuid(), 2, 'w', '{}' from hatchet.task;"
	"insert into hatchet.note (tenant_no, task_id, at, attempt, kind) select tenant_no, id, now(), 0, 1 from hatchet.task;"
	"insert into hatchet.log_line (tenant_no, task_id, at, attempt, body) select tenant_no, id, now(), 0, 'x' from hatchet.task;"
	"insert into hatchet.event (tenant_no, id, key) select tenant_no, id, 'k' from hatchet.task;"
	"insert into hatchet.tenant (name, slug) select 't' || i, 't' || i from generate_series(1, 2) i;"
	"insert into hatchet.action (tenant_no, name) select 1 + i % 3, 'a' || i from generate_series(1, 20) i;"
	"insert into hatchet.stat_minute select timestamptz '2026-01-01' + i * interval '1 minute', 1, 1, 2, 1, 1"
	" from generate_series(1, 20000) i";

static void check_plan(struct db_sync *c, struct arena *a, int id, const char *args, const char *allowed)
{
	static const char *const big[] = {"Seq Scan on task", "Seq Scan on attempt", "Seq Scan on live", "Seq Scan on queue_item",
					  "Seq Scan on note", "Seq Scan on event", "Seq Scan on inbox", "Seq Scan on request", "Seq Scan on log_line", "Seq Scan on stat_minute",
					  "Hash Join", "Merge Join", "Join Filter"};
	const struct db_rows *rows;

	prepare(c, a, id);
	rows = rows_of(c, a, arena_strf(a, "explain execute \"%s\"%s", sql_stmts[id].name, args).p);
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		const char *line = arena_strz(a, db_rows_text(rows, i, 0));

		/* dictionaries may be joined as the planner likes, history may not */
		for (size_t k = 0; k < ARRAY_LEN(big) - (allowed ? 3 : 0); k++)
			if (strstr(line, big[k]) && !(allowed && strstr(line, allowed)))
				tap_fail(__FILE__, __LINE__, "%s: %s", sql_stmts[id].name, line);
	}
}

static const char *nulls(struct arena *a, int n)
{
	struct str s = STR("");

	for (int i = 0; i < n; i++)
		s = arena_strf(a, "%.*s%snull", STR_FMT(s), i ? "," : "(");
	return n ? arena_strf(a, "%.*s)", STR_FMT(s)).p : "";
}

/* generic plans under the writer's pins */
TEST(flush_plans)
{
	static const int ids[] = {SQL_FENCE, SQL_ATTEMPT_INSERT, SQL_LIVE_DELETE, SQL_QUEUE_ITEM_DELETE, SQL_STAT_MINUTE, SQL_STAT_TAKEN_UP,
		SQL_LIVE_RETRY, SQL_TASK_INSERT, SQL_LIVE_INSERT, SQL_QUEUE_ITEM_INSERT, SQL_WINDOW_LOAD, SQL_WINDOW_LOADED,
		SQL_LIVE_ASSIGN, SQL_LIVE_START, SQL_LIVE_REQUEUE, SQL_LIVE_TOUCH, SQL_NOTE_INSERT, SQL_ENGINE_RESUME,
		SQL_INBOX_TAKEN};
	const char *url = pgnode_new_db();
	struct db_sync *c = open_db(url);
	struct arena *a = arena_new(16u << 20);

	/* both without statistics and with */
	for (int round = 0; round < 2; round++) {
		run(c, sql_stmts[SQL_SESSION_WRITER].text);
		for (size_t i = 0; i < ARRAY_LEN(ids); i++)
			check_plan(c, a, ids[i], nulls(a, sql_stmts[ids[i]].n_params), NULL);
		pgnode_exec(url, round ? "select 1" : fill);
		pgnode_exec(url, "analyze");
		db_sync_close(c);
		c = open_db(url);
	}
	db_sync_close(c);
	arena_free(a);
}

TEST(read_plans)
{
	static const struct {
		int id;
		const char *args, *allowed;
	} t[] = {
		{SQL_TASKS_BY_IDS, "(1000, 0, 1, array[1, 2, 3]::int8[])", NULL},
		{SQL_TASKS_BY_IDS_ANY, "(1000, 1, 0, array[1, 2, 3]::int8[])", "Seq Scan on tenant"},
		{SQL_TASK_TREE, "(0, 0, 1, array[5]::int8[], 10, 1000)", NULL},
		{SQL_RUNS, "(0, 0, 1, 0, 9223372036854775807, null, 0, null, null, false, 31, 0, 50)", NULL},
		{SQL_RUNS, "(0, 6, 1, 0, 9223372036854775807, null, 0, array['a'], array['b'], true, 4, 0, 50)", NULL},
		{SQL_RUNS_OF_PARENT, "(0, 0, 1, 0, 9223372036854775807, null, 0, null, null, false, 31, 0, 50, 77)", NULL},
		{SQL_RUNS_OF_WORKER, "(0, 0, 1, 0, 9223372036854775807, array[3], 5, null, null, false, 31, 0, 50)", NULL},
		{SQL_RUNS_BY_STATE, "(0, 0, 1, 0, 9223372036854775807, null, 0, null, null, false, 27, 0, 50, false)", NULL},
		{SQL_RUNS_BY_STATE, "(0, 0, 1, 0, 9223372036854775807, array[3], 0, null, null, false, 31, 0, 50, true)", NULL},
		{SQL_RUNS_BY_STATE, "(0, 0, 1, 0, 9223372036854775807, null, 0, null, null, false, 4, 100, 50, false)", NULL},
		{SQL_COUNTS, "(1, 0, 9223372036854775807, null, null, null, false, 0)", NULL},
		{SQL_COUNTS, "(1, 0, 9223372036854775807, array[3], array['a'], array['b'], true, 77)", NULL},
		{SQL_COUNTS_BY_MINUTE, "(1, 5, 9223371785196535807, null, false)", NULL},
		{SQL_COUNTS_BY_MINUTE, "(1, 5, 400000000000000000, array[3, 4], false)", NULL},
		{SQL_COUNTS_BY_MINUTE, "(1, 5, 9223371785196535807, null, true)", NULL},
		{SQL_DEPTHS, "(1)", NULL},
		{SQL_POINTS, "(1, '2026-01-01', '2026-01-02', 300)", NULL},
		{SQL_NOTES, "(1, 5)", NULL},
		{SQL_LOGS_UP, "(1, 5, '2026-01-01', '2027-01-01', null, null, -1::int2, 10)", NULL},
		{SQL_LOGS_DOWN, "(1, 5, '2026-01-01', '2027-01-01', 'x', array['INFO'], -1::int2, 10)", NULL},
		{SQL_EVENTS, "(1, 0, 9223372036854775807, null, null, null, null, null, 0, 50)", NULL},
		{SQL_EVENTS, "(1, 0, 9223372036854775807, array['k'], array[5, 6]::int8[], null, null, null, 0, 50)", NULL},
		{SQL_TAILS, "", NULL},
		{SQL_MAX_ID, "", NULL},
		{SQL_TAIL_DUE, "(1, 2, 3::int2, now(), 500, '-infinity', 0)", NULL},
		{SQL_TAIL_AHEAD, "(1, 2, 3::int2, 1000, 500)", NULL},
		{SQL_INPUTS, "(array[1, 2]::int8[], array[1, 1], 1000)", NULL},
		{SQL_INBOX_TENANTS, "", NULL},
		{SQL_INBOX_READ, "(array[1, 2], array[gen_random_uuid(), gen_random_uuid()], 1000, 1000000)", NULL},
		{SQL_REQUESTS, "(1, array[gen_random_uuid(), gen_random_uuid()], 5)", NULL},
		{SQL_LIVE_ALL, "", "Seq Scan on live"},
	};
	const char *url = pgnode_new_db();
	struct arena *a = arena_new(16u << 20);

	pgnode_exec(url, fill);
	pgnode_exec(url, "analyze");
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct db_sync *c = open_db(url);

		run(c, sql_stmts[SQL_SESSION_READ].text);
		check_plan(c, a, t[i].id, t[i].args, t[i].allowed);
		/* once more as a generic plan, unless it is planned each time */
		if (!sql_stmts[t[i].id].plan_each) {
			run(c, "deallocate all; set plan_cache_mode = force_generic_plan");
			check_plan(c, a, t[i].id, t[i].args, t[i].allowed);
		}
		db_sync_close(c);
	}
	arena_free(a);
}

TEST(status_is_one_definition)
{
	const char *url = pgnode_new_db();
	struct db_sync *c = open_db(url);
	struct arena *a = arena_new(4u << 20);
	const struct db_rows *rows = rows_of(c, a, "select l, t, a, hatchet.run_status(l, t, a) from generate_series(-1, 5) l,"
						   " (values (false), (true)) v(t), generate_series(-1, 5) a");

	CHECK_EQ(db_rows_n(rows), 98);
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		int64_t l, last, got;

		CHECK(str_to_i64(db_rows_text(rows, i, 0), &l) && str_to_i64(db_rows_text(rows, i, 2), &last));
		CHECK(str_to_i64(db_rows_text(rows, i, 3), &got));
		CHECK_EQ(got, run_status_of((int)l, db_rows_text(rows, i, 1).p[0] == 't', (int)last));
	}
	arena_free(a);
	db_sync_close(c);
}
