/* Which tables a backup has, and the two transactions that read and write them. */
#include "backup_int.h"

#include "base/strb.h"
#include "base/text.h"
#include "sql.h"
#include "store/boot.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PROGRESS_ROWS 50000

struct job {
	struct db_sync *c;
	struct bfile *f;
	struct arena *a;
	backup_progress_fn *progress;
	void *arg;
	const char *table;	/* at work */
	int64_t rows;		/* of it, as far as they were counted here: pieces, each a row when it was written */
	struct backup_facts facts;
};

static bool run(struct job *j, int sql_id, const char *const *params, const struct db_rows **ret, struct err *err)
{
	return db_sync_query(j->c, j->a, sql_stmts[sql_id].text, params, (unsigned)sql_stmts[sql_id].n_params, ret, err);
}

static const char *text(struct job *j, const struct db_rows *rows, unsigned row, unsigned col)
{
	return arena_strz(j->a, db_rows_text(rows, row, col));
}

static void count(struct job *j)
{
	if (++j->rows % PROGRESS_ROWS == 0 && j->progress)
		j->progress(j->arg, j->table, j->rows);
}

static void table_done(struct job *j, int64_t rows)
{
	j->facts.rows += rows;
	j->facts.tables++;
	if (j->progress)
		j->progress(j->arg, j->table, rows);
}

/* --- out ------------------------------------------------------------------------------------------------------------------- */

static bool take(void *arg, struct str bytes, struct err *err)
{
	struct job *j = arg;

	count(j);
	return bfile_put_piece(j->f, bytes, err);
}

static bool write_table(struct job *j, const char *table, const char *columns, struct err *err)
{
	int64_t rows;

	j->table = table;
	j->rows = 0;
	if (!bfile_put_line(j->f, err, "table %s %s", table, columns) ||
	    !db_sync_copy_out(j->c, arena_strf(j->a, "copy (select %s from hatchet.%s) to stdout (format binary)", columns, table).p, take, j,
			      &rows, err) ||
	    !bfile_put_piece(j->f, STR(""), err) || !bfile_put_line(j->f, err, "rows %lld", (long long)rows))
		return false;
	table_done(j, rows);
	return true;
}

static bool write_all(struct job *j, struct err *err)
{
	const struct db_rows *days, *tables;
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	j->facts.at_us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
	if (!bfile_put_line(j->f, err, "hatchet backup 1 %d %lld", boot_schema_version(), (long long)j->facts.at_us) ||
	    !run(j, SQL_BACKUP_DAYS, NULL, &days, err) || !run(j, SQL_BACKUP_TABLES, NULL, &tables, err))
		return false;
	for (unsigned i = 0; i < db_rows_n(days); i++)
		if (!bfile_put_line(j->f, err, "day %s", text(j, days, i, 0)))
			return false;
	for (unsigned i = 0; i < db_rows_n(tables); i++)
		if (!write_table(j, text(j, tables, i, 0), text(j, tables, i, 1), err))
			return false;
	return bfile_put_line(j->f, err, "end %lld", (long long)j->facts.rows);
}

bool backup_write(struct db_sync *c, const char *path, backup_progress_fn *progress, void *arg, struct backup_facts *ret, struct err *err)
{
	struct job j = {.c = c, .progress = progress, .arg = arg, .a = arena_new(16u << 20), .f = bfile_create(path, err)};
	bool ok = j.f && db_sync_exec(c, "begin transaction isolation level repeatable read read only", err) && write_all(&j, err) &&
		  db_sync_exec(c, "commit", err) && bfile_commit(j.f, &j.facts.bytes, err);

	if (j.f)
		bfile_close(j.f);
	arena_free(j.a);
	*ret = j.facts;
	return ok;
}

/* --- in -------------------------------------------------------------------------------------------------------------------- */

static bool give(void *arg, struct str *ret, struct err *err)
{
	struct job *j = arg;

	count(j);
	return bfile_piece(j->f, ret, err);
}

static bool first_line(struct job *j, struct err *err)
{
	char line[BACKUP_LINE_MAX];
	int form, schema;
	long long at;

	if (!bfile_line(j->f, line, err))
		return false;
	if (sscanf(line, "hatchet backup %d %d %lld", &form, &schema, &at) != 3)
		return err_set(err, ERR_INVALID, "this is no backup of hatchet");
	j->facts.at_us = at;
	return (form == 1 && schema == boot_schema_version()) ||
	       err_set(err, ERR_PRECONDITION, "the backup is of schema %d, this hatchet has %d: restore it with the version that made it",
		       schema, boot_schema_version());
}

/* The line after a table's bytes. */
static bool rows_line(struct job *j, int64_t *ret, struct err *err)
{
	char line[BACKUP_LINE_MAX];

	return bfile_line(j->f, line, err) &&
	       ((strncmp(line, "rows ", 5) == 0 && str_to_i64(str_c(line + 5), ret)) || bfile_damaged(j->f, err));
}

