/* Writing JSON into a strb.
 * Invariant: with balanced begin and end calls and a key before each member, the result is valid JSON.
 * Does not check that order: a writer is our own code. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "json/json.h"

void jw_init(struct jw *w, struct strb *b)
{
	*w = (struct jw){.b = b};
}

static void before_value(struct jw *w)
{
	if (w->comma)
		strb_putc(w->b, ',');
	w->comma = true;
}

static void begin(struct jw *w, char c)
{
	before_value(w);
	strb_putc(w->b, c);
	w->comma = false;
}

static void end(struct jw *w, char c)
{
	strb_putc(w->b, c);
	w->comma = true;
}

void jw_obj_begin(struct jw *w)
{
	begin(w, '{');
}

void jw_obj_end(struct jw *w)
{
	end(w, '}');
}

void jw_arr_begin(struct jw *w)
{
	begin(w, '[');
}

void jw_arr_end(struct jw *w)
{
	end(w, ']');
}

void jw_key_str(struct jw *w, struct str key)
{
	jw_str(w, key);
	strb_putc(w->b, ':');
	w->comma = false;
}

void jw_key(struct jw *w, const char *key)
{
	jw_key_str(w, str_c(key));
}

void jw_str(struct jw *w, struct str s)
{
	before_value(w);
	strb_json(w->b, s);
}

void jw_c(struct jw *w, const char *s)
{
	if (s)
		jw_str(w, str_c(s));
	else
		jw_null(w);
}

void jw_i64(struct jw *w, int64_t v)
{
	before_value(w);
	strb_putf(w->b, "%lld", (long long)v);
}

void jw_f64(struct jw *w, double v)
{
	char t[40];
	int n = 0;

	if (!isfinite(v)) {
		jw_null(w);
		return;
	}
	/* the shortest text that reads back as the same number */
	for (int digits = 15; digits <= 17; digits++) {
		n = snprintf(t, sizeof(t), "%.*g", digits, v);
		if (memcmp(&(double){strtod(t, NULL)}, &v, sizeof(v)) == 0)
			break;
	}
	before_value(w);
	strb_put(w->b, t, (size_t)n);
	if (!memchr(t, '.', (size_t)n) && !memchr(t, 'e', (size_t)n))
		strb_puts(w->b, STR(".0"));	/* a real stays a real for readers that tell them apart */
}

void jw_bool(struct jw *w, bool v)
{
	jw_raw(w, v ? STR("true") : STR("false"));
}

void jw_null(struct jw *w)
{
	jw_raw(w, STR("null"));
}

void jw_raw(struct jw *w, struct str json)
{
	before_value(w);
	strb_puts(w->b, json.n ? json : STR("null"));
}

void jw_time(struct jw *w, int64_t wall_us)
{
	char t[RFC3339_MAX];

	if (!wall_us) {
		jw_null(w);
		return;
	}
	size_t n = rfc3339_format(wall_us, t);
	jw_str(w, (struct str){t, n});
}

void jw_uuid(struct jw *w, const struct uuid *u)
{
	char t[UUID_TEXT + 1];

	if (!u || uuid_is_zero(u)) {
		jw_null(w);
		return;
	}
	uuid_format(u, t);
	jw_str(w, (struct str){t, UUID_TEXT});
}
