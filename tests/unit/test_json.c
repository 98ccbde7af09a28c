/* JSON check, tree, writer. */
#include "json/json.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>

static void accepts(const char *s, unsigned flags)
{
	struct err e = {0};
	if (!json_check(str_c(s), flags, "input", &e))
		tap_fail(__FILE__, __LINE__, "%s refused: %s", s, e.msg);
}

static void refuses(const char *s, unsigned flags, const char *part)
{
	struct err e = {0};
	if (json_check(str_c(s), flags, "input", &e))
		tap_fail(__FILE__, __LINE__, "%s passed", s);
	CHECK_EQ(e.code, ERR_INVALID);
	CHECK(str_starts(str_c(e.msg), STR("input: must be ")));
	if (!strstr(e.msg, part))
		tap_fail(__FILE__, __LINE__, "%s: %s", s, e.msg);
}

TEST(check_accepts)
{
	static const char *const good[] = {
		"null", " true ", "false", "0", "-0", "-1.5e+10", "\"\"", "[]", "{}", "[ ]", "{ }", "[1,2]",
		"{\"a\":[{\"b\":{}},[]],\"a\":2}", "\"\\u0000\\ud800\"", "\t[\r\n1 , 2 ]\n", "1.7976931348623157e308",
		"179769313486231570000000e285", "0.00000000017976931348623157e318", "0e999999999999999999999", "1e-999",
		"[[[[[[]]]]]]", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "12345678901234567890123", "\"\x7f\xc3\xa9\"", "0.0e99999",
	};
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		accepts(good[i], 0);
}

TEST(check_refuses)
{
	static const char *const bad[] = {
		"", " ", "nul", "nulll", "True", "NaN", "Infinity", "-Infinity", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+",
		"0x10", "'a'", "\"", "\"a", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\n\"", "[", "]", "[1", "[1,", "[1,]",
		"[,]", "[1 2]", "{", "}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{1:1}", "{\"a\" 1}",
		"[}", "{]", "[1}", "{\"a\":1]", "1 2", "{}{}", "[]x", "\xef\xbb\xbf{}", "\"\xff\"", "/**/1", "1//", "--1", "[1]]",
		"1e309", "1e308000000000000000000000000", "1.7976931348623159e308", "{\"a\":1,,\"b\":2}", "{,}", "[\"a\":1]",
	};
	struct err e;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refuses(bad[i], 0, "");
	CHECK(!json_check(STR("\"a\0b\""), 0, "input", &e));
	CHECK(!json_check(STR("1\0"), 0, "input", &e));
	CHECK(!json_check(STR_NULL, 0, "input", &e));
}

TEST(check_flags)
{
	refuses("[1]", JSON_F_OBJECT, "object");
	refuses(" \"{\" ", JSON_F_OBJECT, "object");
	accepts(" {\"a\":1}", JSON_F_OBJECT);
	refuses("{\"a\":[\"x\\u0000\"]}", JSON_F_NO_NUL, "NUL");
	refuses("{\"\\u0000\":1}", JSON_F_NO_NUL, "NUL");
	accepts("\"\\\\u0000 \\u0001\"", JSON_F_NO_NUL);
	accepts("\"\\ud800\"", JSON_F_NO_NUL);
	refuses("\"\\ud800\"", JSON_F_DB, "surrogate");
	refuses("\"\\udc00\"", JSON_F_DB, "surrogate");
	refuses("\"\\ud800\\u0041\"", JSON_F_DB, "surrogate");
	refuses("\"\\ud800\\ud800\"", JSON_F_DB, "surrogate");
	accepts("\"\\uD83D\\uDE00\"", JSON_F_DB);
}

TEST(check_depth)
{
	char t[2 * JSON_DEPTH_MAX + 10];
	for (size_t depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
		memset(t, '[', depth);
		memset(t + depth, ']', depth);
		t[2 * depth] = '\0';
		if (depth == JSON_DEPTH_MAX)
			accepts(t, 0);
		else
			refuses(t, 0, "deep");
	}
}

