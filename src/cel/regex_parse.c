/* Patterns in the syntax of RE2 into a tree.
 * Invariant: nesting is bounded, sets are sorted and do not overlap; what needs backtracking is refused.  Greedy and lazy are the same to
 * whoever only asks whether there is a match, so that difference is dropped here. */
#include "regex_int.h"

#define DEPTH_MAX 200
#define REPEAT_MAX 1000
#define RUNE_MAX 0x10ffff

enum { F_FOLD = 1, F_MULTI = 2, F_DOT_ALL = 4 };

static struct re_node *alternatives(struct re_parse *p);

static void *fail(struct re_parse *p, const char *why)
{
	if (!p->why)
		p->why = why;
	return NULL;
}

void *regex_alloc(struct re_parse *p, size_t bytes)
{
	void *q = p->no_memory ? NULL : p->m->alloc(p->m->ctx, bytes);

	if (!q)
		p->no_memory = true;
	return q;
}

static struct re_node *make(struct re_parse *p, enum re_kind kind, struct re_node *a, struct re_node *b)
{
	struct re_node *n = regex_alloc(p, sizeof(*n));

	if (n)
		*n = (struct re_node){.kind = (uint8_t)kind, .a = a, .b = b};
	return n;
}

static bool more(const struct re_parse *p)
{
	return p->at < p->s.n;
}

static bool looking_at(const struct re_parse *p, const char *z)
{
	return str_starts((struct str){p->s.p + p->at, p->s.n - p->at}, str_c(z));
}

static bool take(struct re_parse *p, const char *z)
{
	if (!looking_at(p, z))
		return false;
	p->at += strlen(z);
	return true;
}

static uint32_t rune(struct re_parse *p)
{
	size_t len;
	uint32_t c = utf8_get(p->s.p + p->at, &len);

	p->at += len;
	return c;
}

/* ---- sets: ranges are added at the end of p->ranges, from `first` on, and put in order when the set is complete ---- */

static void add(struct re_parse *p, uint32_t lo, uint32_t hi)
{
	if (p->work++ > p->m->work) {
		fail(p, "the pattern is too complex");
		return;
	}
	if (p->n == p->cap) {
		uint32_t cap = p->cap ? p->cap * 2 : 64;
		struct re_range *q = regex_alloc(p, cap * sizeof(*q));

		if (!q)
			return;
		if (p->n)
			memcpy(q, p->ranges, p->n * sizeof(*q));
		p->ranges = q;
		p->cap = cap;
	}
	p->ranges[p->n++] = (struct re_range){lo, hi};
}

