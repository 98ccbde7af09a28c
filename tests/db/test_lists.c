/* A page of a list costs what is on it, whatever else is stored: each filter is run over a history made to mislead it, and what
 * the plans read and sort is counted.  LISTS_ROWS=10000000 in the environment: as many tasks, and the times. */
#include "pgnode.h"
#include "sql.h"
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE 50
#define BLOCKS_MAX 5000	/* thirty look-ups, of three blocks each, for a row of a page */
#define SORTED_MAX 2000

/* From the oldest on, in tenths of all: one of mixed runs of workflows 2 to 20, one of which rarely; workflow 1 completed (3), failed
 * with a failed attempt before (2), cancelled (2), waiting in the tail (1); mixed again, some of it unfinished.  Every fifth row is
 * another tenant's.  Workflow 20 has one run in a thousand, of every state, among all of it. */
static const char fill[] =
	"select hatchet.make_days(hatchet.utc_today() - 3, 4);"
	"insert into hatchet.tenant (name, slug) values ('b', 'b');"
	"insert into hatchet.action (tenant_no, name) select 1, 'a' || i from generate_series(1, 20) i;"
	"insert into hatchet.workflow (tenant_no, name) select 1, 'w' || i from generate_series(1, 20) i;"
	"insert into hatchet.workflow_version (workflow_no, ordinal, checksum, definition) select i, 1, '', '' from generate_series(1, 20) i;"
	"insert into hatchet.step (version_no, position, readable_id, action_no, exec_ms, schedule_ms, slot_types, slot_units)"
	" select i, 1, 's', i, 1, 1, '{}', '{}' from generate_series(1, 20) i;"
	"create table made as select i, case when i % 5 = 4 then 2 else 1 end as tenant_no,"
	" hatchet.day_lo(hatchet.utc_today() - 3) + i * (3 * 86400000::int8 * 4194304 / rows_n()) as id, i * 10 / rows_n() as tenth,"
	" case when i % 1000 = 0 then 20 when i * 10 / rows_n() in (0, 9) then 2 + i % 18 else 1 end as workflow_no,"
	" case when i % 1000 = 0 then i / 1000 % 5 when i * 10 / rows_n() not in (0, 9)"
	" then (array[2, 2, 2, 3, 3, 4, 4, 0])[i * 10 / rows_n()]"
	" when i % (1 + rows_n() / 100000) = 0 then i / 7 % 2 else 2 + i % 3 end as status"
	" from generate_series(0, rows_n() - 1) i;"
	"insert into hatchet.task (tenant_no, id, run_id, workflow_no, version_no, step_no, action_no, priority, schedule_ms, exec_ms,"
	" parent_id) select tenant_no, id, id, workflow_no, workflow_no, workflow_no, workflow_no, 1, 1000, 1000,"
	" case when i % 100 = 7 then 77 end from made;"
	"insert into hatchet.attempt (tenant_no, task_id, attempt, status, finished_at, final)"
	" select tenant_no, id, case status when 3 then 1 else 0 end, (array[0, 0, 0, 1, 2])[1 + status], now(), 8 * workflow_no + status"
	" from made where status > 1;"
	"insert into hatchet.attempt (tenant_no, task_id, attempt, status, finished_at) select tenant_no, id, 0, 1, now() from made"
	" where status = 3;"
	"insert into hatchet.live (tenant_no, id, shard, state, attempt, app_retries, internal_retries, rank, action_no, step_no)"
	" select tenant_no, id, 1, status, 0, 0, 0, 3, workflow_no, workflow_no from made where status = 1 or tenth in (0, 9) and status = 0;"
	"insert into hatchet.queue_item (tenant_no, action_no, rank, id, attempt, app_retries, internal_retries)"
	" select tenant_no, workflow_no, 3, id, 0, 0, 0 from made where status = 0 and tenth not in (0, 9);"
	"insert into hatchet.tail_depth select tenant_no, workflow_no, count(*) from made where status = 0 and tenth not in (0, 9) group by 1, 2;"
	"insert into hatchet.stat_minute (minute, tenant_no, workflow_no, status, n, run_us)"
	" select timestamptz '2024-01-01 00:00:00+00' + (id >> 22) / 60000 * interval '1 minute', tenant_no, workflow_no, code, count(*), 0"
	" from made, unnest(array[8, case when status > 1 then 8 + status end]) code where code is not null group by 1, 2, 3, 4;";

