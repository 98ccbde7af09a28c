#include "cel/cel.h"

#include <stdio.h>

#include "base/text.h"
#include "tap.h"

static struct arena *mem;
static struct cel_err err;
static struct cel_val out;

static const struct cel_prog *compile(const char *src)
{
	mem = mem ? mem : arena_new(64 << 20);
	return cel_compile(mem, cel_env(CEL_WORKFLOW), str_c(src), NULL, &err);
}

static bool eval_json(const char *src, const char *json, const struct cel_limits *lim)
{
	const struct cel_prog *p = compile(src);
	struct cel_val vars[3] = {cel_json(json_parse(mem, str_c(json), NULL)), {0}, cel_string(STR("run-1"))};

	return p && cel_eval(p, vars, mem, lim, &out, &err);
}

static bool eval(const char *src)
{
	return eval_json(src, "{\"n\": 3, \"s\": \"h\\u00e9\", \"l\": [1, 2], \"o\": {\"k\": null}}", NULL);
}

#define IS_STR(src, want)                              \
	do {                                           \
		CHECK(eval(src));                      \
		CHECK_EQ(out.kind, CEL_STRING);        \
		CHECK_STR(out.s, want);                \
	} while (0)
#define IS_INT(src, want)                              \
	do {                                           \
		CHECK(eval(src));                      \
		CHECK_EQ(out.kind, CEL_INT);           \
		CHECK_EQ(out.i, want);                 \
	} while (0)
#define IS_TRUE(src)                                   \
	do {                                           \
		CHECK(eval(src));                      \
		CHECK_EQ(out.kind, CEL_BOOL);          \
		CHECK(out.b);                          \
	} while (0)
#define FAILS(src, want)                               \
	do {                                           \
		CHECK(!eval(src));                     \
		CHECK_EQ(err.code, want);              \
	} while (0)

TEST(place_of_an_error)
{
	FAILS("1 +\n  nope", CEL_E_CHECK);
	CHECK_EQ(err.line, 2);
	CHECK_EQ(err.column, 3);
	CHECK_EQ(err.offset, 6);
	CHECK_EQ(err.length, 4);
	CHECK_STR(err.msg, "undeclared name 'nope'");
	FAILS("'\xc3\xa9' + input.o.missing", CEL_E_NO_KEY);
	CHECK_EQ(err.column, 7);
	CHECK_EQ(err.offset, 7);
	CHECK_EQ(err.length, 15);
	CHECK_STR(err.msg, "no such key: missing");
	FAILS("", CEL_E_PARSE);
	CHECK_EQ(err.line, 1);
	FAILS("\xff", CEL_E_PARSE);
}

TEST(each_code_of_an_error)
{
	FAILS("1 +", CEL_E_PARSE);
	FAILS("1 + 'a'", CEL_E_CHECK);
	FAILS("additional_metadata.x == 1", CEL_E_UNBOUND);
	FAILS("input.nope", CEL_E_NO_KEY);
	FAILS("input.n + 1", CEL_E_NO_OVERLOAD);
	FAILS("input.l[2]", CEL_E_RANGE);
	FAILS("9223372036854775807 + 1", CEL_E_OVERFLOW);
	FAILS("1 / 0", CEL_E_DIV0);
	FAILS("'a'.matches('(')", CEL_E_REGEX);
}

TEST(values_of_json)
{
	IS_TRUE("input.n == 3 && type(input.n) == double && input.o.k == null && has(input.o.k) && !has(input.o.x)");
	IS_TRUE("input.l == [1, 2] && input.l.map(x, x) == [1.0, 2.0] && input.o == {'k': null} && {'k': null} == input.o");
	IS_TRUE("input.map(k, k) == ['n', 's', 'l', 'o']");
	IS_STR("workflow_run_id", "run-1");
	CHECK(eval_json("input", "[1]", NULL) && out.kind == CEL_LIST && cel_len(&out) == 1);
}

