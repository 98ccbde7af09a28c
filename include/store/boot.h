/* Before and beside the loop: schema, first-start secrets, tokens, checks.  Blocking; start-up, CLI and tests only. */
#ifndef STORE_BOOT_H
#define STORE_BOOT_H
#include "db/db.h"

/* Version 15..18 (14 with a warning), rights, no transaction pooling, clock within 5 min: one clear sentence in @err each. */
bool boot_check(struct db_sync *c, struct err *err) MUST_USE;
/* Creates or upgrades schema `hatchet` under an advisory lock; makes instance.id_secret, the signing key (bytes from
 * @new_signing_key, crypto's export form) and the default tenant when absent; makes partitions for three days.  Idempotent. */
bool boot_migrate(struct db_sync *c, struct str new_signing_key, struct err *err) MUST_USE;
int boot_schema_version(void);
bool boot_is_migrated(struct db_sync *c, bool *ret, struct err *err) MUST_USE;
struct boot_facts { struct uuid tenant; struct str signing_key; int32_t schema_version; };
bool boot_facts(struct db_sync *c, struct arena *a, struct str tenant_slug, struct boot_facts *ret, struct err *err) MUST_USE;
bool boot_token_insert(struct db_sync *c, const struct uuid *token, const struct uuid *tenant, const char *name, int64_t expires_at,
		       struct err *err) MUST_USE;	/* announces by NOTIFY */
bool boot_token_revoke(struct db_sync *c, const struct uuid *token, struct err *err) MUST_USE;
#endif
