/* Runs files of conformance cases: cel-conformance [--vars VARS.json] [--strict] CASES.jsonl...
 *
 * A case is a line of JSON: expr, expect, and either env with vars ("@event": the document of that name in VARS.json) or vars (name to
 * declared type) with bindings (name to value).  expect is {"value": V}, {"error": ..., "stage": "check" or "eval"} or {"type": T};
 * another answer that is right too may stand in celgo, and static_type is what the check is to find out.  A case with a quirk says what
 * the reference answers where we differ on purpose: it may end in any way.  --strict: an error must come at the stage that is named. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "cel/cel.h"

#define VARS_MAX 64

static struct cel_val value(struct arena *a, const struct jv *v);
static bool strict;

struct lists {	/* what the module keeps to itself, made for tests */
	struct cel_list list;
	struct cel_map map;
};

static struct cel_val list_value(struct arena *a, const struct jv *v)
{
	size_t n = jv_len(v);
	struct lists *l = ARENA_NEW(a, struct lists);
	struct cel_val *x = ARENA_ARRAY(a, struct cel_val, n + 1);

	for (size_t i = 0; i < n; i++)
		x[i] = value(a, jv_at(v, i));
	l->list = (struct cel_list){n, x};
	return (struct cel_val){.kind = CEL_LIST, .list = &l->list};
}

static struct cel_val map_value(struct arena *a, const struct jv *v)
{
	size_t n = jv_len(v);
	struct lists *l = ARENA_NEW(a, struct lists);
	struct cel_pair *x = ARENA_ARRAY(a, struct cel_pair, n + 1);

	for (size_t i = 0; i < n; i++) {
		x[i].k = value(a, jv_at(jv_at(v, i), 0));
		x[i].v = value(a, jv_at(jv_at(v, i), 1));
	}
	l->map = (struct cel_map){.n = n, .kv = x};
	return (struct cel_val){.kind = CEL_MAP, .map = &l->map};
}

/* timestamps and durations by way of the module itself */
static struct cel_val evaluated(struct arena *a, const char *fn, struct str text)
{
	const struct cel_env env = {0};
	struct cel_val v = {0};
	struct str src = arena_strf(a, "%s('%.*s')", fn, STR_FMT(text));
	const struct cel_prog *p = cel_compile(a, &env, src, NULL, NULL);

	if (!p || !cel_eval(p, NULL, a, NULL, &v, NULL)) {
		fprintf(stderr, "cel-conformance: cannot read %.*s\n", STR_FMT(src));
		exit(2);
	}
	return v;
}

static enum cel_kind kind_named(struct str s)
{
	for (enum cel_kind k = CEL_NULL; k < CEL_KINDS; k++) {
		if (str_eq(s, str_c(cel_kind_name(k))))
			return k == CEL_TYPE ? CEL_UNBOUND : k;
	}
	return CEL_UNBOUND;
}

/* {"int": "1"} and so on */
static struct cel_val value(struct arena *a, const struct jv *v)
{
	struct cel_val r = {0};
	void *it = NULL;
	struct str tag;
	const struct jv *x = jv_next(v, &it, &tag);
	struct str s = jv_str(x);

	if (!x) {
		fprintf(stderr, "cel-conformance: a value without a type\n");
		exit(2);
	}
	if (str_eq(tag, STR("int"))) {
		r = (struct cel_val){.kind = CEL_INT, .i = strtoll(arena_strz(a, s), NULL, 10)};
	} else if (str_eq(tag, STR("uint"))) {
		r = (struct cel_val){.kind = CEL_UINT, .u = strtoull(arena_strz(a, s), NULL, 10)};
	} else if (str_eq(tag, STR("double"))) {
		r = (struct cel_val){.kind = CEL_DOUBLE, .d = s.p ? strtod(arena_strz(a, s), NULL) : jv_f64(x, 0)};
	} else if (str_eq(tag, STR("string"))) {
		r = cel_string(s);
	} else if (str_eq(tag, STR("bytes"))) {
		r.kind = CEL_BYTES;
		if (!base64_decode(a, s, false, &r.s))
			exit(2);
	} else if (str_eq(tag, STR("bool"))) {
		r = (struct cel_val){.kind = CEL_BOOL, .b = jv_bool(x, false)};
	} else if (str_eq(tag, STR("null"))) {
		r = (struct cel_val){.kind = CEL_NULL};
	} else if (str_eq(tag, STR("list"))) {
		r = list_value(a, x);
	} else if (str_eq(tag, STR("map"))) {
		r = map_value(a, x);
	} else if (str_eq(tag, STR("type"))) {
		r = (struct cel_val){.kind = CEL_TYPE, .type = kind_named(s)};
	} else if (str_eq(tag, STR("timestamp")) || str_eq(tag, STR("duration"))) {
		r = evaluated(a, arena_strz(a, tag), s);
	} else {
		fprintf(stderr, "cel-conformance: a value of an unknown type: %.*s\n", STR_FMT(tag));
		exit(2);
	}
	return r;
}

