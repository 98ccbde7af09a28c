/* Private Postgres servers for tests; see pgnode.h.
 * The server is a child of the program, not of a test: each test runs in its own process and only clones databases. */
#include "pgnode.h"

#include "io/loop.h"
#include "store/boot.h"
#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT "5432"
static char dir[64], bin[128];
static pid_t owner, server;
static bool is_remade;	/* this process started its own server after a crash */

static void die(const char *what)
{
	fprintf(stderr, "pgnode: %s\n", what);
	exit(2);
}

static void find_bin(void)
{
	const char *env = getenv("PG_BIN");
	DIR *d = opendir("/usr/lib/postgresql");
	struct dirent *e;
	long best = 0;

	if (env) {
		snprintf(bin, sizeof(bin), "%s", env);
	} else {
		while (d && (e = readdir(d)) != NULL)
			best = MAX(best, strtol(e->d_name, NULL, 10));
		snprintf(bin, sizeof(bin), "/usr/lib/postgresql/%ld/bin", best);
	}
	if (d)
		closedir(d);
}

/* Postgres refuses to run as root */
static void drop_root(void)
{
	const struct passwd *pw;

	if (getuid() != 0)
		return;
	pw = getpwnam("postgres");
	if (!pw || setgroups(0, NULL) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0)
		_exit(3);
}

/* argv[0] by its full path: by that the programs find each other */
static pid_t spawn(const char **argv)
{
	char path[200];
	pid_t parent = getpid(), pid = fork();
	int null;

	if (pid < 0)
		die("fork");
	if (pid > 0)
		return pid;
	drop_root();
	/* after the change of user, which clears it */
	prctl(PR_SET_PDEATHSIG, SIGQUIT);
	if (getppid() != parent)
		_exit(1);
	null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	null = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(null, 1);
	dup2(null, 2);
	snprintf(path, sizeof(path), "%s/%s", bin, argv[0]);
	argv[0] = path;
	execv(path, (char *const *)(uintptr_t)argv);
	_exit(127);
}

static void start_server(void)
{
	char sock[100];
	const char *argv[] = {"postgres", "-D", "data", "-c", "listen_addresses=", "-c", sock, "-c", "port=" PORT, "-c", "fsync=off",
			"-c", "full_page_writes=off", "-c", "max_connections=60", "-c", "shared_buffers=32MB",
			"-c", "autovacuum=off", "-c", "wal_level=minimal", "-c", "max_wal_senders=0", NULL};

	snprintf(sock, sizeof(sock), "unix_socket_directories=%s", dir);
	server = spawn(argv);
}

static void wait_server(void)
{
	struct err err;

	for (int i = 0; i < 1500; i++) {
		struct db_sync *c = db_sync_open(pgnode_url("postgres", NULL), &err);
		struct timespec ts = {.tv_nsec = 10000000};

		if (c) {
			db_sync_close(c);
			return;
		}
		/* it refuses to start while backends of a killed one still end */
		if (waitpid(server, NULL, WNOHANG) == server)
			start_server();
		nanosleep(&ts, NULL);
	}
	die(err.msg);
}

