/* Tokens into the tree; macros become nodes of their own here.
 * Invariant: nesting of the text and depth of the tree stay within the limit, so every later walk may recurse; chains of && and || are
 * one node, however long. */
#include "cel_int.h"

struct parser {
	struct comp *c;
	struct tok t, next;
	uint32_t at;	/* where the token after `next` begins */
	uint32_t last;	/* end of the token before `t` */
	uint32_t depth;
};

struct nodes {
	struct node **p;
	uint32_t n, cap;
};

static struct node *expr(struct parser *p);

static void advance(struct parser *p)
{
	p->last = p->t.end;
	p->t = p->next;
	if (p->t.kind != T_EOF && p->t.kind != T_ERROR)
		cel_lex(p->c, &p->at, &p->next);
}

static struct node *wrong(struct parser *p, const char *what)
{
	struct tok *t = &p->t;

	if (t->kind == T_EOF)
		comp_fail(p->c, CEL_E_PARSE, t->pos, t->end, "%s, but the expression ends", what);
	else if (t->kind != T_ERROR)
		comp_fail(p->c, CEL_E_PARSE, t->pos, t->end, "%s", what);
	return NULL;
}

static bool take(struct parser *p, int kind, const char *what)
{
	if (p->t.kind != kind)
		return wrong(p, what) != NULL;
	advance(p);
	return true;
}

static bool push(struct parser *p, struct nodes *l, struct node *n)
{
	if (!n)
		return false;
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 4;
		struct node **q = comp_alloc(p->c, cap * sizeof(struct node *));

		if (!q)
			return false;
		if (l->n)
			memcpy(q, l->p, l->n * sizeof(struct node *));
		l->p = q;
		l->cap = cap;
	}
	l->p[l->n++] = n;
	return true;
}

static struct node *make(struct parser *p, enum cel_op op, uint32_t pos, struct nodes l)
{
	struct comp *c = p->c;
	struct node *n = comp_alloc(c, sizeof(*n));
	uint32_t depth = 0;

	if (!n)
		return NULL;
	for (uint32_t i = 0; i < l.n; i++)
		depth = MAX(depth, l.p[i]->depth);
	*n = (struct node){.op = (uint8_t)op, .depth = (uint16_t)(depth + 1), .pos = pos, .end = p->last, .args = l.p, .n = l.n};
	if (depth + 1 > c->lim->depth) {
		comp_fail(c, CEL_E_PARSE, pos, p->last, "the expression is nested deeper than %u", c->lim->depth);
		return NULL;
	}
	if (++c->nodes > c->lim->nodes) {
		comp_fail(c, CEL_E_PARSE, pos, p->last, "the expression has more than %u parts", c->lim->nodes);
		return NULL;
	}
	return n;
}

static struct node *make_n(struct parser *p, enum cel_op op, uint32_t pos, struct node *a, struct node *b, struct node *d)
{
	struct nodes l = {0};

	if (!push(p, &l, a) || (b && !push(p, &l, b)) || (d && !push(p, &l, d)))
		return NULL;
	return make(p, op, pos, l);
}

static struct node *call(struct parser *p, enum cel_fn fn, uint32_t pos, struct node *a, struct node *b)
{
	struct node *n = make_n(p, N_CALL, pos, a, b, NULL);

	if (n) {
		n->fn = (uint8_t)fn;
		n->name = str_c(cel_fns[fn].name);
	}
	return n;
}

static struct node *literal(struct parser *p, uint32_t pos, struct cel_val v)
{
	struct node *n = make(p, N_LIT, pos, (struct nodes){0});

	if (n)
		n->lit = v;
	return n;
}

static struct node *number(struct parser *p, bool minus, uint32_t pos)
{
	struct tok t = p->t;

	if (t.kind == T_DOUBLE) {
		advance(p);
		return literal(p, pos, (struct cel_val){.kind = CEL_DOUBLE, .d = minus ? -t.d : t.d});
	}
	if (t.kind == T_UINT) {
		advance(p);
		return literal(p, pos, (struct cel_val){.kind = CEL_UINT, .u = t.u});
	}
	if (!minus && t.u > INT64_MAX) {
		comp_fail(p->c, CEL_E_PARSE, t.pos, t.end, "invalid int literal");
		return NULL;
	}
	advance(p);
	return literal(p, pos, (struct cel_val){.kind = CEL_INT, .i = (int64_t)(minus ? -t.u : t.u)});
}

/* up to and with the closing token; @comma: one may stand before it */
static bool list_of(struct parser *p, struct nodes *l, int close, bool comma, bool pairs)
{
	while (p->t.kind != close) {
		if (comma && p->t.kind == ',' && p->next.kind == close && !l->n) {
			advance(p);
			break;
		}
		if (!push(p, l, expr(p)))
			return false;
		if (pairs && (!take(p, ':', "expected ':' after the key of a map") || !push(p, l, expr(p))))
			return false;
		if (p->t.kind == close)
			break;
		if (!take(p, ',', close == ')' ? "expected ',' or ')'" : close == ']' ? "expected ',' or ']'" : "expected ',' or '}'"))
			return false;
		if (p->t.kind == close && !comma) {
			wrong(p, "expected an argument");
			return false;
		}
	}
	advance(p);
	return true;
}

