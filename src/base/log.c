/* Log lines on stderr: one write() per line, so that lines of several processes do not mix.
 * Invariant: a line is at most LINE_MAX_BYTES; a field that does not fit is left out and "cut" says so.
 * Never fails and never blocks the caller for more than that one write. */
#include "base/log.h"

#include <time.h>
#include <unistd.h>

#include "base/strb.h"
#include "base/text.h"

#define LINE_MAX_BYTES 8192
#define FIELD_MAX_BYTES 2048

static enum log_level min_level = LOG_INFO;
static enum log_format out_format = LOG_JSON;
static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_set(enum log_level min, enum log_format format)
{
	min_level = min;
	out_format = format;
}

bool log_level_parse(struct str s, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (str_ieq(s, str_c(level_names[i]))) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static struct str field_text(const struct log_field *f)
{
	return (struct str){f->s.p, MIN(f->s.n, (size_t)FIELD_MAX_BYTES)};
}

static void put_json_field(struct strb *b, const struct log_field *f)
{
	strb_putc(b, ',');
	strb_json(b, str_c(f->key));
	strb_putc(b, ':');
	if (f->kind == LOG_F_I64)
		strb_putf(b, "%lld", (long long)f->i);
	else
		strb_json(b, field_text(f));
}

static bool plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == '"' || s.p[i] == '\\' || s.p[i] == 0x7f)
			return false;
	}
	return s.n > 0 && utf8_valid(s);
}

static void put_console_field(struct strb *b, const struct log_field *f)
{
	strb_putf(b, " %s=", f->key);
	if (f->kind == LOG_F_I64)
		strb_putf(b, "%lld", (long long)f->i);
	else if (plain(field_text(f)))
		strb_puts(b, field_text(f));
	else
		strb_json(b, field_text(f));	/* a terminal must not see control characters of a client */
}

void log_write(enum log_level lvl, const char *src, const char *msg, const struct log_field *fields)
{
	char when[RFC3339_MAX];
	struct timespec ts;
	struct strb b;

	if (lvl > min_level)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	size_t n = rfc3339_format((int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000, when);
	strb_init(&b, LINE_MAX_BYTES);
	if (out_format == LOG_JSON) {
		strb_putf(&b, "{\"time\":\"%.*s\",\"level\":\"%s\",\"msg\":", (int)n, when, level_names[lvl]);
		strb_json(&b, str_c(msg));
		strb_puts(&b, STR(",\"src\":"));
		strb_json(&b, str_c(src));
	} else {
		strb_putf(&b, "%.12s %-5s %s", when + 11, level_names[lvl], msg);
	}
	for (; fields && fields->kind != LOG_F_END; fields++) {
		size_t keep = b.n;

		if (out_format == LOG_JSON)
			put_json_field(&b, fields);
		else
			put_console_field(&b, fields);
		/* room for the marker and the end of the line */
		if (b.overflow || b.n > LINE_MAX_BYTES - 32) {
			b.n = keep;
			b.overflow = false;
			strb_puts(&b, out_format == LOG_JSON ? STR(",\"cut\":1") : STR(" ..."));
			break;
		}
	}
	strb_puts(&b, out_format == LOG_JSON ? STR("}\n") : STR("\n"));
	struct str line = strb_str(&b);
	if (write(STDERR_FILENO, line.p, line.n) < 0)
		(void)lvl;	/* nowhere left to tell it */
	strb_fini(&b);
}
