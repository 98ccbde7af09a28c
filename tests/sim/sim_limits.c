/* Rate limits as the model sees them: what was taken in which window, and what the stored rows say about it. */
#include "sim.h"

#include <string.h>

void limits_choose(struct sim *s)
{
	s->has_limits = chance(s, 500);
	s->buckets_change = chance(s, 300);
	for (int i = 0; i < BUCKETS_MAX; i++)
		s->buckets[i] = (struct bucket_model){.hash = 0x9e3779b97f4a7c15 * (uint64_t)(i + 7), .tenant_no = 1 + i % TENANTS,
			.own_limit = (int32_t)(1 + below(s, chance(s, 500) ? 4 : 30)), .own_window_us = (int64_t)(20 + below(s, 2000)) * MS,
			.window_since = INT64_MIN};
}

void limits_of_task(struct sim *s, struct rec *r)
{
	uint64_t first = below(s, BUCKETS_MAX);

	if (!s->has_limits || chance(s, 400))
		return;
	for (uint64_t i = 0; i < BUCKETS_MAX && r->n_limits < LIMITS_MAX; i++) {
		const struct bucket_model *b = &s->buckets[(first + i) % BUCKETS_MAX];
		bool is_dynamic = (first + i) % BUCKETS_MAX >= BUCKETS_MAX / 2;

		if (b->tenant_no != r->tenant_no)
			continue;
		r->limits[r->n_limits++] = (struct eng_limit){.bucket = b->hash,
			.units = (int32_t)(chance(s, 50) ? 0 : chance(s, 20) ? 40 : 1 + below(s, 3)),
			.limit = !is_dynamic ? -1 : s->buckets_change ? (int32_t)(1 + below(s, 6)) : b->own_limit,
			.window_us = is_dynamic ? b->own_window_us : 0};
		if (chance(s, 700))
			break;
	}
	s->cover[C_limited_task]++;
}

void shell_put_limit(struct sim *s)
{
	struct bucket_model *b = &s->buckets[below(s, BUCKETS_MAX)];
	struct ev *ev = shell_event(s, EV_BUCKET);

	ev->tenant_no = b->tenant_no;
	ev->bucket = (struct ev_bucket){.hash = b->hash, .limit = b->own_limit, .window_us = b->own_window_us};
	if (!s->buckets_change)
		return;
	ev->bucket.limit = chance(s, 100) ? -1 : (int32_t)below(s, 10);
	s->cover[C_limit_put]++;
}

void limits_restore(struct sim *s)
{
	for (int i = 0; i < BUCKETS_MAX; i++) {
		const struct bucket_model *b = &s->buckets[i];
		struct ev *ev;

		if (!b->exists)
			continue;
		ev = shell_event(s, EV_BUCKET);
		ev->tenant_no = b->tenant_no;
		ev->bucket = (struct ev_bucket){.hash = b->hash, .limit = b->limit, .window_us = b->window_us, .restored = true,
			.is_dynamic = b->is_dynamic, .value = b->value, .since = b->since};
		s->cover[C_limit_restored]++;
	}
}

static const struct fx *last_row(const struct pend *p, uint64_t hash)
{
	for (size_t i = p->fx.n; i > 0; i--)
		if (p->fx.p[i - 1].kind == FX_BUCKET && (uint64_t)p->fx.p[i - 1].lane == hash)
			return &p->fx.p[i - 1];
	return NULL;
}

/* Units that the flush takes, by assignments from @since on. */
static int64_t taken(const struct sim *s, const struct pend *p, const struct bucket_model *b, int64_t since)
{
	int64_t n = 0;

	for (size_t i = 0; i < p->fx.n; i++) {
		const struct fx *fx = &p->fx.p[i];
		const struct rec *r;

		if (fx->kind != FX_ASSIGN && !(fx->kind == FX_INSERT && fx->place == PLACE_ASSIGNED))
			continue;
		r = rec_of(s, fx->id);
		for (uint32_t k = 0; k < r->n_limits; k++)
			if (r->limits[k].bucket == b->hash && fx->assigned_at >= since)
				n += r->limits[k].units;
	}
	return n;
}

