/* The manual page and the completion of shells, both from the tables that the program itself goes by. */
#include "app_int.h"

#include <stdio.h>

/* --- the manual page: `hatchet manual` ----------------------------------------------------------------------------------------- */

static void roff(const char *s)
{
	if (*s == '.' || *s == '\'')
		(void)fputs("\\&", stdout);
	for (; *s; s++) {
		if (*s == '\\')
			(void)fputs("\\e", stdout);
		else if (*s == '-')
			(void)fputs("\\-", stdout);
		else if (*s == '\n' && (s[1] == '.' || s[1] == '\''))
			(void)fputs("\n\\&", stdout);
		else
			(void)putchar(*s);
	}
}

static void roff_flag(const struct flag *f)
{
	(void)fputs(".TP\n\\fB\\-\\-", stdout);
	roff(f->name);
	(void)fputs("\\fR", stdout);
	if (f->value_name) {
		(void)fputs(" \\fI", stdout);
		roff(f->value_name);
		(void)fputs("\\fR", stdout);
	}
	(void)putchar('\n');
	roff(f->doc);
	if (f->otherwise) {
		(void)fputs("; default ", stdout);
		roff(f->otherwise);
	}
	(void)fputs(".\n", stdout);
	if (f->env) {
		(void)fputs("Also \\fB", stdout);
		roff(f->env);
		(void)fputs("\\fR in the environment.\n", stdout);
	}
}

static void roff_command(const struct command *c)
{
	(void)fputs(".SS hatchet ", stdout);
	roff(c->name);
	if (c->operand) {
		(void)putchar(' ');
		roff(c->operand);
	}
	(void)putchar('\n');
	roff(c->summary);
	(void)putchar('\n');
	for (const struct flag *f = c->flags; f && f->name; f++)
		roff_flag(f);
	if (c->example) {
		(void)fputs(".PP\nExample:\n.PP\n.nf\n.RS\n", stdout);
		roff(c->example);
		(void)fputs("\n.RE\n.fi\n", stdout);
	}
}

static int manual(struct command *c)
{
	(void)printf(".TH HATCHET 1 \"\" \"hatchet %s\" \"User Commands\"\n", HATCHET_VERSION);
	(void)fputs(".SH NAME\nhatchet \\- durable task queue on Postgres for the Hatchet SDKs\n"
		    ".SH SYNOPSIS\n\\fBhatchet\\fR \\fICOMMAND\\fR [\\fIflags\\fR]\n"
		    ".SH DESCRIPTION\nOne program that is a whole Hatchet server: it takes in tasks over gRPC and REST, keeps them in Postgres,\n"
		    "and hands them to workers that are written with the official Hatchet SDKs.\n"
		    "Without a database named it runs the Postgres that it carries inside.\n.SH COMMANDS\n", stdout);
	for (size_t i = 0; i < commands_n; i++)
		if (commands[i]->summary[0])
			roff_command(commands[i]);
	(void)fputs(".SH EXIT STATUS\n0 done, 1 failed, with one sentence on standard error, 2 wrong usage.\n"
		    ".SH FILES\n.TP\n~/.local/share/hatchet, for root /var/lib/hatchet\nThe default of \\fB\\-\\-data\\-dir\\fR.\n", stdout);
	return EXIT_OK;
}

static struct flag no_flags[] = {{NULL, NULL, NULL, NULL, NULL, NULL, NULL}};
struct command cmd_manual = {.name = "manual", .summary = "", .flags = no_flags, .run = manual};

/* --- completion: `hatchet completion SHELL` --------------------------------------------------------------------------------------- */

/* What may follow the words of @line: the next words of commands, each once. */
static void next_words(const char *line)
{
	size_t n = strlen(line);
	const char *last = "";
	size_t last_n = 0;

	for (size_t i = 0; i < commands_n; i++) {
		const char *name = commands[i]->name;
		size_t k;

		if (!commands[i]->summary[0] || strncmp(name, line, n) != 0)
			continue;
		name += n;
		k = strcspn(name, " ");
		if (k == last_n && strncmp(name, last, k) == 0)
			continue;
		(void)printf("%s%.*s", last_n ? " " : "", (int)k, name);
		last = name;
		last_n = k;
	}
}

static void all_flags(const struct command *c)
{
	for (const struct flag *f = c->flags; f && f->name; f++)
		(void)printf("--%s ", f->name);
	(void)fputs("--help", stdout);
}

static bool takes_path(const struct flag *f)
{
	return f->value_name && (strcmp(f->value_name, "FILE") == 0 || strcmp(f->value_name, "DIR") == 0);
}

