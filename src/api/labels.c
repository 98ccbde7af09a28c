/* What a task asks of its worker's labels: the wire's form, checked and read. */
#include "api_int.h"

#include "base/text.h"

enum { KEY_BYTES_MAX = 512, VALUE_BYTES_MAX = 4096 };

static bool text_fits(ProtobufCBinaryData in, size_t max, const char *field, struct err *err)
{
	struct str s;

	return pb_str(in, field, &s, err) && (s.n <= max || err_set(err, ERR_INVALID, "%s: at most %zu bytes", field, max));
}

bool labels_check(V1__DesiredWorkerLabelsEntry **e, size_t n, const char *field, struct err *err)
{
	if (n > CONF_WORKER_LABELS_MAX)
		return err_set(err, ERR_INVALID, "%s: at most %d", field, CONF_WORKER_LABELS_MAX);
	for (size_t i = 0; i < n; i++) {
		const V1__DesiredWorkerLabels *v = e[i]->value;

		if (!text_fits(e[i]->key, KEY_BYTES_MAX, field, err))
			return false;
		if (!e[i]->key.len || !v || PB_HAS(v, str_value) == PB_HAS(v, int_value))
			return err_set(err, ERR_INVALID, "%s: needs a key and either str_value or int_value", field);
		if (PB_HAS(v, str_value) && !text_fits(v->str_value, VALUE_BYTES_MAX, field, err))
			return false;
		if (PB_HAS(v, comparator) && ((int)v->comparator < LABEL_EQ || (int)v->comparator > LABEL_LE))
			return err_set(err, ERR_INVALID, "%s: comparator %d is not known", field, (int)v->comparator);
	}
	return true;
}

uint32_t labels_read(struct arena *a, V1__DesiredWorkerLabelsEntry **e, size_t n, const struct cat_want **ret)
{
	struct cat_want *out = ARENA_ARRAY(a, struct cat_want, n + 1);
	uint32_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		const V1__DesiredWorkerLabels *v = e[i]->value;
		struct cat_want w = {.key = pb_raw(e[i]->key), .is_int = PB_HAS(v, int_value), .weight = 100};
		uint32_t at = 0;

		if (w.is_int)
			w.int_value = v->int_value;
		else
			w.str_value = pb_raw(v->str_value);
		if (PB_HAS(v, weight))
			w.weight = v->weight;
		if (PB_HAS(v, comparator))
			w.op = (enum label_op)v->comparator;
		w.required = PB_HAS(v, required) && v->required;
		while (at < kept && !str_eq(out[at].key, w.key))
			at++;
		out[at] = w;
		kept = MAX(kept, at + 1);
	}
	*ret = out;
	return kept;
}
