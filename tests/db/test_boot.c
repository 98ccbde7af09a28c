/* First start, upgrades, checks and tokens. */
#include "pgnode.h"
#include "storefix.h"

#include "store/boot.h"
#include "store/maint.h"

#include <sys/wait.h>
#include <unistd.h>

static struct db_sync *must_open(const char *url)
{
	struct err err;
	struct db_sync *c = db_sync_open(url, &err);

	if (!c)
		tap_fail(__FILE__, __LINE__, "%s", err.msg);
	return c;
}

static void must_migrate(const char *url, struct str key)
{
	struct db_sync *c = must_open(url);
	struct err err;

	if (!boot_migrate(c, key, &err))
		tap_fail(__FILE__, __LINE__, "%s", err.msg);
	db_sync_close(c);
}

static const char facts[] =
	"select md5(string_agg(x, ',' order by x)) from ("
	"select table_name || '.' || column_name || data_type || coalesce(column_default, '') as x"
	" from information_schema.columns where table_schema = 'hatchet'"
	" union all select indexdef from pg_indexes where schemaname = 'hatchet'"
	" union all select oid::regprocedure::text || prosrc from pg_proc where pronamespace = 'hatchet'::regnamespace"
	" union all select c.relname || coalesce(array_to_string(c.reloptions, ','), '') from pg_class c"
	" where relnamespace = 'hatchet'::regnamespace) u";

