/* Finds the command and runs it. */
#include "app_int.h"

#include "base/log.h"

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

struct command *const commands[] = {&cmd_server_start, &cmd_server_stop, &cmd_server_status, &cmd_server_backup, &cmd_server_restore, &cmd_token_create,
	&cmd_token_revoke, &cmd_runs_why, &cmd_verify, &cmd_migrate, &cmd_doctor, &cmd_version, &cmd_compat, &cmd_quickstart, &cmd_completion,
	&cmd_manual};
const size_t commands_n = ARRAY_LEN(commands);

static void usage(FILE *out)
{
	(void)fprintf(out, "hatchet %s: a durable task queue on Postgres for the Hatchet SDKs.\n\nUsage: hatchet COMMAND [flags]\n\n"
		      "Commands:\n", HATCHET_VERSION);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i]->summary[0])
			(void)fprintf(out, "  %-16s %s\n", commands[i]->name, commands[i]->summary);
	(void)fprintf(out, "\nEvery command has --help with an example.\n"
		      "Exit codes: 0 done, 1 failed (one sentence on standard error), 2 wrong usage.\n"
		      "\nExample:\n  hatchet server start --ephemeral --env-file .env\n");
}

/* How many words of @argv name @c; 0: another command. */
static int matches(const struct command *c, int argc, char **argv)
{
	const char *p = c->name;
	int n = 0;

	while (*p && n < argc) {
		size_t len = strcspn(p, " ");

		if (strlen(argv[n]) != len || strncmp(argv[n], p, len) != 0)
			return 0;
		p += len + (p[len] == ' ');
		n++;
	}
	return *p ? 0 : n;
}

static int unknown(int argc, char **argv)
{
	bool two = argc > 2 && argv[2][0] != '-';
	const char *meant = NULL;
	char words[128];

	(void)snprintf(words, sizeof(words), "%s%s%s", argv[1], two ? " " : "", two ? argv[2] : "");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i]->summary[0])
			meant = nearest(words, strlen(words), meant, commands[i]->name);
	(void)fprintf(stderr, "hatchet: unknown command \"%s\"%s%s%s; see \"hatchet --help\"\n", words, meant ? ", did you mean \"" : "",
		      meant ? meant : "", meant ? "\"?" : "");
	return EXIT_USAGE;
}

#ifndef __GLIBC__
/* What only relocation had to write becomes read-only.  A dynamic loader does this; a static program has none. */
static int seal(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + h->p_vaddr, from = at & ~(page - 1), to = (at + h->p_memsz) & ~(page - 1);

		if (h->p_type == PT_GNU_RELRO && to > from && mprotect((void *)from, to - from, PROT_READ) != 0)
			log_warn("relocated pages stay writable", F_C("why", strerror(errno)));
	}
	return 1;	/* the program itself comes first and is all there is */
}
#endif

int main(int argc, char **argv)
{
#ifndef __GLIBC__
	(void)dl_iterate_phdr(seal, NULL);
#endif
	(void)signal(SIGPIPE, SIG_IGN);
	log_set(LOG_INFO, isatty(2) ? LOG_CONSOLE : LOG_JSON);
	if (sidecar_is_asked(argc, argv))
		return sidecar_main(argc, argv);
	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return EXIT_OK;
	}
	if (strcmp(argv[1], "--version") == 0)
		argv[1] = (char *)(uintptr_t) "version";
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		int n = matches(commands[i], argc - 1, argv + 1);
		bool help;

		if (!n)
			continue;
		if (!flags_parse(commands[i], argc - 1 - n, argv + 1 + n, &help))
			return EXIT_USAGE;
		if (help) {
			flags_help(commands[i]);
			return EXIT_OK;
		}
		return commands[i]->run(commands[i]);
	}
	return unknown(argc, argv);
}
