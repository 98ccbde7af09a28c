/* Rate limits as they are stored: of a step what was declared, of a task what came of it. */
#include "json/json.h"
#include "store/catalog.h"

#include <stdlib.h>

static void put_text(struct jw *w, const char *key, struct str s)
{
	if (s.p)
		jw_kv_str(w, key, s);
}

struct str cat_limits_format(struct arena *a, const struct cat_limit *limits, uint32_t n)
{
	struct strb b;
	struct jw w;
	struct str ret;

	strb_init(&b, 16u << 20);
	jw_init(&w, &b);
	jw_arr_begin(&w);
	for (uint32_t i = 0; i < n; i++) {
		jw_obj_begin(&w);
		put_text(&w, "key", limits[i].key);
		put_text(&w, "key_expr", limits[i].key_expr);
		jw_kv_i64(&w, "units", limits[i].units);
		put_text(&w, "units_expr", limits[i].units_expr);
		put_text(&w, "limit_expr", limits[i].limit_expr);
		jw_kv_i64(&w, "window_s", limits[i].window_s);
		jw_obj_end(&w);
	}
	jw_arr_end(&w);
	ret = arena_dup(a, strb_str(&b));
	strb_fini(&b);
	return ret;
}

static struct str text_of(const struct jv *v, const char *key)
{
	const struct jv *t = jv_get(v, key);

	return t ? jv_str(t) : STR_NULL;
}

uint32_t cat_limits_parse(struct arena *a, struct str text, const struct cat_limit **ret)
{
	const struct jv *all;
	struct cat_limit *limits;
	struct err err;
	uint32_t n;

	*ret = NULL;
	if (!text.n || !(all = json_parse(a, text, &err)))
		return 0;
	n = (uint32_t)jv_len(all);
	limits = ARENA_ARRAY(a, struct cat_limit, n + 1);
	for (uint32_t i = 0; i < n; i++) {
		const struct jv *v = jv_at(all, i);

		limits[i] = (struct cat_limit){.key = text_of(v, "key"), .key_expr = text_of(v, "key_expr"),
			.units = (int32_t)jv_i64(jv_get(v, "units"), 0), .units_expr = text_of(v, "units_expr"),
			.limit_expr = text_of(v, "limit_expr"), .window_s = (int32_t)jv_i64(jv_get(v, "window_s"), 60)};
	}
	*ret = limits;
	return n;
}

bool cat_limit_is_static(const struct cat_limit *l)
{
	return !l->key_expr.p && !l->units_expr.p && (!l->limit_expr.p || str_eq(l->limit_expr, STR("-1")));
}
