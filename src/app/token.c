/* API tokens: a row in the database and a signed text that names it. */
#include "app_int.h"

#include "base/text.h"
#include "crypto/jwt.h"
#include "crypto/random.h"
#include "store/boot.h"

#include <time.h>

enum { DAY_S = 86400 };

bool token_make(struct db_sync *db, struct arena *a, const struct token_spec *spec, struct str *ret_jwt, struct uuid *ret_id,
		struct err *err)
{
	struct boot_facts facts;
	struct es256_key *key;
	struct jwt_claims claims = {0};
	char tenant[UUID_TEXT + 1], id[UUID_TEXT + 1];
	int64_t now = (int64_t)time(NULL);

	if (!boot_facts(db, a, str_c(spec->tenant_slug), &facts, err))
		return false;
	key = es256_import(facts.signing_key);
	if (!key)
		return err_set(err, ERR_INTERNAL, "the database holds no usable signing key");
	random_uuid(ret_id);
	uuid_format(&facts.tenant, tenant);
	if (spec->ret_tenant)
		memcpy(spec->ret_tenant, tenant, sizeof(tenant));
	uuid_format(ret_id, id);
	claims.sub = str_c(tenant);
	claims.token_id = str_c(id);
	claims.iss = claims.aud = claims.server_url = str_c(spec->public_url);
	claims.grpc_broadcast_address = str_c(spec->grpc_address);
	claims.iat = now;
	claims.exp = now + spec->days * DAY_S;
	*ret_jwt = jwt_sign(a, key, STR("1"), &claims);
	es256_free(key);
	return boot_token_insert(db, ret_id, &facts.tenant, spec->name, claims.exp * 1000000, err);
}
