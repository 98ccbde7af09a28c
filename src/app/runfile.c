/* The server's directory: its lock, and the file that tells other commands where it listens. */
#include "app_int.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DATA_DIR_MAX = 350 };

bool mkdirs(const char *path, unsigned mode, struct err *err)
{
	char tmp[1024];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(tmp))
		return err_set(err, ERR_INVALID, "path is empty or too long");
	memcpy(tmp, path, n + 1);
	for (char *p = tmp + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(tmp, 0755) != 0 && errno != EEXIST)
			return err_set(err, ERR_INTERNAL, "cannot create %s: %s", tmp, strerror(errno));
		*p = '/';
	}
	if (mkdir(tmp, mode) != 0 && errno != EEXIST)
		return err_set(err, ERR_INTERNAL, "cannot create %s: %s", tmp, strerror(errno));
	return true;
}

bool data_dir_of(const struct command *c, const char **ret, struct err *err)
{
	static char dir[1024];
	const char *given = flag_get(c, "data-dir"), *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	char here[512];

	if (given && given[0] == '/')
		(void)snprintf(dir, sizeof(dir), "%s", given);
	else if (given)		/* the database's programs run elsewhere */
		(void)snprintf(dir, sizeof(dir), "%s/%s", getcwd(here, sizeof(here)) ? here : "", given);
	else if (geteuid() == 0)
		(void)snprintf(dir, sizeof(dir), "/var/lib/hatchet");
	else if (xdg && *xdg)
		(void)snprintf(dir, sizeof(dir), "%s/hatchet", xdg);
	else
		(void)snprintf(dir, sizeof(dir), "%s/.local/share/hatchet", home && *home ? home : "/tmp");
	for (size_t n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
		dir[n - 1] = '\0';
	*ret = dir;
	return strlen(dir) <= DATA_DIR_MAX ||
	       err_set(err, ERR_INVALID, "the path of the data directory has more than %d bytes", DATA_DIR_MAX);
}

static void path_of(const char *dir, const char *name, char out[600])
{
	(void)snprintf(out, 600, "%s/%s", dir, name);
}

bool runfile_lock(const char *dir, struct err *err)
{
	char path[600];
	int fd;

	if (!mkdirs(dir, 0755, err))
		return false;
	path_of(dir, "server.lock", path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, ERR_INTERNAL, "cannot write in %s: %s", dir, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		(void)close(fd);
		return err_set(err, ERR_EXISTS, "another server is running on data directory %s", dir);
	}
	return true;	/* the descriptor stays open for the life of the process */
}

/* Start of a process in clock ticks since boot; 0: it does not run (or waits for its parent to notice). */
int64_t process_started(int pid)
{
	char path[64], line[1024], *p;
	int64_t ticks = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f) && (p = strrchr(line, ')')) && p[2] != 'Z') {
		for (int field = 2; p && field < 22; field++)
			p = strchr(p + 1, ' ');
		if (p) {
			p[1 + strcspn(p + 1, " ")] = '\0';
			if (!str_to_i64(str_c(p + 1), &ticks))
				ticks = 0;
		}
	}
	(void)fclose(f);
	return ticks;
}

/* The first server of a directory is the one that the other commands mean, until it ends. */
bool runfile_write(const char *dir, const struct running *r, struct err *err)
{
	char path[600], tmp[610];
	struct running other;
	FILE *f;

	if (runfile_read(dir, &other) && other.pid != r->pid)
		return err_set(err, ERR_EXISTS, "process %d is the one of %s; give this one a --data-dir of its own", other.pid, dir);
	path_of(dir, "server.run", path);
	(void)snprintf(tmp, sizeof(tmp), "%s.new", path);
	f = fopen(tmp, "we");
	if (!f)
		return err_set(err, ERR_INTERNAL, "cannot write %s: %s", tmp, strerror(errno));
	(void)fchmod(fileno(f), 0600);
	(void)fprintf(f, "pid=%d\nstarted=%lld\nhttp_port=%d\ngrpc_port=%d\nurl=%s\ngrpc=%s\ndatabase=%s\nprofile=%s\n", r->pid,
		      (long long)process_started(r->pid), r->http_port, r->grpc_port, r->url, r->grpc, r->database, r->profile);
	if (fclose(f) != 0 || rename(tmp, path) != 0)
		return err_set(err, ERR_INTERNAL, "cannot write %s: %s", path, strerror(errno));
	return true;
}

/* Under an emulator a process is told that it began when it was told to run, which is later than others see.  No number is
 * given to another process that soon. */
enum { STARTED_SLACK = 200 };	/* ticks: 2 s */

bool runfile_read(const char *dir, struct running *ret)
{
	char path[600], line[1100];
	FILE *f;

	*ret = (struct running){0};
	path_of(dir, "server.run", path);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		char *v = strchr(line, '=');
		int64_t n;

		if (!v)
			continue;
		*v++ = '\0';
		v[strcspn(v, "\n")] = '\0';
		if (strcmp(line, "url") == 0)
			(void)snprintf(ret->url, sizeof(ret->url), "%.255s", v);
		else if (strcmp(line, "grpc") == 0)
			(void)snprintf(ret->grpc, sizeof(ret->grpc), "%.255s", v);
		else if (strcmp(line, "database") == 0)
			(void)snprintf(ret->database, sizeof(ret->database), "%.1000s", v);
		else if (strcmp(line, "profile") == 0)
			(void)snprintf(ret->profile, sizeof(ret->profile), "%.120s", v);
		else if (strcmp(line, "started") == 0)
			ret->started = str_to_i64(str_c(v), &n) ? n : 0;
		else if (str_to_i64(str_c(v), &n))
			*(strcmp(line, "pid") == 0 ? &ret->pid : strcmp(line, "http_port") == 0 ? &ret->http_port : &ret->grpc_port) = (int)n;
	}
	(void)fclose(f);
	return ret->pid > 0 && ret->started > 0 && llabs((long long)process_started(ret->pid) - (long long)ret->started) <= STARTED_SLACK;
}

void runfile_remove(const char *dir)
{
	char path[600];
	struct running r;

	if (!runfile_read(dir, &r) || r.pid != getpid())
		return;
	path_of(dir, "server.run", path);
	(void)unlink(path);
}
