/* The words every module uses: strings as pointer and length, the clock sample of a turn, attributes. */
#ifndef BASE_BASE_H
#define BASE_BASE_H
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* Borrowed bytes, not NUL terminated.  {NULL, 0} is the empty string and also "absent". */
struct str {
	const char *p;
	size_t n;
};
#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})
#define STR_NULL ((struct str){NULL, 0})
#define STR_FMT(s) (int)(s).n, (s).p ? (s).p : ""	/* for "%.*s" */

static inline struct str str_c(const char *c)
{
	return c ? (struct str){c, strlen(c)} : STR_NULL;
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_ieq(struct str a, struct str b);		/* ASCII case only */
bool str_starts(struct str s, struct str prefix);
bool str_to_i64(struct str s, int64_t *ret) MUST_USE;	/* whole string, decimal, optional '-' */

/* One sample of both clocks, taken once per loop turn.  Deadlines use mono, stored times wall. */
struct now {
	int64_t mono_us;
	int64_t wall_us;	/* since 1970-01-01 UTC */
};

/* Memory for small things of our own making: never NULL, the process ends when there is none.
 * Anything whose size a client chooses is checked against a limit before it gets here. */
void *xmalloc(size_t bytes) MUST_USE;
void *xcalloc(size_t n, size_t bytes) MUST_USE;
void *xrealloc(void *p, size_t bytes) MUST_USE;
char *xstrndup(struct str s) MUST_USE;			/* NUL-terminated heap copy */
#endif
