/* Before the loop: is this database fit, is the schema there, who are we.  Blocking.
 *
 * Invariant: the schema is made in one transaction under an advisory lock, so two servers may start at once and a failure
 * leaves nothing half.  Every failure is one sentence that says what to change.
 * Does not own anything: engines, shards and partitions of later days belong to owner.c and maint.c. */
#include "store/boot.h"

#include "base/log.h"
#include "base/text.h"
#include "embed.h"
#include "sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SCHEMA_VERSION 10
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define CLOCK_US_MAX 300000000LL
#define CLOCK_US_WARN 1000000LL
#define DAYS_TRIES 25

static bool run(struct db_sync *c, struct arena *a, int sql_id, const char *const *params, const struct db_rows **ret,
		struct err *err)
{
	return db_sync_query(c, a, sql_stmts[sql_id].text, params, (unsigned)sql_stmts[sql_id].n_params, ret, err);
}

static bool cell_true(const struct db_rows *rows, unsigned col)
{
	return str_eq(db_rows_text(rows, 0, col), STR("t"));
}

/* --- checks -------------------------------------------------------------------------------------------------------------- */

static bool check_version(int v, struct err *err)
{
	if (v < 140000)
		return err_set(err, ERR_PRECONDITION, "the database is PostgreSQL %d.%d; 15 or newer is needed", v / 10000,
			       v % 10000);
	if (v < 150000)
		log_warn("PostgreSQL 14 is supported as far as it goes; 15 or newer is recommended");
	return true;
}

static bool check_rights(struct db_sync *c, struct arena *a, struct err *err)
{
	const struct db_rows *rows;

	if (!run(c, a, SQL_BOOT_RIGHTS, NULL, &rows, err))
		return false;
	if (cell_true(rows, 0))
		return err_set(err, ERR_PRECONDITION, "the database is a read-only replica; name the primary in the URL");
	if (!cell_true(rows, 2) && !cell_true(rows, 1))
		return err_set(err, ERR_DENIED,
			       "database user \"%.*s\" may not create a schema; run: GRANT CREATE ON DATABASE \"%.*s\" TO \"%.*s\"",
			       STR_FMT(db_rows_text(rows, 0, 4)), STR_FMT(db_rows_text(rows, 0, 5)),
			       STR_FMT(db_rows_text(rows, 0, 4)));
	if (cell_true(rows, 2) && !cell_true(rows, 3))
		return err_set(err, ERR_DENIED,
			       "database user \"%.*s\" may not create tables in schema hatchet; use the user who made it",
			       STR_FMT(db_rows_text(rows, 0, 4)));
	return true;
}

static bool check_pooling(struct db_sync *c, struct err *err)
{
	bool per_transaction;

	if (!db_sync_is_pooled(c, &per_transaction, err))
		return false;
	if (per_transaction)
		return err_set(err, ERR_PRECONDITION, "the database is reached through a pooler in transaction mode, which breaks "
			       "session locks; connect directly or set the pooler to session mode");
	return true;
}

static int64_t wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static bool check_clock(struct db_sync *c, struct arena *a, struct err *err)
{
	const struct db_rows *rows;
	int64_t before = wall_us(), after, theirs, off;
	char ours_text[RFC3339_MAX], theirs_text[RFC3339_MAX];

	if (!run(c, a, SQL_BOOT_CLOCK, NULL, &rows, err))
		return false;
	after = wall_us();
	if (!str_to_i64(db_rows_text(rows, 0, 0), &theirs))
		return err_set(err, ERR_INTERNAL, "the database did not tell its time");
	off = theirs < before ? before - theirs : theirs > after ? theirs - after : 0;
	ours_text[rfc3339_format(after, ours_text)] = '\0';
	theirs_text[rfc3339_format(theirs, theirs_text)] = '\0';
	if (off > CLOCK_US_MAX)
		return err_set(err, ERR_PRECONDITION,
			       "the clocks differ by more than 5 minutes: here it is %s, at the database %s", ours_text,
			       theirs_text);
	if (off > CLOCK_US_WARN)
		log_warn("the clocks of this machine and of the database differ", F_I64("off_ms", off / 1000));
	return true;
}