TEST(a_long_key_and_one_with_nul)
{
	struct strb b;

	strb_init(&b, 10000);
	strb_puts(&b, STR("{\""));
	for (int i = 0; i < 2000; i++)
		strb_putc(&b, 'k');
	strb_puts(&b, STR("\": 7}"));
	CHECK(eval_json("input.all(k, input[k] == 7) && !('a\\000b' in input)", b.p, NULL) && out.b);
	strb_fini(&b);
}

TEST(result_kinds)
{
	const struct cel_prog *p = compile("input.n > 1");
	struct cel_val vars[3] = {cel_json(json_parse(mem, STR("{\"n\":2}"), NULL))};

	CHECK(p && cel_can_be(p, CEL_K(BOOL)) && !cel_can_be(p, CEL_K(STRING) | CEL_K(INT)));
	CHECK_STR(cel_static_type(p), "bool");
	CHECK(!cel_eval_as(p, vars, mem, NULL, CEL_K(STRING) | CEL_K(INT), &out, &err));
	CHECK_EQ(err.code, CEL_E_RESULT);
	CHECK_STR(err.msg, "the result must be int or string, got bool");
	CHECK(cel_eval_as(p, vars, mem, NULL, CEL_K(BOOL), &out, &err) && out.b);
	p = compile("input.n");
	CHECK(p && cel_can_be(p, CEL_K(STRING)));
}

TEST(the_budget_decides)
{
	struct cel_limits lim = cel_limits_default;
	const struct cel_prog *p = compile("input.l.all(x, x > 0) && input.s == 'h\xc3\xa9'");
	struct cel_val vars[3] = {cel_json(json_parse(mem, STR("{\"l\":[1,2,3],\"s\":\"h\\u00e9\"}"), NULL))};
	uint32_t need;

	CHECK(p);
	need = cel_steps(p, vars, mem, NULL);
	CHECK(need > 10 && need < 200);
	lim.steps = need;
	CHECK(cel_eval(p, vars, mem, &lim, &out, &err) && out.b);
	lim.steps = need - 1;
	CHECK(!cel_eval(p, vars, mem, &lim, &out, &err));
	CHECK_EQ(err.code, CEL_E_COST);
}

TEST(limits_are_not_absorbed)
{
	struct cel_limits lim = cel_limits_default;

	lim.steps = 500;
	CHECK(!eval_json("[1,2,3,4,5,6,7,8].all(a, [1,2,3,4,5,6,7,8].all(b, [1,2,3,4,5,6,7,8].all(c, true))) || true", "{}", &lim));
	CHECK_EQ(err.code, CEL_E_COST);
	lim = cel_limits_default;
	lim.bytes = 1000;
	CHECK(!eval_json("[1].map(x, [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,"
			 "38,39,40,41,42,43,44]).size() == 0 || true", "{}", &lim));
	CHECK_EQ(err.code, CEL_E_MEMORY);
	CHECK(!eval_json("input.d == input.d || true", "{\"d\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
			 "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}", NULL));
	CHECK_EQ(err.code, CEL_E_DEPTH);
	CHECK(eval_json("1 / 0 == 1 || true", "{}", NULL) && out.b);
}

TEST(a_small_arena_is_an_error)
{
	for (size_t room = 0; room < 6000; room += 16) {
		struct arena *a = arena_new(room), *b = arena_new(room);
		const struct cel_prog *p = cel_compile(a, cel_env(CEL_EVENT), STR("['a', 'b'].map(x, x + 'c').join('-').matches('a.*c')"), NULL, &err);

		CHECK(p || err.code == CEL_E_MEMORY);
		p = compile("['a', 'b'].map(x, x + 'c').join('-').matches('a.*' + 'c')");
		CHECK(cel_eval(p, NULL, b, NULL, &out, &err) || err.code == CEL_E_MEMORY);
		arena_free(a);
		arena_free(b);
	}
}

static void repeat(struct strb *b, const char *s, int n)
{
	while (n-- > 0)
		strb_puts(b, str_c(s));
}

static bool around(const char *before, int n, const char *inner, const char *after, int m)
{
	struct strb b;
	bool ok;

	strb_init(&b, 1 << 20);
	repeat(&b, before, n);
	strb_puts(&b, str_c(inner));
	repeat(&b, after, m);
	ok = eval(b.p);
	strb_fini(&b);
	return ok;
}

