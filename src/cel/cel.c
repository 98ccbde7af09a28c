/* The door of the module: compile, evaluate, environments, errors with their place.
 * Invariant: every allocation goes through comp_alloc() or ev_alloc(), which ask the arena first; nothing here aborts on a small one. */
#include "cel_int.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

const struct cel_limits cel_limits_default = {
	.source_bytes = 16384,
	.depth = 250,
	.nodes = 10000,
	.steps = 1000000,
	.bytes = CEL_BYTES_MAX,
};

const struct fn_info cel_fns[F_COUNT] = {
#define FN(id, text, lib, signatures) [F_##id] = {text, lib, signatures},
#include "fns.def"
#undef FN
};

/* ---- environments ---- */

static const struct cel_decl workflow_vars[] = {
	{"input", "map(string, dyn)"}, {"additional_metadata", "map(string, dyn)"}, {"workflow_run_id", "string"},
	{"parents", "map(string, map(string, dyn))"},
};
static const struct cel_decl event_vars[] = {
	{"input", "map(string, dyn)"}, {"additional_metadata", "map(string, dyn)"}, {"payload", "map(string, dyn)"},
	{"event_id", "string"}, {"event_key", "string"},
};
static const struct cel_decl webhook_vars[] = {{"input", "map(string, dyn)"}, {"headers", "map(string, string)"}};
static const struct cel_decl condition_vars[] = {{"input", "map(string, dyn)"}, {"output", "map(string, dyn)"}};

const struct cel_env *cel_env(enum cel_use use)
{
	enum { ALL = CEL_LIB_STRINGS | CEL_LIB_CHECKSUM };
	static const struct cel_env envs[CEL_USES] = {
		[CEL_WORKFLOW] = {.vars = workflow_vars, .n = ARRAY_LEN(workflow_vars) - 1, .libs = ALL},
		[CEL_STEP] = {.vars = workflow_vars, .n = ARRAY_LEN(workflow_vars), .libs = ALL},
		[CEL_EVENT] = {.vars = event_vars, .n = ARRAY_LEN(event_vars), .libs = ALL},
		[CEL_WEBHOOK] = {.vars = webhook_vars, .n = ARRAY_LEN(webhook_vars), .libs = ALL},
		[CEL_CONDITION] = {.vars = condition_vars, .n = ARRAY_LEN(condition_vars), .libs = ALL},
		[CEL_IDEMPOTENCY] = {.vars = workflow_vars, .n = ARRAY_LEN(workflow_vars) - 2, .libs = ALL},
	};

	return &envs[use];
}

/* ---- errors ---- */

static void place(struct cel_err *err, struct str src, uint32_t pos, uint32_t end)
{
	uint32_t line = 1, column = 1;

	for (uint32_t i = 0; i < pos && i < src.n; i++) {
		if (src.p[i] == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)src.p[i] & 0xc0) != 0x80) {
			column++;
		}
	}
	err->offset = pos;
	err->length = end > pos ? end - pos : 0;
	err->line = line;
	err->column = column;
}

/* a cut text still ends with a whole character */
static void whole(char *s)
{
	size_t n = strlen(s), back = 0;

	while (back < n && back < 4 && !utf8_valid((struct str){s, n - back}))
		back++;
	if (back < 4)
		s[n - back] = '\0';
}

bool comp_fail(struct comp *c, enum cel_code code, uint32_t pos, uint32_t end, const char *fmt, ...)
{
	va_list ap;

	if (c->failed)
		return false;
	c->failed = true;
	if (!c->err)
		return false;
	*c->err = (struct cel_err){.code = code};
	va_start(ap, fmt);
	vsnprintf(c->err->msg, sizeof(c->err->msg), fmt, ap);
	va_end(ap);
	whole(c->err->msg);
	place(c->err, c->src, pos, end);
	return false;
}

void *comp_alloc(struct comp *c, size_t bytes)
{
	if (c->failed)
		return NULL;
	if (bytes + 16 > arena_left(c->a)) {
		comp_fail(c, CEL_E_MEMORY, 0, 0, "the expression needs too much memory");
		return NULL;
	}
	return arena_alloc(c->a, bytes);
}

/* ---- programs ---- */

static void *comp_re_alloc(void *ctx, size_t bytes)
{
	return comp_alloc(ctx, bytes);
}

/* patterns that are written down are compiled once; a bad one fails when it is reached, as one that comes from a value would */
static bool patterns(struct comp *c, struct node *n, uint32_t *work)
{
	struct re_mem m = {c, comp_re_alloc, *work};
	const struct node *last = n->n == 2 ? n->args[1] : NULL;
	const char *why;

	for (uint32_t i = 0; i < n->n; i++) {
		if (!patterns(c, n->args[i], work))
			return false;
	}
	if (n->op == N_CALL && n->fn == F_MATCHES && last && last->op == N_LIT && last->lit.kind == CEL_STRING) {
		m.work = *work;
		n->re = regex_compile(&m, last->lit.s, &why);
		*work = m.work;
	}
	return !c->failed;
}