static bool reserved(struct str s)
{
	static const char *const words[] = {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
					    "loop", "package", "namespace", "return", "var", "void", "while"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (str_eq(s, str_c(words[i])))
			return true;
	}
	return false;
}

static struct node *has_macro(struct parser *p, uint32_t pos, struct node *arg)
{
	struct node *n;

	if (arg->op != N_SELECT) {
		comp_fail(p->c, CEL_E_PARSE, arg->pos, arg->end, "has() takes the selection of a field, like has(input.name)");
		return NULL;
	}
	n = make_n(p, N_HAS, pos, arg->args[0], NULL, NULL);
	if (n)
		n->name = arg->name;
	return n;
}

static struct node *name_or_call(struct parser *p)
{
	uint32_t pos = p->t.pos;
	bool dot = p->t.kind == '.';
	struct nodes l = {0};
	struct node *n;
	struct str name;

	if (dot)
		advance(p);
	if (p->t.kind != T_IDENT)
		return wrong(p, "expected a name");
	name = p->t.s;
	if (reserved(name)) {
		comp_fail(p->c, CEL_E_PARSE, p->t.pos, p->t.end, "'%.*s' is a reserved word", STR_FMT(name));
		return NULL;
	}
	advance(p);
	if (p->t.kind != '(') {
		n = make(p, N_IDENT, pos, l);
	} else {
		advance(p);
		if (!list_of(p, &l, ')', false, false))
			return NULL;
		if (!p->c->env->no_macros && !dot && l.n == 1 && str_eq(name, STR("has")))
			return has_macro(p, pos, l.p[0]);
		n = make(p, N_CALL, pos, l);
		if (n)
			n->fn = F_UNKNOWN;
	}
	if (n) {
		n->name = name;
		n->dot = dot;
	}
	return n;
}

static struct node *primary(struct parser *p)
{
	uint32_t pos = p->t.pos;
	struct nodes l = {0};
	struct tok t = p->t;
	struct node *n;
	int kind = t.kind;

	switch (kind) {
	case '-':
		advance(p);
		return number(p, true, pos);
	case T_INT:
	case T_UINT:
	case T_DOUBLE:
		return number(p, false, pos);
	case T_STRING:
	case T_BYTES:
		advance(p);
		return literal(p, pos, (struct cel_val){.kind = kind == T_STRING ? CEL_STRING : CEL_BYTES, .s = t.s});
	case T_TRUE:
	case T_FALSE:
		advance(p);
		return literal(p, pos, (struct cel_val){.kind = CEL_BOOL, .b = kind == T_TRUE});
	case T_NULL:
		advance(p);
		return literal(p, pos, (struct cel_val){.kind = CEL_NULL});
	case '(':
		advance(p);
		n = expr(p);
		return n && take(p, ')', "expected ')'") ? n : NULL;
	case '[':
	case '{':
		advance(p);
		if (!list_of(p, &l, kind == '[' ? ']' : '}', true, kind == '{'))
			return NULL;
		return make(p, kind == '[' ? N_LIST : N_MAP, pos, l);
	case '.':
	case T_IDENT:
		return name_or_call(p);
	default:
		return wrong(p, "expected a value");
	}
}

static const struct {
	const char *name;
	uint8_t args, op;
} macros[] = {
	{"all", 2, N_ALL}, {"exists", 2, N_EXISTS}, {"exists_one", 2, N_EXISTS_ONE},
	{"filter", 2, N_FILTER}, {"map", 2, N_TRANSFORM}, {"map", 3, N_TRANSFORM},
};

static struct node *member_call(struct parser *p, struct node *target, struct str name)
{
	struct nodes l = {0};
	struct node *n, *var;

	if (!push(p, &l, target) || !list_of(p, &l, ')', false, false))
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(macros) && !p->c->env->no_macros; i++) {
		if (l.n != macros[i].args + 1u || !str_eq(name, str_c(macros[i].name)))
			continue;
		var = l.p[1];
		if (var->op != N_IDENT || var->dot) {
			comp_fail(p->c, CEL_E_PARSE, var->pos, var->end, "the first argument of %s() must be a simple name", macros[i].name);
			return NULL;
		}
		l.p[1] = l.p[2];
		if (l.n == 4)
			l.p[2] = l.p[3];
		l.n--;
		n = make(p, macros[i].op, target->pos, l);
		if (n)
			n->name = var->name;
		return n;
	}
	n = make(p, N_CALL, target->pos, l);
	if (n) {
		n->fn = F_UNKNOWN;
		n->member = true;
		n->name = name;
	}
	return n;
}

static struct node *selection(struct parser *p, struct node *n)
{
	struct tok t;
	uint32_t pos = n->pos;

