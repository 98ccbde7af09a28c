/* `server backup` and `server restore`: of the database named, else of the server's own, which is started if it does not run. */
#include "app_int.h"

#include "base/text.h"
#include "store/backup.h"
#include "store/boot.h"

#include <stdio.h>
#include <unistd.h>

static struct flag backup_flags[] = {
	{"database-url", "URL", "DATABASE_URL", NULL, "the server's Postgres", NULL, NULL},
	{"data-dir", "DIR", "HATCHET_DATA_DIR", NULL, "directory of the server whose own Postgres is meant", NULL, NULL},
	{"json", NULL, NULL, NULL, "print what was done as JSON", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};
static struct flag restore_flags[] = {
	{"database-url", "URL", "DATABASE_URL", NULL, "the Postgres to restore into", NULL, NULL},
	{"data-dir", "DIR", "HATCHET_DATA_DIR", NULL, "directory of the server whose own Postgres is meant", NULL, NULL},
	{"json", NULL, NULL, NULL, "print what was done as JSON", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

struct target {
	struct localpg *pg;	/* started for this */
	struct db_sync *db;
};

static int failed(const struct err *err)
{
	(void)fprintf(stderr, "hatchet: %s\n", err->msg);
	return EXIT_FAILED;
}

static void progress(void *arg, const char *table, int64_t rows)
{
	if (isatty(2))
		(void)fprintf(stderr, "\r\033[K%s: %lld rows", table, (long long)rows);
}

static void progress_end(void)
{
	if (isatty(2))
		(void)fputs("\r\033[K", stderr);
}

static void close_target(struct target *t)
{
	db_sync_close(t->db);
	if (t->pg)
		localpg_stop(t->pg);
}

/* @make: a new directory and cluster are fine */
static bool own_target(const char *dir, bool make, struct target *t, struct err *err)
{
	struct localpg_conf conf = {.dir = dir};
	char version[1100];

	(void)snprintf(version, sizeof(version), "%.1000s/postgres/PG_VERSION", dir);
	if (!make && access(version, R_OK) != 0)
		return err_set(err, ERR_NOT_FOUND, "there is no database in %s; name one by --data-dir or --database-url", dir);
	if (!runfile_lock(dir, err))
		return false;
	t->pg = localpg_new(&conf, err);
	return t->pg && localpg_start(t->pg, err) && (t->db = db_sync_open(localpg_url(t->pg), err));
}

static bool open_target(const struct command *c, bool make, struct target *t, struct err *err)
{
	const char *url = flag_get(c, "database-url"), *dir;
	struct running r;

	if (!data_dir_of(c, &dir, err))
		return false;
	if (!url && runfile_read(dir, &r) && r.database[0]) {
		if (make)
			return err_set(err, ERR_PRECONDITION, "a server runs on %s: stop it first (hatchet server stop)", dir);
		url = r.database;
	}
	return url ? (t->db = db_sync_open(url, err)) != NULL : own_target(dir, make, t, err);
}

static int report(const struct command *c, const char *done, const char *path, const struct backup_facts *f)
{
	char at[RFC3339_MAX];

	(void)rfc3339_format(f->at_us, at);
	if (flag_on(c, "json"))
		(void)printf("{\"made_at\":\"%s\",\"tables\":%u,\"rows\":%lld,\"bytes\":%llu}\n", at, f->tables, (long long)f->rows,
			     (unsigned long long)f->bytes);
	else
		(void)printf("%s %s: %lld rows of %s\n", done, path, (long long)f->rows, at);
	return EXIT_OK;
}

static int backup(struct command *c)
{
	struct target t = {NULL, NULL};
	struct backup_facts f;
	bool migrated = false, ok;
	struct err err;

	ok = open_target(c, false, &t, &err) && boot_is_migrated(t.db, &migrated, &err) &&
	     (migrated || err_set(&err, ERR_PRECONDITION, "the database holds no schema of this version; run \"hatchet migrate\" first")) &&
	     backup_write(t.db, c->word, progress, NULL, &f, &err);
	progress_end();
	close_target(&t);
	return ok ? report(c, "saved", c->word, &f) : failed(&err);
}

static int restore(struct command *c)
{
	struct target t = {NULL, NULL};
	struct backup_facts f;
	struct err err;
	bool ok;

	ok = backup_check(c->word, &err) && open_target(c, true, &t, &err) && boot_check(t.db, &err) && boot_migrate(t.db, STR_NULL, &err) &&
	     backup_read(t.db, c->word, progress, NULL, &f, &err);
	progress_end();
	close_target(&t);
	return ok ? report(c, "restored", c->word, &f) : failed(&err);
}

struct command cmd_server_backup = {.name = "server backup", .summary = "Save everything to a file, also while the server runs.",
	.example = "hatchet server backup hatchet-monday.backup", .flags = backup_flags, .run = backup, .operand = "FILE"};
struct command cmd_server_restore = {.name = "server restore", .summary = "Bring a backup into an empty database; unfinished work goes on.",
	.example = "hatchet server restore hatchet-monday.backup --data-dir /var/lib/hatchet", .flags = restore_flags, .run = restore,
	.operand = "FILE"};