/* Whatever is assigned takes its units in the same flush, and never more than the limit in one window. */
static void commit_one(struct sim *s, const struct pend *p, struct bucket_model *b)
{
	const struct fx *row = last_row(p, b->hash);
	int64_t all = taken(s, p, b, INT64_MIN);

	s->is_halved = s->is_halved || p->halved;
	if (!row) {
		MUST(s, all == 0 || p->halved, "%lld units of a bucket are taken and it is not stored", (long long)all);
		b->window_taken += taken(s, p, b, b->window_since);
		return;
	}
	if (row->max < 0) {
		MUST(s, s->buckets_change || s->now.wall_us >= b->since + b->window_us || b->since == INT64_MIN, "a bucket in use is forgotten");
		b->exists = false;
		b->since = b->window_since = INT64_MIN;
		s->cover[C_limit_dropped]++;
		return;
	}
	if (row->started_at != b->window_since) {
		MUST(s, s->buckets_change || s->wall_jumps || b->window_since == INT64_MIN || row->started_at == INT64_MIN ||
			row->started_at >= b->window_since + b->window_us, "a window of a bucket begins before the last one is over");
		s->cover[C_limit_refilled] += b->window_since != INT64_MIN;
		b->window_since = row->started_at;
		b->window_taken = 0;
	}
	if (row->started_at != INT64_MIN)
		b->window_taken += taken(s, p, b, row->started_at);
	b->exists = true;
	b->value = row->value;
	b->limit = row->max;
	b->window_us = row->window_us;
	b->since = row->started_at;
	b->is_dynamic = row->is_dynamic;
	MUST(s, row->value >= 0 && row->value <= row->max, "a bucket has %d units of %d", row->value, row->max);
	if (s->buckets_change || s->wall_jumps)
		return;	/* nobody can tell which window an assignment is of */
	TRACE(s, "bucket %llx: %d of %d since %lld, window %lld, taken %lld", (unsigned long long)b->hash, row->value, row->max,
	      (long long)row->started_at, (long long)row->window_us, (long long)b->window_taken);
	MUST(s, b->window_taken <= row->max, "%lld units of %d were taken in one window", (long long)b->window_taken, row->max);
	MUST(s, s->is_halved || s->cover[C_refused] || row->started_at == INT64_MIN || row->value == row->max - b->window_taken,
	     "%lld units of %d were taken and %d are left", (long long)b->window_taken, row->max, row->value);
}

void limits_check_commit(struct sim *s, const struct pend *p)
{
	for (int i = 0; i < BUCKETS_MAX; i++)
		commit_one(s, p, &s->buckets[i]);
}

/* With nothing on the way, memory and database say the same. */
void limits_check_idle(struct sim *s)
{
	for (int i = 0; i < BUCKETS_MAX; i++) {
		const struct bucket_model *b = &s->buckets[i];
		struct eng_bucket_view v;

		if (!b->exists)
			continue;
		MUST(s, engine_bucket(s->e, b->hash, &v), "a bucket is stored and not in memory");
		MUST(s, v.limit == b->limit && v.window_us == b->window_us, "a bucket has limit %d in memory, %d stored", v.limit, b->limit);
		MUST(s, v.value == b->value || s->wall_jumps || (b->since != INT64_MIN && s->now.wall_us >= b->since + b->window_us),
		     "a bucket has %d units in memory, %d stored", v.value, b->value);
	}
}

void limits_check_step(struct sim *s, const struct rec *r, const struct eng_task_view *v)
{
	s->cover[C_limit_parked] += v->limited_by != 0;
	MUST(s, !v->limited_by || r->n_limits > 0, "task %lld is parked for no limit of its own", (long long)r->id);
}

bool limits_same(const struct rec *a, const struct rec *b)
{
	return a->n_limits == b->n_limits && memcmp(a->limits, b->limits, sizeof(a->limits)) == 0;
}