bool boot_check(struct db_sync *c, struct err *err)
{
	struct arena *a = arena_new(1u << 20);
	bool ok = check_version(db_sync_version(c), err) && check_rights(c, a, err) && check_pooling(c, err) &&
		  check_clock(c, a, err);

	arena_free(a);
	return ok;
}

/* --- schema -------------------------------------------------------------------------------------------------------------- */

static bool run_file(struct db_sync *c, const char *name, struct err *err)
{
	for (const struct embed_file *f = embed_files; f->name; f++)
		if (strcmp(f->name, name) == 0)
			return db_sync_exec(c, f->p, err);	/* a NUL follows */
	return err_set(err, ERR_INTERNAL, "%s is not in this binary", name);
}

static bool run_schema(struct db_sync *c, struct err *err)
{
	return run_file(c, "schema.sql", err) && run_file(c, "src/store/functions.sql", err);
}

/* 0: no instance yet; @ret_text, unless NULL: the schema is there all the same, as in a template cluster */
static bool schema_version(struct db_sync *c, struct arena *a, int64_t *ret, bool *ret_text, struct err *err)
{
	const struct db_rows *rows;

	if (!run(c, a, SQL_BOOT_HAS_INSTANCE, NULL, &rows, err))
		return false;
	*ret = 0;
	if (ret_text)
		*ret_text = false;
	if (!cell_true(rows, 0))
		return true;
	if (!run(c, a, SQL_BOOT_VERSION, NULL, &rows, err))
		return false;
	if (ret_text)
		*ret_text = str_eq(db_rows_text(rows, 0, 1), STR(TEXT(SCHEMA_VERSION)));
	return str_to_i64(db_rows_text(rows, 0, 0), ret) || err_set(err, ERR_INTERNAL, "schema version is not a number");
}

static bool create_schema(struct db_sync *c, struct arena *a, bool has_text, struct err *err)
{
	char version[16];
	const char *params[1] = {version};

	snprintf(version, sizeof(version), "%d", SCHEMA_VERSION);
	return (has_text || run_schema(c, err)) && run(c, a, SQL_BOOT_INSTANCE, params, NULL, err);
}

static bool first_rows(struct db_sync *c, struct arena *a, struct str key, struct err *err)
{
	const char *params[1] = {arena_strf(a, "\\x%.*s", STR_FMT(hex_encode(a, key))).p};

	return (key.n == 0 || run(c, a, SQL_BOOT_SIGNING_KEY, params, NULL, err)) && run(c, a, SQL_BOOT_TENANT, NULL, NULL, err);
}

static bool migrate_locked(struct db_sync *c, struct arena *a, struct str key, struct err *err)
{
	int64_t have;
	bool has_text;

	if (!run(c, a, SQL_BOOT_LOCK, NULL, NULL, err) || !schema_version(c, a, &have, &has_text, err))
		return false;
	if (have > SCHEMA_VERSION)
		return err_set(err, ERR_PRECONDITION,
			       "the database was set up by a newer hatchet (schema %d, this one knows %d); use that version",
			       (int)have, SCHEMA_VERSION);
	if (have < SCHEMA_VERSION && !create_schema(c, a, has_text, err))
		return false;
	return first_rows(c, a, key, err);
}

/* waits 200 ms for its locks, so that it holds back nobody: hence the tries */
static bool make_days(struct db_sync *c, struct arena *a, struct err *err)
{
	for (int i = 1;; i++) {
		if (run(c, a, SQL_BOOT_DAYS, NULL, NULL, err))
			return true;
		if (i == DAYS_TRIES || (err && err->code != ERR_DEADLINE))
			return false;
	}
}

