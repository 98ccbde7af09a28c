/* JSON: what the tree accepts, the check accepts; what the writer writes reads back as the same. */
#include "fuzz.h"
#include "json/json.h"

static struct str written(struct strb *b, const struct jv *v)
{
	struct jw w;

	jw_init(&w, b);
	jw_val(&w, v);
	return strb_str(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = {(const char *)data, n};
	struct arena *a = arena_new(64 << 20);
	struct err e;
	struct strb one, two;

	strb_init(&one, 64 << 20);
	strb_init(&two, 64 << 20);
	bool any = json_check(in, 0, "x", &e), strict = json_check(in, JSON_F_DB, "x", &e);
	FUZZ_MUST(any || !strict);
	const struct jv *v = json_parse(a, in, &e);
	FUZZ_MUST(!v || any);
	FUZZ_MUST(!strict || v || e.code == ERR_EXHAUSTED);
	FUZZ_MUST(!json_check(in, JSON_F_OBJECT, "x", &e) || !v || jv_type(v) == JV_OBJ);
	if (v) {
		struct str s = written(&one, v);

		FUZZ_MUST(json_check(s, JSON_F_PAIRED, "x", &e));
		const struct jv *again = json_parse(a, s, &e);
		FUZZ_MUST(again && str_eq(written(&two, again), s));
	}
	strb_fini(&one);
	strb_fini(&two);
	arena_free(a);
	return 0;
}
