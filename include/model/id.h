/* Ids of tasks, runs and events: int8 made by the owning engine, and the public UUIDs computed from them.
 *
 * id   = 41 bit ms since 2024-01-01 UTC | 6 bit shard (tenant_no & 63) | 16 bit counter
 * uuid = v7 layout: 48 bit unix ms | ver 7 | shard 6, counter high 6 | var 2 | counter low 10, 52 bit SipHash(id, secret) */
#ifndef MODEL_ID_H
#define MODEL_ID_H
#include "base/uuid.h"

#define ID_EPOCH_MS 1704067200000LL
struct id_secret {
	uint8_t key[16];
};
static inline int64_t id_make(int64_t unix_ms, int32_t tenant_no, uint16_t counter)
{
	return ((unix_ms - ID_EPOCH_MS) << 22) | ((int64_t)(tenant_no & 63) << 16) | counter;
}
static inline int64_t id_unix_ms(int64_t id)
{
	return (id >> 22) + ID_EPOCH_MS;
}
void id_to_uuid(const struct id_secret *s, int64_t id, struct uuid *ret);
bool id_from_uuid(const struct id_secret *s, const struct uuid *u, int64_t *ret) MUST_USE;	/* false: not one of ours */
/* Requests of SQL clients have UUIDs of version 8, made by hatchet.request_id(): never one of a run's. */
static inline bool uuid_is_request(const struct uuid *u)
{
	return u->b[6] >> 4 == 8 && u->b[8] >> 6 == 2;
}
int64_t request_unix_ms(const struct uuid *u);
#endif
