/* How tasks of a step go out together, as it is stored. */
#include "json/json.h"
#include "store/catalog.h"

struct str cat_batch_format(struct arena *a, const struct cat_batch *b)
{
	struct strb out;
	struct jw w;
	struct str ret;

	strb_init(&out, 1u << 20);
	jw_init(&w, &out);
	jw_obj_begin(&w);
	jw_kv_i64(&w, "max_size", b->max_size);
	jw_kv_i64(&w, "max_runs", b->max_runs);
	jw_kv_i64(&w, "interval_ms", b->interval_ms);
	if (b->expression.n)
		jw_kv_str(&w, "expression", b->expression);
	jw_obj_end(&w);
	ret = arena_dup(a, strb_str(&out));
	strb_fini(&out);
	return ret;
}

void cat_batch_parse(struct arena *a, struct str text, struct cat_batch *ret)
{
	const struct jv *v, *e;
	struct err err;

	*ret = (struct cat_batch){0};
	if (!text.n || !(v = json_parse(a, text, &err)))
		return;
	ret->max_size = (int32_t)jv_i64(jv_get(v, "max_size"), 0);
	ret->max_runs = (int32_t)jv_i64(jv_get(v, "max_runs"), 0);
	ret->interval_ms = jv_i64(jv_get(v, "interval_ms"), 0);
	e = jv_get(v, "expression");
	ret->expression = e ? jv_str(e) : STR_NULL;
}
