/* A Postgres run as a child of the server: own directory, unix socket only, never outlives us.  It is the one carried in
 * this file; a debug build carries none and takes one it finds on the machine.
 *
 * The child asks the kernel for SIGINT when we die and checks that it was not too late; a dead child is started again.
 * As root everything of Postgres runs as another user.  Nothing here is on a hot path, so it may block. */
#include "app_int.h"

#include "base/log.h"
#include "db/db.h"
#include "io/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HALF ".new-"	/* postgres.new-PID: a cluster, or programs, in the making */
enum { NOBODY = 65534, ROOT_MAX = 370, SOCKET_DIR_MAX = 70, STOP_S = 10, PREDECESSOR_S = 60, RESTART_US = 500000 };

struct localpg {
	char bin[256], data[400], socket_dir[128], log[420], root[400], url[400];
	bool ephemeral, inside, stopping;	/* inside: programs and cluster come from this file */
	uid_t uid;
	gid_t gid;
	pid_t pid;
	struct loop *l;
	struct timer *again;
};

static void nap_ms(int ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	(void)nanosleep(&t, NULL);
}

static bool has_postgres(const char *dir)
{
	char path[320];

	(void)snprintf(path, sizeof(path), "%s/postgres", dir);
	return access(path, X_OK) == 0;
}

/* Major version of the cluster that is there; 0: none yet. */
static int64_t cluster_version(const char *data)
{
	char path[450], text[16] = "";
	int64_t v = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/PG_VERSION", data);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fgets(text, sizeof(text), f))
		text[strcspn(text, "\n")] = '\0';
	(void)fclose(f);
	return str_to_i64(str_c(text), &v) ? v : 0;
}

/* Debian's layout: the version of the cluster, else the highest one. */
static bool find_debian(int64_t want, char out[256])
{
	DIR *d = opendir("/usr/lib/postgresql");
	struct dirent *e;
	int64_t best = 0, v;

	while (d && (e = readdir(d))) {
		char dir[300];

		(void)snprintf(dir, sizeof(dir), "/usr/lib/postgresql/%.200s/bin", e->d_name);
		if (!str_to_i64(str_c(e->d_name), &v) || !has_postgres(dir) || best == want || (v < best && v != want))
			continue;
		best = v;
		(void)snprintf(out, 256, "%.255s", dir);
	}
	if (d)
		(void)closedir(d);
	return best > 0;
}

/* PG_BIN, else what this file carries, else what Debian installed, else PATH. */
static bool find_bin(struct localpg *p, struct err *err)
{
	const char *env = getenv("PG_BIN"), *path = getenv("PATH");

	if (env && *env) {
		(void)snprintf(p->bin, sizeof(p->bin), "%s", env);
		return has_postgres(env) || err_set(err, ERR_NOT_FOUND, "PG_BIN: there is no program postgres in %s", env);
	}
	if (embedpg_is_here()) {
		p->inside = true;
		(void)snprintf(p->bin, sizeof(p->bin), "%.220s/postgres-%08x/bin", p->root, (unsigned)embedpg_key());
		return strlen(p->root) <= 220 || err_set(err, ERR_INVALID, "the path of the data directory must have at most 220 bytes");
	}
	if (find_debian(cluster_version(p->data), p->bin))
		return true;
	while (path && *path) {
		size_t n = strcspn(path, ":");

		(void)snprintf(p->bin, sizeof(p->bin), "%.*s", (int)MIN(n, 255), path);
		if (has_postgres(p->bin))
			return true;
		path += n + (path[n] == ':');
	}
	return err_set(err, ERR_NOT_FOUND, "no Postgres found on this machine: install one (15 or newer), name its programs by PG_BIN, or give "
		       "--database-url");
}

