/* Private: the members of a JSON object without nesting, which is all a token of ours holds. */
#ifndef CRYPTO_FLAT_H
#define CRYPTO_FLAT_H
#include "base/arena.h"

struct flat_member {
	struct str key;
	enum { FLAT_STR, FLAT_INT, FLAT_OTHER } kind;	/* other: true, false, null */
	struct str s;
	int64_t i;
};
#define FLAT_MAX 24
struct flat {
	struct flat_member m[FLAT_MAX];
	size_t n;
};
/* false: not such an object, a key twice, more than FLAT_MAX members, a fraction, or nesting */
bool flat_parse(struct arena *a, struct str in, struct flat *ret) MUST_USE;
struct str flat_str(const struct flat *f, const char *key);			/* STR_NULL: absent or not a string */
bool flat_int(const struct flat *f, const char *key, int64_t *ret) MUST_USE;
#endif
