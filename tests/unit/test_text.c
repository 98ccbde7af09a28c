/* Text formats. */
#include "base/text.h"
#include "base/uuid.h"
#include "tap.h"

#include <stdio.h>

TEST(utf8)
{
	static const char *const good[] = {"", "a", "\xc3\xa9", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf", "\xe0\xa0\x80",
					   "\xed\x9f\xbf", ("12345678\xc2\x80" "12345678")};
	static const char *const bad[] = {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
					  "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "12345678\xff",
					  "1234567\xc3", "\xfe"};
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		CHECK(utf8_valid(str_c(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK(!utf8_valid(str_c(bad[i])));
	CHECK(utf8_valid(STR("a\0b")));
}

TEST(text_check_names_the_field)
{
	struct err e;
	CHECK(text_check(STR("fine"), "name", &e));
	CHECK(text_check(STR_NULL, "name", &e));
	CHECK(!text_check(STR("a\0b"), "name", &e));
	CHECK_EQ(e.code, ERR_INVALID);
	CHECK_STR(e.msg, "name: must not contain a NUL character");
	CHECK(!text_check(STR("\xff"), "labels.key", &e));
	CHECK(str_starts(str_c(e.msg), STR("labels.key: ")));
}

TEST(duration)
{
	static const struct {
		const char *in;
		int64_t ms;
	} good[] = {{"60s", 60000}, {"1h30m", 5400000}, {"1.5s", 1500}, {".5s", 500}, {"1.s", 1000}, {"0h", 0},
		    {"500ms", 500}, {"1m5ms", 60005}, {"0.5ms", 1}, {"0.0001ms", 1}, {"0.0000000000000000000001s", 1},
		    {"1.0000s", 1000}, {"1s1s", 2000}, {"2562047h", 9223369200000}, {"0.333333333333333333333333h", 1200000},
		    {"00000000000000000000000000001s", 1000}, {"10m", 600000}};
	static const char *const bad[] = {"", "1", "s", "-1s", "+1s", "1d", "1us", "1ns", "1 s", " 1s", "1s ", ".s", ".", "1..s",
					  "2562048h", "99999999999999999999999999999999999999999999999h", "1e3s", "1h-1m", "m", "1S"};
	int64_t ms = 0;
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		if (!duration_parse(str_c(good[i].in), &ms, &e))
			tap_fail(__FILE__, __LINE__, "%s: %s", good[i].in, e.msg);
		if (ms != good[i].ms)
			tap_fail(__FILE__, __LINE__, "%s is %lld", good[i].in, (long long)ms);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (duration_parse(str_c(bad[i]), &ms, &e))
			tap_fail(__FILE__, __LINE__, "'%s' passed", bad[i]);
		CHECK_EQ(e.code, ERR_INVALID);
	}
}

TEST(duration_format_reads_back)
{
	struct arena *a = arena_new(1 << 20);
	static const struct {
		int64_t ms;
		const char *want;
	} t[] = {{0, "0s"}, {500, "500ms"}, {1500, "1.5s"}, {1005, "1.005s"}, {60000, "1m0s"}, {3600000, "1h0m0s"},
		 {3723000, "1h2m3s"}, {-1500, "-1.5s"}, {90061001, "25h1m1.001s"}};
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		CHECK_STR(duration_format(a, t[i].ms), t[i].want);
	for (int64_t ms = 0; ms < 10000000; ms = ms * 3 + 7) {
		int64_t back;
		CHECK(duration_parse(duration_format(a, ms), &back, NULL));
		CHECK_EQ(back, ms);
	}
	arena_free(a);
}

TEST(rfc3339)
{
	static const char *const bad[] = {"", "2026-01-31", "2026-02-29T00:00:00Z", "2026-01-31T24:00:00Z", "2026-13-01T00:00:00Z",
					  "2026-01-31T10:00:00", "2026-01-31T10:00:00.Z", "2026-01-31T10:00:00Zx", "2026-1-31T10:00:00Z",
					  "2026-01-31T10:00:00+24:00", "2026-01-31T10:00:00+0100", "2026-00-01T00:00:00Z"};
	char out[RFC3339_MAX];
	int64_t us;

	CHECK(rfc3339_parse(STR("1970-01-01T00:00:00Z"), &us) && us == 0);
	CHECK(rfc3339_parse(STR("2024-01-01T00:00:00Z"), &us) && us == 1704067200000000);
	CHECK(rfc3339_parse(STR("2024-02-29t23:59:59.5z"), &us) && us == 1709251199500000);
	CHECK(rfc3339_parse(STR("2026-01-31T10:00:00.123456789+02:00"), &us) && us == 1769846400123456);
	CHECK(rfc3339_parse(STR("1969-12-31T23:59:59.999999Z"), &us) && us == -1);
	CHECK(rfc3339_parse(STR("2026-01-31 10:00:00-00:30"), &us) && us == 1769855400000000);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (rfc3339_parse(str_c(bad[i]), &us))
			tap_fail(__FILE__, __LINE__, "'%s' passed", bad[i]);
	}
	size_t n = rfc3339_format(1769846400123456, out);
	CHECK_STR(out, "2026-01-31T08:00:00.123456Z");
	CHECK_EQ(n, strlen(out));
	rfc3339_format(-1, out);
	CHECK_STR(out, "1969-12-31T23:59:59.999999Z");
	rfc3339_format(INT64_MAX, out);
	CHECK_STR(out, "9999-12-31T23:59:59.999999Z");
	rfc3339_format(INT64_MIN, out);
	CHECK_STR(out, "0000-01-01T00:00:00.000000Z");
	for (int64_t t = -62000000000000000; t < 250000000000000000; t += 86399999999937) {
		rfc3339_format(t, out);
		CHECK(rfc3339_parse(str_c(out), &us));
		CHECK_EQ(us, t);
	}
}

TEST(base64)
{
	struct arena *a = arena_new(1 << 20);
	struct str r;
	static const struct {
		const char *in, *std, *url;
	} t[] = {{"", "", ""}, {"f", "Zg==", "Zg"}, {"fo", "Zm8=", "Zm8"}, {"foo", "Zm9v", "Zm9v"}, {"\xfb\xff\xfe", "+//+", "-__-"}};
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		CHECK_STR(base64_encode(a, str_c(t[i].in), false), t[i].std);
		CHECK_STR(base64_encode(a, str_c(t[i].in), true), t[i].url);
		CHECK(base64_decode(a, str_c(t[i].std), false, &r));
		CHECK_STR(r, t[i].in);
		CHECK(base64_decode(a, str_c(t[i].url), true, &r));
		CHECK_STR(r, t[i].in);
	}
	CHECK(base64_decode(a, STR("Zg"), false, &r));
	CHECK(base64_decode(a, STR("Zg=="), true, &r));
	static const char *const bad[] = {"Z", "Zg=", "Zh", "Zm9", "Z===", "====", "Zm9v=", "Zg==Zg==", "Z g", "Zm9vZg=", "+//\n"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (base64_decode(a, str_c(bad[i]), false, &r))
			tap_fail(__FILE__, __LINE__, "'%s' passed", bad[i]);
	}
	CHECK(!base64_decode(a, STR("+//+"), true, &r));
	CHECK(!base64_decode(a, STR("-__-"), false, &r));
	char all[256];
	for (int i = 0; i < 256; i++)
		all[i] = (char)(uint8_t)(i * 7);
	for (size_t n = 0; n <= 256; n++) {
		CHECK(base64_decode(a, base64_encode(a, (struct str){all, n}, n % 2), n % 2, &r));
		CHECK(str_eq(r, (struct str){all, n}));
	}
	arena_free(a);
}

