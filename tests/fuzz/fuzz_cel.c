/* Expressions: any text compiles or fails with a place, any program ends within its budget, twice the same way.
 * The first byte chooses environment and libraries; a line "----" parts the text from the JSON it is evaluated over. */
#include "base/text.h"
#include "cel/cel.h"
#include "fuzz.h"

#define STEPS 20000

static void check_err(const struct cel_err *e, struct str src)
{
	FUZZ_MUST(e->code != CEL_E_OK && e->msg[0] && utf8_valid(str_c(e->msg)));
	FUZZ_MUST(e->offset <= src.n && e->length <= src.n - e->offset);
	FUZZ_MUST(src.n == 0 || !utf8_valid(src) || e->line >= 1);
}

/* strings are UTF-8 all the way down; what is walked is bounded, values can be graphs */
static void check_val(const struct cel_val *v, unsigned *left)
{
	struct cel_val k, x;
	void *it = NULL;

	FUZZ_MUST(v->kind > CEL_UNBOUND && v->kind < CEL_KINDS);
	if (*left == 0)
		return;
	--*left;
	if (v->kind == CEL_STRING)
		FUZZ_MUST(utf8_valid(v->s));
	if (v->kind == CEL_LIST) {
		for (size_t i = 0; i < cel_len(v) && *left; i++) {
			x = cel_at(v, i);
			check_val(&x, left);
		}
	}
	while (v->kind == CEL_MAP && *left && cel_next(v, &it, &k, &x)) {
		check_val(&k, left);
		check_val(&x, left);
	}
}

static void evaluate(const struct cel_prog *p, const struct cel_val *vars, struct str src)
{
	struct cel_limits lim = cel_limits_default;
	struct arena *a = arena_new(1 << 20), *b = arena_new(1 << 20);
	struct cel_err e1, e2;
	struct cel_val v1, v2;
	unsigned left = 5000;

	lim.steps = STEPS;
	lim.bytes = 1 << 19;
	bool ok = cel_eval(p, vars, a, &lim, &v1, &e1);
	FUZZ_MUST(cel_eval(p, vars, b, &lim, &v2, &e2) == ok);
	if (ok) {
		check_val(&v1, &left);
		FUZZ_MUST(v1.kind == v2.kind);
		FUZZ_MUST(v1.kind != CEL_STRING || str_eq(v1.s, v2.s));
	} else {
		check_err(&e1, src);
		FUZZ_MUST(e1.code == e2.code && strcmp(e1.msg, e2.msg) == 0);
	}
	arena_free(a);
	arena_free(b);
}

/* with hardly any memory it fails, and in order */
static void starve(const struct cel_env *env, const struct cel_val *vars, struct str src)
{
	struct arena *a = arena_new(4096), *b = arena_new(1024);
	struct cel_err err;
	struct cel_val v;
	const struct cel_prog *p = cel_compile(a, env, src, NULL, &err);

	if (p)
		(void)!cel_eval(p, vars, b, NULL, &v, &err);
	arena_free(a);
	arena_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str src = {(const char *)data + 1, n ? n - 1 : 0}, json = STR("{\"s\":\"a\",\"l\":[1,\"x\",null],\"m\":{\"k\":1.5}}");
	struct arena *a = arena_new(64 << 20);
	const struct cel_env *base = cel_env(n ? data[0] % CEL_USES : 0);
	struct cel_env env = *base;
	struct cel_val vars[8] = {0};
	struct cel_err err = {0};
	const char *part;

	if (n) {
		env.unchecked = data[0] & 0x80;
		env.no_macros = data[0] & 0x40;
		env.libs = data[0] & 0x20 ? 0 : env.libs;
	}
	part = n ? memmem(src.p, src.n, "\n----\n", 6) : NULL;
	if (part) {
		json = (struct str){part + 6, (size_t)(src.p + src.n - part - 6)};
		src.n = (size_t)(part - src.p);
	}
	const struct jv *doc = json_parse(a, json, NULL);
	for (size_t i = 0; i < env.n; i++) {
		if (strcmp(env.vars[i].type, "string") == 0)
			vars[i] = cel_string(STR("order:created"));
		else if (jv_type(doc) == JV_OBJ && strncmp(env.vars[i].type, "map(string, dyn)", 16) == 0)
			vars[i] = cel_json(doc);
	}
	const struct cel_prog *p = cel_compile(a, &env, src, NULL, &err);
	if (p)
		evaluate(p, vars, src);
	else
		check_err(&err, src);
	starve(&env, vars, src);
	arena_free(a);
	return 0;
}
