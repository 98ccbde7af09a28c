/* JSON: a check that changes no byte, a read-only tree, and a writer that handles the commas.
 *
 * Payloads stay the bytes a client sent: check them with json_check(), parse only what must be looked into. */
#ifndef JSON_JSON_H
#define JSON_JSON_H
#include "base/arena.h"
#include "base/err.h"
#include "base/strb.h"
#include "base/uuid.h"

#define JSON_DEPTH_MAX 200	/* nested arrays and objects */
#define JSON_VALUES_MAX 262144	/* values in a tree; json_check() has no such limit */

enum json_flag {
	JSON_F_OBJECT = 1,	/* the text must be an object */
	JSON_F_NO_NUL = 2,	/* no \u0000 in any string or key */
	JSON_F_PAIRED = 4,	/* no half of a surrogate pair */
	JSON_F_DB = JSON_F_NO_NUL | JSON_F_PAIRED,	/* what a jsonb column takes */
};
/* Strict RFC 8259 over UTF-8; numbers must fit a double's range.  @field names the text in the error (ERR_INVALID).
 * The empty text is not JSON. */
bool json_check(struct str s, unsigned flags, const char *field, struct err *err) MUST_USE;

/* ---- reading ---- */

struct jv;	/* a value; NULL means absent and every accessor takes it */
enum jv_type { JV_ABSENT, JV_NULL, JV_BOOL, JV_INT, JV_REAL, JV_STR, JV_ARR, JV_OBJ };
/* The tree lives as long as @a.  NULL on error; integers beyond int64 turn all numbers into reals. */
const struct jv *json_parse(struct arena *a, struct str s, struct err *err) MUST_USE;
enum jv_type jv_type(const struct jv *v);
const struct jv *jv_get(const struct jv *v, const char *key);	/* NULL: not an object or no such key */
const struct jv *jv_get_str(const struct jv *v, struct str key);
size_t jv_len(const struct jv *v);				/* elements or members, else 0 */
const struct jv *jv_at(const struct jv *v, size_t i);		/* NULL: not an array or out of range */
struct str jv_str(const struct jv *v);				/* STR_NULL when not a string */
int64_t jv_i64(const struct jv *v, int64_t otherwise);
double jv_f64(const struct jv *v, double otherwise);		/* integers too */
bool jv_bool(const struct jv *v, bool otherwise);
/* void *it = NULL; while ((val = jv_next(obj, &it, &key))) ...; in the order of the text */
const struct jv *jv_next(const struct jv *v, void **it, struct str *key);

/* ---- writing ---- */

struct jw {
	struct strb *b;
	bool comma;	/* the next value or key needs one before it */
};
void jw_init(struct jw *w, struct strb *b);	/* overflow shows in b->overflow */
void jw_obj_begin(struct jw *w);
void jw_obj_end(struct jw *w);
void jw_arr_begin(struct jw *w);
void jw_arr_end(struct jw *w);
void jw_key(struct jw *w, const char *key);
void jw_key_str(struct jw *w, struct str key);
void jw_str(struct jw *w, struct str s);
void jw_c(struct jw *w, const char *s);		/* NULL: null */
void jw_i64(struct jw *w, int64_t v);
void jw_f64(struct jw *w, double v);		/* not finite: null */
void jw_bool(struct jw *w, bool v);
void jw_null(struct jw *w);
void jw_raw(struct jw *w, struct str json);	/* JSON text as it is; empty: null */
void jw_time(struct jw *w, int64_t wall_us);	/* RFC 3339; 0: null */
void jw_uuid(struct jw *w, const struct uuid *u);	/* NULL or all zero: null */
void jw_val(struct jw *w, const struct jv *v);	/* absent: null */
static inline void jw_kv_str(struct jw *w, const char *key, struct str s)
{
	jw_key(w, key);
	jw_str(w, s);
}
static inline void jw_kv_c(struct jw *w, const char *key, const char *s)
{
	jw_key(w, key);
	jw_c(w, s);
}
static inline void jw_kv_i64(struct jw *w, const char *key, int64_t v)
{
	jw_key(w, key);
	jw_i64(w, v);
}
static inline void jw_kv_bool(struct jw *w, const char *key, bool v)
{
	jw_key(w, key);
	jw_bool(w, v);
}
static inline void jw_kv_raw(struct jw *w, const char *key, struct str json)
{
	jw_key(w, key);
	jw_raw(w, json);
}
static inline void jw_kv_time(struct jw *w, const char *key, int64_t wall_us)
{
	jw_key(w, key);
	jw_time(w, wall_us);
}
static inline void jw_kv_uuid(struct jw *w, const char *key, const struct uuid *u)
{
	jw_key(w, key);
	jw_uuid(w, u);
}
#endif
