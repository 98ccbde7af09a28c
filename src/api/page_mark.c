/* Where a page ended: offset and limit of the wire become "after this run" inside, so that the thousandth page costs what the
 * first one does, and what is stored or changes its status while somebody turns pages moves nothing out of a page not yet seen.
 * A memory only: what is forgotten is found by counting from the newest run. */
#include "api_int.h"

#include <stdlib.h>

#define MARK_LIFE_US 3600000000LL

struct page_mark {
	uint64_t list;		/* the filter, without `since`: it does not move the rows that come first */
	int64_t id, at_us;
	uint32_t offset;
	int32_t tenant_no;
};

static uint64_t mix(struct req *r, uint64_t h, const void *p, size_t n)
{
	const uint8_t *key = catalog_id_secret(catalog_of(r))->key;
	uint64_t both[2] = {h, siphash(n ? p : "", n, key)};

	return siphash(both, sizeof(both), key);
}

static uint64_t list_of(struct req *r, const struct run_filter *f)
{
	int64_t fixed[] = {f->tenant_no, f->until_us, f->status_mask, f->worker_no, f->meta_and, f->parent_id, f->n_meta, f->n_keys};
	uint64_t h = mix(r, 0, fixed, sizeof(fixed));

	h = mix(r, h, f->workflow_nos, f->n_workflows * sizeof(*f->workflow_nos));
	for (uint32_t i = 0; i < f->n_meta; i++)
		h = mix(r, h, f->meta_pairs[i].p, f->meta_pairs[i].n);
	for (uint32_t i = 0; i < f->n_keys; i++)
		h = mix(r, h, f->idempotency_keys[i].p, f->idempotency_keys[i].n);
	return h;
}

static struct page_mark *mark_of(struct req *r, uint64_t list, uint32_t offset)
{
	return &api_of(r)->marks[mix(r, list, &offset, sizeof(offset)) % CONF_PAGE_MARKS_MAX];
}

int64_t page_mark_get(struct req *r, const struct run_filter *f, uint32_t offset)
{
	const struct page_mark *m;
	uint64_t list;

	if (!offset || !api_of(r)->marks)
		return 0;
	list = list_of(r, f);
	m = mark_of(r, list, offset);
	return m->list == list && m->offset == offset && m->tenant_no == f->tenant_no && api_now(r).mono_us - m->at_us < MARK_LIFE_US
		? m->id : 0;
}

void page_mark_set(struct req *r, const struct run_filter *f, uint32_t offset, int64_t id)
{
	uint64_t list = list_of(r, f);

	if (!api_of(r)->marks)
		api_of(r)->marks = xcalloc(CONF_PAGE_MARKS_MAX, sizeof(struct page_mark));
	*mark_of(r, list, offset) = (struct page_mark){.list = list, .id = id, .at_us = api_now(r).mono_us, .offset = offset,
		.tenant_no = f->tenant_no};
}