/* Postgres refuses root: whose the cluster is, else its own user, else the one every system has, and no system needs to know. */
static void pick_user(struct localpg *p, const char *dir)
{
	const struct passwd *pw;
	struct stat st;
	char data[450];

	p->uid = geteuid();
	p->gid = getegid();
	if (p->uid != 0)
		return;
	(void)snprintf(data, sizeof(data), "%.400s/postgres", dir);
	if (stat(data, &st) == 0 && st.st_uid != 0) {
		p->uid = st.st_uid;
		p->gid = st.st_gid;
		return;
	}
	pw = getpwnam("postgres");
	if (!pw)
		pw = getpwnam("nobody");
	p->uid = pw ? pw->pw_uid : NOBODY;
	p->gid = pw ? pw->pw_gid : NOBODY;
}

/* In the child: become the user, tie our life to the parent's, run. */
static void become_and_exec(const struct localpg *p, pid_t parent, bool tie, const char *const *argv)
{
	int fd = open(p->log, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDONLY);
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (null >= 0)
		(void)dup2(null, 0);
	if (fd >= 0) {
		(void)dup2(fd, 1);
		(void)dup2(fd, 2);
	}
	for (int i = 3; i < 1024; i++)
		(void)close(i);
	(void)setsid();
	if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(p->gid) != 0 || setuid(p->uid) != 0))
		_exit(126);
	if (tie) {	/* after setuid, which clears it */
		(void)prctl(PR_SET_PDEATHSIG, SIGINT);
		if (getppid() != parent)
			_exit(125);
	}
	if (chdir("/") != 0)
		_exit(124);
	(void)execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

static int run(const struct localpg *p, const char *const *argv)
{
	pid_t parent = getpid(), pid = fork();
	int status = -1;

	if (pid == 0)
		become_and_exec(p, parent, true, argv);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool own(struct localpg *p, const char *path, struct err *err)
{
	return geteuid() != 0 || chown(path, p->uid, p->gid) == 0 ||
	       err_set(err, ERR_INTERNAL, "cannot give %s to the database's user: %s", path, strerror(errno));
}

static bool write_text(const char *path, const char *text, struct err *err)
{
	FILE *f = fopen(path, "we");
	bool ok = f && fputs(text, f) >= 0;

	if (f && fclose(f) != 0)
		ok = false;
	return ok || err_set(err, ERR_INTERNAL, "cannot write %s: %s", path, strerror(errno));
}

static void remove_tree(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char sub[700];
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		(void)snprintf(sub, sizeof(sub), "%.400s/%.255s", path, e->d_name);
		if (lstat(sub, &st) == 0 && S_ISDIR(st.st_mode))
			remove_tree(sub);
		else
			(void)unlink(sub);
	}
	if (d)
		(void)closedir(d);
	(void)rmdir(path);
}

/* Can the user Postgres runs as get there?  A directory on the way may keep him out. */
static bool check_reach(const struct localpg *p, const char *dir, struct err *err)
{
	pid_t pid = geteuid() == 0 ? fork() : 0;
	int status = 0;

	if (geteuid() != 0)
		return true;
	if (pid == 0)
		_exit(setgroups(0, NULL) == 0 && setgid(p->gid) == 0 && setuid(p->uid) == 0 && access(dir, R_OK | W_OK | X_OK) == 0 ? 0 : 1);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
	       err_set(err, ERR_PRECONDITION, "Postgres must not run as root, and user %u, as whom it would run, cannot reach %s: choose another "
		       "--data-dir", (unsigned)p->uid, dir);
}

static bool make_dir(struct localpg *p, const char *path, struct err *err)
{
	return mkdirs(path, 0700, err) && own(p, path, err) &&
	       (chmod(path, 0700) == 0 || err_set(err, ERR_INTERNAL, "cannot set the mode of %s: %s", path, strerror(errno)));
}

/* What killed servers left half made, and the programs of other versions. */
static void sweep_halves(const struct localpg *p)
{
	DIR *d = opendir(p->root);
	struct dirent *e;
	char mine[32];

	(void)snprintf(mine, sizeof(mine), "postgres-%08x", p->inside ? (unsigned)embedpg_key() : 0);
	while (d && (e = readdir(d))) {
		char path[700];
		bool is_half = strncmp(e->d_name, "postgres" HALF, strlen("postgres" HALF)) == 0;
		bool is_old = p->inside && strncmp(e->d_name, "postgres-", 9) == 0 && strcmp(e->d_name, mine) != 0;

		if (!is_half && !is_old)
			continue;
		(void)snprintf(path, sizeof(path), "%.390s/%.255s", p->root, e->d_name);
		remove_tree(path);
	}
	if (d)
		(void)closedir(d);
}