static int by_lo(const void *a, const void *b)
{
	const struct re_range *x = a, *y = b;

	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

static void tidy(struct re_parse *p, uint32_t first)
{
	uint32_t at = first;
	bool sorted = true;

	for (uint32_t i = first + 1; i < p->n; i++)
		sorted &= p->ranges[i - 1].lo <= p->ranges[i].lo;
	if (!sorted)
		p->work += 4 * (p->n - first);
	if (!sorted)
		cel_sort(p->ranges + first, p->n - first, sizeof(*p->ranges), by_lo);
	for (uint32_t i = first + 1; i < p->n; i++) {
		if (p->ranges[i].lo <= p->ranges[at].hi + 1)
			p->ranges[at].hi = MAX(p->ranges[at].hi, p->ranges[i].hi);
		else
			p->ranges[++at] = p->ranges[i];
	}
	if (p->n > first)
		p->n = at + 1;
}

static void invert(struct re_parse *p, uint32_t first)
{
	uint32_t n, next = 0;

	tidy(p, first);
	n = p->n;
	for (uint32_t i = first; i < n; i++) {
		struct re_range r = p->ranges[i];

		if (r.lo > next)
			add(p, next, r.lo - 1);
		next = r.hi + 1;
	}
	if (next <= RUNE_MAX)
		add(p, next, RUNE_MAX);
	if (p->why || p->no_memory)
		return;
	memmove(p->ranges + first, p->ranges + n, (p->n - n) * sizeof(*p->ranges));
	p->n -= n - first;
}

static bool in_set(const struct re_parse *p, uint32_t first, uint32_t n, uint32_t c)
{
	uint32_t lo = first, hi = n;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (p->ranges[mid].hi < c)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && p->ranges[lo].lo <= c;
}

static uint32_t next_fold(uint32_t c)
{
	uint32_t lo = 0, hi = uni_folds_n;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (uni_folds[mid].from < c)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < uni_folds_n && uni_folds[lo].from == c ? uni_folds[lo].to : c;
}

/* whatever is equal without case joins the set */
static void fold(struct re_parse *p, uint32_t first)
{
	uint32_t n;

	tidy(p, first);
	n = p->n;
	if (n - first == 1 && p->ranges[first].lo == p->ranges[first].hi) {
		uint32_t c = p->ranges[first].lo;

		for (uint32_t f = next_fold(c); f != c; f = next_fold(f))
			add(p, f, f);
	} else {
		p->work += uni_folds_n;
		for (uint32_t i = 0, at = first; i < uni_folds_n && !p->why && !p->no_memory; i++) {
			uint32_t c = uni_folds[i].from;

			while (at < n && p->ranges[at].hi < c)
				at++;
			if (at == n)
				break;
			if (p->ranges[at].lo > c)
				continue;
			/* up to the next that is there, which sees to those after it */
			for (uint32_t f = uni_folds[i].to; !in_set(p, first, n, f); f = next_fold(f))
				add(p, f, f);
		}
	}
	tidy(p, first);
}

static struct re_node *set_done(struct re_parse *p, uint32_t first)
{
	struct re_node *n;

	tidy(p, first);
	n = make(p, R_SET, NULL, NULL);
	if (!n || p->why)
		return NULL;
	n->first = first;
	n->count = p->n - first;
	return n;
}

static struct re_node *one(struct re_parse *p, uint32_t c)
{
	uint32_t first = p->n;

	add(p, c, c);
	if (p->flags & F_FOLD)
		fold(p, first);
	return set_done(p, first);
}

/* ---- classes with names ---- */

/* adds pairs of characters, or their inverse */
static void add_pairs(struct re_parse *p, const char *pairs, bool negate)
{
	uint32_t first = p->n;

	for (; *pairs; pairs += 2)
		add(p, (unsigned char)pairs[0], (unsigned char)pairs[1]);
	if (negate)
		invert(p, first);
}

static bool perl_class(struct re_parse *p, char c)
{
	bool negate = c >= 'A' && c <= 'Z';
	const char *pairs = (c | 0x20) == 'd' ? "09" : (c | 0x20) == 's' ? "\t\n\f\r  " : (c | 0x20) == 'w' ? "09AZ__az" : NULL;

	if (pairs)
		add_pairs(p, pairs, negate);
	return pairs != NULL;
}

/* at "[:"; false: it is no class but a bracket that stands for itself */
static bool posix_class(struct re_parse *p)
{
	static const char *const names[][2] = {
		{"alnum", "09AZaz"}, {"alpha", "AZaz"}, {"ascii", ""}, {"blank", "\t\t  "}, {"cntrl", ""}, {"digit", "09"}, {"graph", "!~"},
		{"lower", "az"}, {"print", " ~"}, {"punct", "!/:@[`{~"}, {"space", "\t\r  "}, {"upper", "AZ"}, {"word", "09AZ__az"},
		{"xdigit", "09AFaf"},
	};
	const char *from = p->s.p + p->at + 2, *end = memmem(from, p->s.n - p->at - 2, ":]", 2);
	struct str name;
	bool negate;

	if (!end)
		return false;
	name = (struct str){from, (size_t)(end - from)};
	negate = name.n && name.p[0] == '^';
	if (negate) {
		name.p++;
		name.n--;
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		uint32_t first = p->n;

		if (!str_eq(name, str_c(names[i][0])))
			continue;
		p->at = (size_t)(end + 2 - p->s.p);
		add_pairs(p, names[i][1], false);
		if (i == 2 || i == 4)	/* they begin with NUL */
			add(p, 0, i == 2 ? 0x7f : 0x1f);
		if (i == 4)
			add(p, 0x7f, 0x7f);
		if (negate)
			invert(p, first);
		return true;
	}
	fail(p, "unknown class between [: and :]");
	return true;
}

static void add_table(struct re_parse *p, const uint32_t *t, uint32_t n, uint32_t want, uint32_t mask_lo)
{
	p->work += n / 8;
	for (uint32_t i = 0; i < n && !p->why && !p->no_memory; i++) {
		uint32_t id = t[i] & 0xff;

		if (id >= want && id < want + mask_lo)
			add(p, t[i] >> 8, i + 1 < n ? (t[i + 1] >> 8) - 1 : RUNE_MAX);
	}
}

/* after \p or \P */
static void unicode_class(struct re_parse *p, bool negate)
{
	uint32_t first = p->n, from, count = 0;
	struct str name = {p->s.p + p->at, 1};
	const char *end;

	if (!more(p)) {
		fail(p, "a class name is missing after \\p");
		return;
	}
	if (take(p, "{")) {
		name.p++;
		end = memchr(name.p, '}', p->s.n - p->at);
		if (!end) {
			fail(p, "a class name is not closed");
			return;
		}
		name.n = (size_t)(end - name.p);
		p->at += name.n + 1;
		if (name.n && name.p[0] == '^') {
			negate = !negate;
			name.p++;
			name.n--;
		}
	} else {
		p->at++;
	}
	if (str_eq(name, STR("Any"))) {
		add(p, 0, RUNE_MAX);
	} else {
		for (from = 0; from < uni_category_names_n; from++) {
			struct str c = str_c(uni_category_names[from]);

			if (str_eq(name, c) || (name.n == 1 && c.p[0] == name.p[0] && !str_eq(c, STR("Cn"))))
				count++;
			else if (count)
				break;
		}
		if (count)	/* a letter's categories stand together */
			add_table(p, uni_categories, uni_categories_n, from - count, count);
		for (from = 0; !count && from < uni_script_names_n; from++) {
			if (str_eq(name, str_c(uni_script_names[from]))) {
				add_table(p, uni_scripts, uni_scripts_n, from, 1);
				count = 1;
			}
		}
		if (!count) {
			fail(p, "unknown Unicode class");
			return;
		}
	}
	if (p->flags & F_FOLD)
		fold(p, first);
	if (negate)
		invert(p, first);
}

/* ---- escapes ---- */

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_escape(struct re_parse *p, uint32_t *ret)
{
	uint32_t v = 0, n = 0;

	if (take(p, "{")) {
		for (; more(p) && hex(p->s.p[p->at]) >= 0; n++) {
			v = v * 16 + (unsigned)hex(p->s.p[p->at++]);
			if (v > RUNE_MAX)
				return false;
		}
		*ret = v;
		return n > 0 && take(p, "}");
	}
	for (; n < 2; n++) {
		if (!more(p) || hex(p->s.p[p->at]) < 0)
			return false;
		v = v * 16 + (unsigned)hex(p->s.p[p->at++]);
	}
	*ret = v;
	return true;
}

/* after the backslash: one character */
static bool escape(struct re_parse *p, uint32_t *ret)
{
	static const char from[] = "afnrtv", to[] = "\a\f\n\r\t\v";
	const char *f;
	uint32_t c;

	if (!more(p))
		return fail(p, "the pattern ends after a backslash") != NULL;
	c = rune(p);
	if (c >= '0' && c <= '7') {
		bool octal = more(p) && p->s.p[p->at] >= '0' && p->s.p[p->at] <= '7';

		if (c != '0' && !octal)
			return fail(p, "back references are not supported") != NULL;
		*ret = c - '0';
		for (int i = 0; i < 2 && more(p) && p->s.p[p->at] >= '0' && p->s.p[p->at] <= '7'; i++)
			*ret = *ret * 8 + (uint32_t)(p->s.p[p->at++] - '0');
		return true;
	}
	if (c == 'x')
		return hex_escape(p, ret) || fail(p, "bad \\x escape") != NULL;
	f = c < 0x80 ? strchr(from, (int)c) : NULL;
	if (f) {
		*ret = (unsigned char)to[f - from];
		return true;
	}
	*ret = c;
	if (c < 0x80 && !((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')))
		return true;
	return fail(p, "unknown escape") != NULL;
}

static bool class_char(struct re_parse *p, uint32_t *ret)
{
	if (!more(p))
		return fail(p, "missing closing ]") != NULL;
	if (take(p, "\\"))
		return escape(p, ret);
	*ret = rune(p);
	return true;
}

static struct re_node *class(struct re_parse *p)
{
	uint32_t first = p->n, lo, hi;
	bool negate = take(p, "^"), begin = true;

	for (; begin || !looking_at(p, "]"); begin = false) {
		if (p->why || p->no_memory)
			return NULL;
		if (looking_at(p, "[:") && posix_class(p))
			continue;
		if (looking_at(p, "\\p") || looking_at(p, "\\P")) {
			p->at += 2;
			unicode_class(p, p->s.p[p->at - 1] == 'P');
			continue;
		}
		if (looking_at(p, "\\") && p->s.n - p->at > 1 && perl_class(p, p->s.p[p->at + 1])) {
			p->at += 2;
			continue;
		}
		if (!class_char(p, &lo))
			return NULL;
		hi = lo;
		if (looking_at(p, "-") && p->s.n - p->at > 1 && p->s.p[p->at + 1] != ']') {
			p->at++;
			if (!class_char(p, &hi))
				return NULL;
			if (hi < lo)
				return fail(p, "a range of characters that ends before it begins");
		}
		add(p, lo, hi);
	}
	p->at++;
	if (p->flags & F_FOLD)
		fold(p, first);
	if (negate)
		invert(p, first);
	return set_done(p, first);
}

/* ---- what can be repeated ---- */

static struct re_node *at_place(struct re_parse *p, enum re_assert a)
{
	struct re_node *n = make(p, R_ASSERT, NULL, NULL);

	if (n)
		n->assert = (uint8_t)a;
	return n;
}

static struct re_node *literal_run(struct re_parse *p)
{
	struct re_node *n = make(p, R_EMPTY, NULL, NULL);

	while (n && more(p) && !take(p, "\\E"))
		n = make(p, R_CAT, n, one(p, rune(p)));
	return n;
}

static struct re_node *backslash(struct re_parse *p)
{
	uint32_t first = p->n, c;
	char next = more(p) ? p->s.p[p->at] : '\0';

	p->at++;
	switch (next) {
	case 'A':
		return at_place(p, AT_BEGIN);
	case 'z':
		return at_place(p, AT_END);
	case 'b':
		return at_place(p, AT_WORD);
	case 'B':
		return at_place(p, AT_NO_WORD);
	case 'p':
	case 'P':
		unicode_class(p, next == 'P');
		return set_done(p, first);
	case 'd':
	case 'D':
	case 's':
	case 'S':
	case 'w':
	case 'W':
		perl_class(p, next);
		return set_done(p, first);
	default:
		p->at--;
		return escape(p, &c) ? one(p, c) : NULL;
	}
}

/* after "(?": flags up to ':' or ')' */
static bool flags(struct re_parse *p, bool *group)
{
	unsigned set = p->flags;
	bool minus = false, any = false;

	for (; more(p); any = true) {
		char c = p->s.p[p->at++];
		unsigned bit = c == 'i' ? F_FOLD : c == 'm' ? F_MULTI : c == 's' ? F_DOT_ALL : 0;

		if (bit || c == 'U') {
			set = minus ? set & ~bit : set | bit;
		} else if (c == '-' && !minus) {
			minus = true;
			any = false;
			continue;
		} else if ((c == ':' || c == ')') && (any || !minus)) {
			p->flags = set;
			*group = c == ':';
			return true;
		} else {
			break;
		}
	}
	return fail(p, "unknown or unsupported syntax after (?") != NULL;
}

static bool group_name(struct re_parse *p)
{
	size_t from;

	if (!take(p, "P<") && !take(p, "<"))
		return false;
	for (from = p->at; more(p); p->at++) {
		char c = p->s.p[p->at];

		if (c != '_' && !(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
			break;
	}
	if (p->at == from || !take(p, ">"))
		fail(p, "bad name of a group");
	return true;
}

static struct re_node *group(struct re_parse *p)
{
	unsigned saved = p->flags;
	bool opens = true;
	struct re_node *n;

	if (take(p, "?") && !group_name(p) && !flags(p, &opens))
		return NULL;
	if (!opens)	/* these flags hold to the end of the group around */
		return p->why ? NULL : make(p, R_EMPTY, NULL, NULL);
	if (++p->depth > DEPTH_MAX)
		return fail(p, "groups nested too deep");
	n = alternatives(p);
	p->depth--;
	p->flags = saved;
	if (n && !take(p, ")"))
		return fail(p, "missing closing )");
	return n;
}

static struct re_node *atom(struct re_parse *p)
{
	uint32_t first = p->n, c = rune(p);

	switch (c) {
	case '(':
		return group(p);
	case '[':
		return class(p);
	case '\\':
		return take(p, "Q") ? literal_run(p) : backslash(p);
	case '.':
		add(p, 0, p->flags & F_DOT_ALL ? RUNE_MAX : '\n' - 1);
		if (!(p->flags & F_DOT_ALL))
			add(p, '\n' + 1, RUNE_MAX);
		return set_done(p, first);
	case '^':
		return at_place(p, p->flags & F_MULTI ? AT_LINE_BEGIN : AT_BEGIN);
	case '$':
		return at_place(p, p->flags & F_MULTI ? AT_LINE_END : AT_END);
	case '*':
	case '+':
	case '?':
		return fail(p, "nothing to repeat");
	default:
		return one(p, c);
	}
}

/* ---- repeats ---- */

static bool count(struct re_parse *p, int *ret)
{
	size_t from = p->at;
	int v = 0;

	for (; more(p) && p->s.p[p->at] >= '0' && p->s.p[p->at] <= '9'; p->at++)
		v = MIN(v * 10 + (p->s.p[p->at] - '0'), REPEAT_MAX + 1);
	*ret = v;
	return p->at > from && (p->s.p[from] != '0' || p->at == from + 1);
}

/* {n} {n,} {n,m}; anything else in braces stands for itself */
static bool braces(struct re_parse *p, int *min, int *max)
{
	size_t from = p->at;

	if (take(p, "{") && count(p, min)) {
		*max = *min;
		if (!take(p, ",") || looking_at(p, "}") || count(p, max)) {
			if (p->s.p[p->at - 1] == ',')
				*max = -1;
			if (take(p, "}"))
				return true;
		}
	}
	p->at = from;
	return false;
}

/* the product of counted repeats inside each other */
static bool product_fits(const struct re_node *n, int room)
{
	while (n) {
		if (n->kind == R_REPEAT && n->max != 0 && (n->min > 1 || n->max > 1)) {
			int times = MAX(n->min, n->max);

			if (times > room)
				return false;
			room /= times;
		}
		if (n->b && !product_fits(n->b, room))
			return false;
		n = n->a;
	}
	return true;
}

static struct re_node *repeated(struct re_parse *p)
{
	struct re_node *n = atom(p);
	bool again = false;

	while (n && more(p)) {
		int min = 0, max = -1;
		bool counted = false;

		if (take(p, "*"))
			min = 0;
		else if (take(p, "+"))
			min = 1;
		else if (take(p, "?"))
			max = 1;
		else if (!(counted = braces(p, &min, &max)))
			break;
		if (again)
			return fail(p, "a repeat of a repeat");
		if (min > REPEAT_MAX || max > REPEAT_MAX || (max >= 0 && min > max))
			return fail(p, "bad repeat count");
		take(p, "?");
		again = true;
		n = make(p, R_REPEAT, n, NULL);
		if (!n)
			return NULL;
		n->min = (int16_t)min;
		n->max = (int16_t)max;
		if (counted && !product_fits(n, REPEAT_MAX))
			return fail(p, "bad repeat count: repeats inside each other multiply to more than 1000");
	}
	return n;
}

static struct re_node *sequence(struct re_parse *p)
{
	struct re_node *n = make(p, R_EMPTY, NULL, NULL), *next;

	while (n && more(p) && !looking_at(p, "|") && !looking_at(p, ")")) {
		next = repeated(p);
		n = next ? make(p, R_CAT, n, next) : NULL;
	}
	return n;
}

static struct re_node *alternatives(struct re_parse *p)
{
	struct re_node *n = sequence(p), *next;

	while (n && take(p, "|")) {
		next = sequence(p);
		n = next ? make(p, R_ALT, n, next) : NULL;
	}
	return n;
}

struct re_node *regex_parse(struct re_parse *p)
{
	struct re_node *n = alternatives(p);

	if (n && more(p))
		return fail(p, "unexpected )");
	return p->why || p->no_memory ? NULL : n;
}
