/* Flags of the command line and their environment variables. */
#include "app_int.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORD_MAX = 40 };

/* Edits that make one word of the other; a swap of neighbours counts as two. */
static unsigned distance(const char *a, size_t n, const char *b)
{
	unsigned row[WORD_MAX + 1];
	size_t m = strlen(b);

	if (n > WORD_MAX || m > WORD_MAX)
		return WORD_MAX;
	for (unsigned j = 0; j <= m; j++)
		row[j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= m; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[m];
}

const char *nearest(const char *word, size_t n, const char *best, const char *other)
{
	unsigned d = distance(word, n, other), limit = n < 6 ? 2 : 3;

	if (d > limit || (best && distance(word, n, best) <= d))
		return best;
	return other;
}

static struct flag *find(struct command *c, const char *name, size_t n)
{
	for (struct flag *f = c->flags; f && f->name; f++)
		if (strlen(f->name) == n && strncmp(f->name, name, n) == 0)
			return f;
	return NULL;
}

static bool take(struct command *c, char **argv, int argc, int *i)
{
	const char *name = argv[*i] + 2, *eq = strchr(name, '=');
	struct flag *f = find(c, name, eq ? (size_t)(eq - name) : strlen(name));

	if (!f) {
		size_t n = strcspn(name, "=");
		const char *meant = NULL;

		for (f = c->flags; f->name; f++)
			meant = nearest(name, n, meant, f->name);
		(void)fprintf(stderr, "hatchet: unknown flag \"--%.*s\" of \"%s\"%s%s%s; see \"hatchet %s --help\"\n", (int)n, name, c->name,
			      meant ? ", did you mean --" : "", meant ? meant : "", meant ? "?" : "", c->name);
		return false;
	}
	f->origin = "flag";
	if (!f->value_name) {
		if (eq) {
			(void)fprintf(stderr, "hatchet: --%s takes no value\n", f->name);
			return false;
		}
		f->value = "true";
		return true;
	}
	if (eq) {
		f->value = eq + 1;
	} else if (*i + 1 < argc) {
		f->value = argv[++*i];
	} else {
		f->value = "";
	}
	if (!*f->value) {
		(void)fprintf(stderr, "hatchet: --%s needs a value: %s\n", f->name, f->value_name);
		return false;
	}
	return true;
}

bool flags_parse(struct command *c, int argc, char **argv, bool *ret_help)
{
	*ret_help = false;
	for (struct flag *f = c->flags; f && f->name; f++) {
		const char *env = f->env ? getenv(f->env) : NULL;

		f->value = env && *env ? env : f->otherwise;
		f->origin = env && *env ? "environment" : "default";
	}
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			*ret_help = true;
			return true;
		}
		if (argv[i][0] != '-' && c->operand && !c->word) {
			c->word = argv[i];
			continue;
		}
		if (strncmp(argv[i], "--", 2) != 0) {
			(void)fprintf(stderr, "hatchet: unexpected \"%s\"; see \"hatchet %s --help\"\n", argv[i], c->name);
			return false;
		}
		if (!take(c, argv, argc, &i))
			return false;
	}
	if (c->operand && c->operand[0] != '[' && !c->word) {
		(void)fprintf(stderr, "hatchet: %s is missing; see \"hatchet %s --help\"\n", c->operand, c->name);
		return false;
	}
	return true;
}

const char *flag_get(const struct command *c, const char *name)
{
	struct flag *f = find((struct command *)(uintptr_t)c, name, strlen(name));

	assert(f);
	return f->value;
}

bool flag_on(const struct command *c, const char *name)
{
	const char *v = flag_get(c, name);

	return v && (strcmp(v, "true") == 0 || strcmp(v, "1") == 0 || strcmp(v, "t") == 0);
}

bool flag_is_given(const struct command *c, const char *name)
{
	struct flag *f = find((struct command *)(uintptr_t)c, name, strlen(name));

	return strcmp(f->origin, "flag") == 0;
}

static bool wrong(const struct command *c, const char *name, const char *expected)
{
	struct flag *f = find((struct command *)(uintptr_t)c, name, strlen(name));
	bool is_env = strcmp(f->origin, "environment") == 0;

	(void)fprintf(stderr, "hatchet: %s%s: expected %s, not \"%s\"\n", is_env ? "" : "--", is_env ? f->env : f->name, expected, f->value);
	return false;
}

bool flag_int(const struct command *c, const char *name, int64_t min, int64_t max, int64_t *ret)
{
	const char *v = flag_get(c, name);
	char expected[80];

	if (str_to_i64(str_c(v), ret) && *ret >= min && *ret <= max)
		return true;
	(void)snprintf(expected, sizeof(expected), "a number from %lld to %lld", (long long)min, (long long)max);
	return wrong(c, name, expected);
}

bool flag_choice(const struct command *c, const char *name, const char *const *words)
{
	const char *v = flag_get(c, name);
	char expected[128] = "";
	size_t n = 0;

	for (size_t i = 0; words[i]; i++) {
		if (strcmp(v, words[i]) == 0)
			return true;
		n += (size_t)snprintf(expected + n, sizeof(expected) - n, "%s%s", !i ? "" : words[i + 1] ? ", " : " or ", words[i]);
	}
	return wrong(c, name, expected);
}

/* What is written into tokens and shell-readable files: nothing a shell would act on. */
static size_t plain(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || (s[n] && strchr(".-_~:/[]%@,+", s[n])))
		n++;
	return n;
}

bool flag_url(const struct command *c, const char *name)
{
	const char *v = flag_get(c, name), *host;

	if (!v)
		return true;
	host = strncmp(v, "http://", 7) == 0 ? v + 7 : strncmp(v, "https://", 8) == 0 ? v + 8 : "";
	if (*host && *host != '/' && *host != ':' && strlen(v) == plain(v) && strlen(v) < 250)
		return true;
	return wrong(c, name, "an address like https://hatchet.example.com");
}

bool flag_address(const struct command *c, const char *name)
{
	const char *v = flag_get(c, name), *colon = v ? strrchr(v, ':') : NULL;
	int64_t port;

	if (!v)
		return true;
	if (colon && colon > v && str_to_i64(str_c(colon + 1), &port) && port > 0 && port <= 65535 && !strchr(v, '/') &&
	    strlen(v) == plain(v) && strlen(v) < 250)
		return true;
	return wrong(c, name, "host:port");
}

void flags_help(const struct command *c)
{
	(void)printf("%s\n\nUsage: hatchet %s%s%s%s\n", c->summary, c->name, c->operand ? " " : "", c->operand ? c->operand : "", c->flags && c->flags->name ? " [flags]" : "");
	if (c->flags && c->flags->name)
		(void)printf("\nFlags:\n");
	for (const struct flag *f = c->flags; f && f->name; f++) {
		char left[64];

		(void)snprintf(left, sizeof(left), "--%s%s%s", f->name, f->value_name ? " " : "", f->value_name ? f->value_name : "");
		(void)printf("  %-28s %s", left, f->doc);
		if (f->otherwise)
			(void)printf(" (default %s)", f->otherwise);
		if (f->env)
			(void)printf(" [%s]", f->env);
		(void)printf("\n");
	}
	(void)printf("\nExample:\n  %s\n", c->example);
}