TEST(depth_and_length)
{
	CHECK(around("(", 249, "1", ")", 249));
	CHECK(!around("(", 251, "1", ")", 251) && err.code == CEL_E_PARSE);
	CHECK(!around("", 0, "input.l", "[0]", 300) && err.code == CEL_E_PARSE);
	CHECK(around("true && ", 1900, "true", "", 0) && out.b);
	CHECK(around("!", 16000, "true", "", 0) && out.b);
	CHECK(!around("-", 3, "!true", "", 0));
	CHECK(!around(" ", 16384, "1", "", 0));
	CHECK_STR(err.msg, "the expression is longer than 16384 bytes");
	CHECK(!around("1,", 0, "[", "1,", 8000));
	CHECK(!around("", 0, "1", " + 1", 300));
	CHECK(around("", 0, "1", " + 1", 200) && out.i == 201);
}

TEST(doubles_as_text)
{
	static const struct {
		const char *d, *want;
	} t[] = {
		{"1.0", "1"}, {"0.1", "0.1"}, {"100000.0", "100000"}, {"1e6", "1e+06"}, {"999999.0", "999999"}, {"1e20", "1e+20"},
		{"1234567.0", "1.234567e+06"}, {"1700000000123.0", "1.700000000123e+12"}, {"0.00001", "1e-05"}, {"0.0001", "0.0001"},
		{"-0.0", "-0"}, {"5e-324", "5e-324"}, {"1.7976931348623157e308", "1.7976931348623157e+308"}, {"0.1 + 0.2", "0.30000000000000004"},
		{"2.2250738585072014e-308", "2.2250738585072014e-308"}, {"9007199254740993.0", "9.007199254740992e+15"}, {"1.0 / 3.0", "0.3333333333333333"},
		{"1.0 / 0.0", "+Inf"}, {"-1.0 / 0.0", "-Inf"}, {"0.0 / 0.0", "NaN"}, {"12.5e-10", "1.25e-09"}, {"123456.7", "123456.7"},
	};
	char src[80];

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		snprintf(src, sizeof(src), "string(%s)", t[i].d);
		IS_STR(src, t[i].want);
	}
	IS_STR("'%s %s %d'.format([1e21, 1.5e-7, 2.0])", "1000000000000000000000 0.00000015 2");
}

TEST(numbers_from_text)
{
	IS_INT("int('-9223372036854775808') + 1", INT64_MIN + 1);
	IS_INT("int('+5')", 5);
	FAILS("int('9223372036854775808')", CEL_E_RANGE);
	FAILS("int('')", CEL_E_RANGE);
	FAILS("int('-')", CEL_E_RANGE);
	FAILS("int('0x10')", CEL_E_RANGE);
	FAILS("uint('-1')", CEL_E_RANGE);
	FAILS("uint('18446744073709551616')", CEL_E_RANGE);
	IS_TRUE("double('.5') == 0.5 && double('5.') == 5.0 && double('+1e3') == 1000.0 && double('0x1p-2') == 0.25");
	IS_TRUE("double('-Inf') < 0.0 && double('infinity') > 0.0 && double('nan') != double('nan')");
	FAILS("double('1e400')", CEL_E_RANGE);
	FAILS("double('1_0')", CEL_E_RANGE);
	FAILS("double('+nan')", CEL_E_RANGE);
	FAILS("double(' 1')", CEL_E_RANGE);
	FAILS("int(-9223372036854775808.0)", CEL_E_RANGE);
}

