/* Flags of the command line and their environment variables. */
#include "app_int.h"

#include <stdio.h>
#include <stdlib.h>

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
		(void)fprintf(stderr, "hatchet: unknown flag \"%s\" of \"%s\"; see \"hatchet %s --help\"\n", argv[*i], c->name, c->name);
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
		if (strncmp(argv[i], "--", 2) != 0) {
			(void)fprintf(stderr, "hatchet: unexpected \"%s\"; see \"hatchet %s --help\"\n", argv[i], c->name);
			return false;
		}
		if (!take(c, argv, argc, &i))
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

	return v && (strcmp(v, "true") == 0 || strcmp(v, "1") == 0);
}

bool flag_int(const struct command *c, const char *name, int64_t min, int64_t max, int64_t *ret)
{
	struct flag *f = find((struct command *)(uintptr_t)c, name, strlen(name));

	if (f->value && str_to_i64(str_c(f->value), ret) && *ret >= min && *ret <= max)
		return true;
	(void)fprintf(stderr, "hatchet: %s%s: expected a number from %lld to %lld, not \"%s\"\n",
		      strcmp(f->origin, "environment") == 0 ? "" : "--", strcmp(f->origin, "environment") == 0 ? f->env : f->name,
		      (long long)min, (long long)max, f->value ? f->value : "");
	return false;
}

void flags_help(const struct command *c)
{
	(void)printf("%s\n\nUsage: hatchet %s%s\n", c->summary, c->name, c->flags && c->flags->name ? " [flags]" : "");
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