/* What was made beside its place moves there when it is whole, and on the disk. */
static bool move_in(struct localpg *p, const char *half, const char *place, struct err *err)
{
	int fd = open(half, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 && (p->ephemeral || syncfs(fd) == 0);

	if (fd >= 0)
		(void)close(fd);
	(void)rmdir(place);	/* empty, or it is not ours to replace */
	ok = ok && rename(half, place) == 0;
	return ok || err_set(err, ERR_INTERNAL, "cannot make %s: %s", place, strerror(errno));
}

/* The template is the same for all: pg_resetwal gives this copy an identity of its own, and the durable one larger files. */
static bool give_identity(struct localpg *p, const char *half, struct err *err)
{
	char resetwal[300];
	const char *argv[] = {resetwal, "-f", "-D", half, p->ephemeral ? NULL : "--wal-segsize=16", NULL};
	int rc;

	(void)snprintf(resetwal, sizeof(resetwal), "%s/pg_resetwal", p->bin);
	rc = run(p, argv);
	return rc == 0 || err_set(err, ERR_INTERNAL, "preparing the new database failed (pg_resetwal exit %d); see %s", rc, p->log);
}

/* The programs of this version, once per data directory, and the cluster, if there is none. */
static bool unpack(struct localpg *p, const char *half, struct err *err)
{
	char programs[500], place[300];
	bool has_programs = has_postgres(p->bin), has_cluster = cluster_version(p->data) != 0;
	const struct embedpg_place places[] = {{"postgres", programs, geteuid(), getegid()}, {"cluster", half, p->uid, p->gid}};
	size_t first = has_programs ? 1 : 0, end = has_cluster ? 1 : 2;

	(void)snprintf(programs, sizeof(programs), "%s-bin", half);
	(void)snprintf(place, sizeof(place), "%.*s", (int)(strlen(p->bin) - strlen("/bin")), p->bin);
	if (first == end)
		return true;
	if ((!has_programs && !mkdirs(programs, 0755, err)) || (!has_cluster && (!make_dir(p, half, err) || !check_reach(p, half, err))))
		return false;
	return embedpg_unpack(places + first, end - first, err) && (has_programs || move_in(p, programs, place, err)) &&
	       (has_cluster || (give_identity(p, half, err) && move_in(p, half, p->data, err)));
}

static bool init_cluster(struct localpg *p, const char *half, struct err *err)
{
	char initdb[300];
	const char *argv[] = {initdb, "-D", half, "-U", "hatchet", "-A", "trust", "-E", "UTF8", "--locale=C",
		p->ephemeral ? "--no-sync" : NULL, NULL};
	int rc;

	(void)snprintf(initdb, sizeof(initdb), "%s/initdb", p->bin);
	rc = run(p, argv);
	return rc == 0 || err_set(err, ERR_INTERNAL, "creating the database cluster failed (initdb exit %d); see %s", rc, p->log);
}

/* Made beside its place and moved there when it is whole: a server killed on the way leaves nothing that looks like a cluster. */
static bool init(struct localpg *p, struct err *err)
{
	char half[450];

	/* a name of our own: the initdb of a server killed a moment ago may still be at work in its */
	(void)snprintf(half, sizeof(half), "%s%s%d", p->data, HALF, (int)getpid());
	sweep_halves(p);
	if (p->inside ? unpack(p, half, err) :
	    cluster_version(p->data) != 0 ||
	    (make_dir(p, half, err) && check_reach(p, half, err) && init_cluster(p, half, err) && move_in(p, half, p->data, err)))
		return true;
	sweep_halves(p);
	return false;
}

/* The cluster must be of the major version of the program found. */
static bool check_version(const struct localpg *p, struct err *err)
{
	char program[300], line[128] = "";
	const char *argv[] = {program, "--version", NULL}, *v;
	int64_t have = cluster_version(p->data);
	int out[2], status;
	pid_t pid;
	ssize_t n;

	if (p->inside)
		return !have || have == EMBEDPG_MAJOR ||
		       err_set(err, ERR_PRECONDITION, "%s holds a database of PostgreSQL %d, and this hatchet carries %d: name the programs of "
			       "version %d by PG_BIN, or move it with hatchet server backup and restore", p->data, (int)have, EMBEDPG_MAJOR, (int)have);
	(void)snprintf(program, sizeof(program), "%s/postgres", p->bin);
	if (pipe2(out, O_CLOEXEC) != 0)
		return err_set(err, ERR_INTERNAL, "cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		(void)dup2(out[1], 1);
		(void)execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)close(out[1]);
	n = read(out[0], line, sizeof(line) - 1);
	(void)close(out[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	/* "postgres (PostgreSQL) 15.3 (Debian 15.3-1)" */
	v = n > 0 ? strstr(line, ") ") : NULL;
	if (!have || !v || strtol(v + 2, NULL, 10) == have)
		return true;
	return err_set(err, ERR_PRECONDITION, "%s holds a database of PostgreSQL %d, but %s has version %ld; name the programs of version %d by "
		       "PG_BIN, or upgrade the database with pg_upgrade", p->data, (int)have, p->bin, strtol(v + 2, NULL, 10), (int)have);
}

static int64_t memory_mb(void)
{
	return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) >> 20;
}

/* Inside quotes: both a configuration file and a conninfo take \ before a quote or another one. */
static void quote(const char *s, char q, char *out)
{
	for (; *s; s++) {
		if (*s == q || *s == '\\')
			*out++ = '\\';
		*out++ = *s;
	}
	*out = '\0';
}

static bool write_settings(struct localpg *p, struct err *err)
{
	struct statvfs vfs;
	int64_t buffers = MAX(64, MIN(memory_mb() / 8, 4096)), wal = 256;
	char path[450], text[2048], dir[2 * sizeof(p->socket_dir)];

	quote(p->socket_dir, '\'', dir);
	if (statvfs(p->data, &vfs) == 0)
		wal = MAX(256, MIN((int64_t)((uint64_t)vfs.f_bavail * vfs.f_frsize >> 20) / 20, 8192));
	if (p->ephemeral)
		wal = 64;
	(void)snprintf(path, sizeof(path), "%s/postgresql.auto.conf", p->data);
	(void)snprintf(text, sizeof(text),
		       "# written by hatchet at every start\nlisten_addresses = ''\nunix_socket_directories = '%s'\n"
		       "unix_socket_permissions = 0777\nmax_connections = 30\nshared_buffers = %lldMB\nwal_level = minimal\n"
		       "max_wal_senders = 0\nmax_wal_size = %lldMB\nmin_wal_size = %lldMB\ncheckpoint_timeout = 15min\n"
		       "autovacuum_naptime = 10s\nlogging_collector = off\nlog_timezone = 'UTC'\ntimezone = 'UTC'\njit = off\n%s%s",
		       dir, (long long)(p->ephemeral ? 32 : buffers), (long long)wal, (long long)wal / 2,
		       p->inside ? "dynamic_shared_memory_type = mmap\n" : "",	/* there may be no /dev/shm */
		       p->ephemeral ? "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n" : "");
	return write_text(path, text, err) && own(p, path, err);
}

static bool is_at_work(const struct localpg *p, int64_t pid)
{
	char path[64], at[500];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%lld/cwd", (long long)pid);
	n = readlink(path, at, sizeof(at));
	return n > 0 && strlen(p->data) == (size_t)n && memcmp(at, p->data, (size_t)n) == 0;
}

/* Some process in the data directory, where all of Postgres's are; 0: none. */
static int64_t find_at_work(const struct localpg *p)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int64_t pid, found = 0;

	while (d && !found && (e = readdir(d)))
		if (str_to_i64(str_c(e->d_name), &pid) && is_at_work(p, pid))
			found = pid;
	if (d)
		(void)closedir(d);
	return found;
}

static int64_t postmaster_pid(const struct localpg *p)
{
	char path[450], line[32] = "";
	int64_t pid = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/postmaster.pid", p->data);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f))
		line[strcspn(line, "\n")] = '\0';
	(void)fclose(f);
	return str_to_i64(str_c(line), &pid) && pid > 1 ? pid : 0;
}

/* Processes of an earlier life go down by themselves when they lose their parent: wait for them.  After that a pid file
 * that is still there is stale, also when its number by now belongs to somebody else, which would keep Postgres from starting. */
static bool wait_for_predecessor(const struct localpg *p, struct err *err)
{
	int64_t pid = postmaster_pid(p);
	char path[450];

	if (pid && is_at_work(p, pid))
		(void)kill((pid_t)pid, SIGINT);
	for (int i = 0; (pid = find_at_work(p)) != 0; i++) {
		if (i == PREDECESSOR_S * 20)
			return err_set(err, ERR_PRECONDITION, "an earlier Postgres is still at work in %s (process %d)", p->data, (int)pid);
		if (i == 20)
			log_warn("waiting for an earlier Postgres to end", F_I64("pid", pid));
		nap_ms(50);
	}
	(void)snprintf(path, sizeof(path), "%s/postmaster.pid", p->data);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/.s.PGSQL.5432.lock", p->socket_dir);
	(void)unlink(path);
	return true;
}

static bool spawn(struct localpg *p, struct err *err)
{
	char postgres[300];
	const char *argv[] = {postgres, "-D", p->data, NULL};
	pid_t parent = getpid();

	(void)snprintf(postgres, sizeof(postgres), "%s/postgres", p->bin);
	p->pid = fork();
	if (p->pid == 0)
		become_and_exec(p, parent, true, argv);
	return p->pid > 0 || err_set(err, ERR_INTERNAL, "cannot start postgres: %s", strerror(errno));
}

/* Ready when it takes a connection; not every build of Postgres comes with pg_isready.  After a crash under load that takes
 * as long as it takes. */
static bool wait_ready(struct localpg *p, struct err *err)
{
	for (int i = 0;; i++) {
		struct db_sync *db = db_sync_open(p->url, err);
		int status;

		db_sync_close(db);
		if (db)
			return true;
		if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
			p->pid = 0;
			return err_set(err, ERR_UNAVAILABLE, "postgres did not start; see %s", p->log);
		}
		if (err->code != ERR_UNAVAILABLE)
			return false;
		if (i % 500 == 250)
			log_warn("postgres is not ready yet", F_C("why", err->msg));
		nap_ms(i < 200 ? 3 : 20);
	}
}