static int64_t number_after(const char *line, const char *word)
{
	const char *p = strstr(line, word);

	return p ? strtoll(p + strlen(word), NULL, 10) : 0;
}

static struct db_sync *open_reader(const char *url)
{
	struct err err;
	struct db_sync *c = db_sync_open(url, &err);

	if (!c)
		tap_fail(__FILE__, __LINE__, "%s", err.msg);
	CHECK(db_sync_exec(c, sql_stmts[SQL_SESSION_READ].text, &err));
	/* prepared statements are a reader's own way no longer once their plan is generic: list statements are never prepared */
	CHECK(db_sync_exec(c, "set plan_cache_mode = force_custom_plan", &err));
	return c;
}

static const struct db_rows *ask(struct db_sync *c, struct arena *a, const char *sql)
{
	const struct db_rows *rows;
	struct err err;

	if (!db_sync_query(c, a, sql, NULL, 0, &rows, &err))
		tap_fail(__FILE__, __LINE__, "%.300s: %s", sql, err.msg);
	return rows;
}

struct cost {
	int64_t rows, blocks;
	double ms;
	const struct db_rows *plan;
};

static struct cost run_one(struct db_sync *c, struct arena *a, int id, const char *args)
{
	const char *name = sql_stmts[id].name;
	struct cost got = {.rows = -1};

	got.plan = ask(c, a, arena_strf(a, "explain (analyze, buffers, timing off) execute \"%s\"(%s)", name, args).p);
	for (unsigned i = 0; i < db_rows_n(got.plan); i++) {
		const char *line = arena_strz(a, db_rows_text(got.plan, i, 0));

		if (got.rows < 0)
			got.rows = number_after(line, "(actual rows=");
		if (!got.blocks && strstr(line, "Buffers: shared"))
			got.blocks = number_after(line, "hit=") + number_after(line, "read=");
		if ((strstr(line, "Sort  (") || strstr(line, "Incremental Sort")) && number_after(line, "(actual rows=") > SORTED_MAX)
			tap_fail(__FILE__, __LINE__, "%s(%s): %s", name, args, line);
		if (strstr(line, "Execution Time: "))
			got.ms = strtod(strstr(line, "Time: ") + 6, NULL);
	}
	printf("# %-14s %-70s %4lld rows %6lld blocks %8.2f ms\n", name, args, (long long)got.rows, (long long)got.blocks, got.ms);
	return got;
}

static void check(struct db_sync *c, struct arena *a, int id, const char *args, int64_t rows, int64_t blocks_max)
{
	struct cost got = run_one(c, a, id, args);

	if ((rows < 0 || got.rows == rows) && got.blocks <= blocks_max)
		return;
	for (unsigned i = 0; i < db_rows_n(got.plan) && getenv("LISTS_PLAN"); i++)
		printf("# %.*s\n", STR_FMT(db_rows_text(got.plan, i, 0)));
	tap_fail(__FILE__, __LINE__, "%s(%s): %lld rows, %lld blocks", sql_stmts[id].name, args, (long long)got.rows, (long long)got.blocks);
}

static void prepare(struct db_sync *c, struct arena *a, int id)
{
	(void)ask(c, a, arena_strf(a, "prepare \"%s\" as %s", sql_stmts[id].name, sql_stmts[id].text).p);
}

#define ANY "0, 2, 1, 0, 9223372036854775807, null, 0, null, null, false, "
#define OF(w) "0, 2, 1, 0, 9223372036854775807, array[" w "], 0, null, null, false, "

