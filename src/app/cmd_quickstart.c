/* `hatchet quickstart`: a small project, a server for it, and its first run.
 *
 * The projects stand in quickstart/ of the source tree and are carried in the binary.  Everything that is installed is installed
 * by the language's own tools, into the project. */
#include "app_int.h"

#include "base/strb.h"
#include "embed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS_MAX = 10, SERVER_WAIT_S = 120, RUN_WAIT_S = 120, RUN_WAIT_GO_S = 300, END_WAIT_S = 15, NAP_MS = 100, TAIL_MAX = 2000 };

static struct flag quickstart_flags[] = {
	{"language", "LANGUAGE", NULL, NULL, "typescript, python or go; asked for on a terminal", NULL, NULL},
	{"yes", NULL, NULL, NULL, "do it without asking", NULL, NULL},
	{"no-install", NULL, NULL, NULL, "install nothing: the SDK is there already", NULL, NULL},
	{"no-run", NULL, NULL, NULL, "only write the files", NULL, NULL},
	{"data-dir", "DIR", "HATCHET_DATA_DIR", NULL, "directory of the server", NULL, NULL},
	{"dashboard-port", "PORT", "SERVER_PORT", "8888", "port of a server that is started", NULL, NULL},
	{"grpc-port", "PORT", "SERVER_GRPC_PORT", "7077", "likewise", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

static const struct language {
	const char *name, *tools[3];			/* programs it needs */
	const char *install[2][WORDS_MAX];
	const char *worker[WORDS_MAX], *trigger[WORDS_MAX];
	const char *again[2];				/* the same for people */
	bool reads_env_file;
	bool is_one_process;		/* else its start leaves the signals to a child */
	int run_wait_s;
} languages[] = {
	{"typescript", {"node", "npm"}, {{"npm", "install", "--no-audit", "--no-fund", "--loglevel=error"}},
	 {"npm", "run", "--silent", "worker"}, {"npm", "run", "--silent", "trigger"}, {"npm run worker", "npm run trigger -- World"}, false,
	 false, RUN_WAIT_S},
	{"python", {"python3"}, {{"python3", "-m", "venv", ".venv"},
	 {".venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"}},
	 {".venv/bin/python", "worker.py"}, {".venv/bin/python", "trigger.py"},
	 {".venv/bin/python worker.py", ".venv/bin/python trigger.py World"}, true, true, RUN_WAIT_S},
	{"go", {"go"}, {{"go", "mod", "download"}}, {"go", "run", "./worker"}, {"go", "run", "./trigger"},
	 {"go run ./worker", "go run ./trigger World"}, false, false, RUN_WAIT_GO_S},	/* it compiles first */
};

struct quickstart {
	struct command *c;
	const struct language *lang;
	char dir[700], env[720], data_dir[400];
	struct running server;
	bool has_server;
};

static volatile pid_t worker_pid;	/* leader of its group; 0: none */

static void nap(void)
{
	struct timespec t = {.tv_nsec = NAP_MS * 1000000L};

	(void)nanosleep(&t, NULL);
}

/* --- asking ---------------------------------------------------------------------------------------------------------------------- */

static bool read_answer(const char *question, char out[64])
{
	(void)printf("%s ", question);
	(void)fflush(stdout);
	if (!fgets(out, 64, stdin))
		return false;
	out[strcspn(out, "\n")] = '\0';
	return true;
}

static const struct language *language_of(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_LEN(languages); i++)
		if (strcmp(name, languages[i].name) == 0)
			return &languages[i];
	return NULL;
}

static bool choose_language(struct quickstart *q)
{
	static const char *const words[] = {"typescript", "python", "go", NULL};
	char answer[64];

	if (flag_get(q->c, "language")) {
		q->lang = language_of(flag_get(q->c, "language"));
		return flag_choice(q->c, "language", words);
	}
	while (isatty(0) && read_answer("Which language: typescript, python or go?", answer))
		if ((q->lang = language_of(answer)))
			return true;
	(void)fprintf(stderr, "hatchet: --language is needed: typescript, python or go\n");
	return false;
}

static bool may_go_on(const struct quickstart *q)
{
	bool run = !flag_on(q->c, "no-run"), install = run && !flag_on(q->c, "no-install");
	char answer[64];

	(void)printf("This writes a small %s project to %s.\n", q->lang->name, q->dir);
	if (install)
		(void)printf("It installs the Hatchet SDK there, with %s.\n", q->lang->tools[1] ? q->lang->tools[1] : q->lang->tools[0]);
	if (run && q->has_server)
		(void)printf("It runs a task on the server at %s.\n", q->server.url);
	else if (run)
		(void)printf("It starts a server in the background, with its data in %s, and runs a task on it.\n", q->data_dir);
	if (flag_on(q->c, "yes"))
		return true;
	if (!isatty(0)) {
		(void)fprintf(stderr, "hatchet: nothing was done: --yes goes on without a question\n");
		return false;
	}
	if (read_answer("Go on? [y/N]", answer) && (answer[0] == 'y' || answer[0] == 'Y'))
		return true;
	(void)printf("Nothing was done.\n");
	return false;
}

/* --- what has to be in order before anything is written ---------------------------------------------------------------------------- */

static bool check_dir(struct quickstart *q, struct err *err)
{
	const char *name = q->c->word ? q->c->word : "hatchet-quickstart";
	char here[512];
	bool is_empty = true;
	struct dirent *e;
	DIR *d;

	if (name[0] == '/')
		(void)snprintf(q->dir, sizeof(q->dir), "%s", name);
	else
		(void)snprintf(q->dir, sizeof(q->dir), "%s/%s", getcwd(here, sizeof(here)) ? here : "", name);
	if (strlen(name) > 500)
		return err_set(err, ERR_INVALID, "the name of the directory is too long");
	(void)snprintf(q->env, sizeof(q->env), "%s/.env", q->dir);
	d = opendir(q->dir);
	if (!d)
		return errno == ENOENT || err_set(err, ERR_INVALID, "cannot use %s: %s", q->dir, strerror(errno));
	while ((e = readdir(d)))
		is_empty &= strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
	(void)closedir(d);
	return is_empty || err_set(err, ERR_EXISTS, "%s is not empty: name another directory", q->dir);
}

static bool is_on_path(const char *program)
{
	const char *path = getenv("PATH");

	while (path && *path) {
		size_t n = strcspn(path, ":");
		char at[1024];

		(void)snprintf(at, sizeof(at), "%.*s/%s", (int)MIN(n, 900), path, program);
		if (access(at, X_OK) == 0)
			return true;
		path += n + (path[n] == ':');
	}
	return false;
}

static bool check_tools(const struct quickstart *q, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(q->lang->tools) && q->lang->tools[i]; i++)
		if (!is_on_path(q->lang->tools[i]))
			return err_set(err, ERR_NOT_FOUND, "%s is not on the PATH: %s needs it", q->lang->tools[i], q->lang->name);
	return true;
}

