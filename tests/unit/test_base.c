/* Strings, allocator, arena, buffers, vectors, errors. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/strb.h"
#include "base/vec.h"
#include "tap.h"

TEST(str_compare)
{
	CHECK(str_eq(STR(""), STR_NULL));
	CHECK(str_ieq(STR("AbC"), STR("aBc")));
	CHECK(!str_ieq(STR("AbC"), STR("aBcd")));
	CHECK(!str_ieq(STR("["), STR("{")));	/* only letters have cases */
	CHECK(str_starts(STR("abc"), STR("ab")));
	CHECK(str_starts(STR("abc"), STR_NULL));
	CHECK(!str_starts(STR("ab"), STR("abc")));
}

TEST(str_to_i64_limits)
{
	static const char *const bad[] = {"", "-", "+1", " 1", "1 ", "9223372036854775808", "-9223372036854775809", "1x"};
	int64_t v = 7;

	CHECK(str_to_i64(STR("9223372036854775807"), &v) && v == INT64_MAX);
	CHECK(str_to_i64(STR("-9223372036854775808"), &v) && v == INT64_MIN);
	CHECK(str_to_i64(STR("-0"), &v) && v == 0);
	CHECK(str_to_i64(STR("007"), &v) && v == 7);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK(!str_to_i64(str_c(bad[i]), &v));
}

static int order[4], n_order;
static void note_end(void *p)
{
	order[n_order++] = *(int *)p;
}

TEST(arena_owned_run_in_reverse)
{
	struct arena *a = arena_new(1 << 20);
	for (int i = 0; i < 3; i++) {
		int *p = ARENA_NEW(a, int);
		*p = i;
		arena_own(a, p, note_end);
	}
	arena_free(a);
	CHECK_EQ(n_order, 3);
	CHECK_EQ(order[0], 2);
	CHECK_EQ(order[2], 0);
	arena_free(NULL);
}

TEST(arena_many_sizes)
{
	struct arena *a = arena_new(64 << 20);
	for (int round = 0; round < 3; round++) {
		char *p[300];
		for (size_t i = 0; i < 300; i++) {
			size_t n = i * 37 + (i % 50 == 0 ? 200000 : 1);
			p[i] = arena_alloc(a, n);
			CHECK_EQ((uintptr_t)p[i] % 16, 0);
			memset(p[i], (int)i, n);
		}
		for (size_t i = 0; i < 300; i++)
			CHECK_EQ((unsigned char)p[i][i * 37], i & 255);
		CHECK(arena_used(a) > 1000000);
		arena_reset(a);
		CHECK_EQ(arena_used(a), 0);
		CHECK_EQ(arena_left(a), 64 << 20);
	}
	arena_free(a);
}

TEST(arena_text)
{
	struct arena *a = arena_new(1 << 16);
	CHECK_STR(arena_strf(a, "%d-%s", 5, "x"), "5-x");
	CHECK_STR(arena_dup(a, STR("abc")), "abc");
	CHECK_EQ(arena_dup(a, STR("abc")).p[3], 0);
	CHECK_STR(arena_strz(a, STR_NULL), "");
	arena_free(a);
}

TEST(strb_limit)
{
	struct strb b;
	strb_init(&b, 10);
	strb_puts(&b, STR("12345678"));
	strb_puts(&b, STR("abc"));
	CHECK(b.overflow);
	CHECK_STR(strb_str(&b), "12345678");
	strb_putc(&b, 'x');	/* would fit, but the text has a hole already */
	CHECK_STR(strb_str(&b), "12345678");
	strb_reset(&b);
	strb_puts(&b, STR("1234567890"));
	CHECK(!b.overflow);
	CHECK_EQ(b.p[10], 0);
	strb_fini(&b);
}

TEST(strb_numbers_and_format)
{
	struct strb b;
	strb_init(&b, 4096);
	strb_be16(&b, 0x0102);
	strb_be32(&b, 0x03040506);
	strb_be64(&b, 0x0708090a0b0c0d0eu);
	for (int i = 0; i < 14; i++)
		CHECK_EQ(b.p[i], i + 1);
	strb_reset(&b);
	char longer[1000];
	memset(longer, 'y', sizeof(longer) - 1);
	longer[999] = '\0';
	strb_putf(&b, "<%s>", longer);
	CHECK_EQ(b.n, 1001);
	CHECK_EQ(b.p[1000], '>');
	strb_fini(&b);
}

