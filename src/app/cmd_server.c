/* `hatchet server start`, from flags to the last commit. */
#include "app_int.h"

#include "base/config.h"

#include "api/api.h"
#include "base/log.h"
#include "crypto/es256.h"
#include "store/boot.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

enum { DRAIN_US = 5000000, STOP_US = 9000000, RETRY_MIN_MS = 100, RETRY_MAX_MS = 1000, TOKEN_DAYS = 90, EPHEMERAL_MB_MIN = 256,
	SIDECAR_WAIT_US = 10000000 };

static struct flag start_flags[] = {
	{"dashboard-port", "PORT", "SERVER_PORT", "8888", "port of REST and dashboard; 0: any free one", NULL, NULL},
	{"grpc-port", "PORT", "SERVER_GRPC_PORT", "7077", "port of gRPC; 0: any free one", NULL, NULL},
	{"host", "ADDRESS", "SERVER_GRPC_BIND_ADDRESS", "127.0.0.1", "address to listen on", NULL, NULL},
	{"url", "URL", "SERVER_URL", NULL, "public address of the server, part of every token; default http://localhost:<dashboard-port>",
	 NULL, NULL},
	{"grpc-address", "HOST:PORT", "SERVER_GRPC_BROADCAST_ADDRESS", NULL, "where workers connect; default localhost:<grpc-port>", NULL,
	 NULL},
	{"database-url", "URL", "DATABASE_URL", NULL, "Postgres to use; without it the one inside this file is run", NULL, NULL},
	{"data-dir", "DIR", "HATCHET_DATA_DIR", NULL, "directory of the server; default the user's data folder", NULL, NULL},
	{"ephemeral", NULL, NULL, NULL, "throw-away database, not durable, gone afterwards", NULL, NULL},
	{"env-file", "FILE", NULL, NULL, "write the clients' environment there when ready", NULL, NULL},
	{"tls", "STRATEGY", "SERVER_TLS_STRATEGY", NULL, "none, self (a certificate of its own making), tls or mtls; default: tls with --tls-cert", NULL,
	 NULL},
	{"tls-cert", "FILE", "SERVER_TLS_CERT_FILE", NULL, "certificate with its chain, PEM", NULL, NULL},
	{"tls-key", "FILE", "SERVER_TLS_KEY_FILE", NULL, "its private key, PEM", NULL, NULL},
	{"tls-root-ca", "FILE", "SERVER_TLS_ROOT_CA_FILE", NULL, "authority of the clients' certificates, PEM; workers need one with mtls", NULL, NULL},
	{"tls-min-version", "VERSION", "SERVER_TLS_MIN_VERSION", "1.2", "1.2 or 1.3", NULL, NULL},
	{"tls-optional", NULL, "SERVER_GRPC_INSECURE", NULL, "with TLS, go on taking plain text, too", NULL, NULL},
	{"profile", "NAME", NULL, "local", "name shown by server status", NULL, NULL},
	{"disable-auth", NULL, NULL, NULL, "every caller is the default tenant", NULL, NULL},
	{"max-message-bytes", "N", "SERVER_GRPC_MAX_MSG_SIZE", "4194304", "largest gRPC message", NULL, NULL},
	{"queue-memory", "N", "SERVER_QUEUE_MEMORY", "200000", "waiting tasks kept in memory; more of them wait in the database", NULL, NULL},
	{"log-level", "LEVEL", "SERVER_LOGGER_LEVEL", "info", "error, warn, info or debug", NULL, NULL},
	{"log-format", "FORMAT", "SERVER_LOGGER_FORMAT", NULL, "json or console; default: console on a terminal", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

struct serving {
	struct command *c;
	const struct sidecar *side;	/* NULL: server start */
	struct loop *loop;
	struct svc *svc;
	struct api *api;
	struct server *server;
	struct localpg *pg;
	struct certs *certs;
	const char *database_url, *dir;
	char url[256], grpc[256], tenant[UUID_TEXT + 1];
	struct str token;
	struct running running;
	struct op drained, stopped;
	struct timer *stop_timer, *prepare_timer, *late_timer;
	struct watch *input;
	struct arena *arena;
	int64_t retry_ms, began_us;
	int left;
	bool stopping, told, has_terminal;
	int exit_code;
};

static void stop(void *arg);

static void notify_systemd(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd;

	if (!path || strlen(path) >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, strlen(path));
	if (to.sun_path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
	(void)close(fd);
}

static void fail(struct serving *s, const struct err *err)
{
	(void)fprintf(stderr, "%s: %s\n", s->side ? "sidecar" : "hatchet", err->msg);
	s->exit_code = EXIT_FAILED;
}

static void tell_client(struct serving *s)
{
	struct err err;

	if (s->told)
		return;
	s->told = true;
	if (sidecar_tell(s->side, s->token, s->tenant, s->grpc, s->url, &err))
		return;
	fail(s, &err);
	if (!s->stopping)
		stop(s);
}

/* Not active after a time in which any predecessor would have ended: another server is at work on this database, and our
 * client would wait for as long as that. */
static void give_up(void *arg)
{
	struct serving *s = arg;
	const char *other = svc_active_address(s->svc);
	struct err err;

	if (s->told || s->stopping)
		return;
	if (other[0])
		(void)err_set(&err, ERR_EXISTS, "the server at %s is at work on this database: connect to that one, or name another database", other);
	else
		(void)svc_is_ready(s->svc, &err);
	fail(s, &err);
	stop(s);
}

static void on_ready(void *arg)
{
	struct serving *s = arg;
	const char *env = flag_get(s->c, "env-file");
	struct env vars = {s->token, s->url, s->grpc, certs_strategy(s->certs), certs_ca_file(s->certs)};
	struct err err;

	if (s->side) {
		tell_client(s);
		return;
	}
	if (env && !envfile_write(env, &vars, &err))
		log_error("the env file could not be written", F_C("why", err.msg));
	notify_systemd("READY=1");
	if (s->told)
		return;
	s->told = true;
	(void)printf("hatchet %s is ready\n  dashboard  %s\n  gRPC       %s\n  token      %s%s\n", HATCHET_VERSION, s->url, s->grpc,
		     env ? "written to " : "hatchet token create", env ? env : "");
	(void)fflush(stdout);
}

/* --- the way down -------------------------------------------------------------------------------------------------------------- */

static void one_done(struct op *op, const struct err *err)
{
	struct serving *s = op->arg;

	if (--s->left == 0)
		loop_stop(s->loop);
}

/* What is not stored by now was not answered either. */
static void stop_late(void *arg)
{
	struct serving *s = arg;

	log_warn("the database is away; stopped with work that was neither stored nor answered");
	loop_stop(s->loop);
}

static void stop(void *arg)
{
	struct serving *s = arg;

	if (s->stopping)
		_exit(EXIT_FAILED);	/* asked twice */
	s->stopping = true;
	log_info("stopping");
	notify_systemd("STOPPING=1");
	s->left = 2;
	s->drained = s->stopped = (struct op){.fn = one_done, .arg = s};
	timer_clear(s->prepare_timer);
	s->stop_timer = timer_new(s->loop, stop_late, s);
	timer_set(s->stop_timer, loop_mono_us() + STOP_US);
	svc_stop(s->svc, &s->stopped);
	server_drain(s->server, loop_mono_us() + DRAIN_US, &s->drained);
}

/* --- the way up ---------------------------------------------------------------------------------------------------------------- */

static bool migrate(struct db_sync *db, struct err *err)
{
	uint8_t raw[ES256_KEY_BYTES];
	struct es256_key *key = es256_generate();
	bool ok;

	es256_export(key, raw);
	es256_free(key);
	ok = boot_migrate(db, (struct str){(const char *)raw, sizeof(raw)}, err);
	explicit_bzero(raw, sizeof(raw));
	return ok;
}

static bool is_migrated(struct db_sync *db, struct err *err)
{
	bool yes;

	return boot_is_migrated(db, &yes, err) && (yes || err_set(err, ERR_PRECONDITION, "the database holds no schema of this version yet"));
}

static bool prepare_once(struct serving *s, struct err *err)
{
	struct db_sync *db = db_sync_open(s->database_url, err);
	struct token_spec spec = {.tenant_slug = "default", .name = "env-file", .public_url = s->url, .grpc_address = s->grpc,
		.days = TOKEN_DAYS, .ret_tenant = s->tenant};
	struct uuid id;
	bool ok;

	if (!db)
		return false;
	ok = boot_check(db, err) && (s->side && s->side->no_migrations ? is_migrated(db, err) : migrate(db, err));
	if (ok && (s->side || flag_get(s->c, "env-file")))
		ok = token_make(db, s->arena, &spec, &s->token, &id, err);
	db_sync_close(db);
	return ok;
}

/* A client waits for its sidecar and shows nothing meanwhile. */
static bool has_waited_enough(const struct serving *s)
{
	return s->side && loop_mono_us() - s->began_us > SIDECAR_WAIT_US;
}

/* A database that is merely away, from the start or in the midst of it, is waited for; anything else is said once.
 * Meanwhile the server tells everybody that it is not ready, and can be stopped. */
static void prepare(void *arg)
{
	struct serving *s = arg;
	struct err err;

	if (prepare_once(s, &err)) {
		svc_start(s->svc);
		if (s->late_timer)
			timer_set(s->late_timer, loop_mono_us() + SIDECAR_WAIT_US);
	} else if (err.code == ERR_UNAVAILABLE && !has_waited_enough(s)) {
		LOG_(s->side ? LOG_INFO : LOG_WARN, "the database is away, trying again", F_C("why", err.msg), F_I64("wait_ms", s->retry_ms));
		timer_set(s->prepare_timer, loop_mono_us() + s->retry_ms * 1000);
		s->retry_ms = MIN(s->retry_ms * 2, RETRY_MAX_MS);
	} else {
		fail(s, &err);
		loop_stop(s->loop);
	}
}

static bool set_logging(const struct command *c)
{
	static const char *const levels[] = {"error", "warn", "info", "debug", NULL}, *const formats[] = {"json", "console", NULL};
	const char *format = flag_get(c, "log-format");
	enum log_level l = LOG_INFO;

	if (!flag_choice(c, "log-level", levels) || (format && !flag_choice(c, "log-format", formats)) ||
	    !log_level_parse(str_c(flag_get(c, "log-level")), &l))
		return false;
	log_set(l, format ? (strcmp(format, "json") == 0 ? LOG_JSON : LOG_CONSOLE) : isatty(2) ? LOG_CONSOLE : LOG_JSON);
	return true;
}

/* Certificates as texts, for machines without files; a command line is no place for a key. */
static const char *const tls_texts[] = {"SERVER_TLS_CERT", "SERVER_TLS_KEY", "SERVER_TLS_ROOT_CA"};

/* SERVER_* variables this server does not know are named: a silent typo costs an evening. */
static void warn_unknown_env(const struct command *c)
{
	extern char **environ;

	for (char **e = environ; *e; e++) {
		size_t n = strcspn(*e, "=");
		bool known = false;

		if (strncmp(*e, "SERVER_", 7) != 0)
			continue;
		for (size_t i = 0; i < ARRAY_LEN(tls_texts); i++)
			known |= strlen(tls_texts[i]) == n && strncmp(tls_texts[i], *e, n) == 0;
		for (const struct flag *f = c->flags; f->name; f++)
			known |= f->env && strlen(f->env) == n && strncmp(f->env, *e, n) == 0;
		if (!known)
			log_warn("environment variable has no meaning here", F_STR("name", ((struct str){*e, n})));
	}
}

static bool listen_all(struct serving *s, int64_t http, int64_t grpc, struct err *err)
{
	const char *host = flag_get(s->c, "host"), *name = s->side ? "127.0.0.1" : "localhost";
	const char *url = flag_get(s->c, "url"), *address = flag_get(s->c, "grpc-address");
	uint16_t http_port = 0, grpc_port = 0;

	bool one = (grpc == http && grpc != 0) || (s->side && s->side->no_api);

	if (!server_listen(s->server, host, (uint16_t)(one ? grpc : http), &http_port, err))
		return false;
	grpc_port = http_port;
	if (!one && !server_listen(s->server, host, (uint16_t)grpc, &grpc_port, err))
		return false;
	if (url)
		(void)snprintf(s->url, sizeof(s->url), "%.250s", url);
	else
		(void)snprintf(s->url, sizeof(s->url), "%s://%s:%u", s->certs ? "https" : "http", name, http_port);
	if (address)
		(void)snprintf(s->grpc, sizeof(s->grpc), "%.250s", address);
	else
		(void)snprintf(s->grpc, sizeof(s->grpc), "%s:%u", name, grpc_port);
	s->running = (struct running){.pid = getpid(), .http_port = http_port, .grpc_port = grpc_port};
	memcpy(s->running.url, s->url, sizeof(s->url));
	memcpy(s->running.grpc, s->grpc, sizeof(s->grpc));
	return true;
}

static void build(struct serving *s, uint32_t msg_bytes, uint32_t heads)
{
	struct svc_conf svc = {.loop = s->loop, .database_url = s->database_url, .address = s->grpc, .msg_bytes_max = msg_bytes,
		.input_cache_bytes_max = CONF_INPUT_CACHE_BYTES_MAX, .subscriptions_max = CONF_RUN_SUBSCRIPTIONS_MAX, .heads_max = heads, .on_ready = on_ready, .arg = s};
	struct api_conf api = {.public_url = s->url, .grpc_address = s->grpc, .auth_disabled = flag_on(s->c, "disable-auth"),
		.server_version = HATCHET_VERSION};
	struct server_conf server = {.loop = s->loop, .rpcs = api_rpcs, .rests = api_rests, .gate = api_gate,
		.server_header = "hatchet/" HATCHET_VERSION, .limits = server_limits_default};

	s->svc = svc_new(&svc);		/* its turn end comes before the server's: commits first, then bytes */
	api.svc = s->svc;
	s->api = api_new(&api);
	server.app = s->api;
	server.limits.msg_bytes_max = msg_bytes;
	s->server = server_new(&server);
	if (s->certs)
		certs_use(s->certs, s->server);
}

/* The terminal is gone, or somebody wants files read again. */
static void hang_up(void *arg)
{
	struct serving *s = arg;

	if (s->has_terminal && !isatty(2)) {
		if (!s->stopping)
			stop(s);
	} else if (s->certs) {
		certs_reload(s->certs);
	} else {
		log_info("SIGHUP reads certificates again, and there are none");
	}
}

static bool choose_certs(struct serving *s, struct err *err)
{
	const struct command *c = s->c;
	bool side = s->side != NULL;	/* its clients speak in clear, and the environment is not its own */
	struct certs_conf conf = {.strategy = flag_get(c, "tls"), .cert_file = flag_get(c, "tls-cert"), .key_file = flag_get(c, "tls-key"),
		.ca_file = flag_get(c, "tls-root-ca"), .cert_pem = side ? NULL : getenv(tls_texts[0]), .key_pem = side ? NULL : getenv(tls_texts[1]),
		.ca_pem = side ? NULL : getenv(tls_texts[2]), .only_13 = strcmp(flag_get(c, "tls-min-version"), "1.3") == 0,
		.clear_too = flag_on(c, "tls-optional"), .dir = s->dir,
		.names = {flag_get(c, "host"), flag_get(c, "url"), flag_get(c, "grpc-address")}};

	return certs_new(&conf, &s->certs, err);
}

static bool is_place(const char *dir, uint64_t mb)
{
	struct statvfs v;

	return access(dir, W_OK | X_OK) == 0 && statvfs(dir, &v) == 0 && !(v.f_flag & ST_NOEXEC) && (uint64_t)v.f_bavail * v.f_frsize >> 20 >= mb;
}

/* Memory if there is enough of it, else where temporary files go, else where our own would. */
static const char *ephemeral_parent(const char *own)
{
	const char *tmp = getenv("TMPDIR");
	const char *const places[] = {tmp && strlen(tmp) < 100 ? tmp : "/tmp", "/tmp", "/var/tmp"};

	if (is_place("/dev/shm", EPHEMERAL_MB_MIN))
		return "/dev/shm";
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (is_place(places[i], 0))
			return places[i];
	return own;
}

/* A directory of its own, locked.  Another server that sweeps may take it for a dead one's before it is. */
static bool ephemeral_dir(const char *parent, char *ret, size_t n, struct err *err)
{
	struct err nothing;

	if (!mkdirs(parent, 0755, err))
		return false;
	localpg_sweep("/dev/shm");
	localpg_sweep("/tmp");
	localpg_sweep(parent);
	for (int i = 0; i < 5; i++) {
		(void)snprintf(ret, n, "%s/hatchet-ephemeral-XXXXXX", parent);
		if (!mkdtemp(ret))
			return err_set(err, ERR_INTERNAL, "cannot make a directory for the throw-away database in %s: %s", parent, strerror(errno));
		(void)chmod(ret, 0755);
		if (runfile_lock(ret, i < 4 ? &nothing : err) && access(ret, W_OK) == 0)
			return true;
	}
	return false;
}

static bool choose_database(struct serving *s, struct err *err)
{
	static char dir[450];
	struct localpg_conf pg = {.dir = s->dir, .ephemeral = flag_on(s->c, "ephemeral")};

	if (!pg.ephemeral && flag_get(s->c, "database-url")) {
		s->database_url = flag_get(s->c, "database-url");
		return true;
	}
	if (pg.ephemeral) {
		if (!ephemeral_dir(ephemeral_parent(s->dir), dir, sizeof(dir), err))
			return false;
		pg.dir = dir;
		if (!s->side)
			log_warn("ephemeral: nothing is durable, everything is gone afterwards");
	}
	s->pg = localpg_new(&pg, err);
	if (!s->pg)
		return false;
	s->database_url = localpg_url(s->pg);
	return true;
}

static bool check_flags(struct serving *s, int64_t *http, int64_t *grpc, int64_t *msg, int64_t *heads)
{
	static const char *const strategies[] = {"none", "self", "tls", "mtls", NULL}, *const versions[] = {"1.2", "1.3", NULL};
	struct command *c = s->c;

	if (!set_logging(c) || !flag_int(c, "dashboard-port", 0, 65535, http) || !flag_int(c, "grpc-port", 0, 65535, grpc) ||
	    !flag_int(c, "max-message-bytes", 131072, 256 << 20, msg) || !flag_int(c, "queue-memory", 16, 10000000, heads) ||
	    !flag_url(c, "url") || !flag_address(c, "grpc-address") || (flag_get(c, "tls") && !flag_choice(c, "tls", strategies)) ||
	    !flag_choice(c, "tls-min-version", versions))
		return false;
	if (!flag_on(c, "ephemeral") || !flag_get(c, "database-url"))
		return true;
	if (flag_is_given(c, "database-url")) {
		(void)fprintf(stderr, "hatchet: --ephemeral and --database-url exclude each other\n");
		return false;
	}
	log_warn("DATABASE_URL has no effect with --ephemeral");
	return true;
}

/* What must be in order before anything is started. */
static bool take_place(struct serving *s, struct err *err)
{
	const struct command *c = s->c;
	bool has_own = !flag_on(c, "ephemeral") && (!flag_get(c, "database-url") || flag_get(c, "data-dir"));

	return (!flag_get(c, "env-file") || private_file_check(flag_get(c, "env-file"), "env file", err)) && data_dir_of(c, &s->dir, err) &&
	       choose_certs(s, err) && (!has_own || runfile_lock(s->dir, err)) && choose_database(s, err);
}

/* A client never writes there: what comes is the end of it. */
static void on_input(void *arg, int events)
{
	struct serving *s = arg;
	char ignored[256];
	ssize_t n = read(0, ignored, sizeof(ignored));

	if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)))
		return;
	watch_set(s->input, 0, 0);
	if (!s->stopping)
		stop(s);
}

