/* The short commands: stop, status, tokens, migrate, doctor, version. */
#include "app_int.h"

#include "api/api.h"
#include "base/tz.h"
#include "crypto/es256.h"
#include "json/json.h"
#include "store/boot.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

enum { STOP_WAIT_S = 15 };

static int fail(const struct err *err)
{
	(void)fprintf(stderr, "hatchet: %s\n", err->msg);
	return EXIT_FAILED;
}

/* --- server stop, server status --------------------------------------------------------------------------------------------- */

static struct flag stop_flags[] = {
	{"data-dir", "DIR", "HATCHET_DATA_DIR", NULL, "directory of the server", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};
static struct flag status_flags[] = {
	{"data-dir", "DIR", "HATCHET_DATA_DIR", NULL, "directory of the server", NULL, NULL},
	{"json", NULL, NULL, NULL, "for machines", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

static int stop(struct command *c)
{
	struct pollfd p = {.events = POLLIN};
	struct running r;
	const char *dir;
	struct err err;

	if (!data_dir_of(c, &dir, &err))
		return fail(&err);
	if (!runfile_read(dir, &r)) {
		(void)fprintf(stderr, "hatchet: no server is running on %s\n", dir);
		return EXIT_FAILED;
	}
	p.fd = (int)syscall(SYS_pidfd_open, r.pid, 0);	/* before the signal: the number cannot be another's then */
	if (p.fd < 0 || kill(r.pid, SIGTERM) != 0) {
		(void)fprintf(stderr, "hatchet: cannot stop process %d: %s\n", r.pid, strerror(errno));
		return EXIT_FAILED;
	}
	if (poll(&p, 1, STOP_WAIT_S * 1000) == 1)
		return EXIT_OK;
	(void)fprintf(stderr, "hatchet: process %d still runs after %d s\n", r.pid, STOP_WAIT_S);
	return EXIT_FAILED;
}

static int status(struct command *c)
{
	struct running r;
	const char *dir;
	struct err err;
	bool on;

	if (!data_dir_of(c, &dir, &err))
		return fail(&err);
	on = runfile_read(dir, &r);
	if (flag_on(c, "json")) {
		struct strb b;
		struct jw w;

		strb_init(&b, 4096);
		jw_init(&w, &b);
		jw_obj_begin(&w);
		jw_kv_bool(&w, "running", on);
		if (on) {
			jw_kv_i64(&w, "pid", r.pid);
			jw_kv_c(&w, "url", r.url);
			jw_kv_c(&w, "grpc", r.grpc);
			jw_kv_c(&w, "profile", r.profile);
			if (r.database[0])
				jw_kv_c(&w, "database", r.database);
		}
		jw_obj_end(&w);
		(void)printf("%s\n", b.p);
		strb_fini(&b);
	} else if (on) {
		(void)printf("running, process %d\n  dashboard  %s\n  gRPC       %s\n  profile    %s\n", r.pid, r.url, r.grpc, r.profile);
		if (r.database[0])
			(void)printf("  database   %s\n", r.database);
	} else {
		(void)printf("not running (%s)\n", dir);
	}
	return on ? EXIT_OK : EXIT_FAILED;
}

struct command cmd_server_stop = {"server stop", "Stop the server gracefully and wait for it.", "hatchet server stop", stop_flags, stop};
struct command cmd_server_status = {"server status", "Tell whether a server runs, and where.", "hatchet server status --json",
	status_flags, status};

/* --- tokens ------------------------------------------------------------------------------------------------------------------- */

static struct flag token_flags[] = {
	{"database-url", "URL", "DATABASE_URL", NULL, "the server's Postgres", NULL, NULL},
	{"data-dir", "DIR", "HATCHET_DATA_DIR", NULL, "directory of the server whose own Postgres is meant", NULL, NULL},
	{"tenant", "SLUG", NULL, "default", "tenant the token is for", NULL, NULL},
	{"name", "NAME", NULL, "cli", "name shown in lists", NULL, NULL},
	{"expires-in", "DAYS", NULL, "90", "days until it expires", NULL, NULL},
	{"url", "URL", "SERVER_URL", NULL, "public address of the server; default: that of the running one", NULL, NULL},
	{"grpc-address", "HOST:PORT", "SERVER_GRPC_BROADCAST_ADDRESS", NULL, "where workers connect; default likewise", NULL, NULL},
	{"json", NULL, NULL, NULL, "print id and token as JSON", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};
static struct flag revoke_flags[] = {
	{"database-url", "URL", "DATABASE_URL", NULL, "the server's Postgres", NULL, NULL},
	{"data-dir", "DIR", "HATCHET_DATA_DIR", NULL, "directory of the server whose own Postgres is meant", NULL, NULL},
	{"id", "UUID", NULL, NULL, "the token's id", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

static struct db_sync *open_named(struct command *c)
{
	const char *url = flag_get(c, "database-url");
	struct running r;
	struct db_sync *db;
	const char *dir;
	struct err err;

	if (!data_dir_of(c, &dir, &err)) {
		(void)fail(&err);
		return NULL;
	}
	if (!url && runfile_read(dir, &r) && r.database[0])
		url = r.database;
	if (!url) {
		(void)fprintf(stderr, "hatchet: --database-url (or DATABASE_URL) is needed: no server with a Postgres of its own runs on %s\n", dir);
		return NULL;
	}
	db = db_sync_open(url, &err);
	if (!db)
		(void)fail(&err);
	return db;
}

static struct db_sync *open_migrated(struct command *c)
{
	struct db_sync *db = open_named(c);
	bool migrated = false;
	struct err err;

	if (!db)
		return NULL;
	if (boot_is_migrated(db, &migrated, &err) && !migrated)
		(void)err_set(&err, ERR_PRECONDITION, "the database holds no schema of this version yet; run \"hatchet migrate\" first");
	if (migrated)
		return db;
	(void)fail(&err);
	db_sync_close(db);
	return NULL;
}

static int token_create(struct command *c)
{
	struct token_spec spec = {.tenant_slug = flag_get(c, "tenant"), .name = flag_get(c, "name"), .public_url = flag_get(c, "url"),
		.grpc_address = flag_get(c, "grpc-address")};
	struct arena *a;
	struct db_sync *db;
	struct uuid id;
	struct str jwt;
	struct err err;
	char text[UUID_TEXT + 1];
	const char *dir;
	struct running r;
	bool ok, on;

	if (!flag_int(c, "expires-in", 1, 36500, &spec.days) || !flag_url(c, "url") || !flag_address(c, "grpc-address"))
		return EXIT_USAGE;
	if (!data_dir_of(c, &dir, &err))
		return fail(&err);
	on = runfile_read(dir, &r);
	if (!spec.public_url)
		spec.public_url = on ? r.url : "http://localhost:8888";
	if (!spec.grpc_address)
		spec.grpc_address = on ? r.grpc : "localhost:7077";
	db = open_migrated(c);
	if (!db)
		return EXIT_FAILED;
	a = arena_new(1u << 20);
	ok = token_make(db, a, &spec, &jwt, &id, &err);
	uuid_format(&id, text);
	if (ok && flag_on(c, "json"))
		(void)printf("{\"id\":\"%s\",\"token\":\"%.*s\"}\n", text, STR_FMT(jwt));
	else if (ok)
		(void)printf("%.*s\n", STR_FMT(jwt));
	db_sync_close(db);
	arena_free(a);
	return ok ? EXIT_OK : fail(&err);
}

static int token_revoke(struct command *c)
{
	const char *id = flag_get(c, "id");
	struct db_sync *db;
	struct uuid u;
	struct err err;
	bool ok;

	if (!id || !uuid_parse(str_c(id), &u)) {
		(void)fprintf(stderr, "hatchet: --id: expected a UUID\n");
		return EXIT_USAGE;
	}
	db = open_migrated(c);
	if (!db)
		return EXIT_FAILED;
	ok = boot_token_revoke(db, &u, &err);
	db_sync_close(db);
	return ok ? EXIT_OK : fail(&err);
}

struct command cmd_token_create = {"token create", "Make an API token and print it.", "hatchet token create --name laptop", token_flags,
	token_create};
struct command cmd_token_revoke = {"token revoke", "Revoke an API token; it stops working within a second.",
	"hatchet token revoke --id 3f0c...", revoke_flags, token_revoke};

/* --- migrate, doctor, version --------------------------------------------------------------------------------------------------- */

static struct flag db_flags[] = {
	{"database-url", "URL", "DATABASE_URL", NULL, "the server's Postgres", NULL, NULL},
	{"data-dir", "DIR", "HATCHET_DATA_DIR", NULL, "directory of the server whose own Postgres is meant", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};
static struct flag doctor_flags[] = {
	{"database-url", "URL", "DATABASE_URL", NULL, "the server's Postgres", NULL, NULL},
	{"data-dir", "DIR", "HATCHET_DATA_DIR", NULL, "directory of the server whose own Postgres is meant", NULL, NULL},
	{"json", NULL, NULL, NULL, "for machines", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};
static struct flag version_flags[] = {
	{"licenses", NULL, NULL, NULL, "the notices of what is inside", NULL, NULL},
	{"json", NULL, NULL, NULL, "for machines", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};
static struct flag no_flags[] = {{NULL, NULL, NULL, NULL, NULL, NULL, NULL}};

static int migrate(struct command *c)
{
	struct db_sync *db = open_named(c);
	struct es256_key *key;
	uint8_t raw[ES256_KEY_BYTES];
	struct err err;
	bool ok;

	if (!db)
		return EXIT_FAILED;
	key = es256_generate();
	es256_export(key, raw);
	es256_free(key);
	ok = boot_check(db, &err) && boot_migrate(db, (struct str){(const char *)raw, sizeof(raw)}, &err);
	explicit_bzero(raw, sizeof(raw));
	db_sync_close(db);
	return ok ? EXIT_OK : fail(&err);
}

static int doctor(struct command *c)
{
	struct db_sync *db = open_named(c);
	bool migrated = false, ok, json = flag_on(c, "json");
	struct err err;
	struct strb b;
	struct jw w;
	int v;

	if (!db)
		return EXIT_FAILED;
	v = db_sync_version(db);
	ok = boot_check(db, &err);
	if (ok)
		ok = boot_is_migrated(db, &migrated, &err);
	db_sync_close(db);
	if (!json) {
		(void)printf("database    PostgreSQL %d.%d\nchecks      %s\n", v / 10000, v % 10000,
			     ok ? "version, rights, sessions and clock are fine" : err.msg);
		if (ok)
			(void)printf("schema      %s\n", migrated ? "up to date" : "not migrated yet: hatchet migrate, or the first server start");
		(void)printf("time zones  %s\n", tz_version());
		return ok ? EXIT_OK : EXIT_FAILED;
	}
	strb_init(&b, 65536);
	jw_init(&w, &b);
	jw_obj_begin(&w);
	jw_kv_i64(&w, "postgres", v);
	jw_kv_c(&w, "time_zones", tz_version());
	jw_kv_bool(&w, "ok", ok);
	if (!ok)
		jw_kv_c(&w, "problem", err.msg);
	jw_kv_bool(&w, "migrated", migrated);
	jw_obj_end(&w);
	(void)printf("%s\n", b.p);
	strb_fini(&b);
	return ok ? EXIT_OK : EXIT_FAILED;
}

/* The notices of the libraries inside (tools/third-party.py): length, then zlib. */
static int licences(void)
{
	extern const unsigned char hatchet_licences[], hatchet_licences_end[];
	const unsigned char *p = hatchet_licences;
	uLongf n = (uLongf)p[0] | (uLongf)p[1] << 8 | (uLongf)p[2] << 16 | (uLongf)p[3] << 24;
	char *text = xmalloc(n);
	bool ok = uncompress((Bytef *)text, &n, p + 4, (uLong)(hatchet_licences_end - p - 4)) == Z_OK &&
		  fwrite(text, 1, n, stdout) == n && fflush(stdout) == 0;

	free(text);
	return ok ? EXIT_OK : EXIT_FAILED;
}

static int version(struct command *c)
{
	if (flag_on(c, "licenses"))
		return licences();
	if (flag_on(c, "json"))
		(void)printf("{\"version\":\"%s\",\"compatible_with\":\"%s\",\"time_zones\":\"%s\"}\n", HATCHET_VERSION, WIRE_VERSION,
			     tz_version());
	else
		(void)printf("hatchet %s (compatible with Hatchet %s)\n", HATCHET_VERSION, WIRE_VERSION);
	return EXIT_OK;
}

static int compat(struct command *c)
{
	api_compat_write(stdout);
	return EXIT_OK;
}

struct command cmd_migrate = {"migrate", "Create or upgrade the schema; the server does this at start, too.",
	"hatchet migrate --database-url postgres://user:secret@db/hatchet", db_flags, migrate};
struct command cmd_doctor = {"doctor", "Check the database: version, rights, pooling, clock, schema.",
	"hatchet doctor --database-url postgres://user:secret@db/hatchet", doctor_flags, doctor};
struct command cmd_version = {"version", "Print the version.", "hatchet version --json", version_flags, version};
struct command cmd_compat = {"compat", "", "hatchet compat > docs/compatibility.md", no_flags, compat};
