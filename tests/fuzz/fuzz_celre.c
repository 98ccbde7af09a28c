/* Patterns: whatever compiles walks over any text within its budget, and says the same twice.  A line end parts pattern and text. */
#include "base/text.h"
#include "../../src/cel/cel_int.h"
#include "fuzz.h"

static void *take(void *ctx, size_t bytes)
{
	return bytes + 16 > arena_left(ctx) ? NULL : arena_alloc(ctx, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str pattern = {(const char *)data, n}, text = STR("a1 \xc3\x89\nzZ_");
	struct arena *a = arena_new(8 << 20), *small = arena_new(2000);
	struct re_mem m = {a, take, RE_WORK_MAX}, little = {small, take, RE_WORK_MAX};
	const char *why = "", *nl = n ? memchr(data, '\n', n) : NULL;

	if (nl) {
		pattern.n = (size_t)(nl - pattern.p);
		text = (struct str){nl + 1, n - pattern.n - 1};
	}
	if (utf8_valid(pattern) && utf8_valid(text)) {
		const struct regex *re = regex_compile(&m, pattern, &why);

		FUZZ_MUST(re || !why || why[0]);
		if (re) {
			uint32_t *sets = xcalloc(RE_SETS(re->n), sizeof(*sets)), steps = 50000, again = 50000;

			int r = regex_match(re, text, sets, &steps);
			FUZZ_MUST(regex_match(re, text, sets, &again) == r && again == steps);
			FUZZ_MUST(r >= -1 && r <= 1 && steps <= 50000);
			free(sets);
		}
		(void)regex_compile(&little, pattern, &why);
	}
	arena_free(a);
	arena_free(small);
	return 0;
}
