/* `runs why`: asks the server why a task waits, and prints its sentences. */
#include "app_int.h"

#include "base/strb.h"

#include <ctype.h>
#include <stdio.h>

static struct flag why_flags[] = {
	CLIENT_FLAGS,
	{"json", NULL, NULL, NULL, "the server's answer, for machines", NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

static void print(const struct jv *v)
{
	const struct jv *rows = jv_get(v, "rows");
	size_t n = jv_len(rows);

	(void)printf("%.*s\n", STR_FMT(jv_str(jv_get(v, "status"))));
	if (n == 0)
		(void)printf("%.*s\n", STR_FMT(jv_str(jv_get(v, "summary"))));
	for (size_t i = 0; i < n; i++)
		(void)printf("%zu. %.*s\n", i + 1, STR_FMT(jv_str(jv_get(jv_at(rows, i), "text"))));
}

static bool is_id(const char *word)
{
	for (const char *p = word; *p; p++)
		if (!isxdigit((unsigned char)*p) && *p != '-')
			return false;
	return strlen(word) == UUID_TEXT;
}

static int why(struct command *c)
{
	struct arena *a;
	const struct jv *v;
	struct str text;
	struct err err;
	bool ok;

	if (!is_id(c->word)) {
		(void)fprintf(stderr, "hatchet: ID: expected the id of a run or task, not \"%.100s\"\n", c->word);
		return EXIT_USAGE;
	}
	if (!flag_url(c, "url"))
		return EXIT_USAGE;
	a = arena_new((size_t)1 << 30);
	ok = client_call(c, a, "GET", arena_strf(a, "/api/v1/stable/tasks/%s/why", c->word).p, &v, &text, &err);
	if (!ok)
		(void)fprintf(stderr, "hatchet: %s\n", err.msg);
	else if (flag_on(c, "json"))
		(void)printf("%.*s\n", STR_FMT(text));
	else
		print(v);
	arena_free(a);
	return ok ? EXIT_OK : EXIT_FAILED;
}

struct command cmd_runs_why = {.name = "runs why", .summary = "Tell why a run or task waits.",
	.example = "hatchet runs why 0193a1c2-7f00-7c3e-8a41-5d2b6c9e0f11", .flags = why_flags, .run = why, .operand = "ID"};
