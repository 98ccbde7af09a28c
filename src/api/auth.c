/* The gate: who asks, by bearer token.
 * Invariant: a signature is verified once per token text; whether the token's row is revoked or expired is looked at on every
 * call.  Everything wrong with a token gives the same answer, so that nothing can be learned by trying.
 * Does not know users, roles or cookies. */
#include "api_int.h"

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "crypto/jwt.h"

#include <stdlib.h>


struct known {			/* a token text whose signature and claims are right */
	struct list lru;
	char *text;
	size_t n;
	struct uuid token_id, tenant;
	int64_t exp, iat;
};

struct auth {
	struct smap known;	/* by the text */
	struct list lru;	/* least used first */
	struct es256_key *key;
	uint8_t key_raw[ES256_KEY_BYTES];
};

struct auth *auth_new(void)
{
	struct auth *au = xcalloc(1, sizeof(*au));

	list_init(&au->lru);
	return au;
}

static void forget(struct auth *au, struct known *k)
{
	(void)smap_del(&au->known, (struct str){k->text, k->n});
	list_del(&k->lru);
	free(k->text);
	free(k);
}

static void forget_all(struct auth *au)
{
	LIST_FOREACH_SAFE(it, &au->lru)
		forget(au, LIST_ENTRY(it, struct known, lru));
}

void auth_free(struct auth *au)
{
	forget_all(au);
	smap_fini(&au->known);
	es256_free(au->key);
	free(au);
}

/* The catalog's signing key, imported again when it has changed. */
static const struct es256_key *signing_key(struct auth *au, const struct catalog *c)
{
	struct str raw = catalog_signing_key(c);

	if (raw.n != sizeof(au->key_raw))
		return NULL;
	if (au->key && memcmp(au->key_raw, raw.p, raw.n) == 0)
		return au->key;
	forget_all(au);
	es256_free(au->key);
	memcpy(au->key_raw, raw.p, raw.n);
	au->key = es256_import(raw);
	return au->key;
}

static bool bearer(struct req *r, struct str *ret)
{
	struct str v;

	if (!req_header(r, "authorization", &v) || v.n < 8 || !str_ieq((struct str){v.p, 7}, STR("bearer ")))
		return false;
	*ret = (struct str){v.p + 7, v.n - 7};
	while (ret->n && ret->p[0] == ' ')
		*ret = (struct str){ret->p + 1, ret->n - 1};
	return ret->n > 0;
}

static struct known *verify(struct req *r, struct str text)
{
	struct api *api = api_of(r);
	struct auth *au = api->auth;
	struct str url = str_c(api->conf.public_url);
	struct jwt_key key = {.kid = STR(API_TOKEN_KID), .key = signing_key(au, catalog_of(r))};
	struct jwt_expect expect = {.now_s = api_now(r).wall_us / 1000000, .iss = url, .aud = url};
	struct jwt_claims c;
	enum jwt_reason why;
	struct known *k;
	struct uuid token_id, tenant;

	if (!key.key)
		return NULL;
	why = jwt_verify(req_arena(r), text, &key, 1, &expect, &c);
	if (why != JWT_OK || !str_eq(c.server_url, url) || !uuid_parse(c.sub, &tenant) || !uuid_parse(c.token_id, &token_id)) {
		log_debug("token refused", F_C("why", why != JWT_OK ? jwt_reason_text(why) : "another server's claims"));
		return NULL;
	}
	while (au->known.n >= CONF_AUTH_CACHE_MAX)
		forget(au, LIST_ENTRY(au->lru.next, struct known, lru));
	k = xcalloc(1, sizeof(*k));
	*k = (struct known){.text = xstrndup(text), .n = text.n, .token_id = token_id, .tenant = tenant, .exp = c.exp, .iat = c.iat};
	(void)smap_put(&au->known, text, k);
	list_push_back(&au->lru, &k->lru);
	return k;
}

static struct known *known(struct req *r, struct str text)
{
	struct auth *au = api_of(r)->auth;
	int64_t now_s = api_now(r).wall_us / 1000000;
	struct known *k;

	if (!signing_key(au, catalog_of(r)))	/* before the look-up: a new key forgets what the old one signed */
		return NULL;
	k = smap_get(&au->known, text);
	if (!k)
		return verify(r, text);
	if (k->exp <= now_s || k->iat > now_s + JWT_SKEW_S)
		return NULL;
	list_del(&k->lru);
	list_push_back(&au->lru, &k->lru);
	return k;
}

static struct step *refuse(struct req *r)
{
	return req_fail(r, ERR_UNAUTHENTICATED, "invalid auth token");
}

/* The tenant of the path, if it names one, must be the asker's. */
static struct step *admit(struct req *r, req_fn *next)
{
	struct who *w = req_user(r);
	struct str in_path = req_is_grpc(r) ? STR_NULL : req_param(r, "tenant");
	struct uuid u;

	if (in_path.n && (!uuid_parse(in_path, &u) || !uuid_eq(&u, &w->tenant->uuid)))
		return req_fail(r, ERR_DENIED, "the token is not for this tenant");
	return next(r);
}

static struct step *check_row(struct req *r, req_fn *next)
{
	struct who *w = req_user(r);
	int64_t now = api_now(r).wall_us;
	struct cat_token *t = w->token;

	if (!t || !t->tenant || t->tenant != w->tenant || (t->revoked_at != INT64_MIN && t->revoked_at <= now) ||
	    (t->expires_at != INT64_MIN && t->expires_at <= now))
		return refuse(r);
	return admit(r, next);
}

static struct step *gate_found(struct req *r)
{
	struct who *w = req_user(r);

	return check_row(r, w->next);
}

/* Without authentication: the tenant of the path, else the first one. */
static struct step *gate_open(struct req *r, struct who *w, req_fn *next)
{
	struct str in_path = req_is_grpc(r) ? STR_NULL : req_param(r, "tenant");
	struct uuid u;

	if (in_path.n)
		w->tenant = uuid_parse(in_path, &u) ? cat_tenant_by_uuid(catalog_of(r), &u) : NULL;
	else
		for (int32_t no = 1; no <= 64 && !w->tenant; no++)
			w->tenant = cat_tenant(catalog_of(r), no);
	if (!w->tenant)
		return req_fail(r, in_path.n ? ERR_NOT_FOUND : ERR_UNAVAILABLE, "there is no such tenant");
	return next(r);
}

struct step *api_gate(struct req *r, req_fn *next)
{
	struct who *w = ARENA_NEW(req_arena(r), struct who);
	struct known *k;
	struct str text;
	struct err why;

	req_set_user(r, w);
	if (!svc_is_ready(svc_of(r), &why))
		return req_fail_err(r, &why);
	if (api_of(r)->conf.auth_disabled)
		return gate_open(r, w, next);
	if (!bearer(r, &text))
		return refuse(r);
	k = known(r, text);
	if (!k)
		return refuse(r);
	w->tenant = cat_tenant_by_uuid(catalog_of(r), &k->tenant);
	if (!w->tenant)
		return refuse(r);
	w->token_id = k->token_id;
	w->token = cat_token_cached(catalog_of(r), &w->token_id);
	if (w->token)
		return check_row(r, next);
	w->next = next;
	cat_token_find(catalog_of(r), &w->token_id, &w->token, req_op(r, gate_found));
	return req_await(r);
}