bool boot_migrate(struct db_sync *c, struct str new_signing_key, struct err *err)
{
	struct arena *a = arena_new(1u << 20);
	bool ok = db_sync_exec(c, "begin", err);

	if (ok) {
		ok = migrate_locked(c, a, new_signing_key, err);
		if (!db_sync_exec(c, ok ? "commit" : "rollback", ok ? err : NULL))
			ok = false;
	}
	ok = ok && make_days(c, a, err);
	arena_free(a);
	return ok;
}

int boot_schema_version(void)
{
	return SCHEMA_VERSION;
}

bool boot_is_migrated(struct db_sync *c, bool *ret, struct err *err)
{
	struct arena *a = arena_new(1u << 20);
	int64_t have;
	bool ok = schema_version(c, a, &have, NULL, err);

	if (ok)
		*ret = have == SCHEMA_VERSION;
	arena_free(a);
	return ok;
}

/* --- facts and tokens ---------------------------------------------------------------------------------------------------- */

/* text form of a bytea: \x and hex digits */
static struct str unhex(struct arena *a, struct str s)
{
	char *out = arena_alloc(a, s.n / 2 + 1);
	size_t n = 0;

	for (size_t i = 2; i + 1 < s.n; i += 2) {
		char two[3] = {s.p[i], s.p[i + 1], '\0'};

		out[n++] = (char)strtol(two, NULL, 16);
	}
	out[n] = '\0';
	return (struct str){out, n};
}

bool boot_facts(struct db_sync *c, struct arena *a, struct str tenant_slug, struct boot_facts *ret, struct err *err)
{
	const char *params[1] = {arena_strz(a, tenant_slug)};
	const struct db_rows *rows;
	struct boot_facts f = {0};
	int64_t version;

	if (!run(c, a, SQL_BOOT_FACTS, params, &rows, err))
		return false;
	if (db_rows_n(rows) == 0)
		return err_set(err, ERR_NOT_FOUND, "the database has no signing key");
	if (!uuid_parse(db_rows_text(rows, 0, 0), &f.tenant))
		return err_set(err, ERR_NOT_FOUND, "there is no tenant with slug \"%.*s\"", STR_FMT(tenant_slug));
	if (!str_to_i64(db_rows_text(rows, 0, 2), &version))
		return err_set(err, ERR_INTERNAL, "schema version is not a number");
	f.signing_key = unhex(a, db_rows_text(rows, 0, 1));
	f.schema_version = (int32_t)version;
	*ret = f;
	return true;
}

bool boot_token_insert(struct db_sync *c, const struct uuid *token, const struct uuid *tenant, const char *name, int64_t expires_at,
		       struct err *err)
{
	struct arena *a = arena_new(64u << 10);
	char token_text[UUID_TEXT + 1], tenant_text[UUID_TEXT + 1], at[24];
	const char *params[4] = {token_text, tenant_text, name, at};
	const struct db_rows *rows;
	bool ok;

	uuid_format(token, token_text);
	uuid_format(tenant, tenant_text);
	snprintf(at, sizeof(at), "%lld", (long long)expires_at);
	ok = run(c, a, SQL_BOOT_TOKEN_INSERT, params, &rows, err);
	if (ok && db_rows_n(rows) == 0)
		ok = err_set(err, ERR_NOT_FOUND, "there is no such tenant");
	arena_free(a);
	return ok;
}

bool boot_token_revoke(struct db_sync *c, const struct uuid *token, struct err *err)
{
	struct arena *a = arena_new(64u << 10);
	char token_text[UUID_TEXT + 1];
	const char *params[1] = {token_text};
	const struct db_rows *rows;
	bool ok;

	uuid_format(token, token_text);
	ok = run(c, a, SQL_BOOT_TOKEN_REVOKE, params, &rows, err);
	if (ok && db_rows_n(rows) == 0)
		ok = err_set(err, ERR_NOT_FOUND, "there is no such token");
	arena_free(a);
	return ok;
}