/* processes of the server: their working directory is the data directory; a zombie has none */
static bool has_processes(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	char data[100], path[300], at[200];
	bool found = false;

	snprintf(data, sizeof(data), "%s/data", dir);
	while (d && !found && (e = readdir(d)) != NULL) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%s/cwd", e->d_name);
		n = readlink(path, at, sizeof(at) - 1);
		found = n > 0 && strncmp(at, data, (size_t)n) == 0 && data[n] == '\0';
	}
	if (d)
		closedir(d);
	return found;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void stop(void)
{
	if (getpid() != owner || !server)
		return;
	kill(server, SIGQUIT);
	waitpid(server, NULL, 0);
	/* one that a test restarted ends with that test */
	for (int i = 0; i < 500 && has_processes(); i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_template(void)
{
	struct err err;
	struct db_sync *c = db_sync_open(pgnode_url("postgres", NULL), &err);

	if (!c || !db_sync_exec(c, "create database template_h", &err))
		die(err.msg);
	db_sync_close(c);
	c = db_sync_open(pgnode_url("template_h", NULL), &err);
	if (!c || !boot_migrate(c, STR("signing key of the tests"), &err) ||
	    !db_sync_exec(c, "select hatchet.make_days(hatchet.utc_today(), 4)", &err))
		die(err.msg);
	db_sync_close(c);
}

__attribute__((constructor)) static void boot(void)
{
	const char *argv[] = {"initdb", "-D", "data", "-U", "postgres", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8", NULL};
	const struct passwd *pw = getpwnam("postgres");
	char cwd[500];
	int status;

	find_bin();
	owner = getpid();
	snprintf(dir, sizeof(dir), "/tmp/pgnode-XXXXXX");
	if (!mkdtemp(dir) || !getcwd(cwd, sizeof(cwd)))
		die("mkdtemp");
	if (getuid() == 0 && (!pw || chown(dir, pw->pw_uid, pw->pw_gid) != 0))
		die("there is no user postgres");
	if (chdir(dir) != 0)
		die("chdir");
	if (waitpid(spawn(argv), &status, 0) < 0 || status != 0)
		die("initdb failed");
	start_server();
	atexit(stop);
	wait_server();
	if (chdir(cwd) != 0)
		die("chdir");
	make_template();
}

/* strings handed out live as long as the program, and are no leak */
const char *pgnode_keep(const char *fmt, ...)
{
	static struct arena *kept;
	char buf[4096];
	va_list ap;

	if (!kept)
		kept = arena_new(64u << 20);
	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	return arena_strz(kept, str_c(buf));
}

const char *pgnode_url(const char *db, const char *user)
{
	return pgnode_keep("host=%s port=%s user=%s dbname=%s", dir, PORT, user ? user : "postgres", db);
}

static const char *new_db(const char *from)
{
	static int n;
	char name[64], sql[200];

	snprintf(name, sizeof(name), "t%d_%d", (int)getpid(), ++n);
	snprintf(sql, sizeof(sql), "create database %s template %s", name, from);
	pgnode_exec(pgnode_url("postgres", NULL), sql);
	return pgnode_url(name, NULL);
}

const char *pgnode_new_db(void)
{
	return new_db("template_h");
}

const char *pgnode_empty_db(void)
{
	return new_db("template1");
}

static struct db_sync *open_or_fail(const char *url)
{
	struct err err;
	struct db_sync *c = db_sync_open(url, &err);

	if (!c)
		tap_fail(__FILE__, __LINE__, "%s", err.msg);
	return c;
}

void pgnode_exec(const char *url, const char *sql)
{
	struct db_sync *c = open_or_fail(url);
	struct err err;

	if (!db_sync_exec(c, sql, &err))
		tap_fail(__FILE__, __LINE__, "%s: %s", sql, err.msg);
	db_sync_close(c);
}

const char *pgnode_text(const char *url, const char *sql)
{
	struct db_sync *c = open_or_fail(url);
	struct arena *a = arena_new(16u << 20);
	const struct db_rows *rows;
	struct err err;
	const char *out;

	if (!db_sync_query(c, a, sql, NULL, 0, &rows, &err))
		tap_fail(__FILE__, __LINE__, "%s: %s", sql, err.msg);
	if (db_rows_n(rows) == 0)
		tap_fail(__FILE__, __LINE__, "no row: %s", sql);
	out = pgnode_keep("%.*s", STR_FMT(db_rows_text(rows, 0, 0)));
	arena_free(a);
	db_sync_close(c);
	return out;
}

int64_t pgnode_int(const char *url, const char *sql)
{
	return strtoll(pgnode_text(url, sql), NULL, 10);
}

void pgnode_hba(const char *line)
{
	char path[100], old[65536];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/data/pg_hba.conf", dir);
	f = fopen(path, "r+");
	if (!f)
		die("pg_hba.conf");
	n = fread(old, 1, sizeof(old), f);
	rewind(f);
	fprintf(f, "%s\n%.*s", line, (int)n, old);
	fclose(f);
	pgnode_exec(pgnode_url("postgres", NULL), "select pg_reload_conf()");
}

void pgnode_crash(void)
{
	struct timespec ts = {.tv_nsec = 10000000};
	char path[100];
	FILE *f;
	int pid = 0;

	snprintf(path, sizeof(path), "%s/data/postmaster.pid", dir);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%d", &pid) != 1 || pid <= 1)
		die("no postmaster.pid");
	fclose(f);
	kill(pid, SIGKILL);
	if (is_remade)
		waitpid(pid, NULL, 0);
	while (has_processes())
		nanosleep(&ts, NULL);
	/* by these its zombie would count as a running server */
	unlink(path);
	snprintf(path, sizeof(path), "%s/.s.PGSQL." PORT ".lock", dir);
	unlink(path);
}

/* The new server belongs to this test's process and ends with it: tests after it find none, so this must be the last test
 * of its program. */
void pgnode_restart(void)
{
	char cwd[500];

	if (!getcwd(cwd, sizeof(cwd)) || chdir(dir) != 0)
		die("chdir");
	start_server();
	is_remade = true;
	wait_server();
	if (chdir(cwd) != 0)
		die("chdir");
}

/* --- waiting ------------------------------------------------------------------------------------------------------------- */

static void op_fired(struct op *op, const struct err *err)
{
	struct wait_op *w = op->arg;

	if (w->is_done)
		tap_fail(__FILE__, __LINE__, "an op fired twice");
	w->is_done = true;
	w->ok = !err;
	if (err)
		w->err = *err;
	loop_stop(w->loop);
}

void wait_init(struct wait_op *w, struct loop *l)
{
	*w = (struct wait_op){.loop = l};
	w->op = (struct op){op_fired, w};
}

static bool is_done(void *arg)
{
	return ((struct wait_op *)arg)->is_done;
}

void wait_for_op(struct wait_op *w)
{
	if (!wait_until(w->loop, is_done, w, 50000))
		tap_fail(__FILE__, __LINE__, "the op did not fire");
}

void wait_ok(struct wait_op *w)
{
	wait_for_op(w);
	if (!w->ok)
		tap_fail(__FILE__, __LINE__, "%s: %s", err_name(w->err.code), w->err.msg);
}

static void wake(void *arg)
{
	loop_stop(arg);
}

bool wait_until(struct loop *l, bool (*cond)(void *arg), void *arg, int64_t ms)
{
	int64_t end = loop_mono_us() + ms * 1000;
	struct timer *t = timer_new(l, wake, l);
	bool ok;

	while (!(ok = cond(arg)) && loop_mono_us() < end) {
		timer_set(t, MIN(end, loop_mono_us() + 5000));
		loop_run(l);
	}
	timer_free(t);
	return ok;
}