TEST(strb_json_escapes)
{
	struct strb b;
	strb_init(&b, 4096);
	strb_json(&b, STR("a\"\\\n\t\r\x01\x7f\0z"));
	CHECK_STR(strb_str(&b), "\"a\\\"\\\\\\n\\t\\r\\u0001\\u007f\\u0000z\"");
	strb_reset(&b);
	strb_json(&b, STR("\xc3\xa9\xff\xed\xa0\x80\xf0\x9f\x98\x80\xc3"));
	CHECK_STR(strb_str(&b), "\"\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x98\x80\xef\xbf\xbd\"");
	strb_fini(&b);
}

TEST(err_shape)
{
	struct err e;
	CHECK(!err_set(&e, ERR_NOT_FOUND, "no %s", "worker"));
	CHECK_EQ(e.code, ERR_NOT_FOUND);
	CHECK_STR(e.msg, "no worker");
	CHECK(!err_set(&e, ERR_INVALID, "x: %s", e.msg));	/* its own text as argument */
	CHECK_STR(e.msg, "x: no worker");
	CHECK(!err_set(NULL, ERR_INVALID, "nobody listens"));
	CHECK_EQ(err_grpc_status(ERR_UNAUTHENTICATED), 16);
	CHECK_EQ(err_http_status(ERR_EXHAUSTED), 429);
	CHECK_EQ(err_grpc_status(ERR_UNCERTAIN), 13);
	CHECK_STR(err_name(ERR_NOT_FOUND), "NOT_FOUND");
	CHECK_STR(err_name((enum err_code)99), "INTERNAL");
}

TEST(err_cut_keeps_characters_whole)
{
	struct err e;
	char text[602];
	for (int shift = 0; shift < 2; shift++) {
		memset(text, 'a', 2);
		for (size_t i = 0; i < 300; i++)
			memcpy(text + shift + 2 * i, "\xc3\xa9", 2);
		text[600] = '\0';
		err_set(&e, ERR_INVALID, "%s", text);
		size_t n = strlen(e.msg);
		CHECK(n >= 296 && n < sizeof(e.msg));
		CHECK_EQ((unsigned char)e.msg[n - 1], 0xa9);
	}
}

TEST(buf_refs)
{
	struct buf *b = buf_copy(STR("hello"));
	CHECK(buf_ref(b) == b);
	buf_unref(b);
	CHECK_STR(buf_str(b), "hello");
	buf_unref(b);
	buf_unref(NULL);
	CHECK_EQ(buf_str(NULL).n, 0);
}

TEST(vec_grows)
{
	VEC(int) v = {0};
	for (int i = 0; i < 1000; i++)
		vec_push(&v, i);
	CHECK_EQ(v.n, 1000);
	CHECK_EQ(v.p[999], 999);
	vec_clear(&v);
	CHECK_EQ(v.n, 0);
	vec_fini(&v);
	CHECK(!v.p);
}

struct node {
	int v;
	struct list link;
};

TEST(list_order_and_unlink)
{
	struct list head;
	struct node n[4] = {{.v = 0}, {.v = 1}, {.v = 2}, {.v = 3}};
	int sum = 0, last = -1;

	list_init(&head);
	CHECK(list_empty(&head));
	for (int i = 1; i < 4; i++)
		list_push_back(&head, &n[i].link);
	list_push_front(&head, &n[0].link);
	LIST_FOREACH(it, &head) {
		CHECK(LIST_ENTRY(it, struct node, link)->v > last);
		last = LIST_ENTRY(it, struct node, link)->v;
	}
	LIST_FOREACH_SAFE(it, &head) {
		sum += LIST_ENTRY(it, struct node, link)->v;
		list_del(it);
	}
	CHECK_EQ(sum, 6);
	CHECK(list_empty(&head) && !list_linked(&n[0].link));
	list_del(&n[0].link);
}