/* A sidecar belongs to its client: the commands of the user's own server are not to find it. */
static void announce(struct serving *s)
{
	struct err err;

	if (s->side && !flag_is_given(s->c, "data-dir"))
		return;
	if (!mkdirs(s->dir, 0755, &err) || !runfile_write(s->dir, &s->running, &err))
		log_warn("server status will not find this server", F_C("why", err.msg));
}

/* Told to stop while the throw-away database is made: that waits for a moment, so that nothing of it is left behind. */
static void hold_signals(bool hold)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static void serve(struct serving *s)
{
	if (s->pg)
		localpg_watch(s->pg, s->loop);
	loop_on_signal(s->loop, SIGTERM, stop, s);
	loop_on_signal(s->loop, SIGINT, stop, s);
	hold_signals(false);
	s->has_terminal = isatty(2);
	loop_on_signal(s->loop, SIGHUP, hang_up, s);
	if (s->pg)
		(void)snprintf(s->running.database, sizeof(s->running.database), "%s", s->database_url);
	(void)snprintf(s->running.profile, sizeof(s->running.profile), "%s", flag_get(s->c, "profile"));
	announce(s);
	if (s->side) {
		s->input = watch_new(s->loop, on_input, s);
		watch_set(s->input, 0, WATCH_READ);
		s->late_timer = timer_new(s->loop, give_up, s);
	}
	s->retry_ms = RETRY_MIN_MS;
	s->began_us = loop_mono_us();
	s->prepare_timer = timer_new(s->loop, prepare, s);
	timer_set(s->prepare_timer, 0);
	loop_run(s->loop);
	if (s->input) {
		watch_free(s->input);
		timer_free(s->late_timer);
	}
	timer_free(s->prepare_timer);
	if (s->stop_timer)
		timer_free(s->stop_timer);
	runfile_remove(s->dir);
}

