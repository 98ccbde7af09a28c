/* Hashes, keys, tokens. */
#include "base/strb.h"
#include "base/text.h"
#include "crypto/es256.h"
#include "crypto/hash.h"
#include "crypto/jwt.h"
#include "crypto/random.h"
#include "tap.h"

#include <stdio.h>

static struct str hex(struct arena *a, const uint8_t *p, size_t n)
{
	return hex_encode(a, (struct str){(const char *)p, n});
}

TEST(hashes)
{
	struct arena *a = arena_new(1 << 16);
	uint8_t h[SHA256_BYTES];
	sha256(STR("abc"), h);
	CHECK_STR(hex(a, h, 32), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sha256(STR_NULL, h);
	CHECK_STR(hex(a, h, 32), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), h);	/* RFC 4231, case 2 */
	CHECK_STR(hex(a, h, 32), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	CHECK(ct_eq(STR("abc"), STR("abc")) && !ct_eq(STR("abc"), STR("abd")) && !ct_eq(STR("abc"), STR("ab")));
	CHECK(ct_eq(STR_NULL, STR("")));
	arena_free(a);
}

TEST(random_differs)
{
	struct uuid u, v;
	random_uuid(&u);
	random_uuid(&v);
	CHECK(!uuid_eq(&u, &v));
	CHECK_EQ(u.b[6] >> 4, 4);
	CHECK_EQ(u.b[8] >> 6, 2);
}

/* RFC 6979 A.2.5: key and deterministic signature of "sample" on P-256 with SHA-256 */
static const uint8_t rfc_key[32] = {0xC9, 0xAF, 0xA9, 0xD8, 0x45, 0xBA, 0x75, 0x16, 0x6B, 0x5C, 0x21, 0x57, 0x67, 0xB1, 0xD6, 0x93,
				    0x4E, 0x50, 0xC3, 0xDB, 0x36, 0xE8, 0x9B, 0x12, 0x7B, 0x8A, 0x62, 0x2B, 0x12, 0x0F, 0x67, 0x21};

TEST(es256_reference)
{
	struct arena *a = arena_new(1 << 16);
	struct es256_key *k = es256_import((struct str){(const char *)rfc_key, 32});
	uint8_t sig[ES256_SIG_BYTES], back[ES256_KEY_BYTES];

	CHECK(k);
	es256_sign(k, STR("sample"), sig);
	CHECK_STR(hex(a, sig, 64), "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
				   "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8");
	es256_export(k, back);
	CHECK_EQ(memcmp(back, rfc_key, 32), 0);
	es256_free(k);
	arena_free(a);
}

TEST(es256_keys)
{
	struct es256_key *k = es256_generate(), *other = es256_generate();
	uint8_t sig[ES256_SIG_BYTES], raw[ES256_KEY_BYTES];
	struct str s = {(const char *)sig, sizeof(sig)};

	es256_sign(k, STR("hello"), sig);
	CHECK(es256_verify(k, STR("hello"), s));
	CHECK(!es256_verify(k, STR("hellp"), s));
	CHECK(!es256_verify(other, STR("hello"), s));
	CHECK(!es256_verify(k, STR("hello"), (struct str){s.p, 63}));
	es256_export(k, raw);
	struct es256_key *again = es256_import((struct str){(const char *)raw, sizeof(raw)});
	CHECK(again && es256_verify(again, STR("hello"), s));
	for (size_t i = 0; i < sizeof(sig); i++) {
		sig[i] ^= 1;
		CHECK(!es256_verify(k, STR("hello"), s));
		sig[i] ^= 1;
	}
	memset(sig, 0, sizeof(sig));
	CHECK(!es256_verify(k, STR("hello"), s));
	memset(raw, 0, sizeof(raw));
	CHECK(!es256_import((struct str){(const char *)raw, 32}));
	memset(raw, 0xff, sizeof(raw));
	CHECK(!es256_import((struct str){(const char *)raw, 32}));
	CHECK(!es256_import(STR("short")));
	es256_free(k);
	es256_free(other);
	es256_free(again);
	es256_free(NULL);
}

struct fix {
	struct arena *a;
	struct es256_key *key;
	struct jwt_key keys[1];
	struct jwt_claims c;
	struct jwt_expect e;
	struct str token;
};

static void fix_make(struct fix *f)
{
	*f = (struct fix){.a = arena_new(8 << 20), .key = es256_import((struct str){(const char *)rfc_key, 32})};
	f->keys[0] = (struct jwt_key){STR("k1"), f->key};
	f->c = (struct jwt_claims){.sub = STR("707d0855-80ab-4e1f-a156-f1c4546cbf52"), .token_id = STR("11111111-2222-3333-4444-555555555555"),
				   .iss = STR("http://h:8888"), .aud = STR("http://h:8888"), .server_url = STR("http://h:8888"),
				   .grpc_broadcast_address = STR("h:7077"), .iat = 1000, .exp = 2000};
	f->e = (struct jwt_expect){.now_s = 1500, .iss = STR("http://h:8888"), .aud = STR("http://h:8888")};
	f->token = jwt_sign(f->a, f->key, STR("k1"), &f->c);
}

static void fix_end(struct fix *f)
{
	es256_free(f->key);
	arena_free(f->a);
}

static enum jwt_reason verify(struct fix *f, struct str token)
{
	struct jwt_claims c;
	return jwt_verify(f->a, token, f->keys, 1, &f->e, &c);
}

TEST(jwt_both_ways)
{
	struct fix f;
	struct jwt_claims c;

	fix_make(&f);
	CHECK(str_starts(f.token, STR("ey")));
	CHECK(!memchr(f.token.p, '=', f.token.n));
	CHECK_EQ(jwt_verify(f.a, f.token, f.keys, 1, &f.e, &c), JWT_OK);
	CHECK_STR(c.sub, f.c.sub);
	CHECK_STR(c.token_id, f.c.token_id);
	CHECK_STR(c.iss, f.c.iss);
	CHECK_STR(c.aud, f.c.aud);
	CHECK_STR(c.server_url, f.c.server_url);
	CHECK_STR(c.grpc_broadcast_address, "h:7077");
	CHECK_EQ(c.iat, 1000);
	CHECK_EQ(c.exp, 2000);
	fix_end(&f);
}

TEST(jwt_reasons)
{
	struct fix f;
	struct jwt_claims c;

	fix_make(&f);
	f.e.now_s = 2000;
	CHECK_EQ(verify(&f, f.token), JWT_EXPIRED);
	f.e.now_s = 1000 - JWT_SKEW_S;
	CHECK_EQ(verify(&f, f.token), JWT_OK);
	f.e.now_s--;
	CHECK_EQ(verify(&f, f.token), JWT_NOT_YET);
	f.e.now_s = 1500;
	f.e.iss = STR("http://other");
	CHECK_EQ(verify(&f, f.token), JWT_ISSUER);
	f.e.iss = STR_NULL;
	f.e.aud = STR("http://other");
	CHECK_EQ(verify(&f, f.token), JWT_AUDIENCE);
	f.e.aud = STR_NULL;
	CHECK_EQ(verify(&f, f.token), JWT_OK);
	CHECK_EQ(jwt_verify(f.a, f.token, f.keys, 0, &f.e, &c), JWT_KEY);
	CHECK_EQ(verify(&f, jwt_sign(f.a, f.key, STR("k2"), &f.c)), JWT_KEY);
	CHECK_EQ(verify(&f, jwt_sign(f.a, f.key, STR(""), &f.c)), JWT_KEY);
	struct es256_key *other = es256_generate();
	CHECK_EQ(verify(&f, jwt_sign(f.a, other, STR("k1"), &f.c)), JWT_SIGNATURE);
	es256_free(other);
	f.c.sub = STR_NULL;
	CHECK_EQ(verify(&f, jwt_sign(f.a, f.key, STR("k1"), &f.c)), JWT_CLAIMS);
	CHECK_STR(jwt_reason_text(JWT_EXPIRED), "expired");
	fix_end(&f);
}

/* a token of any header and body, signed as a real one */
static struct str forge(struct fix *f, const char *head, const char *body)
{
	struct str h = base64_encode(f->a, str_c(head), true), b = base64_encode(f->a, str_c(body), true);
	struct str msg = arena_strf(f->a, "%.*s.%.*s", STR_FMT(h), STR_FMT(b));
	uint8_t sig[ES256_SIG_BYTES];

	es256_sign(f->key, msg, sig);
	struct str s = base64_encode(f->a, (struct str){(const char *)sig, sizeof(sig)}, true);
	return arena_strf(f->a, "%.*s.%.*s", STR_FMT(msg), STR_FMT(s));
}

TEST(jwt_headers_and_bodies)
{
	static const char good[] = "{\"sub\":\"s\",\"token_id\":\"t\",\"iat\":1000,\"exp\":2000,\"x\":null}";
	static const char head[] = "{\"alg\":\"ES256\",\"kid\":\"k1\"}";
	struct fix f;

	fix_make(&f);
	f.e.iss = f.e.aud = STR_NULL;
	CHECK_EQ(verify(&f, forge(&f, head, good)), JWT_OK);
	CHECK_EQ(verify(&f, forge(&f, " { \"kid\" : \"\\u006b1\" , \"alg\":\"ES256\"} ", good)), JWT_OK);
	CHECK_EQ(verify(&f, forge(&f, "{\"alg\":\"none\",\"kid\":\"k1\"}", good)), JWT_ALG);
	CHECK_EQ(verify(&f, forge(&f, "{\"alg\":\"es256\",\"kid\":\"k1\"}", good)), JWT_ALG);
	CHECK_EQ(verify(&f, forge(&f, "{\"alg\":\"HS256\",\"kid\":\"k1\"}", good)), JWT_ALG);
	CHECK_EQ(verify(&f, forge(&f, "{\"kid\":\"k1\"}", good)), JWT_ALG);
	CHECK_EQ(verify(&f, forge(&f, "{\"alg\":\"ES256\"}", good)), JWT_KEY);
	CHECK_EQ(verify(&f, forge(&f, "{\"alg\":\"none\",\"alg\":\"ES256\",\"kid\":\"k1\"}", good)), JWT_MALFORMED);
	CHECK_EQ(verify(&f, forge(&f, "[]", good)), JWT_MALFORMED);
	CHECK_EQ(verify(&f, forge(&f, "{\"alg\":{}}", good)), JWT_MALFORMED);
	CHECK_EQ(verify(&f, forge(&f, "{\"alg\":\"ES256\",\"kid\":\"k1\"", good)), JWT_MALFORMED);
	CHECK_EQ(verify(&f, forge(&f, head, "{}")), JWT_CLAIMS);
	CHECK_EQ(verify(&f, forge(&f, head, "x")), JWT_CLAIMS);
	CHECK_EQ(verify(&f, forge(&f, head, "{\"sub\":\"s\",\"token_id\":\"t\",\"iat\":1000,\"exp\":\"2000\"}")), JWT_CLAIMS);
	CHECK_EQ(verify(&f, forge(&f, head, "{\"sub\":\"s\",\"token_id\":\"t\",\"iat\":1000,\"exp\":2e3}")), JWT_CLAIMS);
	CHECK_EQ(verify(&f, forge(&f, head, "{\"sub\":5,\"token_id\":\"t\",\"iat\":1000,\"exp\":2000}")), JWT_CLAIMS);
	CHECK_EQ(verify(&f, forge(&f, head, "{\"sub\":\"s\\u0000\",\"token_id\":\"t\",\"iat\":1000,\"exp\":2000}")), JWT_CLAIMS);
	fix_end(&f);
}

TEST(jwt_shape)
{
	static const char *const bad[] = {"", ".", "..", "...", "a.b.c", "ey", "ey.ey", "eyJ9..", ".eyJ9.", "e30.e30.e30.e30", "e30=.e30.e30",
					  "e30.e30.e3 0"};
	struct fix f;

	fix_make(&f);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_EQ(verify(&f, str_c(bad[i])), JWT_MALFORMED);
	CHECK_EQ(verify(&f, arena_strf(f.a, "%.*s=", STR_FMT(f.token))), JWT_MALFORMED);
	CHECK_EQ(verify(&f, arena_strf(f.a, "%.*s.", STR_FMT(f.token))), JWT_MALFORMED);
	CHECK_EQ(verify(&f, (struct str){arena_zalloc(f.a, 10000), 10000}), JWT_MALFORMED);
	/* no byte may be changed */
	char *t = arena_strz(f.a, f.token);
	for (size_t i = 0; i < f.token.n; i += 3) {
		char was = t[i];
		t[i] = was == 'A' ? 'B' : 'A';
		CHECK(verify(&f, (struct str){t, f.token.n}) != JWT_OK);
		t[i] = was;
	}
	CHECK_EQ(verify(&f, (struct str){t, f.token.n}), JWT_OK);
	fix_end(&f);
}