/* --- files ------------------------------------------------------------------------------------------------------------------------- */

static bool write_file(const struct quickstart *q, const char *name, const struct embed_file *f, struct err *err)
{
	char path[1000], *slash;
	FILE *out;
	bool ok;

	(void)snprintf(path, sizeof(path), "%s/%s%s", q->dir, strcmp(name, "gitignore") == 0 ? "." : "", name);
	slash = strrchr(path, '/');
	*slash = '\0';
	if (!mkdirs(path, 0755, err))
		return false;
	*slash = '/';
	out = fopen(path, "wxe");
	ok = out && fwrite(f->p, 1, f->n, out) == f->n;
	if (out && fclose(out) != 0)
		ok = false;
	return ok || err_set(err, ERR_INTERNAL, "cannot write %s: %s", path, strerror(errno));
}

static bool write_project(const struct quickstart *q, struct err *err)
{
	char prefix[64];
	size_t n;

	n = (size_t)snprintf(prefix, sizeof(prefix), "quickstart/%s/", q->lang->name);
	for (const struct embed_file *f = embed_files; f->name; f++)
		if (strncmp(f->name, prefix, n) == 0 && !write_file(q, f->name + n, f, err))
			return false;
	return true;
}

/* --- programs ---------------------------------------------------------------------------------------------------------------------- */

