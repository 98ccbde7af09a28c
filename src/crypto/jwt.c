/* API tokens.
 * Invariant: no claim is looked at before the signature is right; only ES256 is ever accepted, whatever the header says.
 * Does not know revocation: the caller looks the token's row up. */
#include "crypto/jwt.h"

#include "base/strb.h"
#include "base/text.h"
#include "flat.h"

const char *jwt_reason_text(enum jwt_reason r)
{
	static const char *const t[] = {
#define JWT_X(name, text) [JWT_##name] = text,
		JWT_TABLE(JWT_X)
#undef JWT_X
	};

	return (size_t)r < ARRAY_LEN(t) ? t[r] : "invalid";
}

static void put_str(struct strb *b, const char *key, struct str v)
{
	strb_putc(b, b->n > 1 ? ',' : '{');
	strb_json(b, str_c(key));
	strb_putc(b, ':');
	strb_json(b, v);
}

static void put_int(struct strb *b, const char *key, int64_t v)
{
	strb_putc(b, b->n > 1 ? ',' : '{');
	strb_putf(b, "\"%s\":%lld", key, (long long)v);
}

struct str jwt_sign(struct arena *a, const struct es256_key *key, struct str kid, const struct jwt_claims *c)
{
	uint8_t sig[ES256_SIG_BYTES];
	struct strb b;

	strb_init(&b, JWT_MAX_BYTES);
	put_str(&b, "alg", STR("ES256"));
	put_str(&b, "typ", STR("JWT"));
	put_str(&b, "kid", kid);
	strb_putc(&b, '}');
	struct str head = base64_encode(a, strb_str(&b), true);

	strb_reset(&b);
	put_str(&b, "sub", c->sub);
	put_str(&b, "iss", c->iss);
	put_str(&b, "aud", c->aud);
	put_str(&b, "server_url", c->server_url);
	put_str(&b, "grpc_broadcast_address", c->grpc_broadcast_address);
	put_str(&b, "token_id", c->token_id);
	put_int(&b, "iat", c->iat);
	put_int(&b, "exp", c->exp);
	strb_putc(&b, '}');
	struct str body = base64_encode(a, strb_str(&b), true);
	/* the parts come from configuration, whose lengths are checked far below this */
	assert(!b.overflow);
	strb_fini(&b);

	struct str msg = arena_strf(a, "%.*s.%.*s", STR_FMT(head), STR_FMT(body));
	es256_sign(key, msg, sig);
	struct str end = base64_encode(a, (struct str){(const char *)sig, sizeof(sig)}, true);
	return arena_strf(a, "%.*s.%.*s", STR_FMT(msg), STR_FMT(end));
}

static bool split(struct str token, struct str part[3])
{
	const char *p = token.p, *end = token.p + token.n;

	for (int i = 0; i < 3; i++) {
		const char *dot = p < end ? memchr(p, '.', (size_t)(end - p)) : NULL;
		const char *stop = dot ? dot : end;

		if ((i < 2) != (dot != NULL) || stop == p)
			return false;
		part[i] = (struct str){p, (size_t)(stop - p)};
		p = stop + (dot ? 1 : 0);
	}
	return true;
}

static bool decode(struct arena *a, struct str part, struct str *ret)
{
	/* the padding that base64_decode would tolerate has no place in a token */
	return part.p[part.n - 1] != '=' && base64_decode(a, part, true, ret);
}

static enum jwt_reason check_claims(const struct jwt_claims *c, const struct jwt_expect *e)
{
	if (c->exp <= e->now_s)
		return JWT_EXPIRED;
	if (c->iat > e->now_s + JWT_SKEW_S)
		return JWT_NOT_YET;
	if (e->iss.n && !str_eq(e->iss, c->iss))
		return JWT_ISSUER;
	if (e->aud.n && !str_eq(e->aud, c->aud))
		return JWT_AUDIENCE;
	return JWT_OK;
}

enum jwt_reason jwt_verify(struct arena *a, struct str token, const struct jwt_key *keys, size_t n_keys,
			   const struct jwt_expect *expect, struct jwt_claims *ret)
{
	const struct es256_key *key = NULL;
	struct str part[3], head, body, sig;
	struct jwt_claims c = {0};
	struct flat f;

	if (token.n > JWT_MAX_BYTES || !split(token, part) || !decode(a, part[0], &head) || !decode(a, part[1], &body) ||
	    !decode(a, part[2], &sig) || !flat_parse(a, head, &f))
		return JWT_MALFORMED;
	if (!str_eq(flat_str(&f, "alg"), STR("ES256")))
		return JWT_ALG;
	struct str kid = flat_str(&f, "kid");
	for (size_t i = 0; i < n_keys && kid.n; i++) {
		if (str_eq(kid, keys[i].kid))
			key = keys[i].key;
	}
	if (!key)
		return JWT_KEY;
	struct str msg = {token.p, (size_t)(part[2].p - 1 - token.p)};
	if (!es256_verify(key, msg, sig))
		return JWT_SIGNATURE;
	if (!flat_parse(a, body, &f))
		return JWT_CLAIMS;
	c.sub = flat_str(&f, "sub");
	c.token_id = flat_str(&f, "token_id");
	c.iss = flat_str(&f, "iss");
	c.aud = flat_str(&f, "aud");
	c.server_url = flat_str(&f, "server_url");
	c.grpc_broadcast_address = flat_str(&f, "grpc_broadcast_address");
	if (!c.sub.n || !c.token_id.n || !flat_int(&f, "iat", &c.iat) || !flat_int(&f, "exp", &c.exp))
		return JWT_CLAIMS;
	enum jwt_reason r = check_claims(&c, expect);
	if (r == JWT_OK)
		*ret = c;
	return r;
}
