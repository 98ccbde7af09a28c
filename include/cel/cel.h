/* Expressions (CEL): compiled once, evaluated many times over JSON values.
 *
 * cel_compile() parses and checks a text into a program that lives in the caller's arena and never changes, so it may be shared;
 * cel_eval() runs it with one value per variable and allocates in a second arena, which the caller resets afterwards.  What decides
 * is a budget of steps, never a clock: the same expression on the same values ends the same way on every machine.  No malloc besides
 * the arenas, no global state, no recursion deeper than the limit; a small arena is an error of code CEL_E_MEMORY, not an abort. */
#ifndef CEL_CEL_H
#define CEL_CEL_H
#include "base/arena.h"
#include "base/strb.h"
#include "json/json.h"

enum cel_kind {
	CEL_UNBOUND,	/* only as the value of a variable: using it is an error */
	CEL_NULL,
	CEL_BOOL,
	CEL_INT,
	CEL_UINT,
	CEL_DOUBLE,
	CEL_STRING,
	CEL_BYTES,
	CEL_LIST,
	CEL_MAP,
	CEL_TIMESTAMP,
	CEL_DURATION,
	CEL_TYPE,
	CEL_KINDS
};
#define CEL_K(kind) (1u << CEL_##kind)	/* in a set: CEL_K(STRING) | CEL_K(INT) */

/* A value.  What it points to is borrowed: from the JSON tree, the program or the evaluation's arena. */
struct cel_val {
	uint8_t kind;	/* enum cel_kind */
	uint8_t json;	/* list or map: the one of a JSON tree, in .jv */
	uint32_t nanos;	/* of a timestamp: 0 to 999,999,999 after .i */
	union {
		bool b;
		int64_t i;	/* int; seconds since 1970 of a timestamp; nanoseconds of a duration */
		uint64_t u;
		double d;
		struct str s;	/* string (valid UTF-8) and bytes */
		const struct cel_list *list;
		const struct cel_map *map;
		const struct jv *jv;
		enum cel_kind type;	/* CEL_UNBOUND: the type of types */
	};
};

struct cel_list {
	size_t n;
	const struct cel_val *v;
};
struct cel_pair {
	struct cel_val k, v;
};
struct cel_map {
	size_t n;
	const struct cel_pair *kv;	/* in the order of the text */
	const uint32_t *index;		/* hash table, NULL in a small map */
	uint32_t mask;
};

struct cel_val cel_json(const struct jv *v);	/* numbers become doubles; absent: CEL_UNBOUND */
struct cel_val cel_string(struct str s);	/* must be valid UTF-8 */
size_t cel_len(const struct cel_val *v);	/* elements of a list, entries of a map, else 0 */
struct cel_val cel_at(const struct cel_val *list, size_t i);	/* i < cel_len() */
/* void *it = NULL; while (cel_next(&map, &it, &key, &val)) ... */
bool cel_next(const struct cel_val *map, void **it, struct cel_val *key, struct cel_val *val);
const char *cel_kind_name(enum cel_kind k);	/* "google.protobuf.Duration" */

/* ---- limits and errors ---- */

struct cel_limits {
	uint32_t source_bytes;
	uint32_t depth;		/* nesting of the text, and of the tree it becomes; at most 250 */
	uint32_t nodes;
	uint32_t steps;		/* of an evaluation: a node 1, an element 1, bytes and the rest by what they cost */
	size_t bytes;		/* allocated by an evaluation */
};
extern const struct cel_limits cel_limits_default;

enum cel_code {
	CEL_E_OK,
	CEL_E_PARSE,
	CEL_E_CHECK,		/* undeclared name, no matching overload */
	CEL_E_UNBOUND,
	CEL_E_NO_KEY,
	CEL_E_NO_OVERLOAD,
	CEL_E_RANGE,		/* an index, a conversion, a time zone */
	CEL_E_OVERFLOW,
	CEL_E_DIV0,
	CEL_E_REGEX,
	CEL_E_RESULT,		/* the result is not of the wanted kind */
	/* limits: these are not absorbed by && and || */
	CEL_E_COST,
	CEL_E_DEPTH,
	CEL_E_MEMORY,
};
struct cel_err {
	enum cel_code code;
	uint32_t offset, length;	/* bytes of the source it is about */
	uint32_t line, column;		/* from 1; the column in code points */
	char msg[240];			/* may be shown to users; "no such key: missing" */
};

/* ---- environments ---- */

enum cel_lib {
	CEL_LIB_STRINGS = 1,	/* charAt, format, indexOf, join, lowerAscii, quote, replace, ... */
	CEL_LIB_CHECKSUM = 2,
};
struct cel_decl {
	const char *name;	/* may have dots */
	const char *type;	/* "string", "map(string, dyn)", "dyn" */
};
struct cel_env {
	const struct cel_decl *vars;
	size_t n;
	unsigned libs;		/* enum cel_lib */
	const char *container;	/* names are looked up in it first; NULL: none */
	bool unchecked;		/* no type check: what would not compile fails when it is reached */
	bool no_macros;
};
/* What an expression can name, by what it is for. */
enum cel_use {
	CEL_WORKFLOW,	/* keys and limits: input, additional_metadata, workflow_run_id */
	CEL_STEP,	/* the same and parents */
	CEL_EVENT,	/* filters: input, additional_metadata, payload, event_id, event_key */
	CEL_WEBHOOK,	/* input, headers */
	CEL_CONDITION,	/* input, output */
	CEL_IDEMPOTENCY,	/* keys of runs that do not exist yet: input, additional_metadata */
	CEL_USES
};
const struct cel_env *cel_env(enum cel_use use);	/* with all libraries; values go in this order */

/* ---- programs ---- */

struct cel_prog;
/* NULL on error.  Takes up to a few hundred bytes of @a per byte of source; the source is copied.  @limits NULL: the default. */
const struct cel_prog *cel_compile(struct arena *a, const struct cel_env *env, struct str source, const struct cel_limits *limits,
				   struct cel_err *err) MUST_USE;
struct str cel_source(const struct cel_prog *p);
struct str cel_static_type(const struct cel_prog *p);	/* "list(string)"; what the check knows about the result */
bool cel_can_be(const struct cel_prog *p, unsigned kinds);	/* by that type; false: refuse when storing */

/* @vars: one for each variable of the environment, in its order.  The result borrows from @a, @vars and the program. */
bool cel_eval(const struct cel_prog *p, const struct cel_val *vars, struct arena *a, const struct cel_limits *limits,
	      struct cel_val *ret, struct cel_err *err) MUST_USE;
/* The same, and the result is of one of @kinds or else an error of code CEL_E_RESULT that names what it is. */
bool cel_eval_as(const struct cel_prog *p, const struct cel_val *vars, struct arena *a, const struct cel_limits *limits,
		 unsigned kinds, struct cel_val *ret, struct cel_err *err) MUST_USE;
uint32_t cel_steps(const struct cel_prog *p, const struct cel_val *vars, struct arena *a, const struct cel_limits *limits);

#define CEL_BYTES_MAX (4u << 20)	/* what the default limits let an evaluation allocate */
#endif