/* Flags whose value is a path, of all commands, each once; separated as @sep says. */
static void path_flags(const char *sep)
{
	bool first = true;

	for (size_t i = 0; i < commands_n; i++) {
		for (const struct flag *f = commands[i]->flags; f && f->name; f++) {
			bool seen = false;

			for (size_t j = 0; j < i; j++)
				for (const struct flag *g = commands[j]->flags; g && g->name; g++)
					seen |= takes_path(g) && strcmp(g->name, f->name) == 0;
			if (!takes_path(f) || seen)
				continue;
			(void)printf("%s--%s", first ? "" : sep, f->name);
			first = false;
		}
	}
}

/* The body of a `case` over the words so far; @add: what takes a list of words. */
static void cases(const char *add, const char *end)
{
	for (size_t i = 0; i < commands_n; i++) {
		if (!commands[i]->summary[0])
			continue;
		(void)printf("\t\" %s \"*) %s", commands[i]->name, add);
		all_flags(commands[i]);
		(void)printf("%s ;;\n", end);
	}
	for (size_t i = 0; i < commands_n; i++) {
		size_t n = strcspn(commands[i]->name, " ");
		char line[64];

		if (!commands[i]->summary[0] || !commands[i]->name[n] || (i && strncmp(commands[i - 1]->name, commands[i]->name, n + 1) == 0))
			continue;
		(void)snprintf(line, sizeof(line), "%.*s ", (int)n, commands[i]->name);
		(void)printf("\t\" %s\") %s", line, add);
		next_words(line);
		(void)printf("%s ;;\n", end);
	}
	(void)printf("\t\" \") %s", add);
	next_words("");
	(void)printf(" --help --version%s ;;\n", end);
}

static void bash(void)
{
	(void)fputs("_hatchet()\n{\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} line=\" ${COMP_WORDS[*]:1:COMP_CWORD-1} \"\n\tCOMPREPLY=()\n"
		    "\t[[ $line != \"  \" ]] || line=\" \"\n\tcase ${COMP_WORDS[COMP_CWORD-1]} in\n\t", stdout);
	path_flags("|");
	(void)fputs(") mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n\tesac\n\tcase $line in\n", stdout);
	cases("mapfile -t COMPREPLY < <(compgen -W \"", "\" -- \"$cur\")");
	(void)fputs("\tesac\n}\ncomplete -o filenames -F _hatchet hatchet\n", stdout);
}

static void zsh(void)
{
	(void)fputs("#compdef hatchet\n_hatchet()\n{\n\tlocal line=\" ${words[2,CURRENT-1]} \"\n\t[[ $line != \"  \" ]] || line=\" \"\n"
		    "\tcase ${words[CURRENT-1]} in\n\t", stdout);
	path_flags("|");
	(void)fputs(") _files; return ;;\n\tesac\n\tcase $line in\n", stdout);
	cases("compadd -- ", "");
	(void)fputs("\tesac\n}\ncompdef _hatchet hatchet\n", stdout);
}

static void fish_quoted(const char *s)
{
	(void)putchar('\'');
	for (; *s; s++) {
		if (*s == '\'' || *s == '\\')
			(void)putchar('\\');
		(void)putchar(*s);
	}
	(void)putchar('\'');
}

static void fish(void)
{
	(void)fputs("function __hatchet_at\n\tstring match -q -- \"hatchet $argv*\" (commandline -pc)\nend\ncomplete -c hatchet -f\n", stdout);
	for (size_t i = 0; i < commands_n; i++) {
		const struct command *c = commands[i];
		const char *last = strrchr(c->name, ' ');

		if (!c->summary[0])
			continue;
		(void)printf("complete -c hatchet -n \"__hatchet_at '%.*s'\" -a %s -d ", last ? (int)(last - c->name) + 1 : 0, c->name,
			     last ? last + 1 : c->name);
		fish_quoted(c->summary);
		(void)putchar('\n');
		for (const struct flag *f = c->flags; f && f->name; f++) {
			(void)printf("complete -c hatchet -n \"__hatchet_at '%s '\" -l %s%s -d ", c->name, f->name,
				     takes_path(f) ? " -rF" : f->value_name ? " -x" : "");
			fish_quoted(f->doc);
			(void)putchar('\n');
		}
	}
}

static int completion(struct command *c)
{
	if (strcmp(c->word, "bash") == 0) {
		bash();
	} else if (strcmp(c->word, "zsh") == 0) {
		zsh();
	} else if (strcmp(c->word, "fish") == 0) {
		fish();
	} else {
		(void)fprintf(stderr, "hatchet: completion: expected bash, zsh or fish, not \"%s\"\n", c->word);
		return EXIT_USAGE;
	}
	return EXIT_OK;
}

struct command cmd_completion = {.name = "completion", .summary = "Print the completion of a shell: bash, zsh or fish.",
	.example = "source <(hatchet completion bash)", .flags = no_flags, .run = completion, .operand = "SHELL"};