const struct cel_prog *cel_compile(struct arena *a, const struct cel_env *env, struct str source, const struct cel_limits *limits,
				   struct cel_err *err)
{
	const struct cel_limits *lim = limits ? limits : &cel_limits_default;
	struct comp c = {.a = a, .env = env, .lim = lim, .src = source, .err = err};
	uint32_t work = RE_WORK_MAX;	/* together: what is over is compiled when it is reached */
	struct cel_prog *p;
	char *copy;

	if (source.n > lim->source_bytes || source.n > UINT32_MAX / 2) {
		comp_fail(&c, CEL_E_PARSE, 0, 0, "the expression is longer than %u bytes", lim->source_bytes);
		return NULL;
	}
	if (!utf8_valid(source)) {
		c.src = STR_NULL;
		comp_fail(&c, CEL_E_PARSE, 0, 0, "the expression is not valid UTF-8");
		return NULL;
	}
	assert(lim->depth <= 250);
	p = comp_alloc(&c, sizeof(*p));
	copy = comp_alloc(&c, source.n + 1);
	if (!p || !copy)
		return NULL;
	if (source.n)
		memcpy(copy, source.p, source.n);
	copy[source.n] = '\0';
	c.src = (struct str){copy, source.n};
	*p = (struct cel_prog){.source = c.src, .vars = env->n};
	p->root = cel_parse(&c);
	if (!p->root || !cel_check(&c, p) || !patterns(&c, p->root, &work))
		return NULL;
	return p;
}

struct str cel_source(const struct cel_prog *p)
{
	return p->source;
}

struct str cel_static_type(const struct cel_prog *p)
{
	return p->type;
}

bool cel_can_be(const struct cel_prog *p, unsigned kinds)
{
	return (p->kinds & kinds) != 0;
}

/* ---- evaluation ---- */

static bool run(const struct cel_prog *p, const struct cel_val *vars, struct arena *a, const struct cel_limits *limits,
		struct cel_val *ret, struct cel_err *err, uint32_t *left)
{
	const struct cel_limits *lim = limits ? limits : &cel_limits_default;
	struct ev e = {.a = a, .prog = p, .vars = vars, .steps = lim->steps, .bytes = lim->bytes, .at = p->root};
	bool ok = false;

	if (p->locals)
		e.locals = ev_alloc(&e, p->locals * sizeof(struct cel_val));
	if (!p->locals || e.locals)
		ok = ev_node(&e, p->root, ret);
	*left = e.steps;
	if (!ok && err) {
		*err = (struct cel_err){.code = e.fail.code};
		fail_text(&e.fail, err->msg, sizeof(err->msg));
		whole(err->msg);
		place(err, p->source, e.fail.pos, e.fail.end);
	}
	return ok;
}

bool cel_eval(const struct cel_prog *p, const struct cel_val *vars, struct arena *a, const struct cel_limits *limits,
	      struct cel_val *ret, struct cel_err *err)
{
	uint32_t left;

	return run(p, vars, a, limits, ret, err, &left);
}

uint32_t cel_steps(const struct cel_prog *p, const struct cel_val *vars, struct arena *a, const struct cel_limits *limits)
{
	struct cel_val v;
	uint32_t left;

	(void)!run(p, vars, a, limits, &v, NULL, &left);
	return (limits ? limits : &cel_limits_default)->steps - left;
}

bool cel_eval_as(const struct cel_prog *p, const struct cel_val *vars, struct arena *a, const struct cel_limits *limits,
		 unsigned kinds, struct cel_val *ret, struct cel_err *err)
{
	size_t n = 0;

	if (!cel_eval(p, vars, a, limits, ret, err))
		return false;
	if (kinds & 1u << ret->kind)
		return true;
	if (!err)
		return false;
	*err = (struct cel_err){.code = CEL_E_RESULT};
	place(err, p->source, p->root->pos, p->root->end);
	for (enum cel_kind k = CEL_NULL; k < CEL_KINDS; k++) {
		if (kinds & 1u << k)
			n += (size_t)snprintf(err->msg + n, sizeof(err->msg) - n, "%s%s", n ? " or " : "the result must be ", cel_kind_name(k));
	}
	snprintf(err->msg + n, sizeof(err->msg) - n, ", got %s", cel_kind_name((enum cel_kind)ret->kind));
	return false;
}
