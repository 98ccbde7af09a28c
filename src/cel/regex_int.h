/* Private to the regular expressions: what the parser hands to the compiler, and the Unicode tables. */
#ifndef CEL_REGEX_INT_H
#define CEL_REGEX_INT_H
#include "cel_int.h"

enum re_op { RE_SET, RE_SPLIT, RE_JUMP, RE_ASSERT, RE_MATCH };
struct re_inst {
	uint32_t op;
	uint32_t x, y;	/* set: first range and how many; split: both ways; jump, assert: where, which */
};

enum re_assert { AT_BEGIN = 1, AT_END = 2, AT_LINE_BEGIN = 4, AT_LINE_END = 8, AT_WORD = 16, AT_NO_WORD = 32 };

enum re_kind { R_EMPTY, R_SET, R_ASSERT, R_CAT, R_ALT, R_REPEAT };
struct re_node {
	uint8_t kind;
	uint8_t assert;
	int16_t min, max;	/* of a repeat; max < 0: no end */
	uint32_t first, count;	/* of a set */
	struct re_node *a, *b;	/* a cat or alt of two; the repeated one */
};

struct re_parse {
	struct re_mem *m;
	struct str s;
	size_t at;
	const char *why;	/* the first error */
	bool no_memory;
	unsigned depth, flags;
	struct re_range *ranges;
	uint32_t n, cap;
	uint32_t work;		/* spent on classes: bounded */
};
struct re_node *regex_parse(struct re_parse *p);
void *regex_alloc(struct re_parse *p, size_t bytes);

/* ---- unidata.c: generated ---- */

extern const uint32_t uni_categories[], uni_scripts[];	/* first code point << 8 | index of the name */
extern const uint32_t uni_categories_n, uni_scripts_n;
extern const char uni_category_names[][3];
extern const char *const uni_script_names[];
extern const uint32_t uni_category_names_n, uni_script_names_n;
struct uni_fold {
	uint32_t from, to;	/* the next of those that are equal without case, around to the first */
};
extern const struct uni_fold uni_folds[];
extern const uint32_t uni_folds_n;
#endif
