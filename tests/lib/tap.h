/* Test harness: one process per test, TAP on stdout.
 *
 *	TEST(name) { CHECK(cond); CHECK_EQ(got, want); CHECK_STR(got, want); }
 *
 * The table of a program's tests is generated from its TEST( lines.  Arguments: a part of a test's name.
 * TAP_NOFORK=1 runs in this process (for a debugger), TAP_TIMEOUT=n changes the 60 s a test may take. */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H
#include "base/base.h"

struct tap_test {
	const char *name;
	void (*fn)(void);
};
extern const struct tap_test tap_table[];	/* ends with a NULL name */

#define TEST(name)             \
	void test_##name(void); \
	void test_##name(void)

void tap_fail(const char *file, int line, const char *fmt, ...) PRINTF(3, 4) NORETURN;
void tap_eq(const char *file, int line, const char *what, int64_t got, int64_t want);
void tap_str(const char *file, int line, const char *what, struct str got, struct str want);
void tap_skip(const char *why) NORETURN;	/* ends the test as skipped */

static inline struct str tap_same(struct str s)
{
	return s;
}
#define TAP_AS_STR(x) _Generic((x), struct str: tap_same, char *: str_c, const char *: str_c)(x)

#define CHECK(cond)                                                  \
	do {                                                         \
		if (!(cond))                                         \
			tap_fail(__FILE__, __LINE__, "%s", #cond);   \
	} while (0)
/* integers of any kind; both sides as 64 bits */
#define CHECK_EQ(got, want) tap_eq(__FILE__, __LINE__, #got, (int64_t)(got), (int64_t)(want))
/* struct str or C string on either side */
#define CHECK_STR(got, want) tap_str(__FILE__, __LINE__, #got, TAP_AS_STR(got), TAP_AS_STR(want))
#endif