TEST(hex_and_percent)
{
	struct arena *a = arena_new(1 << 16);
	CHECK_STR(hex_encode(a, STR("\x00\xff\x1a")), "00ff1a");
	CHECK_STR(percent_decode(a, STR("a%20b+c%2Fd%"), true), "a b c/d%");
	CHECK_STR(percent_decode(a, STR("a+b%zz%4"), false), "a+b%zz%4");
	CHECK_EQ(percent_decode(a, STR("%00x"), false).n, 2);
	arena_free(a);
}

TEST(uuid_text)
{
	struct uuid u, v;
	char out[UUID_TEXT + 1];
	CHECK(uuid_parse(STR("0123ABCD-4567-89ef-0011-223344556677"), &u));
	uuid_format(&u, out);
	CHECK_STR(out, "0123abcd-4567-89ef-0011-223344556677");
	CHECK(uuid_parse(str_c(out), &v) && uuid_eq(&u, &v));
	CHECK(!uuid_is_zero(&u));
	static const char *const bad[] = {"", "0123abcd-4567-89ef-0011-22334455667", "0123abcd-4567-89ef-0011-2233445566777",
					  "0123abcd4567-89ef-0011-2233445566770", "0123abcg-4567-89ef-0011-223344556677",
					  "{123abcd-4567-89ef-0011-22334455667}", "0123abcd-4567-89ef-001-1223344556677"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK(!uuid_parse(str_c(bad[i]), &u));
	CHECK(uuid_eq(&u, &v));	/* untouched by failures */
}

TEST(siphash_reference)
{
	/* vectors of the algorithm's paper: key 00..0f, input 00..n-1 */
	uint8_t key[16], in[15];
	for (uint8_t i = 0; i < 16; i++)
		key[i] = i;
	for (uint8_t i = 0; i < 15; i++)
		in[i] = i;
	CHECK_EQ(siphash(in, 15, key), 0xa129ca6149be45e5u);
	CHECK_EQ(siphash(in, 0, key), 0x726fdb47dd0e0e31u);
	CHECK_EQ(siphash(in, 8, key), 0x93f5f5799a932462u);
}
