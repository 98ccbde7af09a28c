/* What tasks ask of their worker's labels, as it is stored: a JSON array of objects. */
#include "json/json.h"
#include "store/catalog.h"

struct str cat_wants_format(struct arena *a, const struct cat_want *wants, uint32_t n)
{
	struct strb b;
	struct jw w;
	struct str ret;

	strb_init(&b, 16u << 20);
	jw_init(&w, &b);
	jw_arr_begin(&w);
	for (uint32_t i = 0; i < n; i++) {
		jw_obj_begin(&w);
		jw_kv_str(&w, "key", wants[i].key);
		if (wants[i].is_int)
			jw_kv_i64(&w, "value", wants[i].int_value);
		else
			jw_kv_str(&w, "value", wants[i].str_value);
		jw_kv_i64(&w, "comparator", (int64_t)wants[i].op);
		jw_kv_i64(&w, "weight", wants[i].weight);
		jw_kv_bool(&w, "required", wants[i].required);
		jw_obj_end(&w);
	}
	jw_arr_end(&w);
	ret = arena_dup(a, strb_str(&b));
	strb_fini(&b);
	return ret;
}

uint32_t cat_wants_parse(struct arena *a, struct str text, const struct cat_want **ret)
{
	const struct jv *all;
	struct cat_want *wants;
	struct err err;
	uint32_t n;

	*ret = NULL;
	if (!text.n || !(all = json_parse(a, text, &err)))
		return 0;
	n = (uint32_t)jv_len(all);
	wants = ARENA_ARRAY(a, struct cat_want, n + 1);
	for (uint32_t i = 0; i < n; i++) {
		const struct jv *v = jv_at(all, i), *value = jv_get(v, "value");

		wants[i] = (struct cat_want){.key = jv_str(jv_get(v, "key")), .str_value = jv_str(value), .is_int = jv_type(value) == JV_INT,
			.int_value = (int32_t)jv_i64(value, 0), .weight = (int32_t)jv_i64(jv_get(v, "weight"), 0),
			.required = jv_bool(jv_get(v, "required"), false), .op = (enum label_op)jv_i64(jv_get(v, "comparator"), LABEL_EQ)};
	}
	*ret = wants;
	return n;
}
