/* Small formats of the field: UTF-8 check, base64, hex, RFC 3339, Go durations, percent encoding. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H
#include "base/arena.h"
#include "base/err.h"

bool utf8_valid(struct str s);			/* strict: no surrogates, no overlong forms; NUL is valid UTF-8 */
/* The check of every client string: UTF-8 and no NUL.  @field names it in the error (ERR_INVALID). */
bool text_check(struct str s, const char *field, struct err *err) MUST_USE;

/* wire-protocol 8.7: 1*(number unit), unit ms|s|m|h, decimals allowed, no sign, no spaces.  Result in ms, rounded up
 * from a fraction of a ms; more than INT64_MAX ns is refused.  Empty text is refused. */
bool duration_parse(struct str s, int64_t *ret_ms, struct err *err) MUST_USE;
struct str duration_format(struct arena *a, int64_t ms);	/* Go style: 1h2m3s, 1.5s, 500ms */

bool rfc3339_parse(struct str s, int64_t *ret_wall_us) MUST_USE;	/* any offset, any fraction length */
#define RFC3339_MAX 32
size_t rfc3339_format(int64_t wall_us, char out[RFC3339_MAX]);	/* 2026-01-31T10:00:00.000000Z */

struct str base64_encode(struct arena *a, struct str in, bool url);		/* url: -_ and no padding; else +/ with padding */
bool base64_decode(struct arena *a, struct str in, bool url, struct str *ret) MUST_USE;	/* padding optional in both */
struct str hex_encode(struct arena *a, struct str in);
struct str percent_decode(struct arena *a, struct str in, bool plus_is_space);
#endif
