/* The embedded mode of the SDKs: a client starts this program itself, with flags of another style and none of our words.
 *
 * What such a client wants is a server that belongs to it: its settings come from these flags only, since the environment is
 * the application's, whose DATABASE_URL may well be its own; its ports are free ones; its database, unless one is named, is
 * gone afterwards; and it ends with its client, however that ends, because it holds the other end of our standard input. */
#include "app_int.h"

#include "base/strb.h"
#include "json/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORDS_MAX = 24, HANDSHAKE_MAX = 16384 };

enum side_flag { DATABASE_URL, RABBITMQ_URL, POSTGRES_DATA_DIR, GRPC_PORT, API_PORT, NO_API, NO_MIGRATIONS, LOG_LEVEL, HANDSHAKE_FILE, FLAGS };
static const struct side_name {
	const char *name;
	bool is_switch;
} names[FLAGS] = {
	[DATABASE_URL] = {"database-url", false},
	[RABBITMQ_URL] = {"rabbitmq-url", false},
	[POSTGRES_DATA_DIR] = {"postgres-data-dir", false},
	[GRPC_PORT] = {"grpc-port", false},
	[API_PORT] = {"api-port", false},
	[NO_API] = {"no-api", true},
	[NO_MIGRATIONS] = {"no-migrations", true},
	[LOG_LEVEL] = {"log-level", false},
	[HANDSHAKE_FILE] = {"handshake-file", false},
};

/* One dash or two, with or without a value behind an equals sign. */
static int find(const char *word)
{
	const char *name = word + (word[0] == '-') + (word[0] == '-' && word[1] == '-');
	size_t n = strcspn(name, "=");

	for (int i = 0; word[0] == '-' && i < FLAGS; i++)
		if (strlen(names[i].name) == n && memcmp(names[i].name, name, n) == 0)
			return i;
	return -1;
}

bool sidecar_is_asked(int argc, char **argv)
{
	return argc > 1 && find(argv[1]) >= 0;
}

PRINTF(1, 2) static bool wrong(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)fputs("sidecar: ", stderr);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	va_end(args);
	return false;
}

static bool take_switch(const char *name, const char *value, const char **ret)
{
	bool yes = !value || strcmp(value, "true") == 0 || strcmp(value, "1") == 0;

	*ret = yes ? "true" : NULL;
	return yes || strcmp(value, "false") == 0 || strcmp(value, "0") == 0 || wrong("-%s: expected true or false, not \"%s\"", name, value);
}

static bool parse(int argc, char **argv, const char *v[FLAGS])
{
	for (int i = 1; i < argc; i++) {
		int f = find(argv[i]);
		const char *value = strchr(argv[i], '=');

		if (f < 0 && argv[i][0] == '-')
			return wrong("unknown flag \"%s\"", argv[i]);
		if (f < 0)
			return wrong("unexpected \"%s\"", argv[i]);
		value = value ? value + 1 : NULL;
		if (names[f].is_switch) {
			if (!take_switch(names[f].name, value, &v[f]))
				return false;
			continue;
		}
		if (!value && i + 1 == argc)
			return wrong("-%s needs a value", names[f].name);
		if (!value)
			value = argv[++i];
		v[f] = *value ? value : NULL;	/* an empty one is as good as none */
	}
	return true;
}

static bool check_port(const char *v[FLAGS], enum side_flag f)
{
	int64_t n;

	if (!v[f])
		v[f] = "0";
	return (str_to_i64(str_c(v[f]), &n) && n >= 0 && n <= 65535) ||
	       wrong("-%s: expected a number from 0 to 65535, not \"%s\"", names[f].name, v[f]);
}

/* Clients know more levels than we have. */
static bool map_level(const char **level)
{
	static const char *const map[][2] = {{"trace", "debug"}, {"debug", "debug"}, {"info", "info"}, {"warn", "warn"},
		{"warning", "warn"}, {"error", "error"}, {"fatal", "error"}, {"panic", "error"}, {"disabled", "error"}};

	for (size_t i = 0; *level && i < ARRAY_LEN(map); i++) {
		if (strcmp(*level, map[i][0]) != 0)
			continue;
		*level = map[i][1];
		return true;
	}
	if (*level)
		return wrong("-log-level: expected debug, info, warn or error, not \"%s\"", *level);
	*level = "warn";
	return true;
}