TEST(migrate_twice_changes_nothing)
{
	const char *url = pgnode_empty_db(), *before;
	struct db_sync *c = must_open(url);
	struct arena *a = arena_new(1u << 20);
	struct boot_facts f;
	struct err err;
	bool is = true;

	CHECK(boot_is_migrated(c, &is, &err) && !is);
	must_migrate(url, STR("\x01\x02key\xff"));
	CHECK(boot_is_migrated(c, &is, &err) && is);
	before = pgnode_text(url, facts);
	must_migrate(url, STR("another key"));
	CHECK_STR(pgnode_text(url, facts), before);
	/* and when an upgrade runs the whole schema again */
	pgnode_exec(url, "update hatchet.instance set schema_version = 0; comment on schema hatchet is '0'");
	must_migrate(url, STR("another key"));
	CHECK_STR(pgnode_text(url, facts), before);
	/* from schema 9 */
	pgnode_exec(url, "alter table hatchet.live drop column batch_id; alter table hatchet.task drop column batch_key; alter table hatchet.step"
		    " drop column batch; update hatchet.instance set schema_version = 9; comment on schema hatchet is '9'");
	must_migrate(url, STR("another key"));
	CHECK_STR(pgnode_text(url, facts), before);
	/* from schema 8 */
	pgnode_exec(url, "drop table hatchet.idempotency_key; alter table hatchet.task drop column idempotency_key; alter table"
		    " hatchet.workflow_version drop column idem_expression, drop column idem_ttl_ms, drop column idem_is_status;"
		    " update hatchet.instance set schema_version = 8; comment on schema hatchet is '8'");
	must_migrate(url, STR("another key"));
	CHECK_STR(pgnode_text(url, facts), before);
	/* from schema 6 */
	pgnode_exec(url, "alter table hatchet.workflow drop column paused_at, drop column unpaused_at, drop column pause_ttl_ms,"
		    " drop column pause_drops_cron, drop column pause_drops_scheduled; drop table hatchet.rate_limit; alter table hatchet.task drop column limits; alter table hatchet.step drop column limits;"
		    " update hatchet.instance set schema_version = 6; comment on schema hatchet is '6'");
	must_migrate(url, STR("another key"));
	CHECK_STR(pgnode_text(url, facts), before);
	/* from schema 4 */
	pgnode_exec(url, "alter table hatchet.task drop column keys, drop column key_limits, drop column lane; alter table hatchet.queue_item"
		    " drop column lane; alter table hatchet.step drop column strategies; drop table hatchet.strategy;"
		    " update hatchet.instance set schema_version = 4; comment on schema hatchet is '4'");
	must_migrate(url, STR("another key"));
	CHECK_STR(pgnode_text(url, facts), before);
	/* from schema 3: what is new is there at once, also for today */
	pgnode_exec(url, "drop table hatchet.request, hatchet.inbox, hatchet.sql_role; drop sequence hatchet.request_no; drop function"
		    " hatchet.enqueue, hatchet.request_id, hatchet.tenant_of_role; alter table hatchet.instance drop column input_bytes_max;"
		    " update hatchet.instance set schema_version = 3; comment on schema hatchet is '3'");
	must_migrate(url, STR("another key"));
	CHECK_STR(pgnode_text(url, facts), before);
	/* what was granted stays, and nothing else is */
	pgnode_exec(url, "drop role if exists sqlapp; create role sqlapp; grant execute on function hatchet.enqueue to sqlapp;"
		    " update hatchet.instance set schema_version = 3");
	must_migrate(url, STR("another key"));
	CHECK_EQ(pgnode_int(url, "select count(*) from pg_proc p where pronamespace = 'hatchet'::regnamespace and"
			    " has_function_privilege('sqlapp', p.oid, 'execute')"), 1);
	pgnode_exec(url, "drop owned by sqlapp; drop role sqlapp");
	/* from schema 1; ends get to know what they ended */
	pgnode_exec(url, "insert into hatchet.task (tenant_no, id, run_id, workflow_no, version_no, step_no, action_no, priority, schedule_ms,"
		    " exec_ms) select 1, i, i, 5, 1, 1, 1, 1, 1, 1 from generate_series(hatchet.day_lo(hatchet.utc_today()) + 1,"
		    " hatchet.day_lo(hatchet.utc_today()) + 4) i;"
		    "insert into hatchet.attempt (tenant_no, task_id, attempt, status, finished_at) select 1, id, n, 1, now() from hatchet.task,"
		    " generate_series(0, 1) n;"
		    "insert into hatchet.live (tenant_no, id, shard, state, attempt, app_retries, internal_retries, rank, action_no, step_no)"
		    " select 1, min(id), 1, 0, 2, 0, 0, 0, 1, 1 from hatchet.task;"
		    "alter table hatchet.attempt drop column final; drop index hatchet.task_parent;"
		    "create index attempt_not_completed on hatchet.attempt (tenant_no, task_id) where status <> 0;"
		    "create index task_parent on hatchet.task (tenant_no, parent_id) where parent_id is not null;"
		    "alter table hatchet.task drop column desired_worker_no, drop column labels; alter table hatchet.step drop column"
		    " labels; alter table hatchet.workflow_version drop column sticky; update hatchet.instance set schema_version = 1;"
		    " comment on schema hatchet is '1'");
	must_migrate(url, STR("another key"));
	CHECK_STR(pgnode_text(url, facts), before);
	CHECK_EQ(pgnode_int(url, "select schema_version from hatchet.instance"), 10);
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.attempt where final = 43 and attempt = 1"), 3);
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.attempt where final is null"), 5);
	CHECK_EQ(pgnode_int(url, "select count(*) from pg_indexes where schemaname = 'hatchet' and indexdef ~ 'final & 7|parent_id, id'"), 4);
	pgnode_exec(url, "truncate hatchet.task, hatchet.attempt, hatchet.live");
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.instance where length(id_secret) = 16"), 1);
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.shard"), 64);
	CHECK_EQ(pgnode_int(url, "select count(*) from pg_class where relname = 'task_' || to_char(hatchet.utc_today(), 'YYYYMMDD')"), 1);
	/* a database with the schema and without an instance, as the built-in Postgres begins: only the instance is made */
	pgnode_exec(url, "delete from hatchet.instance; drop function hatchet.label_object");
	must_migrate(url, STR("another key"));
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.instance"), 1);
	CHECK_EQ(pgnode_int(url, "select count(*) from pg_proc where proname = 'label_object'"), 0);
	CHECK(boot_facts(c, a, STR("default"), &f, &err));
	CHECK_STR(f.signing_key, STR("\x01\x02key\xff"));
	CHECK(!uuid_is_zero(&f.tenant));
	CHECK(!boot_facts(c, a, STR("other"), &f, &err));
	CHECK_EQ(err.code, ERR_NOT_FOUND);
	pgnode_exec(url, "update hatchet.instance set schema_version = 99");
	CHECK(!boot_migrate(c, STR("k"), &err));
	CHECK_EQ(err.code, ERR_PRECONDITION);
	CHECK(strstr(err.msg, "newer"));
	arena_free(a);
	db_sync_close(c);
}

TEST(two_migrate_at_once)
{
	const char *url = pgnode_empty_db();
	pid_t other = fork();

	must_migrate(url, STR("k"));
	if (other == 0)
		_exit(0);
	waitpid(other, NULL, 0);
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.tenant"), 1);
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.signing_key"), 1);
}