TEST(tree_reads)
{
	struct arena *a = arena_new(1 << 20);
	struct err e;
	const struct jv *v = json_parse(a, STR("{\"s\":\"a\\u0000b\",\"n\":[1,-2.5,true,null],\"o\":{\"x\":9007199254740993},\"z\":{}}"), &e);

	CHECK(v);
	CHECK_EQ(jv_type(v), JV_OBJ);
	CHECK_EQ(jv_len(v), 4);
	CHECK(str_eq(jv_str(jv_get(v, "s")), STR("a\0b")));
	const struct jv *n = jv_get(v, "n");
	CHECK_EQ(jv_type(n), JV_ARR);
	CHECK_EQ(jv_len(n), 4);
	CHECK_EQ(jv_i64(jv_at(n, 0), 7), 1);
	CHECK(jv_f64(jv_at(n, 0), 0) >= 1 && jv_f64(jv_at(n, 1), 0) <= -2.5);
	CHECK_EQ(jv_type(jv_at(n, 1)), JV_REAL);
	CHECK(jv_bool(jv_at(n, 2), false));
	CHECK_EQ(jv_type(jv_at(n, 3)), JV_NULL);
	CHECK(!jv_at(n, 4));
	CHECK_EQ(jv_i64(jv_get(jv_get_str(v, STR("o")), "x"), 0), 9007199254740993);
	CHECK(!jv_get(n, "s") && !jv_get(NULL, "s") && !jv_at(v, 0) && !jv_get_str(v, STR("s\0")));
	CHECK_EQ(jv_type(NULL), JV_ABSENT);
	CHECK_EQ(jv_i64(jv_get(v, "nope"), 42), 42);
	CHECK_EQ(jv_str(jv_get(v, "n")).n, 0);
	const char *want = "snoz";
	void *it = NULL;
	struct str key;
	for (const struct jv *m; (m = jv_next(v, &it, &key)); want++)
		CHECK_EQ(key.p[0], *want);
	CHECK_EQ(*want, 0);
	it = NULL;
	CHECK(!jv_next(n, &it, &key));
	arena_free(a);
}

TEST(tree_refuses)
{
	struct arena *a = arena_new(1 << 20);
	struct err e;
	CHECK(!json_parse(a, STR("{\"a\":"), &e));
	CHECK_EQ(e.code, ERR_INVALID);
	CHECK(!json_parse(a, STR("\"\\ud800\""), &e));
	CHECK(!json_parse(a, STR_NULL, &e));
	CHECK(!json_parse(a, STR("{\"\\u0000\":1}"), &e));	/* the library cannot hold such a key */
	const struct jv *v = json_parse(a, STR("[123456789012345678901234567890]"), &e);
	CHECK(v && jv_type(jv_at(v, 0)) == JV_REAL);

	struct strb b;
	strb_init(&b, 1 << 20);
	strb_putc(&b, '[');
	for (int i = 0; i < JSON_VALUES_MAX - 1; i++)
		strb_puts(&b, STR("0,"));
	strb_puts(&b, STR("0]"));
	CHECK(json_check(strb_str(&b), 0, "x", &e));
	CHECK(!json_parse(a, strb_str(&b), &e));
	CHECK_EQ(e.code, ERR_EXHAUSTED);
	strb_fini(&b);
	arena_free(a);
}

TEST(writer)
{
	struct strb b;
	struct jw w;
	struct uuid u = {{0x12}};
	struct arena *a = arena_new(1 << 20);

	strb_init(&b, 4096);
	jw_init(&w, &b);
	jw_obj_begin(&w);
	jw_kv_str(&w, "s", STR("a\"b"));
	jw_kv_i64(&w, "i", INT64_MIN);
	jw_kv_bool(&w, "t", true);
	jw_kv_c(&w, "none", NULL);
	jw_kv_raw(&w, "raw", STR("{\"x\":1}"));
	jw_kv_raw(&w, "noraw", STR_NULL);
	jw_kv_time(&w, "at", 1704067200000000);
	jw_kv_time(&w, "never", 0);
	jw_kv_uuid(&w, "u", &u);
	jw_key(&w, "a");
	jw_arr_begin(&w);
	jw_f64(&w, 0.1);
	jw_f64(&w, (double)INFINITY);
	jw_f64(&w, 1e300);
	jw_arr_begin(&w);
	jw_arr_end(&w);
	jw_obj_begin(&w);
	jw_obj_end(&w);
	jw_arr_end(&w);
	jw_key(&w, "v");
	jw_val(&w, json_parse(a, STR("{\"k\":[1,2.5,\"x\",null,true,{}]}"), NULL));
	jw_key(&w, "absent");
	jw_val(&w, NULL);
	jw_obj_end(&w);
	CHECK_STR(strb_str(&b), "{\"s\":\"a\\\"b\",\"i\":-9223372036854775808,\"t\":true,\"none\":null,\"raw\":{\"x\":1},\"noraw\":null,"
				"\"at\":\"2024-01-01T00:00:00.000000Z\",\"never\":null,\"u\":\"12000000-0000-0000-0000-000000000000\","
				"\"a\":[0.1,null,1e+300,[],{}],\"v\":{\"k\":[1,2.5,\"x\",null,true,{}]},\"absent\":null}");
	CHECK(json_check(strb_str(&b), JSON_F_OBJECT, "x", NULL));
	strb_fini(&b);
	arena_free(a);
}