static bool check_handshake(const char *path)
{
	struct err err;

	if (!path)
		return wrong("-handshake-file is needed: where to write how to reach the server");
	return private_file_check(path, "handshake file", &err) || wrong("%s", err.msg);
}

/* A closed descriptor 0 would be taken by the next file opened. */
static bool check_stdin(void)
{
	return fcntl(0, F_GETFD) >= 0 || wrong("standard input is closed: it must stay open as long as the server is to run");
}

/* "~/x" comes from files no shell has read. */
static const char *expand_home(const char *dir, char out[1024])
{
	const char *home = getenv("HOME");

	if (!dir || strncmp(dir, "~/", 2) != 0 || !home)
		return dir;
	(void)snprintf(out, 1024, "%s/%s", home, dir + 2);
	return out;
}

static void forget_environment(void)
{
	extern char **environ;

	for (struct flag *f = cmd_server_start.flags; f->name; f++)
		if (f->env)
			(void)unsetenv(f->env);
	for (char **e = environ; *e;) {
		char name[128];
		size_t n = strcspn(*e, "=");

		(void)snprintf(name, sizeof(name), "%.*s", (int)MIN(n, 127), *e);
		if (strncmp(name, "SERVER_", 7) == 0 && n < sizeof(name) && unsetenv(name) == 0)
			e = environ;
		else
			e++;
	}
}

int sidecar_main(int argc, char **argv)
{
	const char *v[FLAGS] = {NULL}, *words[WORDS_MAX], *dir;
	struct sidecar side;
	char home[1024];
	bool help;
	int n = 0;

	if (!parse(argc, argv, v) || !check_handshake(v[HANDSHAKE_FILE]) || !check_port(v, GRPC_PORT) || !check_port(v, API_PORT) ||
	    !map_level(&v[LOG_LEVEL]) || !check_stdin())
		return EXIT_FAILED;
	forget_environment();
	dir = expand_home(v[POSTGRES_DATA_DIR], home);
	side = (struct sidecar){.handshake_file = v[HANDSHAKE_FILE], .no_api = v[NO_API], .no_migrations = v[NO_MIGRATIONS] && v[DATABASE_URL],
		.has_broker = v[RABBITMQ_URL]};
	words[n++] = "--grpc-port";
	words[n++] = v[GRPC_PORT];
	words[n++] = "--dashboard-port";
	words[n++] = v[API_PORT];
	words[n++] = "--log-level";
	words[n++] = v[LOG_LEVEL];
	if (v[DATABASE_URL]) {
		words[n++] = "--database-url";
		words[n++] = v[DATABASE_URL];
	} else if (dir) {
		words[n++] = "--data-dir";
		words[n++] = dir;
	} else {
		words[n++] = "--ephemeral";
	}
	if (!flags_parse(&cmd_server_start, n, (char **)(uintptr_t)words, &help))
		return EXIT_FAILED;
	return server_run(&cmd_server_start, &side);
}

bool sidecar_tell(const struct sidecar *side, struct str token, const char *tenant, const char *grpc, const char *url, struct err *err)
{
	struct strb b;
	struct jw w;
	bool ok;

	strb_init(&b, HANDSHAKE_MAX);
	jw_init(&w, &b);
	jw_obj_begin(&w);
	jw_kv_str(&w, "token", token);
	jw_kv_c(&w, "tenant_id", tenant);
	jw_kv_c(&w, "grpc_address", grpc);
	jw_kv_c(&w, "api_url", side->no_api ? "" : url);
	jw_obj_end(&w);
	ok = private_file_write(side->handshake_file, strb_str(&b), err);
	strb_fini(&b);
	return ok;
}
