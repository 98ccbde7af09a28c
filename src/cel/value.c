/* Values: JSON seen as values, equality, order, maps and lists.
 * Invariant: whatever walks a value is charged per element and bounded in depth; JSON is looked at where it lies, not copied. */
#include <math.h>
#include <stdio.h>

#include "cel_int.h"

#define VALUE_DEPTH 64	/* of what is compared */
#define SMALL_MAP 8	/* looked through instead of hashed */

const char *cel_kind_name(enum cel_kind k)
{
	static const char *const names[CEL_KINDS] = {
		"unbound", "null_type", "bool", "int",	"uint", "double", "string", "bytes", "list", "map", "google.protobuf.Timestamp",
		"google.protobuf.Duration", "type",
	};

	return names[k];
}

struct cel_val cel_json(const struct jv *v)
{
	switch (jv_type(v)) {
	case JV_NULL:
		return (struct cel_val){.kind = CEL_NULL};
	case JV_BOOL:
		return val_bool(jv_bool(v, false));
	case JV_INT:
	case JV_REAL:
		return val_double(jv_f64(v, 0));
	case JV_STR:
		return cel_string(jv_str(v));
	case JV_ARR:
		return (struct cel_val){.kind = CEL_LIST, .json = 1, .jv = v};
	case JV_OBJ:
		return (struct cel_val){.kind = CEL_MAP, .json = 1, .jv = v};
	case JV_ABSENT:
		break;
	}
	return NO_VAL;
}

struct cel_val cel_string(struct str s)
{
	return (struct cel_val){.kind = CEL_STRING, .s = s};
}

size_t cel_len(const struct cel_val *v)
{
	if (v->kind != CEL_LIST && v->kind != CEL_MAP)
		return 0;
	if (v->json)
		return jv_len(v->jv);
	return v->kind == CEL_LIST ? v->list->n : v->map->n;
}

struct cel_val cel_at(const struct cel_val *list, size_t i)
{
	return list->json ? cel_json(jv_at(list->jv, i)) : list->list->v[i];
}

bool cel_next(const struct cel_val *map, void **it, struct cel_val *key, struct cel_val *val)
{
	if (map->json) {
		struct str k;
		const struct jv *v = jv_next(map->jv, it, &k);

		if (!v)
			return false;
		*key = cel_string(k);
		*val = cel_json(v);
		return true;
	}
	const struct cel_pair *p = *it ? (const struct cel_pair *)*it + 1 : map->map->kv;
	if (p == map->map->kv + map->map->n)
		return false;
	*it = (void *)(uintptr_t)p;
	*key = p->k;
	*val = p->v;
	return true;
}

/* ---- equality and order ---- */

static bool number(const struct cel_val *v)
{
	return v->kind == CEL_INT || v->kind == CEL_UINT || v->kind == CEL_DOUBLE;
}

static enum order order(bool less, bool more)
{
	return less ? LESS : more ? MORE : SAME;
}

static enum order reverse(enum order o)
{
	return o == LESS ? MORE : o == MORE ? LESS : o;
}

/* a whole number meets a double as a double */
static enum order double_int(double d, const struct cel_val *v)
{
	double w = v->kind == CEL_INT ? (double)v->i : (double)v->u;

	return isnan(d) ? UNORDERED : order(d < w, d > w);
}

static enum order numbers(const struct cel_val *a, const struct cel_val *b)
{
	if (a->kind == CEL_DOUBLE && b->kind == CEL_DOUBLE)
		return isnan(a->d) || isnan(b->d) ? UNORDERED : order(a->d < b->d, a->d > b->d);
	if (a->kind == CEL_DOUBLE)
		return double_int(a->d, b);
	if (b->kind == CEL_DOUBLE)
		return reverse(double_int(b->d, a));
	if (a->kind == CEL_INT && b->kind == CEL_INT)
		return order(a->i < b->i, a->i > b->i);
	if (a->kind == CEL_UINT && b->kind == CEL_UINT)
		return order(a->u < b->u, a->u > b->u);
	if (a->kind == CEL_UINT)
		return reverse(numbers(b, a));
	return a->i < 0 ? LESS : order((uint64_t)a->i < b->u, (uint64_t)a->i > b->u);
}

static bool bytes_cost(struct ev *e, size_t n)
{
	return ev_step(e, 1 + n / 64);
}

enum order val_compare(struct ev *e, const struct cel_val *a, const struct cel_val *b)
{
	int c;

