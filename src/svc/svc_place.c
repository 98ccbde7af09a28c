/* Labels on their way into the engine, which knows no texts: a hash stands for each.  What is made here lives until the turn's
 * events have been taken. */
#include "svc_int.h"

#include "base/uuid.h"

static uint64_t hash(struct str s)
{
	static const uint8_t key[16] = "labels of worker";

	return siphash(s.p, s.n, key);
}

static const struct eng_want *wants_of(struct svc *s, const struct cat_want *in, uint32_t n)
{
	struct eng_want *out = xcalloc(n + 1, sizeof(*out));

	for (uint32_t i = 0; i < n; i++)
		out[i] = (struct eng_want){.key = hash(in[i].key), .text = in[i].is_int ? 0 : hash(in[i].str_value),
			.number = in[i].is_int ? in[i].int_value : 0, .weight = in[i].weight, .is_text = !in[i].is_int,
			.required = in[i].required, .op = (uint8_t)in[i].op};
	vec_push(&s->turn_memory, (void *)out);
	return out;
}

struct eng_place svc_place(struct svc *s, int32_t desired_no, bool has_wants, const struct cat_want *wants, uint32_t n)
{
	if (!has_wants)
		return (struct eng_place){.desired_no = desired_no};
	return (struct eng_place){.desired_no = desired_no, .has_wants = true, .wants = wants_of(s, wants, n), .n_wants = n};
}

struct eng_place svc_place_stored(struct svc *s, int32_t desired_no, struct str labels)
{
	struct eng_place place = {.desired_no = desired_no};
	const struct cat_want *wants;
	struct arena *a;
	uint32_t n;

	if (!labels.n)
		return place;
	a = arena_new(16u << 20);
	n = cat_wants_parse(a, labels, &wants);
	place = svc_place(s, desired_no, true, wants, n);
	arena_free(a);
	return place;
}

const struct eng_label *svc_labels(struct svc *s, const struct cat_worker *w)
{
	struct eng_label *out = xcalloc(w->n_labels + 1, sizeof(*out));

	for (uint32_t i = 0; i < w->n_labels; i++)
		out[i] = (struct eng_label){.key = hash(w->labels[i].key), .is_text = !w->labels[i].is_int,
			.text = w->labels[i].is_int ? 0 : hash(w->labels[i].str_value),
			.number = w->labels[i].is_int ? w->labels[i].int_value : 0};
	vec_push(&s->turn_memory, (void *)out);
	return out;
}