TEST(checks_pass_here)
{
	struct db_sync *c = must_open(pgnode_new_db());
	struct err err = {0};
	bool ok = boot_check(c, &err);

	CHECK_STR(err.msg, "");
	CHECK(ok);
	db_sync_close(c);
}

static void check_open_fails(const char *url, enum err_code code, const char *word)
{
	struct err err;
	struct db_sync *c = db_sync_open(url, &err);

	CHECK(!c);
	if (err.code != code || !strstr(err.msg, word))
		tap_fail(__FILE__, __LINE__, "%s: %s", err_name(err.code), err.msg);
}

TEST(sentences_of_failure)
{
	const char *url = pgnode_empty_db(), *db = strstr(url, "dbname=") + 7;
	struct db_sync *c;
	struct err err;

	check_open_fails(pgnode_url("nowhere", NULL), ERR_NOT_FOUND, "database \"nowhere\" does not exist");
	check_open_fails(pgnode_url(db, "nobody"), ERR_DENIED, "nobody");
	check_open_fails("host=/tmp port=1 user=x dbname=y", ERR_UNAVAILABLE, "cannot be reached");
	check_open_fails("host=no-such-host.invalid user=x dbname=y", ERR_UNAVAILABLE, "cannot be resolved");
	check_open_fails("postgres://u:secret@h:notaport/x", ERR_UNAVAILABLE, "");
	check_open_fails("=", ERR_INVALID, "postgres://user:password@host:port/database");

	pgnode_exec(url, "create role weak login password 'right'");
	c = must_open(pgnode_url(db, "weak"));
	CHECK(!boot_check(c, &err));
	CHECK_EQ(err.code, ERR_DENIED);
	CHECK(strstr(err.msg, "GRANT CREATE ON DATABASE"));
	db_sync_close(c);
	pgnode_exec(url, pgnode_keep("grant create on database %s to weak", db));
	c = must_open(pgnode_url(db, "weak"));
	CHECK(boot_check(c, &err));
	CHECK(boot_migrate(c, STR("k"), &err));
	CHECK(boot_check(c, &err));
	db_sync_close(c);
}

TEST(wrong_password)
{
	pgnode_exec(pgnode_url("postgres", NULL), "create role pass login password 'right'");
	pgnode_hba("local all pass scram-sha-256");
	check_open_fails(pgnode_keep("%s password=wrong", pgnode_url("postgres", "pass")), ERR_DENIED, "password");
	check_open_fails(pgnode_url("postgres", "pass"), ERR_DENIED, "has none");
	db_sync_close(must_open(pgnode_keep("%s password=right", pgnode_url("postgres", "pass"))));
}

TEST(tokens)
{
	const char *url = pgnode_new_db();
	struct db_sync *c = must_open(url);
	struct arena *a = arena_new(1u << 20);
	struct uuid token, none = {{1}};
	struct boot_facts f;
	struct err err;

	CHECK(uuid_parse(STR("11111111-2222-4333-8444-555555555555"), &token));
	CHECK(boot_facts(c, a, STR("default"), &f, &err));
	CHECK(boot_token_insert(c, &token, &f.tenant, "it's", 1900000000000000, &err));
	CHECK(!boot_token_insert(c, &token, &f.tenant, "again", 1900000000000000, &err));
	CHECK_EQ(err.code, ERR_EXISTS);
	CHECK(!boot_token_insert(c, &none, &token, "x", 1900000000000000, &err));
	CHECK_EQ(err.code, ERR_NOT_FOUND);
	CHECK_EQ(pgnode_int(url, "select extract(epoch from expires_at)::int8 from hatchet.api_token where name = 'it''s'"), 1900000000);
	CHECK(boot_token_revoke(c, &token, &err));
	CHECK(!boot_token_revoke(c, &none, &err));
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.api_token where revoked_at is not null"), 1);
	arena_free(a);
	db_sync_close(c);
}

/* --- days ---------------------------------------------------------------------------------------------------------------- */

static bool is_idle(void *arg)
{
	return !maint_is_running(arg);
}

/* PostgreSQL 14 hands its statistics on only now and then */
static bool is_vacuumed(void *arg)
{
	return pgnode_int(arg, "select count(*) from pg_stat_user_tables where relname ~ '^task_' and last_vacuum is not null") >= 5;
}

