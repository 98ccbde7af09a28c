/* Private to the module: the tree of a program, types of the checker, the state of an evaluation. */
#ifndef CEL_INT_H
#define CEL_INT_H
#include "cel/cel.h"

/* ---- the tree ---- */

enum cel_op {
	N_LIT,
	N_IDENT,	/* name, until it is resolved; after that it can only fail */
	N_VAR,		/* slot: of the environment */
	N_LOCAL,	/* slot: of a macro */
	N_SELECT,	/* arg 0, name */
	N_HAS,		/* arg 0, name */
	N_INDEX,	/* args 0, 1 */
	N_CALL,		/* fn, args; with `member` the first is the receiver */
	N_AND,		/* any number of args */
	N_OR,
	N_COND,		/* args 0, 1, 2 */
	N_LIST,
	N_MAP,		/* keys and values in turn */
	N_ALL,		/* args: range, predicate; name: the variable, slot: its place */
	N_EXISTS,
	N_EXISTS_ONE,
	N_FILTER,
	N_TRANSFORM,	/* args: range, result, or range, predicate, result */
};

enum cel_fn {
#define FN(id, name, libs, sigs) F_##id,
#include "fns.def"
#undef FN
	F_COUNT,
	F_UNKNOWN
};
struct fn_info {
	const char *name;
	unsigned libs;		/* 0: always there */
	const char *sigs;	/* see fns.def */
};
extern const struct fn_info cel_fns[F_COUNT];

struct ty;
struct regex;
struct node {
	uint8_t op;
	uint8_t fn;
	bool member, dot;	/* dot: written with a leading dot */
	uint16_t depth, slot;
	uint32_t pos, end;	/* in the source */
	uint32_t n;
	struct node **args;
	struct str name;
	struct cel_val lit;
	const struct ty *type;
	const struct regex *re;	/* of a literal pattern that is valid */
};

struct cel_prog {
	struct str source;
	struct node *root;
	struct str type;
	unsigned kinds;		/* what the result may be */
	unsigned locals;	/* places for variables of macros */
	size_t vars;
};

/* ---- compiling ---- */

struct comp {
	struct arena *a;
	const struct cel_env *env;
	const struct cel_limits *lim;
	struct str src;
	struct cel_err *err;
	bool failed;
	uint32_t nodes;
};
/* NULL and the error set when the arena has no more room */
void *comp_alloc(struct comp *c, size_t bytes);
/* sets the first error; always false */
bool comp_fail(struct comp *c, enum cel_code code, uint32_t pos, uint32_t end, const char *fmt, ...) PRINTF(5, 6);

enum tok_kind {
	T_EOF = 128, T_ERROR, T_INT, T_UINT, T_DOUBLE, T_STRING, T_BYTES, T_IDENT, T_QUOTED,
	T_TRUE, T_FALSE, T_NULL, T_IN, T_AND, T_OR, T_EQ, T_NE, T_LE, T_GE,
};
struct tok {
	int kind;	/* enum tok_kind, or the character */
	uint32_t pos, end;
	struct str s;	/* name or decoded text */
	uint64_t u;	/* integer */
	double d;
};
void cel_lex(struct comp *c, uint32_t *pos, struct tok *t);

struct node *cel_parse(struct comp *c);
bool cel_check(struct comp *c, struct cel_prog *p);
struct node *cel_simple(struct node *n);

/* ---- types ---- */

enum ty_kind { TY_DYN, TY_NULL, TY_BOOL, TY_INT, TY_UINT, TY_DOUBLE, TY_STRING, TY_BYTES, TY_TIMESTAMP, TY_DURATION, TY_LIST, TY_MAP,
	       TY_TYPE, TY_VAR };
struct ty {
	uint8_t kind;
	uint32_t var;
	const struct ty *a, *b;
};
extern const struct ty cel_ty[TY_DURATION + 1];	/* those without parameters */

struct types {
	struct comp *c;
	struct {
		const struct ty *to;
	} *bind;
	uint32_t n, cap;
	struct undo {
		uint32_t var;
		const struct ty *was;
	} *trail;
	uint32_t trail_n, trail_cap;
	uint32_t budget;	/* work left: types can be graphs that are huge as trees */
	unsigned depth;
};
const struct ty *ty_new(struct types *t, enum ty_kind kind, const struct ty *a, const struct ty *b);
const struct ty *ty_var(struct types *t);
const struct ty *ty_head(const struct types *t, const struct ty *x);	/* follows what a variable stands for */
bool ty_assignable(struct types *t, const struct ty *from, const struct ty *to);	/* binds variables when it is true */
bool ty_assignable_n(struct types *t, const struct ty **from, const struct ty **to, uint32_t n);
const struct ty *ty_join(struct types *t, const struct ty *prev, const struct ty *now);
bool ty_same(struct types *t, const struct ty *a, const struct ty *b);
struct str ty_text(struct types *t, const struct ty *x);
const struct ty *ty_parse(struct types *t, const char **p);	/* "map(string, dyn)"; NULL: not a type */

/* ---- evaluating ---- */

