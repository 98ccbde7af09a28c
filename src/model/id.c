/* Public UUIDs of tasks, runs and events, computed from their ids and back.
 * Invariant: id_from_uuid accepts exactly what id_to_uuid makes under the same secret.
 * Not access control: a caller still compares the tenant. */
#include "model/id.h"

#define HASH_BITS 52
#define HASH_MASK ((1ULL << HASH_BITS) - 1)

static uint64_t id_hash(const struct id_secret *s, int64_t id)
{
	uint8_t le[8];

	for (int i = 0; i < 8; i++)
		le[i] = (uint8_t)((uint64_t)id >> (8 * i));
	return siphash(le, sizeof(le), s->key) & HASH_MASK;
}

static void put_be64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (56 - 8 * i));
}

static uint64_t get_be64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

void id_to_uuid(const struct id_secret *s, int64_t id, struct uuid *ret)
{
	uint64_t low = (uint64_t)id & ((1u << 22) - 1);	/* shard 6, counter 16 */
	uint64_t ms = (uint64_t)id_unix_ms(id);

	put_be64(ret->b, ms << 16 | 7u << 12 | low >> 10);
	put_be64(ret->b + 8, 2ULL << 62 | (low & 0x3ff) << HASH_BITS | id_hash(s, id));
}

int64_t request_unix_ms(const struct uuid *u)
{
	return (int64_t)(get_be64(u->b) >> 16);
}

bool id_from_uuid(const struct id_secret *s, const struct uuid *u, int64_t *ret)
{
	uint64_t hi = get_be64(u->b), lo = get_be64(u->b + 8);
	int64_t ms = (int64_t)(hi >> 16) - ID_EPOCH_MS;

	if ((hi >> 12 & 15) != 7 || lo >> 62 != 2 || ms < 0 || ms >= 1LL << 41)
		return false;
	int64_t id = (int64_t)((uint64_t)ms << 22 | (hi & 0xfff) << 10 | (lo >> HASH_BITS & 0x3ff));
	if ((lo & HASH_MASK) != id_hash(s, id))
		return false;
	*ret = id;
	return true;
}