TEST(times)
{
	IS_STR("string(timestamp('2024-02-29T23:59:59.120+02:30'))", "2024-02-29T21:29:59.12Z");
	FAILS("timestamp('2023-02-29T00:00:00Z')", CEL_E_RANGE);
	FAILS("timestamp('2023-02-28T00:00:60Z')", CEL_E_RANGE);
	FAILS("timestamp('2023-02-28t00:00:00z')", CEL_E_RANGE);
	FAILS("timestamp('0001-01-01T00:00:00+00:01')", CEL_E_RANGE);
	IS_INT("timestamp('1969-12-31T23:59:59.999Z').getMilliseconds()", 999);
	IS_INT("timestamp('1969-12-31T00:00:00Z').getDayOfWeek()", 3);
	IS_INT("timestamp('2000-12-31T00:00:00Z').getDayOfYear()", 365);
	IS_INT("timestamp('2024-07-01T12:00:00Z').getHours('Europe/Berlin')", 14);
	IS_INT("timestamp('2024-01-01T12:00:00Z').getHours('America/New_York')", 7);
	IS_INT("timestamp('2024-01-01T12:00:00Z').getMinutes('-03:30')", 30);
	IS_INT("timestamp('2024-01-01T12:00:00Z').getHours('2:00')", 14);
	FAILS("timestamp('2024-01-01T12:00:00Z').getHours('../../etc/passwd')", CEL_E_RANGE);
	IS_STR("string(duration('1h2m3.5s'))", "3723.5s");
	IS_STR("string(duration('-1.5ms') + duration('1us') + duration('2\xc2\xb5s'))", "-0.001497s");
	IS_TRUE("duration('-9223372036854775808ns') < duration('9223372036854775807ns') && duration('0') == duration('.0s')");
	FAILS("duration('9223372036854775808ns')", CEL_E_RANGE);
	FAILS("duration('1d')", CEL_E_RANGE);
	FAILS("duration('.s')", CEL_E_RANGE);
	FAILS("timestamp('9999-12-31T23:59:59Z') + duration('1s')", CEL_E_RANGE);
	IS_TRUE("timestamp('2024-01-01T00:00:00Z') - duration('1ns') == timestamp('2023-12-31T23:59:59.999999999Z')");
}

TEST(strings)
{
	IS_STR("'abc'.replace('', '-')", "-a-b-c-");
	IS_STR("'abc'.replace('', '-', 2)", "-a-bc");
	IS_STR("'aaa'.replace('aa', 'b')", "ba");
	IS_TRUE("'a\xc3\xa9'.split('') == ['a', '\xc3\xa9'] && ''.split('') == [] && ''.split(',') == [''] && 'a,b,c'.split(',', 2) == ['a', 'b,c']");
	IS_TRUE("'abc'.split('', 2) == ['a', 'bc']");
	IS_TRUE("'abcabc'.lastIndexOf('c', 4) == 2 && 'abc'.lastIndexOf('abc') == 0 && 'ab'.lastIndexOf('abc') == -1");
	IS_TRUE("'h\xc3\xa9h\xc3\xa9'.indexOf('\xc3\xa9', 2) == 3 && 'h\xc3\xa9'.substring(1) == '\xc3\xa9' && 'abc'.charAt(3) == ''");
	FAILS("'abc'.substring(2, 1)", CEL_E_RANGE);
	FAILS("'abc'.substring(-1)", CEL_E_RANGE);
	IS_STR("'\xe2\x80\x83 a b\xc2\xa0'.trim()", "a b");
	IS_STR("strings.quote('a\"\\\\\\n\\001')", "\"a\\\"\\\\\\n\001\"");
	IS_STR("'%b %o %x %X %x %x'.format([-5, 8u, -255, 'hi', b'\\xff', true ? 1 : 2])", "-101 10 -ff 6869 ff 1");
	IS_STR("'%s'.format([[1, 2.5, 'a', null, b'c', {'z': 1, 2: [true]}, type(1), duration('1s')]])",
	       "[1, 2.5, a, null, c, {2: [true], z: 1}, int, 1s]");
	FAILS("'%d'.format(['a'])", CEL_E_CHECK);
	FAILS("'%d'.format([input.s])", CEL_E_NO_OVERLOAD);
	FAILS("'%'.format([1])", CEL_E_CHECK);
	FAILS("'%.101f'.format([1.0])", CEL_E_CHECK);
	FAILS("'a'.format([1])", CEL_E_CHECK);
	FAILS("(input.s + '%q').format([1])", CEL_E_RANGE);
}