struct fail {
	enum cel_code code;
	const char *what;	/* with one %s for the detail, or none */
	struct cel_val detail;
	uint32_t pos, end;
};
struct scratch;
struct ev {
	struct arena *a;
	const struct cel_prog *prog;
	const struct cel_val *vars;
	struct cel_val *locals;
	uint32_t steps;
	size_t bytes;		/* that may still be allocated */
	struct fail fail;
	const struct node *at;	/* whose function runs */
	bool fatal;
	uint32_t *re_mem;	/* state sets of regular expressions */
	size_t re_cap;
};
bool ev_node(struct ev *e, const struct node *n, struct cel_val *out);
bool ev_cost(struct ev *e);	/* the budget is used up; always false */
static inline bool ev_step(struct ev *e, size_t n)
{
	if (__builtin_expect(n > e->steps, 0))
		return ev_cost(e);
	e->steps -= (uint32_t)n;
	return true;
}
void *ev_alloc(struct ev *e, size_t bytes);	/* NULL and a fatal error when there is no room */
/* always false; @what may have one %s for the detail */
bool ev_fail(struct ev *e, enum cel_code code, const char *what, struct cel_val detail);
bool ev_no_overload(struct ev *e);
void fail_text(const struct fail *f, char *out, size_t cap);

/* ---- values ---- */

static inline struct cel_val val_bool(bool b)
{
	return (struct cel_val){.kind = CEL_BOOL, .b = b};
}
static inline struct cel_val val_int(int64_t i)
{
	return (struct cel_val){.kind = CEL_INT, .i = i};
}
static inline struct cel_val val_uint(uint64_t u)
{
	return (struct cel_val){.kind = CEL_UINT, .u = u};
}
static inline struct cel_val val_double(double d)
{
	return (struct cel_val){.kind = CEL_DOUBLE, .d = d};
}
#define NO_VAL ((struct cel_val){.kind = CEL_UNBOUND})

bool val_equal(struct ev *e, const struct cel_val *a, const struct cel_val *b, bool *ret);	/* false: a limit */
enum order { LESS = -1, SAME = 0, MORE = 1, UNORDERED = 2, NOT_COMPARABLE = 3 };
enum order val_compare(struct ev *e, const struct cel_val *a, const struct cel_val *b);
/* 1 found, 0 no such key, -1 a limit */
int map_find(struct ev *e, const struct cel_val *map, const struct cel_val *key, struct cel_val *ret);
bool map_build(struct ev *e, struct cel_pair *kv, size_t n, struct cel_val *ret);	/* takes kv; later duplicates win */
bool list_add(struct ev *e, struct cel_val **v, size_t *n, size_t *cap, const struct cel_val *x);
bool list_done(struct ev *e, const struct cel_val *v, size_t n, struct cel_val *ret);

/* heap sort: the library's may take memory of its own */
void cel_sort(void *p, size_t n, size_t size, int (*cmp)(const void *, const void *));

/* ---- functions: args in order, a receiver first; false: failed ---- */

bool fn_call(struct ev *e, const struct node *n, struct cel_val *a, struct cel_val *ret);
bool fn_convert(struct ev *e, enum cel_fn fn, const struct cel_val *x, struct cel_val *ret);
bool fn_string(struct ev *e, enum cel_fn fn, const struct cel_val *a, uint32_t n, struct cel_val *ret);
bool fn_format(struct ev *e, const struct cel_val *fmt, const struct cel_val *list, struct cel_val *ret);
bool fn_time(struct ev *e, enum cel_fn fn, const struct cel_val *a, uint32_t n, struct cel_val *ret);
bool fn_matches(struct ev *e, const struct node *n, const struct cel_val *s, const struct cel_val *re, struct cel_val *ret);
/* NULL: fits, else what is wrong with a literal format and its literal list */
const char *format_check(struct comp *c, struct types *t, struct str fmt, const struct node *list);

/* text in the evaluation's arena */
struct text {
	char *p;
	size_t n, cap;
};
bool text_put(struct ev *e, struct text *t, const void *p, size_t n);
static inline bool text_str(struct ev *e, struct text *t, struct str s)
{
	return text_put(e, t, s.p, s.n);
}
struct cel_val text_val(const struct text *t, enum cel_kind kind);

#define DOUBLE_TEXT 400
size_t double_cost(double d);	/* steps of writing it */
size_t double_text(double d, bool plain, char out[DOUBLE_TEXT]);	/* shortest; plain: never with an exponent */
bool parse_double(struct str s, double *ret);
bool time_parse(struct str s, int64_t *sec, uint32_t *nanos);
size_t time_text(const struct cel_val *ts, char out[64]);
bool dur_parse(struct str s, int64_t *ns);
size_t dur_text(int64_t ns, char out[64]);
bool time_in_range(int64_t sec);

/* code points */
size_t utf8_len(struct str s);
uint32_t utf8_get(const char *p, size_t *len);	/* p is valid UTF-8 */
size_t utf8_put(char *p, uint32_t cp);

/* ---- regular expressions ---- */

struct re_inst;
struct re_range {
	uint32_t lo, hi;
};
struct regex {
	const struct re_inst *prog;
	const struct re_range *ranges;
	uint32_t n;
};
struct re_mem {
	void *ctx;
	void *(*alloc)(void *ctx, size_t bytes);	/* NULL: no more */
	uint32_t work;	/* that compiling may take, about two steps each; what is left of it afterwards */
};
#define RE_PATTERN_MAX 4000	/* bytes */
#define RE_STATES_MAX 10000
#define RE_WORK_MAX 100000
/* NULL: *why says so, or is NULL when there was no memory */
const struct regex *regex_compile(struct re_mem *m, struct str pattern, const char **why);
#define RE_SETS(n) (5 * (size_t)(n) + 8)	/* numbers of scratch memory for a program of n instructions */
/* 1 matches somewhere, 0 not, -1 steps used up */
int regex_match(const struct regex *re, struct str s, uint32_t *sets, uint32_t *steps);
#endif