TEST(pages_cost_what_is_on_them)
{
	static const struct {
		int id;
		const char *args;
		int64_t rows, blocks_max;
	} t[] = {
		{SQL_RUNS, ANY "31, 0, 51", 51},
		{SQL_RUNS_BY_STATE, ANY "1, 0, 51, false", 51},
		{SQL_RUNS_BY_STATE, ANY "2, 0, 51, false", 51},
		{SQL_RUNS_BY_STATE, ANY "8, 0, 51, false", 51},
		{SQL_RUNS_BY_STATE, ANY "16, 0, 51, false", 51},
		{SQL_RUNS_BY_STATE, ANY "24, 0, 51, false", 51},
		{SQL_RUNS_BY_STATE, ANY "27, 0, 51, false", 51},
		{SQL_RUNS_BY_STATE, ANY "4, 0, 51, true", 51, 20 * BLOCKS_MAX},	/* a page of each workflow */
		{SQL_RUNS_BY_STATE, ANY "12, 0, 51, true", 51, 20 * BLOCKS_MAX},
		{SQL_RUNS_BY_STATE, OF("1") "31, 0, 51, true", 51},
		{SQL_RUNS_BY_STATE, OF("1") "4, 0, 51, true", 51},
		{SQL_RUNS_BY_STATE, OF("1") "8, 0, 51, true", 51},
		{SQL_RUNS_BY_STATE, OF("1") "1, 0, 51, true", 51},
		{SQL_RUNS_BY_STATE, OF("20") "31, 0, 51, true", 51},
		{SQL_RUNS_BY_STATE, OF("20") "4, 0, 51, true", 51},
		{SQL_RUNS_BY_STATE, OF("20") "8, 0, 51, true", 51},
		{SQL_RUNS_BY_STATE, OF("20") "16, 0, 51, true", 51},
		{SQL_RUNS_BY_STATE, OF("20") "1, 0, 51, true", 51},
		{SQL_RUNS_BY_STATE, OF("3, 20, 4, 999") "29, 0, 51, true", 51, 3 * BLOCKS_MAX},
		{SQL_RUNS_BY_STATE, OF("999") "31, 0, 51, true", 0},
		{SQL_RUNS_OF_PARENT, ANY "31, 0, 51, 77", 51},
	};
	const char *url = pgnode_new_db(), *n = getenv("LISTS_ROWS") ? getenv("LISTS_ROWS") : "300000";
	struct arena *a = arena_new(64u << 20);
	int64_t from, to;
	struct db_sync *c;

	pgnode_exec(url, arena_strf(a, "create function rows_n() returns int8 language sql immutable as 'select %s::int8'", n).p);
	pgnode_exec(url, fill);
	pgnode_exec(url, "vacuum analyze");
	from = pgnode_int(url, "select hatchet.day_lo(hatchet.utc_today() - 3) + 100000000001");
	to = pgnode_int(url, "select hatchet.day_lo(hatchet.utc_today()) - 100000000001");
	c = open_reader(url);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		if (i == 0 || t[i].id != t[i - 1].id)
			prepare(c, a, t[i].id);
		check(c, a, t[i].id, t[i].args, t[i].rows, t[i].blocks_max ? t[i].blocks_max : BLOCKS_MAX);
	}
	/* counts: a row a minute, and the parts of minutes at both ends of three days */
	prepare(c, a, SQL_COUNTS_BY_MINUTE);
	check(c, a, SQL_COUNTS_BY_MINUTE, "1, 0, 9223371785196535807, null, false", -1, 20 * BLOCKS_MAX);
	check(c, a, SQL_COUNTS_BY_MINUTE, arena_strf(a, "1, %lld, %lld, null, false", (long long)from, (long long)to).p, -1, 20 * BLOCKS_MAX);
	check(c, a, SQL_COUNTS_BY_MINUTE, arena_strf(a, "1, %lld, %lld, array[20], false", (long long)from, (long long)to).p, -1, 20 * BLOCKS_MAX);
	prepare(c, a, SQL_DEPTHS);
	check(c, a, SQL_DEPTHS, "1", -1, 5 * BLOCKS_MAX);
	db_sync_close(c);
	arena_free(a);
}