TEST(patterns)
{
	static const struct {
		const char *re, *text;
		int want;	/* -1: refused */
	} t[] = {
		{"", "", 1}, {"^$", "", 1}, {"a", "bab", 1}, {"^a$", "a\n", 0}, {"(?m)^b$", "a\nb\nc", 1}, {"a.c", "a\nc", 0}, {"(?s)a.c", "a\nc", 1},
		{"a{2,3}b", "xaab", 1}, {"^a{2,3}$", "aaaa", 0}, {"a{0}b", "b", 1}, {"a{,2}", "a{,2}", 1}, {"x{2,1}", "", -1}, {"a{1001}", "", -1},
		{"(a{30}){40}", "", -1}, {"a**", "", -1}, {"*", "", -1}, {"a|*", "", -1}, {"(", "", -1}, {")", "", -1}, {"[a", "", -1}, {"[b-a]", "", -1},
		{"[]a]", "]", 1}, {"[^]a]", "]", 0}, {"[a-]", "-", 1}, {"[a\\-z]", "m", 0}, {"[[:alpha:]]+$", "1ab", 1}, {"[[:nope:]]", "", -1}, {"[[:^digit:]]", "1", 0},
		{"\\d\\D\\w\\W\\s\\S", "1a_- x", 1}, {"\\bfoo\\b", "a foo.", 1}, {"\\bfoo\\b", "afoo", 0}, {"o\\B", "foo", 1}, {"\\x41\\x{1F600}\\101\\12", "A\xf0\x9f\x98\x80" "A\n", 1},
		{"\\1", "", -1}, {"(a)\\1", "", -1}, {"\\Q.*\\E", "a.*", 1}, {"\\Q.*", "aa", 0}, {"\\C", "", -1}, {"\\Z", "", -1}, {"\\y", "", -1}, {"a\\", "", -1},
		{"(?i)STRASSE", "strasse", 1}, {"(?i)\xc3\x89", "\xc3\xa9", 1}, {"(?i)k", "\xe2\x84\xaa", 1}, {"(?i)[a-c]x", "BX", 1}, {"(?i:a)b", "AB", 0}, {"(?-i)a(?i)b", "aB", 1},
		{"(?P<name>a)(?<other>b)", "ab", 1}, {"(?P<>a)", "", -1}, {"(?=a)", "", -1}, {"(?<=a)", "", -1}, {"(?!a)", "", -1}, {"(?z)", "", -1}, {"(?i", "", -1},
		{"\\pL+$", "1\xce\xb1", 1}, {"\\p{Greek}", "a", 0}, {"\\p{Greek}", "\xce\xb1", 1}, {"\\P{Greek}", "\xce\xb1", 0}, {"\\p{^Lu}", "A", 0}, {"[\\p{Lu}\\d]", "7", 1},
		{"\\p{Nope}", "", -1}, {"\\p", "", -1}, {"\\pC", "\xcd\xb8", 0}, {"\\p{Any}", "\xcd\xb8", 1}, {"(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", 0}, {"(|a)+$", "aa", 1},
		{"a|b|c|d", "d", 1}, {"^(a|b|)c$", "c", 1}, {"^(?:x?){3}$", "xx", 1}, {"^(?:ab){2,}$", "ababab", 1}, {"a+?b*?", "a", 1}, {"[^a]", "\n", 1}, {"\\z", "", 1},
		{"^\\Ab", "ab", 0}, {".", "\xf0\x9f\x98\x80", 1}, {"^.$", "\xf0\x9f\x98\x80", 1}, {"\\_", "_", 1}, {"\\0", "", 0}, {"[\\d-z]", "-", 1},
	};
	struct cel_decl decls[2] = {{"s", "string"}, {"re", "string"}};
	struct cel_env env = {.vars = decls, .n = 2};
	const struct cel_prog *p;

	(void)!compile("1");
	p = cel_compile(mem, &env, STR("s.matches(re)"), NULL, &err);
	CHECK(p);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct cel_val vars[2] = {cel_string(str_c(t[i].text)), cel_string(str_c(t[i].re))};
		int got = cel_eval(p, vars, mem, NULL, &out, &err) ? out.b : -1;

		if (got != t[i].want)
			tap_fail(__FILE__, __LINE__, "/%s/ on '%s': %d, not %d (%s)", t[i].re, t[i].text, got, t[i].want, err.msg);
		CHECK(got != -1 || err.code == CEL_E_REGEX);
	}
}

