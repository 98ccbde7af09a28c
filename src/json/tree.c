/* The read-only tree.
 * Invariant: the text passed the strict scan first, so depth and number of values are bounded before memory is taken;
 * the arena owns the root and with it everything reachable.  A struct jv is the library's value under another name. */
#include <jansson.h>

#include "json_int.h"

static const struct jv *wrap(json_t *j)
{
	return (const struct jv *)j;
}

static json_t *unwrap(const struct jv *v)
{
	return (json_t *)(uintptr_t)v;	/* the library takes non-const even for reading */
}

static void release(void *p)
{
	json_decref(p);
}

const struct jv *json_parse(struct arena *a, struct str s, struct err *err)
{
	size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL, values;
	json_error_t e;

	if (!json_scan(s, JSON_F_PAIRED, "json", &values, err))
		return NULL;
	if (values > JSON_VALUES_MAX) {
		err_set(err, ERR_EXHAUSTED, "json: more than %d values", JSON_VALUES_MAX);
		return NULL;
	}
	json_t *j = json_loadb(s.p, s.n, flags, &e);
	if (!j && json_error_code(&e) == json_error_numeric_overflow)
		j = json_loadb(s.p, s.n, flags | JSON_DECODE_INT_AS_REAL, &e);
	if (!j) {
		err_set(err, ERR_INVALID, "json: %s at byte %d", e.text, e.position);
		return NULL;
	}
	arena_own(a, j, release);
	return wrap(j);
}

enum jv_type jv_type(const struct jv *v)
{
	static const enum jv_type t[] = {
		[JSON_OBJECT] = JV_OBJ, [JSON_ARRAY] = JV_ARR, [JSON_STRING] = JV_STR, [JSON_INTEGER] = JV_INT,
		[JSON_REAL] = JV_REAL,	[JSON_TRUE] = JV_BOOL, [JSON_FALSE] = JV_BOOL, [JSON_NULL] = JV_NULL,
	};

	return v ? t[json_typeof(unwrap(v))] : JV_ABSENT;
}

const struct jv *jv_get(const struct jv *v, const char *key)
{
	return wrap(json_object_get(unwrap(v), key));
}

const struct jv *jv_get_str(const struct jv *v, struct str key)
{
	/* keys of a tree hold no NUL, so a plain C string finds all of them */
	if (key.n > 1024 || (key.n && memchr(key.p, '\0', key.n))) {
		void *it = NULL;
		const struct jv *val;
		struct str k;

		while ((val = jv_next(v, &it, &k))) {
			if (str_eq(k, key))
				return val;
		}
		return NULL;
	}
	char z[1025];
	if (key.n)
		memcpy(z, key.p, key.n);
	z[key.n] = '\0';
	return jv_get(v, z);
}

size_t jv_len(const struct jv *v)
{
	enum jv_type t = jv_type(v);

	if (t == JV_ARR)
		return json_array_size(unwrap(v));
	return t == JV_OBJ ? json_object_size(unwrap(v)) : 0;
}

const struct jv *jv_at(const struct jv *v, size_t i)
{
	return wrap(json_array_get(unwrap(v), i));
}

struct str jv_str(const struct jv *v)
{
	if (jv_type(v) != JV_STR)
		return STR_NULL;
	return (struct str){json_string_value(unwrap(v)), json_string_length(unwrap(v))};
}

int64_t jv_i64(const struct jv *v, int64_t otherwise)
{
	return jv_type(v) == JV_INT ? (int64_t)json_integer_value(unwrap(v)) : otherwise;
}

double jv_f64(const struct jv *v, double otherwise)
{
	enum jv_type t = jv_type(v);

	return t == JV_INT || t == JV_REAL ? json_number_value(unwrap(v)) : otherwise;
}

bool jv_bool(const struct jv *v, bool otherwise)
{
	return jv_type(v) == JV_BOOL ? json_is_true(unwrap(v)) : otherwise;
}

const struct jv *jv_next(const struct jv *v, void **it, struct str *key)
{
	*it = *it ? json_object_iter_next(unwrap(v), *it) : json_object_iter(unwrap(v));
	if (!*it)
		return NULL;
	if (key)
		*key = str_c(json_object_iter_key(*it));
	return wrap(json_object_iter_value(*it));
}

void jw_val(struct jw *w, const struct jv *v)
{
	const struct jv *val;
	struct str key;
	void *it = NULL;

	/* recursion as deep as the tree, which the scan bounds */
	switch (jv_type(v)) {
	case JV_ABSENT:
	case JV_NULL:
		jw_null(w);
		break;
	case JV_BOOL:
		jw_bool(w, jv_bool(v, false));
		break;
	case JV_INT:
		jw_i64(w, jv_i64(v, 0));
		break;
	case JV_REAL:
		jw_f64(w, jv_f64(v, 0));
		break;
	case JV_STR:
		jw_str(w, jv_str(v));
		break;
	case JV_ARR:
		jw_arr_begin(w);
		for (size_t i = 0; i < jv_len(v); i++)
			jw_val(w, jv_at(v, i));
		jw_arr_end(w);
		break;
	case JV_OBJ:
		jw_obj_begin(w);
		while ((val = jv_next(v, &it, &key))) {
			jw_key_str(w, key);
			jw_val(w, val);
		}
		jw_obj_end(w);
		break;
	}
}