	if (number(a) && number(b))
		return numbers(a, b);
	if (a->kind != b->kind)
		return NOT_COMPARABLE;
	switch (a->kind) {
	case CEL_BOOL:
		return order(a->b < b->b, a->b > b->b);
	case CEL_STRING:
	case CEL_BYTES:
		if (!bytes_cost(e, MIN(a->s.n, b->s.n)))
			return UNORDERED;
		c = MIN(a->s.n, b->s.n) ? memcmp(a->s.p, b->s.p, MIN(a->s.n, b->s.n)) : 0;
		return c ? order(c < 0, c > 0) : order(a->s.n < b->s.n, a->s.n > b->s.n);
	case CEL_TIMESTAMP:
		return a->i != b->i ? order(a->i < b->i, true) : order(a->nanos < b->nanos, a->nanos > b->nanos);
	case CEL_DURATION:
		return order(a->i < b->i, a->i > b->i);
	default:
		return NOT_COMPARABLE;
	}
}

static bool equal(struct ev *e, const struct cel_val *a, const struct cel_val *b, bool *ret, unsigned depth);

static bool equal_lists(struct ev *e, const struct cel_val *a, const struct cel_val *b, bool *ret, unsigned depth)
{
	size_t n = cel_len(a);

	*ret = n == cel_len(b);
	for (size_t i = 0; *ret && i < n; i++) {
		struct cel_val x = cel_at(a, i), y = cel_at(b, i);

		if (!ev_step(e, 2) || !equal(e, &x, &y, ret, depth + 1))
			return false;
	}
	return true;
}

static bool equal_maps(struct ev *e, const struct cel_val *a, const struct cel_val *b, bool *ret, unsigned depth)
{
	struct cel_val k, x, y;
	void *it = NULL;
	int found;

	*ret = cel_len(a) == cel_len(b);
	while (*ret && cel_next(a, &it, &k, &x)) {
		found = map_find(e, b, &k, &y);
		if (found < 0 || !ev_step(e, 3))
			return false;
		if (!found)
			*ret = false;
		else if (!equal(e, &x, &y, ret, depth + 1))
			return false;
	}
	return true;
}

static bool equal(struct ev *e, const struct cel_val *a, const struct cel_val *b, bool *ret, unsigned depth)
{
	if (depth > VALUE_DEPTH) {
		e->fatal = true;
		return ev_fail(e, CEL_E_DEPTH, "values nested too deep to compare", NO_VAL);
	}
	if (!ev_step(e, 1))
		return false;
	if (number(a) && number(b)) {
		*ret = numbers(a, b) == SAME;
		return true;
	}
	*ret = false;
	if (a->kind != b->kind)
		return true;
	switch (a->kind) {
	case CEL_NULL:
		*ret = true;
		return true;
	case CEL_STRING:
	case CEL_BYTES:
		*ret = a->s.n == b->s.n && (a->s.n == 0 || memcmp(a->s.p, b->s.p, a->s.n) == 0);
		return a->s.n != b->s.n || bytes_cost(e, a->s.n);
	case CEL_LIST:
		return equal_lists(e, a, b, ret, depth);
	case CEL_MAP:
		return equal_maps(e, a, b, ret, depth);
	case CEL_TYPE:
		*ret = a->type == b->type;
		return true;
	default:
		*ret = val_compare(e, a, b) == SAME;
		return true;
	}
}

bool val_equal(struct ev *e, const struct cel_val *a, const struct cel_val *b, bool *ret)
{
	return equal(e, a, b, ret, 0);
}

/* ---- maps ---- */

static uint32_t mix(uint64_t v)
{
	v ^= v >> 32;
	v *= 0x9e3779b97f4a7c15u;
	return (uint32_t)(v >> 32);
}

/* equal numbers of different kinds hash alike */
static uint32_t hash(const struct cel_val *k)
{
	uint64_t h = 14695981039346656037u;

	switch (k->kind) {
	case CEL_STRING:
		for (size_t i = 0; i < k->s.n; i++)
			h = (h ^ (unsigned char)k->s.p[i]) * 1099511628211u;
		return mix(h);
	case CEL_DOUBLE:
		if (k->d >= -9223372036854775808.0 && k->d < 9223372036854775808.0)
			return mix((uint64_t)(int64_t)k->d);
		return k->d >= 0 && k->d < 18446744073709551616.0 ? mix((uint64_t)k->d) : 7;
	case CEL_BOOL:
		return k->b ? 3 : 5;
	case CEL_NULL:
		return 11;
	default:
		return mix(k->u);
	}
}

static bool same_key(const struct cel_val *a, const struct cel_val *b, bool exact)
{
	if (number(a) && number(b))
		return (!exact || a->kind == b->kind) && numbers(a, b) == SAME;
	if (a->kind != b->kind)
		return false;
	if (a->kind == CEL_STRING)
		return str_eq(a->s, b->s);
	return a->kind == CEL_NULL || (a->kind == CEL_BOOL && a->b == b->b);
}