/* ---- comparing: exactly, kinds too ---- */

static bool same(const struct cel_val *a, const struct cel_val *b);

static bool same_maps(const struct cel_val *a, const struct cel_val *b)
{
	struct cel_val k, v, k2, v2;
	void *it = NULL;
	bool all = cel_len(a) == cel_len(b);

	while (all && cel_next(a, &it, &k, &v)) {
		bool found = false;

		for (void *it2 = NULL; !found && cel_next(b, &it2, &k2, &v2);)
			found = same(&k, &k2) && same(&v, &v2);
		all = found;
	}
	return all;
}

static bool same(const struct cel_val *a, const struct cel_val *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case CEL_BOOL:
		return a->b == b->b;
	case CEL_DOUBLE:
		return (isnan(a->d) && isnan(b->d)) || (a->d == b->d && signbit(a->d) == signbit(b->d));
	case CEL_STRING:
	case CEL_BYTES:
		return str_eq(a->s, b->s);
	case CEL_LIST:
		for (size_t i = 0, n = cel_len(a); i < n; i++) {
			struct cel_val x = cel_at(a, i), y = {0};

			if (n == cel_len(b))
				y = cel_at(b, i);
			if (!same(&x, &y))
				return false;
		}
		return cel_len(a) == cel_len(b);
	case CEL_MAP:
		return same_maps(a, b);
	case CEL_TIMESTAMP:
		return a->i == b->i && a->nanos == b->nanos;
	case CEL_TYPE:
		return a->type == b->type;
	case CEL_NULL:
		return true;
	default:
		return a->i == b->i;
	}
}

/* ---- a case ---- */

struct outcome {
	bool ok;		/* a value, or compiled when nothing was to be evaluated */
	const char *stage;	/* of the error */
	struct cel_val val;
	struct cel_err err;
	struct str type;
};

struct setup {
	struct cel_env env;
	struct cel_decl decls[VARS_MAX];
	struct cel_val vars[VARS_MAX];
};

static size_t declare(struct setup *s, const char *name, const char *type)
{
	size_t i;

	for (i = 0; i < s->env.n; i++) {
		if (strcmp(s->decls[i].name, name) == 0)
			return i;
	}
	if (s->env.n == VARS_MAX)
		exit(2);
	s->decls[i] = (struct cel_decl){name, type};
	s->env.n++;
	return i;
}

static bool from_env(struct setup *s, const struct jv *row, const struct jv *docs)
{
	static const char *const names[CEL_USES] = {"workflow", "step", "event", "webhook", "bool"};
	struct str name = jv_str(jv_get(row, "env")), vars = jv_str(jv_get(row, "vars"));
	const struct jv *doc = vars.n > 1 && vars.p[0] == '@' ? jv_get_str(docs, (struct str){vars.p + 1, vars.n - 1}) : NULL;
	enum cel_use use;

	for (use = CEL_WORKFLOW; use < CEL_USES; use++) {
		if (str_eq(name, str_c(names[use])))
			break;
	}
	if (use == CEL_USES || !doc) {
		printf("no such environment or no such document of variables (--vars)\n");
		return false;
	}
	s->env = *cel_env(use);
	/* the cases were measured without the libraries that we offer there too */
	if (use == CEL_WEBHOOK || use == CEL_CONDITION)
		s->env.libs = 0;
	for (size_t i = 0; i < s->env.n; i++)
		s->vars[i] = cel_json(jv_get(doc, s->env.vars[i].name));
	return true;
}

static void from_bindings(struct arena *a, struct setup *s, const struct jv *row)
{
	const struct jv *v;
	struct str key;

	s->env = (struct cel_env){.vars = s->decls};
	if (str_eq(jv_str(jv_get(row, "lib")), STR("strings")))
		s->env.libs = CEL_LIB_STRINGS;
	s->env.unchecked = jv_bool(jv_get(row, "disable_check"), false);
	s->env.no_macros = jv_bool(jv_get(row, "disable_macros"), false);
	if (jv_get(row, "container"))
		s->env.container = arena_strz(a, jv_str(jv_get(row, "container")));
	for (void *it = NULL; (v = jv_next(jv_get(row, "vars"), &it, &key));)
		declare(s, arena_strz(a, key), arena_strz(a, jv_str(v)));
	for (void *it = NULL; (v = jv_next(jv_get(row, "bindings"), &it, &key));) {
		/* what is not declared exists only where nothing is checked */
		if (s->env.unchecked)
			declare(s, arena_strz(a, key), "dyn");
	}
	for (size_t i = 0; i < s->env.n; i++) {
		v = jv_get(jv_get(row, "bindings"), s->decls[i].name);
		if (v)
			s->vars[i] = value(a, v);
	}
}