TEST(maps)
{
	IS_TRUE("{1: 'a', 1u: 'b', 1.5: 'c'}[1.0] == 'a' && {'a': 1, 'a': 2} == {'a': 2} && !(dyn(1.5) in {1: 1}) && dyn(2.0) in {2u: 0}");
	IS_TRUE("[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(x, {x: 1, uint(x): 2, string(x): 3, true: 4, false: 5, -1: 6, 0.25: 7, 'z': 8, -7: 9})"
		".all(m, m['z'] == 8 && m[0.25] == 7 && m[-7.0] == 9 && m[true] == 4 && m.size() >= 9)");
	FAILS("{[1]: 2}", CEL_E_NO_OVERLOAD);
	FAILS("{1: 2}[dyn(null)]", CEL_E_NO_KEY);
}

TEST(static_types)
{
	static const char *const t[][2] = {
		{"input", "map(string, dyn)"}, {"[1].map(x, [x])", "list(list(int))"}, {"[]", "list(dyn)"}, {"{}", "map(dyn, dyn)"}, {"[[], [1]]", "list(list(int))"},
		{"type(1)", "type(int)"}, {"true ? input.n : 1", "dyn"}, {"input.n * 2", "int"}, {"-input.n", "dyn"}, {"[1, 'a']", "list(dyn)"},
		{"input.filter(k, k != '')", "list(string)"}, {"timestamp(0) - input.n", "dyn"}, {"duration('1s') == null", "bool"}, {"input.l + [1]", "list(int)"},
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		const struct cel_prog *p = compile(t[i][0]);

		if (!p)
			tap_fail(__FILE__, __LINE__, "%s: %s", t[i][0], err.msg);
		CHECK_STR(cel_static_type(p), t[i][1]);
	}
	FAILS("1 == null", CEL_E_CHECK);
	FAILS("[1].exists(x, 'a')", CEL_E_CHECK);
	FAILS("1.all(x, true)", CEL_E_CHECK);
	FAILS("'a'.b", CEL_E_CHECK);
	FAILS("input.size(1)", CEL_E_CHECK);
}

TEST(syntax)
{
	static const char *const bad[] = {"1.", "'a", "\"a\nb\"", "'\\q'", "'\\400'", "'\\uD800'", "b'\\u0041'", "rb'a'", "1e400", "9223372036854775808", "-18446744073709551616",
					  "18446744073709551616u", "a ? b ? 1 : 2 : 3", "f(1,)", "[1,,]", "{1}", "as", "input.in", "input.`a", "`a`", "(1", "1)", "1 2",
					  "input = 1", "-!true", "has(input)", "[1].all(1, true)", "input.x{}", "Foo{a: 1}", "1 ++", "&& 1", "#", "'\\x4'", "..input"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (eval(bad[i]))
			tap_fail(__FILE__, __LINE__, "%s compiled", bad[i]);
		CHECK(err.code == CEL_E_PARSE && utf8_valid(str_c(err.msg)));
	}
	IS_INT("-9223372036854775808", INT64_MIN);
	IS_INT("--1 - -1", 2);
	IS_INT("[1, 2,].size() + {1: 2,}.size()", 3);
	IS_INT("0x1F // a comment", 31);
	IS_STR("'''a'b\r\n\"'''", "a'b\n\"");
	IS_STR("R'\\n' + r\"\"\"x\"\"\"", "\\nx");
	IS_TRUE("{'a-b': 1}.`a-b` == 1 && {'in': 1}.while == 1 || true");
	IS_TRUE("[1].map(input, input) == [1] && [{'n': 2}].all(input, .input.n == 3.0)");
}
