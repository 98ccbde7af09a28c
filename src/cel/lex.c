/* Source text into tokens.
 * Invariant: the source is valid UTF-8 (checked before), every byte is looked at a bounded number of times, decoded text is never longer
 * than what it was written with. */
#include <stdlib.h>

#include "cel_int.h"

struct lex {
	struct comp *c;
	const char *p;	/* the whole source */
	uint32_t at, n;
};

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static int hex(char c)
{
	if (digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool word_start(char c)
{
	return c == '_' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static char peek(const struct lex *l, uint32_t ahead)
{
	return l->n - l->at > ahead ? l->p[l->at + ahead] : '\0';
}

static void skip_space(struct lex *l)
{
	for (; l->at < l->n; l->at++) {
		char c = l->p[l->at];

		if (c == '/' && peek(l, 1) == '/') {
			while (l->at < l->n && l->p[l->at] != '\n')
				l->at++;
			if (l->at == l->n)
				return;
		} else if (c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f') {
			return;
		}
	}
}

static void bad(struct lex *l, struct tok *t, const char *what)
{
	comp_fail(l->c, CEL_E_PARSE, t->pos, MAX(l->at, t->pos + 1), "%s", what);
	t->kind = T_ERROR;
}

static void number(struct lex *l, struct tok *t)
{
	bool real = false, overflow = false;
	uint64_t v = 0;
	char z[64], *own = NULL;

	if (peek(l, 0) == '0' && peek(l, 1) == 'x' && hex(peek(l, 2)) >= 0) {
		for (l->at += 2; hex(peek(l, 0)) >= 0; l->at++) {
			overflow |= v >> 60 != 0;
			v = v << 4 | (unsigned)hex(peek(l, 0));
		}
	} else {
		for (; digit(peek(l, 0)); l->at++) {
			overflow |= __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (unsigned)(peek(l, 0) - '0'), &v);
		}
		if (peek(l, 0) == '.' && digit(peek(l, 1))) {
			real = true;
			for (l->at++; digit(peek(l, 0)); l->at++)
				;
		}
		if ((peek(l, 0) | 0x20) == 'e') {
			uint32_t skip = peek(l, 1) == '+' || peek(l, 1) == '-' ? 2 : 1;

			if (digit(peek(l, skip))) {
				real = true;
				for (l->at += skip; digit(peek(l, 0)); l->at++)
					;
			}
		}
	}
	t->s = (struct str){l->p + t->pos, l->at - t->pos};
	if (real) {
		own = t->s.n < sizeof(z) ? z : comp_alloc(l->c, t->s.n + 1);
		if (!own) {
			t->kind = T_ERROR;
			return;
		}
		memcpy(own, t->s.p, t->s.n);
		own[t->s.n] = '\0';
		t->d = strtod(own, NULL);
		t->kind = T_DOUBLE;
		if (t->d > 1.7976931348623157e308)
			bad(l, t, "invalid double literal");
		return;
	}
	t->kind = T_INT;
	t->u = v;
	if ((peek(l, 0) | 0x20) == 'u') {
		l->at++;
		t->kind = T_UINT;
	}
	if (overflow || (t->kind == T_INT && v > (uint64_t)INT64_MAX + 1))
		bad(l, t, t->kind == T_INT ? "invalid int literal" : "invalid uint literal");
}

/* after the backslash; false: not an escape */
static bool escape(struct lex *l, bool bytes, char *out, size_t *n)
{
	static const char from[] = "abfnrtv\\?'\"`", to[] = "\a\b\f\n\r\t\v\\?'\"`";
	char c = peek(l, 0);
	const char *f = c ? strchr(from, c) : NULL;
	uint32_t v = 0, len;

	if (f) {
		out[(*n)++] = to[f - from];
		l->at++;
		return true;
	}
	if (c >= '0' && c <= '3') {
		for (int i = 0; i < 3; i++, l->at++) {
			if (peek(l, 0) < '0' || peek(l, 0) > '7')
				return false;
			v = v * 8 + (unsigned)(peek(l, 0) - '0');
		}
	} else {
		len = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
		if (!len || (bytes && len > 2))
			return false;
		l->at++;
		for (uint32_t i = 0; i < len; i++, l->at++) {
			if (hex(peek(l, 0)) < 0)
				return false;
			v = v << 4 | (unsigned)hex(peek(l, 0));
		}
	}
	if (bytes) {
		out[(*n)++] = (char)v;
		return true;
	}
	if (v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return false;
	*n += utf8_put(out + *n, v);
	return true;
}

/* at the opening quote */
static void text(struct lex *l, struct tok *t, bool raw, bool bytes)
{
	char q = l->p[l->at], *out;
	bool triple = peek(l, 1) == q && peek(l, 2) == q;
	uint32_t from, stop;
	size_t n = 0;

	l->at += triple ? 3 : 1;
	from = l->at;
	for (stop = from;; stop++) {
		if (stop >= l->n || (!triple && (l->p[stop] == '\n' || l->p[stop] == '\r'))) {
			l->at = l->n;
			bad(l, t, "string is not closed");
			return;
		}
		if (l->p[stop] == q && (!triple || (l->n - stop > 2 && l->p[stop + 1] == q && l->p[stop + 2] == q)))
			break;
		if (l->p[stop] == '\\' && !raw && stop + 1 < l->n)
			stop++;
	}
	t->kind = bytes ? T_BYTES : T_STRING;
	t->s = (struct str){l->p + from, stop - from};
	if ((!raw && memchr(t->s.p, '\\', t->s.n)) || memchr(t->s.p, '\r', t->s.n)) {
		out = comp_alloc(l->c, t->s.n + 4);
		if (!out) {
			t->kind = T_ERROR;
			return;
		}
		while (l->at < stop) {
			char c = l->p[l->at++];

			if (c == '\r') {	/* line ends of any machine are one line feed */
				if (peek(l, 0) == '\n')
					l->at++;
				out[n++] = '\n';
			} else if (c != '\\' || raw) {
				out[n++] = c;
			} else if (!escape(l, bytes, out, &n)) {
				bad(l, t, "bad escape in a string");
				return;
			}
		}
		t->s = (struct str){out, n};
	}
	l->at = stop + (triple ? 3 : 1);
}

static void word(struct lex *l, struct tok *t)
{
	static const struct {
		const char *s;
		int kind;
	} words[] = {{"true", T_TRUE}, {"false", T_FALSE}, {"null", T_NULL}, {"in", T_IN}};
	char a = peek(l, 0), b = peek(l, 1), c = peek(l, 2);
	bool qa = a == '\'' || a == '"', qb = b == '\'' || b == '"', qc = c == '\'' || c == '"';

	(void)qa;
	a |= 0x20;
	b |= 0x20;
	if ((a == 'r' || a == 'b') && qb) {
		l->at++;
		text(l, t, a == 'r', a == 'b');
		return;
	}
	if (a == 'b' && b == 'r' && qc) {
		l->at += 2;
		text(l, t, true, true);
		return;
	}
	while (word_start(peek(l, 0)) || digit(peek(l, 0)))
		l->at++;
	t->kind = T_IDENT;
	t->s = (struct str){l->p + t->pos, l->at - t->pos};
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (str_eq(t->s, str_c(words[i].s)))
			t->kind = words[i].kind;
	}
}

static void quoted(struct lex *l, struct tok *t)
{
	uint32_t from = ++l->at;

	while (word_start(peek(l, 0)) || digit(peek(l, 0)) || (peek(l, 0) && strchr(".-/ ", peek(l, 0))))
		l->at++;
	t->kind = T_QUOTED;
	t->s = (struct str){l->p + from, l->at - from};
	if (peek(l, 0) != '`' || t->s.n == 0) {
		bad(l, t, "bad name in back quotes");
		return;
	}
	l->at++;
}

void cel_lex(struct comp *c, uint32_t *pos, struct tok *t)
{
	static const struct {
		char s[3];
		uint8_t kind;
	} pairs[] = {{"&&", T_AND}, {"||", T_OR}, {"==", T_EQ}, {"!=", T_NE}, {"<=", T_LE}, {">=", T_GE}};
	struct lex l = {.c = c, .p = c->src.p, .at = *pos, .n = (uint32_t)c->src.n};

	skip_space(&l);
	*t = (struct tok){.kind = T_EOF, .pos = l.at};
	char ch = peek(&l, 0);
	if (l.at == l.n) {
		/* the end */
	} else if (digit(ch) || (ch == '.' && digit(peek(&l, 1)))) {
		number(&l, t);
	} else if (word_start(ch)) {
		word(&l, t);
	} else if (ch == '\'' || ch == '"') {
		text(&l, t, false, false);
	} else if (ch == '`') {
		quoted(&l, t);
	} else {
		for (size_t i = 0; i < ARRAY_LEN(pairs) && t->kind == T_EOF; i++) {
			if (ch == pairs[i].s[0] && peek(&l, 1) == pairs[i].s[1]) {
				t->kind = pairs[i].kind;
				l.at += 2;
			}
		}
		if (t->kind == T_EOF) {
			l.at++;
			if (ch && strchr(".,:?()[]{}<>!+-*/%", ch))
				t->kind = ch;
			else
				bad(&l, t, "unexpected character");
		}
	}
	t->end = l.at;
	*pos = l.at;
}
