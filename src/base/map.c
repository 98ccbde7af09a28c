/* Open-addressing maps: linear probing, deletion by shifting back, so no tombstones ever pile up.
 * Invariant: an occupied slot has val != NULL, and no empty slot lies between a key's home and its place.
 * Does not own the values.  Byte keys come from clients, so their hash is keyed. */
#include "base/map.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/uuid.h"

#define CAP_MIN 16

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0x9fb21c651e98df25u;
	x ^= x >> 28;
	x *= 0x9e3779b97f4a7c15u;
	return x ^ (x >> 32);
}

static bool full(size_t n, size_t cap)
{
	return n + n / 2 >= cap;	/* two thirds */
}

/* Whether the entry at @at, whose home is @home, may move back to the hole. */
static bool may_fill(size_t hole, size_t home, size_t at, size_t mask)
{
	return ((at - home) & mask) >= ((at - hole) & mask);
}

/* ---- int64 keys ---- */

void imap_fini(struct imap *m)
{
	free(m->slots);
	*m = (struct imap){0};
}

static size_t imap_find(const struct imap *m, int64_t key)
{
	size_t mask = m->cap - 1, i = mix((uint64_t)key) & mask;

	while (m->slots[i].val && m->slots[i].key != key)
		i = (i + 1) & mask;
	return i;
}

void *imap_get(const struct imap *m, int64_t key)
{
	return m->cap ? m->slots[imap_find(m, key)].val : NULL;
}

static void imap_rehash(struct imap *m)
{
	struct imap old = *m;

	m->cap = old.cap ? old.cap * 2 : CAP_MIN;
	m->slots = xcalloc(m->cap, sizeof(*m->slots));
	for (size_t i = 0; i < old.cap; i++) {
		if (old.slots[i].val)
			m->slots[imap_find(m, old.slots[i].key)] = old.slots[i];
	}
	free(old.slots);
}

void *imap_put(struct imap *m, int64_t key, void *val)
{
	assert(val);
	if (full(m->n, m->cap))
		imap_rehash(m);
	struct imap_slot *s = &m->slots[imap_find(m, key)];
	void *was = s->val;
	if (!was)
		m->n++;
	*s = (struct imap_slot){key, val};
	return was;
}

void *imap_del(struct imap *m, int64_t key)
{
	if (!m->cap)
		return NULL;
	size_t mask = m->cap - 1, hole = imap_find(m, key);
	void *was = m->slots[hole].val;
	if (!was)
		return NULL;
	for (size_t i = (hole + 1) & mask; m->slots[i].val; i = (i + 1) & mask) {
		if (may_fill(hole, mix((uint64_t)m->slots[i].key) & mask, i, mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole] = (struct imap_slot){0};
	m->n--;
	return was;
}

void *imap_next(const struct imap *m, size_t *it, int64_t *key)
{
	while (*it < m->cap) {
		const struct imap_slot *s = &m->slots[(*it)++];

		if (s->val) {
			if (key)
				*key = s->key;
			return s->val;
		}
	}
	return NULL;
}

/* ---- byte keys ---- */

static uint64_t smap_hash(struct str key)
{
	static uint8_t secret[16];
	static bool ready;

	if (!ready) {
		/* against chosen collisions; nothing the engine decides depends on it */
		if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
			abort();
		ready = true;
	}
	return siphash(key.n ? key.p : "", key.n, secret);
}

void smap_fini(struct smap *m)
{
	for (size_t i = 0; i < m->cap; i++) {
		if (m->slots[i].val)
			free((void *)(uintptr_t)m->slots[i].key.p);
	}
	free(m->slots);
	*m = (struct smap){0};
}

static size_t smap_find(const struct smap *m, struct str key, uint64_t hash)
{
	size_t mask = m->cap - 1, i = hash & mask;

	while (m->slots[i].val && (m->slots[i].hash != hash || !str_eq(m->slots[i].key, key)))
		i = (i + 1) & mask;
	return i;
}

void *smap_get(const struct smap *m, struct str key)
{
	return m->n ? m->slots[smap_find(m, key, smap_hash(key))].val : NULL;
}

static void smap_rehash(struct smap *m)
{
	struct smap old = *m;

	m->cap = old.cap ? old.cap * 2 : CAP_MIN;
	m->slots = xcalloc(m->cap, sizeof(*m->slots));
	for (size_t i = 0; i < old.cap; i++) {
		if (old.slots[i].val)
			m->slots[smap_find(m, old.slots[i].key, old.slots[i].hash)] = old.slots[i];
	}
	free(old.slots);
}

void *smap_put(struct smap *m, struct str key, void *val)
{
	uint64_t hash = smap_hash(key);

	assert(val);
	if (full(m->n, m->cap))
		smap_rehash(m);
	struct smap_slot *s = &m->slots[smap_find(m, key, hash)];
	void *was = s->val;
	if (!was) {
		m->n++;
		s->hash = hash;
		s->key = (struct str){xstrndup(key), key.n};
	}
	s->val = val;
	return was;
}

void *smap_del(struct smap *m, struct str key)
{
	if (!m->n)
		return NULL;
	size_t mask = m->cap - 1, hole = smap_find(m, key, smap_hash(key));
	void *was = m->slots[hole].val;
	if (!was)
		return NULL;
	free((void *)(uintptr_t)m->slots[hole].key.p);
	for (size_t i = (hole + 1) & mask; m->slots[i].val; i = (i + 1) & mask) {
		if (may_fill(hole, m->slots[i].hash & mask, i, mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole] = (struct smap_slot){0};
	m->n--;
	return was;
}

void *smap_next(const struct smap *m, size_t *it, struct str *key)
{
	while (*it < m->cap) {
		const struct smap_slot *s = &m->slots[(*it)++];

		if (s->val) {
			if (key)
				*key = s->key;
			return s->val;
		}
	}
	return NULL;
}
