/* Batches as the model sees them: one worker, one key, no more members and bytes than allowed, no more at once than allowed. */
#include "sim.h"

#include <stdlib.h>

enum { BYTES = 1000, KEYS = 3 };

void batches_choose(struct sim *s)
{
	s->conf.batch_bytes = BYTES;
	if (!chance(s, 500))
		return;
	for (int i = 0; i < STEPS_MAX; i++)
		if (chance(s, 400))
			s->steps[i].batch = (struct eng_batch){.max_size = (int32_t)(1 + below(s, 6)), .max_runs = (int32_t)(1 + below(s, 3)),
				.interval_us = between(s, 10 * MS, 20 * SEC)};
}

void batch_of_task(struct sim *s, struct rec *r)
{
	if (step_of(s, r)->batch.max_size == 0)
		return;
	r->batch = ((uint64_t)r->step_no << 8 | (1 + below(s, KEYS))) * 0x9e3779b97f4a7c15;
	r->bytes = (uint32_t)(chance(s, 30) ? 2 * BYTES : 1 + below(s, BYTES / 2));
	s->cover[C_batched]++;
}

struct seen {
	const struct rec *first;
	uint32_t n, n_new;		/* members; of them, those that this flush has assigned */
	int64_t bytes_new;
};

static void check_one(struct sim *s, const struct seen *b)
{
	const struct eng_batch *how = &step_of(s, b->first)->batch;

	MUST(s, (int32_t)b->n <= how->max_size, "batch %lld has %u members of %d", (long long)b->first->batch_id, b->n, how->max_size);
	MUST(s, b->n_new <= 1 || b->bytes_new < BYTES, "batch %lld has %lld bytes", (long long)b->first->batch_id, (long long)b->bytes_new);
	MUST(s, b->n_new == 0 || b->n_new == b->n, "batch %lld is stored in parts", (long long)b->first->batch_id);
	s->cover[C_batch_full] += b->n_new > 1 && (int32_t)b->n_new == how->max_size;
	s->cover[C_batch_partial] += b->n_new > 0 && (int32_t)b->n_new < how->max_size;
}

void batches_check_commit(struct sim *s, const struct pend *p)
{
	struct imap batches = {0};
	size_t it = 0;
	int64_t key;
	struct seen *b;

	for (size_t i = 0; i < s->open.n; i++) {
		const struct rec *r = s->open.p[i];

		if (r->row != ROW_LIVE || (r->state != LIVE_ASSIGNED && r->state != LIVE_STARTED) || !r->batch)
			continue;
		MUST(s, r->batch_id, "task %lld runs and is in no batch", (long long)r->id);
		b = imap_get(&batches, r->batch_id);
		if (!b) {
			b = xcalloc(1, sizeof(*b));
			b->first = r;
			(void)imap_put(&batches, r->batch_id, b);
		}
		MUST(s, r->batch == b->first->batch && r->worker_no == b->first->worker_no, "batch %lld has tasks %lld and %lld, which do not go together",
		     (long long)r->batch_id, (long long)r->id, (long long)b->first->id);
		b->n++;
		if (r->used[FX_ASSIGN] == s->n_flush) {
			b->n_new++;
			b->bytes_new += r->bytes;
		}
	}
	while ((b = imap_next(&batches, &it, &key))) {
		size_t at = 0;
		struct seen *o;
		int32_t n = 0;

		if (!p->halved)
			check_one(s, b);
		while ((o = imap_next(&batches, &at, &key)))
			n += o->first->batch == b->first->batch;
		MUST(s, n <= step_of(s, b->first)->batch.max_runs, "%d batches of one key run, %d may", n, step_of(s, b->first)->batch.max_runs);
	}
	it = 0;
	while ((b = imap_next(&batches, &it, &key)))
		free(b);
	imap_fini(&batches);
}