static struct outcome run(struct arena *a, const struct setup *s, const struct jv *row)
{
	struct outcome o = {.stage = "check"};
	const struct cel_prog *p = cel_compile(a, &s->env, jv_str(jv_get(row, "expr")), NULL, &o.err);

	if (!p)
		return o;
	o.type = cel_static_type(p);
	o.stage = "eval";
	o.ok = jv_bool(jv_get(row, "check_only"), false) || cel_eval(p, s->vars, a, NULL, &o.val, &o.err);
	return o;
}

static bool matches(struct arena *a, const struct outcome *o, const struct jv *expect)
{
	const struct jv *v = jv_get(expect, "value"), *t = jv_get(expect, "type"), *stage = jv_get(expect, "stage");
	struct cel_val want;

	if (!expect)
		return false;
	if (t && o->ok && !str_eq(jv_str(t), o->type))
		return false;
	if (!v)
		return t ? o->ok : !o->ok && (!strict || !stage || str_eq(jv_str(stage), str_c(o->stage)));
	want = value(a, v);
	return o->ok && same(&o->val, &want);
}

static bool one(struct arena *a, const struct jv *row, const struct jv *docs)
{
	const struct jv *type = jv_get(row, "static_type");
	struct setup s = {0};
	struct outcome o;
	struct strb b;
	struct jw w;
	bool ok;

	if (jv_get(row, "env")) {
		if (!from_env(&s, row, docs))
			return false;
	} else {
		from_bindings(a, &s, row);
	}
	o = run(a, &s, row);
	ok = matches(a, &o, jv_get(row, "expect")) || matches(a, &o, jv_get(row, "celgo")) || jv_get(row, "quirk");
	if (ok && (!type || str_eq(jv_str(type), o.type)))
		return true;
	strb_init(&b, 1 << 16);
	jw_init(&w, &b);
	jw_val(&w, jv_get(row, "expect"));
	printf("FAILED %.*s: %.*s\n  expected %.*s%s%.*s\n", STR_FMT(jv_str(jv_get(row, "id"))), STR_FMT(jv_str(jv_get(row, "expr"))),
	       STR_FMT(strb_str(&b)), type ? " of type " : "", STR_FMT(jv_str(type)));
	strb_fini(&b);
	if (o.ok)
		printf("  got a value of kind %s, type %.*s\n", cel_kind_name((enum cel_kind)o.val.kind), STR_FMT(o.type));
	else
		printf("  got an error at %s: %u:%u: %s\n", o.stage, o.err.line, o.err.column, o.err.msg);
	return false;
}

static struct str slurp(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t n = 0, cap = 1 << 16;
	char *p = xmalloc(cap);

	if (!f) {
		perror(path);
		exit(2);
	}
	for (size_t got; (got = fread(p + n, 1, cap - n, f)) > 0;) {
		n += got;
		if (n == cap)
			p = xrealloc(p, cap *= 2);
	}
	fclose(f);
	return (struct str){p, n};
}

static void file(const char *path, const struct jv *docs, unsigned *passed, unsigned *failed)
{
	struct str text = slurp(path);
	struct arena *a = arena_new(64 << 20);
	unsigned line = 0;

	for (size_t at = 0; at < text.n;) {
		const char *end = memchr(text.p + at, '\n', text.n - at);
		struct str row = {text.p + at, end ? (size_t)(end - text.p) - at : text.n - at};
		struct err err;

		at += row.n + 1;
		line++;
		if (row.n == 0 || row.p[0] == '#')
			continue;
		const struct jv *v = json_parse(a, row, &err);
		if (!v || !jv_get(v, "expr")) {
			fprintf(stderr, "%s:%u: not a case: %s\n", path, line, v ? "no expr" : err.msg);
			exit(2);
		}
		if (one(a, v, docs))
			++*passed;
		else
			++*failed;
		arena_reset(a);
	}
	arena_free(a);
	free((char *)(uintptr_t)text.p);
}

int main(int argc, char **argv)
{
	struct arena *a = arena_new(64 << 20);
	unsigned passed = 0, failed = 0;
	const struct jv *docs = NULL;
	struct err err;
	int files = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--vars") == 0 && i + 1 < argc) {
			docs = json_parse(a, slurp(argv[++i]), &err);
			if (!docs) {
				fprintf(stderr, "%s: %s\n", argv[i], err.msg);
				return 2;
			}
		} else if (strcmp(argv[i], "--strict") == 0) {
			strict = true;
		} else {
			file(argv[i], docs, &passed, &failed);
			files++;
		}
	}
	arena_free(a);
	if (!files) {
		fprintf(stderr, "usage: cel-conformance [--vars VARS.json] [--strict] CASES.jsonl...\n");
		return 2;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