/* *probes counts what was looked at: keys can be chosen to collide */
static const struct cel_pair *find_in(const struct cel_map *m, const struct cel_val *key, bool exact, size_t *probes)
{
	if (!m->index) {
		for (size_t i = 0; i < m->n; i++) {
			if (same_key(&m->kv[i].k, key, exact))
				return &m->kv[i];
		}
		return NULL;
	}
	for (uint32_t at = hash(key) & m->mask; m->index[at]; at = (at + 1) & m->mask) {
		const struct cel_pair *p = &m->kv[m->index[at] - 1];

		if (same_key(&p->k, key, exact))
			return p;
		++*probes;
	}
	return NULL;
}

int map_find(struct ev *e, const struct cel_val *map, const struct cel_val *key, struct cel_val *ret)
{
	const struct cel_pair *p;
	size_t probes = 0;

	/* the JSON library hashes the key anew each time */
	if (!ev_step(e, (map->json ? 8 : 2) + (key->kind == CEL_STRING ? key->s.n / 16 : 0)))
		return -1;
	if (map->json) {
		const struct jv *v = key->kind == CEL_STRING ? jv_get_str(map->jv, key->s) : NULL;

		/* such keys are looked for one by one */
		if (!v && key->kind == CEL_STRING && key->s.n > 1024 && !ev_step(e, jv_len(map->jv)))
			return -1;
		*ret = cel_json(v);
		return v != NULL;
	}
	/* a key of the same kind first, then an equal number */
	p = find_in(map->map, key, true, &probes);
	if (!p && number(key))
		p = find_in(map->map, key, false, &probes);
	if (!ev_step(e, probes))
		return -1;
	if (!p)
		return 0;
	*ret = p->v;
	return 1;
}

bool map_build(struct ev *e, struct cel_pair *kv, size_t n, struct cel_val *ret)
{
	struct cel_map *m = ev_alloc(e, sizeof(*m));
	uint32_t *index = NULL, size = 16;
	size_t have = 0, probes = 0;

	if (!m || !ev_step(e, n))
		return false;
	if (n > SMALL_MAP) {
		while (size < n * 2)
			size *= 2;
		index = ev_alloc(e, size * sizeof(*index));
		if (!index || !ev_step(e, size / 16))
			return false;
		memset(index, 0, size * sizeof(*index));
	}
	*m = (struct cel_map){.kv = kv, .index = index, .mask = size - 1};
	for (size_t i = 0; i < n; i++) {
		const struct cel_pair *old = find_in(m, &kv[i].k, true, &probes);

		if (!ev_step(e, 1 + probes + (kv[i].k.kind == CEL_STRING ? kv[i].k.s.n / 32 : 0)))
			return false;
		probes = 0;
		if (old) {
			kv[old - kv].v = kv[i].v;
			continue;
		}
		kv[have] = kv[i];
		m->n = ++have;
		if (index) {
			uint32_t at = hash(&kv[have - 1].k) & m->mask;

			while (index[at])
				at = (at + 1) & m->mask;
			index[at] = (uint32_t)have;
		}
	}
	*ret = (struct cel_val){.kind = CEL_MAP, .map = m};
	return true;
}

/* ---- lists ---- */

bool list_add(struct ev *e, struct cel_val **v, size_t *n, size_t *cap, const struct cel_val *x)
{
	if (*n == *cap) {
		size_t want = *cap ? *cap * 2 : 8;
		struct cel_val *p = ev_alloc(e, want * sizeof(*p));

		if (!p)
			return false;
		if (*n)
			memcpy(p, *v, *n * sizeof(*p));
		*v = p;
		*cap = want;
	}
	(*v)[(*n)++] = *x;
	return ev_step(e, 1);
}

bool list_done(struct ev *e, const struct cel_val *v, size_t n, struct cel_val *ret)
{
	struct cel_list *l = ev_alloc(e, sizeof(*l));

	if (!l)
		return false;
	*l = (struct cel_list){n, v};
	*ret = (struct cel_val){.kind = CEL_LIST, .list = l};
	return true;
}

/* ---- sorting, in place ---- */

static void swap_bytes(char *a, char *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char c = a[i];

		a[i] = b[i];
		b[i] = c;
	}
}

static void sift(char *p, size_t at, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
	for (size_t child; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && cmp(p + child * size, p + (child + 1) * size) < 0)
			child++;
		if (cmp(p + at * size, p + child * size) >= 0)
			return;
		swap_bytes(p + at * size, p + child * size, size);
	}
}

void cel_sort(void *p, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
	for (size_t i = n / 2; i-- > 0;)
		sift(p, i, n, size, cmp);
	for (size_t i = n; i-- > 1;) {
		swap_bytes(p, (char *)p + i * size, size);
		sift(p, 0, i, size, cmp);
	}
}