/* The whole file without the database: is every piece there, does every sum hold? */
bool backup_check(const char *path, struct err *err)
{
	struct job j = {.f = bfile_open(path, err)};
	char line[BACKUP_LINE_MAX];
	int64_t rows, all = 0;
	struct str piece;
	bool ok = j.f && first_line(&j, err), ended = false;

	while (ok && !ended && (ok = bfile_line(j.f, line, err))) {
		if (strncmp(line, "day ", 4) == 0)
			continue;
		if (strncmp(line, "end ", 4) == 0) {
			ended = true;
			ok = (str_to_i64(str_c(line + 4), &rows) && rows == all) || bfile_damaged(j.f, err);
			continue;
		}
		ok = strncmp(line, "table ", 6) == 0 || bfile_damaged(j.f, err);
		do
			ok = ok && bfile_piece(j.f, &piece, err);
		while (ok && piece.n > 0);
		ok = ok && rows_line(&j, &rows, err);
		all += ok ? rows : 0;
	}
	ok = ok && bfile_end(j.f, err);
	if (j.f)
		bfile_close(j.f);
	return ok;
}

static bool is_free(struct job *j, struct err *err)
{
	const struct db_rows *rows;

	if (!run(j, SQL_BACKUP_IN_USE, NULL, &rows, err))
		return false;
	if (db_rows_n(rows) > 0)
		return err_set(err, ERR_PRECONDITION, "a server (%s) uses this database: stop it first", text(j, rows, 0, 0));
	if (!run(j, SQL_BACKUP_IS_EMPTY, NULL, &rows, err))
		return false;
	for (unsigned i = 0; i < 4; i++)
		if (strcmp(text(j, rows, 0, i), "0") != 0)
			return err_set(err, ERR_EXISTS, "the database is not empty (workflows %s, tasks %s, events %s, workers %s): restore into "
				       "an empty one", text(j, rows, 0, 0), text(j, rows, 0, 1), text(j, rows, 0, 2), text(j, rows, 0, 3));
	return true;
}

/* Everything goes that a first start made: secrets, keys and the tenant come from the backup. */
static bool clear(struct job *j, const struct db_rows *tables, struct err *err)
{
	struct strb sql;
	bool ok;

	strb_init(&sql, 1u << 20);
	for (unsigned i = 0; i < db_rows_n(tables); i++)
		strb_putf(&sql, "%s hatchet.%s", i ? "," : "truncate", text(j, tables, i, 0));
	ok = db_sync_exec(j->c, arena_strz(j->a, strb_str(&sql)), err);
	strb_fini(&sql);
	return ok;
}

static bool set_sequence(struct job *j, const char *table, const char *column, struct err *err)
{
	const struct db_rows *rows;
	const char *params[3] = {table, column, NULL};
	const char *sql = arena_strf(j->a, "select coalesce(max(%s), 0) from hatchet.%s", column, table).p;

	if (!db_sync_query(j->c, j->a, sql, NULL, 0, &rows, err))
		return false;
	params[2] = text(j, rows, 0, 0);
	return run(j, SQL_BACKUP_SEQUENCE, params, NULL, err);
}

/* @line names a table and its columns; both must be those of this database, so that nothing of the file becomes SQL. */
static bool read_table(struct job *j, const char *line, const struct db_rows *tables, struct err *err)
{
	for (unsigned i = 0; i < db_rows_n(tables); i++) {
		const char *table = text(j, tables, i, 0), *columns = text(j, tables, i, 1), *identity = text(j, tables, i, 2);
		int64_t copied, rows;

		if (strcmp(line, arena_strf(j->a, "table %s %s", table, columns).p) != 0)
			continue;
		j->table = table;
		j->rows = 0;
		if (!db_sync_copy_in(j->c, arena_strf(j->a, "copy hatchet.%s (%s) from stdin (format binary)", table, columns).p, give, j,
				     &copied, err) || !rows_line(j, &rows, err))
			return false;
		if (copied != rows)
			return err_set(err, ERR_INTERNAL, "%lld rows of %s were stored, %lld are in the backup", (long long)copied, table, (long long)rows);
		table_done(j, rows);
		return identity[0] == '\0' || set_sequence(j, table, identity, err);
	}
	return err_set(err, ERR_PRECONDITION, "the backup has a table that this database does not have so: %.200s", line);
}

static bool read_all(struct job *j, struct err *err)
{
	const struct db_rows *tables;
	char line[BACKUP_LINE_MAX];

	if (!is_free(j, err) || !run(j, SQL_BACKUP_TABLES, NULL, &tables, err) || !clear(j, tables, err) || !first_line(j, err))
		return false;
	while (bfile_line(j->f, line, err)) {
		const char *day = line + 4;

		if (strncmp(line, "end ", 4) == 0)
			return true;
		if (strncmp(line, "day ", 4) == 0 ? !run(j, SQL_BACKUP_MAKE_DAY, &day, NULL, err) : !read_table(j, line, tables, err))
			return false;
	}
	return false;
}

bool backup_read(struct db_sync *c, const char *path, backup_progress_fn *progress, void *arg, struct backup_facts *ret, struct err *err)
{
	struct job j = {.c = c, .progress = progress, .arg = arg, .a = arena_new(16u << 20)};
	struct err ignored;
	bool ok = backup_check(path, err) && (j.f = bfile_open(path, err)) && db_sync_exec(c, "begin", err);

	if (ok && !(ok = read_all(&j, err) && db_sync_exec(c, "commit", err)))
		(void)!db_sync_exec(c, "rollback", &ignored);
	if (j.f)
		bfile_close(j.f);
	arena_free(j.a);
	*ret = j.facts;
	return ok;
}