	advance(p);
	t = p->t;
	if (t.kind != T_IDENT && t.kind != T_QUOTED)
		return wrong(p, "expected a name after '.'");
	advance(p);
	if (p->t.kind == '(' && t.kind == T_IDENT) {
		advance(p);
		return member_call(p, n, t.s);
	}
	n = make_n(p, N_SELECT, pos, n, NULL, NULL);
	if (n)
		n->name = t.s;
	return n;
}

static struct node *member(struct parser *p)
{
	struct node *n = primary(p), *key;
	bool grouped = n && p->last > 0 && p->c->src.p[p->last - 1] == ')';

	while (n) {
		if (p->t.kind == '.') {
			n = selection(p, n);
		} else if (p->t.kind == '[') {
			uint32_t pos = n->pos;

			advance(p);
			key = expr(p);
			if (!key || !take(p, ']', "expected ']'"))
				return NULL;
			n = make_n(p, N_INDEX, pos, n, key, NULL);
			if (n)
				n->fn = F_INDEX;
		} else {
			break;
		}
	}
	if (n && p->t.kind == '{' && !grouped && (n->op == N_IDENT || n->op == N_SELECT))
		return wrong(p, "message types are not supported");
	return n;
}

static bool is_number(int kind)
{
	return kind == T_INT || kind == T_DOUBLE;
}

static struct node *unary(struct parser *p)
{
	uint32_t pos = p->t.pos;
	int op = p->t.kind;
	unsigned times = 0;
	struct node *n;

	if (op == '!') {
		for (; p->t.kind == '!'; times++)
			advance(p);
	} else if (op == '-' && !is_number(p->next.kind)) {
		for (; p->t.kind == '-' && !is_number(p->next.kind); times++)
			advance(p);
	}
	/* here a minus can only be the sign of a number */
	if (times && p->t.kind == '-' && !is_number(p->next.kind))
		return wrong(p, "expected a value");
	n = member(p);
	/* an even number of them says nothing */
	return n && times % 2 ? call(p, op == '!' ? F_NOT : F_NEG, pos, n, NULL) : n;
}

static int precedence(int kind, enum cel_fn *fn)
{
	switch (kind) {
#define OP(tok, id, prec) case tok: *fn = F_##id; return prec;
	OP('*', MUL, 5)
	OP('/', DIV, 5)
	OP('%', MOD, 5)
	OP('+', ADD, 4)
	OP('-', SUB, 4)
	OP(T_EQ, EQ, 3)
	OP(T_NE, NE, 3)
	OP('<', LT, 3)
	OP(T_LE, LE, 3)
	OP('>', GT, 3)
	OP(T_GE, GE, 3)
	OP(T_IN, IN, 3)
#undef OP
	default:
		return 0;
	}
}

static struct node *binary(struct parser *p, int least)
{
	uint32_t pos = p->t.pos;
	struct node *n = unary(p);
	enum cel_fn fn = F_ADD;

	for (;;) {
		int prec = n ? precedence(p->t.kind, &fn) : 0;

		if (prec < least || prec == 0)
			return n;
		advance(p);
		struct node *right = binary(p, prec + 1);
		n = right ? call(p, fn, pos, n, right) : NULL;
	}
}

static struct node *logic(struct parser *p, int op)
{
	uint32_t pos = p->t.pos;
	struct node *n = op == T_OR ? logic(p, T_AND) : binary(p, 3);
	struct nodes l = {0};

	if (!n || p->t.kind != op)
		return n;
	if (!push(p, &l, n))
		return NULL;
	while (p->t.kind == op) {
		advance(p);
		if (!push(p, &l, op == T_OR ? logic(p, T_AND) : binary(p, 3)))
			return NULL;
	}
	return make(p, op == T_OR ? N_OR : N_AND, pos, l);
}

static struct node *expr(struct parser *p)
{
	uint32_t pos = p->t.pos;
	struct node *n, *yes, *no;

	if (++p->depth > p->c->lim->depth) {
		comp_fail(p->c, CEL_E_PARSE, pos, p->t.end, "the expression is nested deeper than %u", p->c->lim->depth);
		return NULL;
	}
	n = logic(p, T_OR);
	if (n && p->t.kind == '?') {
		advance(p);
		yes = logic(p, T_OR);
		if (!yes || !take(p, ':', "expected ':'"))
			return NULL;
		no = expr(p);
		n = no ? make_n(p, N_COND, pos, n, yes, no) : NULL;
		if (n)
			n->fn = F_COND;
	}
	p->depth--;
	return n;
}

struct node *cel_parse(struct comp *c)
{
	struct parser p = {.c = c};
	struct node *n;

	cel_lex(c, &p.at, &p.t);
	p.next = p.t;
	if (p.t.kind != T_EOF && p.t.kind != T_ERROR)
		cel_lex(c, &p.at, &p.next);
	n = expr(&p);
	if (n && p.t.kind != T_EOF)
		n = wrong(&p, "unexpected text after the expression");
	return c->failed ? NULL : n;
}