int server_run(struct command *c, const struct sidecar *side)
{
	struct serving s = {.c = c, .side = side};
	int64_t http, grpc, msg, heads;
	struct err err;
	bool ok;

	if (!check_flags(&s, &http, &grpc, &msg, &heads))
		return EXIT_USAGE;
	if (!side)
		warn_unknown_env(c);
	else if (side->has_broker)
		log_warn("no message broker is needed: -rabbitmq-url has no effect");
	hold_signals(flag_on(c, "ephemeral"));
	s.arena = arena_new(1u << 20);
	s.loop = loop_new();
	ok = take_place(&s, &err);
	if (ok) {
		build(&s, (uint32_t)msg, (uint32_t)heads);
		ok = listen_all(&s, http, grpc, &err) && (!s.pg || localpg_start(s.pg, &err));
		if (ok)
			serve(&s);
		server_free(s.server);
		svc_free(s.svc);
		api_free(s.api);
	}
	certs_free(s.certs);
	if (!ok)
		fail(&s, &err);
	if (s.pg)
		localpg_stop(s.pg);
	loop_free(s.loop);
	arena_free(s.arena);
	if (s.exit_code == EXIT_OK)
		log_info("stopped");
	return s.exit_code;
}

static int start(struct command *c)
{
	return server_run(c, NULL);
}

struct command cmd_server_start = {"server start", "Run the server until it is told to stop.",
	"hatchet server start --database-url postgres://user:secret@db/hatchet --env-file .env", start_flags, start};