/* In the project's directory, in a group of its own; @out -1: where our own output goes. */
static pid_t spawn(const struct quickstart *q, const char *const *argv, int out)
{
	pid_t pid = fork();
	int null;

	if (pid != 0)
		return pid;
	null = open("/dev/null", O_RDONLY);
	(void)setpgid(0, 0);
	if (null >= 0)
		(void)dup2(null, 0);
	if (out >= 0) {
		(void)dup2(out, 1);
		(void)dup2(out, 2);
	}
	if (chdir(q->dir) != 0)
		_exit(126);
	(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

static bool is_over(pid_t pid, int *ret_status)
{
	pid_t got = waitpid(pid, ret_status, WNOHANG);

	return got == pid || (got < 0 && errno == ECHILD);
}

/* npm and go run the program as a child: its whole group is told then. */
static void end_worker(const struct quickstart *q, pid_t pid)
{
	int status;

	(void)kill(q->lang->is_one_process ? pid : -pid, SIGTERM);
	for (int i = 0; i < END_WAIT_S * 1000 / NAP_MS && !is_over(pid, &status); i++)
		nap();
	(void)kill(-pid, SIGKILL);
	(void)is_over(pid, &status);
}

static void on_interrupt(int signo)
{
	if (worker_pid > 0)
		(void)kill(-worker_pid, SIGTERM);
	_exit(128 + signo);
}

static int log_file(const struct quickstart *q, const char *name)
{
	char path[720];

	(void)snprintf(path, sizeof(path), "%s/%s", q->dir, name);
	return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static void show_tail(int fd)
{
	char text[TAIL_MAX + 1];
	off_t size = lseek(fd, 0, SEEK_END);
	ssize_t n = pread(fd, text, TAIL_MAX, MAX(size - TAIL_MAX, 0));

	if (n > 0)
		(void)fprintf(stderr, "%.*s\n", (int)n, text);
}

static bool install(const struct quickstart *q, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(q->lang->install) && q->lang->install[i][0]; i++) {
		const char *const *argv = q->lang->install[i];
		pid_t pid = spawn(q, argv, -1);
		int status = -1;

		worker_pid = pid;
		while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		worker_pid = 0;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			return err_set(err, ERR_INTERNAL, "\"%s %s\" failed; see %s/README.md for how to go on by hand", argv[0], argv[1], q->dir);
	}
	return true;
}

/* --- the server -------------------------------------------------------------------------------------------------------------------- */

static const char *self_path(void)
{
	static char path[1024];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	path[n > 0 ? n : 0] = '\0';
	return n > 0 ? path : "hatchet";
}

/* The environment of a server that runs already, with a token made for it. */
static bool join_server(const struct quickstart *q, struct err *err)
{
	const char *argv[] = {self_path(), "token", "create", "--name", "quickstart", "--data-dir", q->data_dir, NULL};
	char token[4096], ca[500];
	struct env env = {.url = q->server.url, .grpc = q->server.grpc, .tls = "none"};
	int out[2], status = -1;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) != 0)
		return err_set(err, ERR_INTERNAL, "cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		(void)dup2(out[1], 1);
		(void)execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	(void)close(out[1]);
	while (n < sizeof(token) && (got = read(out[0], token + n, sizeof(token) - n)) > 0)
		n += (size_t)got;
	(void)close(out[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(err, ERR_PRECONDITION, "no token could be made for the server at %s", q->server.url);
	env.token = (struct str){token, n - (n > 0 && token[n - 1] == '\n')};
	if (strncmp(q->server.url, "https:", 6) == 0) {
		env.tls = "tls";
		(void)snprintf(ca, sizeof(ca), "%s/tls/ca.pem", q->data_dir);
		env.ca_file = access(ca, R_OK) == 0 ? ca : NULL;
	}
	return envfile_write(q->env, &env, err);
}

static bool start_server(struct quickstart *q, struct err *err)
{
	const char *argv[] = {self_path(), "server", "start", "--env-file", q->env, "--data-dir", q->data_dir, "--dashboard-port",
		flag_get(q->c, "dashboard-port"), "--grpc-port", flag_get(q->c, "grpc-port"), NULL};
	int fd = log_file(q, "server.log"), status;
	pid_t pid = fd < 0 ? -1 : fork();
	bool ok = false;

	if (pid == 0) {
		(void)setsid();		/* it stays when we and the terminal are gone */
		(void)signal(SIGHUP, SIG_IGN);
		(void)dup2(fd, 1);
		(void)dup2(fd, 2);
		(void)close(0);
		(void)open("/dev/null", O_RDONLY);
		(void)execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	for (int i = 0; pid > 0 && !ok && i < SERVER_WAIT_S * 1000 / NAP_MS && !is_over(pid, &status); i++) {
		nap();
		ok = access(q->env, R_OK) == 0 && runfile_read(q->data_dir, &q->server);
	}
	if (!ok && fd >= 0)
		show_tail(fd);
	if (fd >= 0)
		(void)close(fd);
	return ok || err_set(err, ERR_INTERNAL, "the server did not start; its log is %s/server.log", q->dir);
}

/* What the env file says becomes our own environment, which the project's programs get. */
static bool load_env(const struct quickstart *q, struct err *err)
{
	char line[5000];
	FILE *f = fopen(q->env, "re");

	if (!f)
		return err_set(err, ERR_INTERNAL, "cannot read %s: %s", q->env, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		char *eq = strchr(line, '=');

		line[strcspn(line, "\n")] = '\0';
		if (!eq)
			continue;
		*eq = '\0';
		(void)setenv(line, eq + 1, 1);
	}
	(void)fclose(f);
	return true;
}

/* --- the first run ------------------------------------------------------------------------------------------------------------------ */

/* Python of the project, or with --no-install whichever is first on the PATH. */
static void words_of(const struct quickstart *q, const char *const *from, const char *to[WORDS_MAX])
{
	char venv[720];

	for (int i = 0; i < WORDS_MAX; i++)
		to[i] = from[i];
	(void)snprintf(venv, sizeof(venv), "%s/%s", q->dir, to[0]);
	if (strcmp(to[0], ".venv/bin/python") == 0 && access(venv, X_OK) != 0)
		to[0] = "python3";
}

/* Once; 0: it worked, and its last line is in @out. */
static int trigger_once(const struct quickstart *q, int fd, char out[512])
{
	const char *argv[WORDS_MAX];
	char text[4096], *end, *line;
	int status = -1;
	ssize_t n;
	pid_t pid;

	words_of(q, q->lang->trigger, argv);
	if (ftruncate(fd, 0) != 0)
		return -1;
	(void)lseek(fd, 0, SEEK_SET);
	pid = spawn(q, argv, fd);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	n = pread(fd, text, sizeof(text) - 1, MAX(lseek(fd, 0, SEEK_END) - (off_t)sizeof(text) + 1, 0));
	text[MAX(n, 0)] = '\0';
	for (end = text + strlen(text); end > text && (end[-1] == '\n' || end[-1] == '\r'); end--)
		end[-1] = '\0';
	line = strrchr(text, '\n');
	(void)snprintf(out, 512, "%.500s", line ? line + 1 : text);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Until the worker has made its task known the trigger is told that there is none: tried again while there is hope. */
static bool first_run(const struct quickstart *q, struct err *err)
{
	const char *argv[WORDS_MAX];
	int log = log_file(q, "worker.log"), out = log_file(q, "trigger.log"), status;
	char result[512];
	time_t began = time(NULL);
	bool ok = false, is_worker_over = false;

	if (log < 0 || out < 0)
		return err_set(err, ERR_INTERNAL, "cannot write in %s: %s", q->dir, strerror(errno));
	words_of(q, q->lang->worker, argv);
	worker_pid = spawn(q, argv, log);
	while (!ok && !(is_worker_over = is_over(worker_pid, &status)) && time(NULL) - began < q->lang->run_wait_s) {
		nap();
		ok = trigger_once(q, out, result) == 0;
	}
	if (!is_worker_over)
		end_worker(q, worker_pid);
	worker_pid = 0;
	if (ok)
		(void)printf("\nresult      %s\n", result);
	else
		show_tail(is_worker_over ? log : out);
	(void)close(log);
	(void)close(out);
	return ok || err_set(err, ERR_INTERNAL, "the task gave no result; the logs are %s/worker.log and trigger.log", q->dir);
}

static void tell_how_to_go_on(const struct quickstart *q)
{
	bool run = !flag_on(q->c, "no-run");

	if (run)
		(void)printf("dashboard   %s\nproject     %s\n", q->server.url, q->dir);
	(void)printf("\nGo on with its README.md:\n  cd %s\n", q->dir);
	if (!run) {
		(void)fflush(stdout);
		return;
	}
	if (!q->lang->reads_env_file)
		(void)printf("  set -a; . ./.env; set +a\n");
	(void)printf("  %s\n  %s\nThe server runs on; stop it with:  hatchet server stop", q->lang->again[0], q->lang->again[1]);
	if (flag_get(q->c, "data-dir"))
		(void)printf(" --data-dir %s", q->data_dir);
	(void)printf("\n");
}

static bool run_it(struct quickstart *q, struct err *err)
{
	if (!flag_on(q->c, "no-install") && ((void)printf("== installing\n"), (void)fflush(stdout), !install(q, err)))
		return false;
	(void)printf("== %s\n", q->has_server ? "using the server that runs" : "starting a server");
	(void)fflush(stdout);
	if (!(q->has_server ? join_server(q, err) : start_server(q, err)) || !load_env(q, err))
		return false;
	(void)printf("== running a task\n");
	(void)fflush(stdout);
	return first_run(q, err);
}

static int quickstart(struct command *c)
{
	struct quickstart q = {.c = c};
	struct sigaction on_int = {.sa_handler = on_interrupt};
	const char *data_dir;
	int64_t port;
	struct err err;
	bool ok;

	if (!choose_language(&q) || !flag_int(c, "dashboard-port", 0, 65535, &port) || !flag_int(c, "grpc-port", 0, 65535, &port))
		return EXIT_USAGE;
	ok = check_dir(&q, &err) && (flag_on(c, "no-run") || check_tools(&q, &err)) && data_dir_of(c, &data_dir, &err);
	if (ok) {
		(void)snprintf(q.data_dir, sizeof(q.data_dir), "%s", data_dir);
		q.has_server = runfile_read(q.data_dir, &q.server);
		if (!may_go_on(&q))
			return EXIT_FAILED;
		(void)sigaction(SIGINT, &on_int, NULL);
		(void)sigaction(SIGTERM, &on_int, NULL);
		ok = write_project(&q, &err) && (flag_on(c, "no-run") || run_it(&q, &err));
	}
	if (!ok) {
		(void)fprintf(stderr, "hatchet: %s\n", err.msg);
		return EXIT_FAILED;
	}
	tell_how_to_go_on(&q);
	return EXIT_OK;
}

struct command cmd_quickstart = {"quickstart", "Write a small project, start a server for it, run its task.",
	"hatchet quickstart my-project --language python", quickstart_flags, quickstart, .operand = "[DIR]"};
