/* Runs the tests of one program, each in a child, so that a crash or a hang fails one test only.
 * Invariant: exit status 0 only when at least one test ran and none failed. */
#include "tap.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_S 60
#define EXIT_SKIP 77

static bool no_fork;

void tap_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("# %s:%d: ", file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	if (no_fork)
		abort();
	_exit(1);
}

void tap_skip(const char *why)
{
	printf("# skipped: %s\n", why);
	fflush(stdout);
	_exit(EXIT_SKIP);
}

void tap_eq(const char *file, int line, const char *what, int64_t got, int64_t want)
{
	if (got != want)
		tap_fail(file, line, "%s is %lld, want %lld", what, (long long)got, (long long)want);
}

void tap_str(const char *file, int line, const char *what, struct str got, struct str want)
{
	if (!str_eq(got, want))
		tap_fail(file, line, "%s is \"%.*s\" (%zu), want \"%.*s\" (%zu)", what, STR_FMT(got), got.n, STR_FMT(want),
			 want.n);
}

/* true: passed or skipped */
static bool run(const struct tap_test *t, unsigned no, unsigned timeout)
{
	int status = 0;

	fflush(stdout);
	if (no_fork) {
		t->fn();
		printf("ok %u - %s\n", no, t->name);
		return true;
	}
	pid_t pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid == 0) {
		alarm(timeout);
		t->fn();
		exit(0);	/* not _exit: the leak check runs at exit */
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	bool skip = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP;
	bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		printf("# took more than %u s\n", timeout);
	else if (WIFSIGNALED(status))
		printf("# ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
	printf("%s %u - %s%s\n", ok || skip ? "ok" : "not ok", no, t->name, skip ? " # SKIP" : "");
	return ok || skip;
}

int main(int argc, char **argv)
{
	const char *filter = argc > 1 ? argv[1] : "", *secs = getenv("TAP_TIMEOUT");
	unsigned timeout = secs ? (unsigned)strtoul(secs, NULL, 10) : TIMEOUT_S, ran = 0, failed = 0;

	no_fork = getenv("TAP_NOFORK") != NULL;
	for (const struct tap_test *t = tap_table; t->name; t++) {
		if (!strstr(t->name, filter))
			continue;
		if (!run(t, ++ran, timeout))
			failed++;
	}
	printf("1..%u\n", ran);
	if (!ran)
		printf("# no test matches '%s'\n", filter);
	return failed || !ran ? 1 : 0;
}