/* The path of a unix socket has 107 bytes: for a long directory it goes to /tmp, always to the same place, so that none is
 * left behind; unless somebody else took that. */
static bool far_socket_dir(struct localpg *p, struct err *err)
{
	static const uint8_t key[16];
	uint64_t hash = siphash(p->root, strlen(p->root), key);
	struct stat st;

	(void)snprintf(p->socket_dir, sizeof(p->socket_dir), "/tmp/hatchet-pg-%016llx", (unsigned long long)hash);
	if (mkdir(p->socket_dir, 0700) != 0 && (lstat(p->socket_dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != p->uid)) {
		(void)snprintf(p->socket_dir, sizeof(p->socket_dir), "/tmp/hatchet-pg-XXXXXX");
		if (!mkdtemp(p->socket_dir))
			return err_set(err, ERR_INTERNAL, "cannot make a directory for the socket in /tmp: %s", strerror(errno));
	}
	return make_dir(p, p->socket_dir, err);
}

static bool prepare(struct localpg *p, const struct localpg_conf *conf, struct err *err)
{
	char real[PATH_MAX], dir[2 * sizeof(p->socket_dir)];

	if (!mkdirs(conf->dir, 0755, err))
		return false;
	if (!realpath(conf->dir, real) || strlen(real) > ROOT_MAX)
		return err_set(err, ERR_INVALID, "cannot use %s as a data directory: its path must have at most %d bytes", conf->dir, ROOT_MAX);
	(void)snprintf(p->root, sizeof(p->root), "%.399s", real);
	(void)snprintf(p->data, sizeof(p->data), "%.370s/postgres", p->root);
	(void)snprintf(p->log, sizeof(p->log), "%.370s/postgres.log", p->root);
	(void)close(open(p->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
	if (!own(p, p->log, err))
		return false;
	(void)snprintf(p->socket_dir, sizeof(p->socket_dir), "%.100s/socket", p->root);
	if (strlen(p->root) <= SOCKET_DIR_MAX ? !make_dir(p, p->socket_dir, err) : !far_socket_dir(p, err))
		return false;
	quote(p->socket_dir, '\'', dir);
	(void)snprintf(p->url, sizeof(p->url), "host='%s' user=hatchet dbname=postgres", dir);
	return true;
}

struct localpg *localpg_new(const struct localpg_conf *conf, struct err *err)
{
	struct localpg *p = xcalloc(1, sizeof(*p));

	p->ephemeral = conf->ephemeral;
	pick_user(p, conf->dir);
	if (prepare(p, conf, err) && find_bin(p, err))
		return p;
	localpg_stop(p);
	return NULL;
}

bool localpg_start(struct localpg *p, struct err *err)
{
	return wait_for_predecessor(p, err) && init(p, err) && check_version(p, err) && write_settings(p, err) && spawn(p, err) &&
	       wait_ready(p, err);
}

const char *localpg_url(const struct localpg *p)
{
	return p->url;
}

static void child_died(void *arg, int status);

static void start_again(void *arg)
{
	struct localpg *p = arg;
	struct err err;

	if (p->stopping)
		return;
	if (spawn(p, &err))
		loop_on_child(p->l, p->pid, child_died, p);
	else
		timer_set(p->again, loop_mono_us() + RESTART_US);
}

static void child_died(void *arg, int status)
{
	struct localpg *p = arg;

	p->pid = 0;
	if (p->stopping)
		return;
	log_warn("postgres ended, it is started again", F_I64("status", status));
	timer_set(p->again, loop_mono_us() + RESTART_US);
}

void localpg_watch(struct localpg *p, struct loop *l)
{
	p->l = l;
	p->again = timer_new(l, start_again, p);
	loop_on_child(l, p->pid, child_died, p);
}

/* Directories of ephemeral servers that were killed: nobody holds their lock any more. */
void localpg_sweep(const char *parent)
{
	DIR *d = opendir(parent);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char path[700];
		struct stat st;
		int fd;

		if (strncmp(e->d_name, "hatchet-ephemeral-", 18) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "%.300s/%.255s/server.lock", parent, e->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 || fstat(fd, &st) != 0 || st.st_uid != geteuid() || flock(fd, LOCK_EX | LOCK_NB) != 0) {
			if (fd >= 0)
				(void)close(fd);
			continue;
		}
		path[strlen(path) - strlen("/server.lock")] = '\0';
		remove_tree(path);
		(void)close(fd);
	}
	if (d)
		(void)closedir(d);
}

void localpg_stop(struct localpg *p)
{
	p->stopping = true;
	if (p->again)
		timer_free(p->again);
	if (p->pid > 0) {
		(void)kill(p->pid, SIGINT);
		for (int i = 0; i < STOP_S * 50 && p->pid > 0; i++) {
			pid_t got = waitpid(p->pid, NULL, WNOHANG);

			if (got == p->pid || (got < 0 && errno == ECHILD))
				p->pid = 0;
			else
				nap_ms(20);
		}
		if (p->pid > 0)
			(void)kill(p->pid, SIGQUIT);
	}
	if (p->socket_dir[0])
		remove_tree(p->socket_dir);
	if (p->ephemeral)
		remove_tree(p->root);
	free(p);
}