TEST(maintenance)
{
	static const char in_day[] = "hatchet.day_lo(hatchet.utc_today() - %d) + 5";
	struct fix f;
	struct maint *m;
	struct err err;
	const char *url = pgnode_new_db();

	/* ten days: the oldest three expired, one of those with an unfinished task, and the coming ones missing */
	pgnode_exec(url, "update hatchet.tenant set retention_hours = 24 * 5");
	pgnode_exec(url, "select hatchet.make_days(hatchet.utc_today() - 9, 9)");
	pgnode_exec(url, "do $$ declare p text; begin foreach p in array array['task','attempt','note','event','log_line','request'] loop"
			 " execute format('drop table hatchet.%I', p || to_char(hatchet.utc_today() + 1, '_YYYYMMDD')); end loop; end $$");
	for (int day = 9; day >= 1; day--) {
		const char *id = pgnode_keep(in_day, day);

		pgnode_exec(url, pgnode_keep("insert into hatchet.task (tenant_no, id, run_id, workflow_no, version_no, step_no, action_no,"
			" priority, schedule_ms, exec_ms) select 1, %s + i, 1, 1, 1, 1, 1, 1, 1, 1 from generate_series(0, 1) i", id));
		pgnode_exec(url, pgnode_keep("insert into hatchet.attempt (tenant_no, task_id, attempt, status, finished_at)"
			" select 1, %s + i, 0, 1, now() from generate_series(0, 1) i", id));
		pgnode_exec(url, pgnode_keep("insert into hatchet.request (tenant_no, id, run_id)"
			" select 1, gen_random_uuid(), %s + i from generate_series(0, 1) i", id));
	}
	/* a day that is older than the table of requests */
	pgnode_exec(url, "do $$ begin execute format('drop table hatchet.%I', 'request' || to_char(hatchet.utc_today() - 7, '_YYYYMMDD'));"
		" end $$");
	pgnode_exec(url, pgnode_keep("insert into hatchet.live (tenant_no, id, shard, state, attempt, app_retries, internal_retries, rank,"
		" action_no, step_no) select 1, %s, 1, 3, 1, 1, 0, 0, 1, 1", pgnode_keep(in_day, 8)));
	fix_open(&f, url, NULL, NULL);
	m = maint_new(f.loop, f.db);
	for (int i = 0; i < 2; i++) {
		maint_run_now(m);
		CHECK(wait_until(f.loop, is_idle, m, 20000));
	}
	CHECK(maint_is_ok(m, &err));
	CHECK_EQ(pgnode_int(url, "select count(*) from pg_inherits where inhparent = 'hatchet.event'::regclass"), 9);
	CHECK_EQ(pgnode_int(url, "select count(*) from pg_class where relnamespace = 'hatchet'::regnamespace and relname ~ 'task_\\d{8}$'"), 9);
	/* of the expired days only the unfinished task is left, with its attempt */
	CHECK_EQ(pgnode_int(url, pgnode_keep("select count(*) from hatchet.task where id < hatchet.day_lo(hatchet.utc_today() - 5)")), 1);
	CHECK_EQ(pgnode_int(url, pgnode_keep("select count(*) from hatchet.attempt where task_id = %s", pgnode_keep(in_day, 8))), 1);
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.task"), 11);
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.request r join hatchet.task t on t.id = r.run_id"), 11);
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.request"), 11);
	CHECK_EQ(pgnode_int(url, "select count(*) from pg_indexes where indexname ~ '^task_\\d{8}_wf$'"), 5);
	CHECK(wait_until(f.loop, is_vacuumed, (void *)(uintptr_t)url, 10000));
	/* its end goes where it belongs, and then the rest of the day goes */
	pgnode_exec(url, pgnode_keep("insert into hatchet.attempt (tenant_no, task_id, attempt, status, finished_at)"
		" values (1, %s, 1, 0, now()); delete from hatchet.live", pgnode_keep(in_day, 8)));
	maint_run_now(m);
	CHECK(wait_until(f.loop, is_idle, m, 20000));
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.task"), 10);
	CHECK_EQ(pgnode_int(url, "select count(*) from hatchet.request"), 10);
	CHECK_EQ(pgnode_int(url, "select count(*) from pg_class where relname ~ '_kept'"), 0);
	maint_free(m);
	fix_close(&f);
}
