/* One event one line on stderr: JSON, or readable when stderr is a terminal.
 * The message is a literal; data goes into typed fields.  Libraries (base..engine) return errors, edges log them once. */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include "base/base.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_JSON, LOG_CONSOLE };
struct log_field {
	const char *key;
	enum { LOG_F_END, LOG_F_STR, LOG_F_I64 } kind;
	struct str s;
	int64_t i;
};
#define F_STR(k, v) ((struct log_field){.key = (k), .kind = LOG_F_STR, .s = (v)})
#define F_C(k, v) ((struct log_field){.key = (k), .kind = LOG_F_STR, .s = str_c(v)})
#define F_I64(k, v) ((struct log_field){.key = (k), .kind = LOG_F_I64, .i = (int64_t)(v)})
void log_set(enum log_level min, enum log_format format);
bool log_level_parse(struct str s, enum log_level *ret) MUST_USE;
void log_write(enum log_level lvl, const char *src, const char *msg, const struct log_field *fields);
#define LOG_(lvl, msg, ...) \
	log_write((lvl), __FILE__, "" msg, (const struct log_field[]){__VA_ARGS__ __VA_OPT__(,) {.kind = LOG_F_END}})
#define log_error(...) LOG_(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) LOG_(LOG_WARN, __VA_ARGS__)
#define log_info(...) LOG_(LOG_INFO, __VA_ARGS__)
#define log_debug(...) LOG_(LOG_DEBUG, __VA_ARGS__)
#endif
