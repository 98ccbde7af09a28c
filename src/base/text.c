/* Text encodings of the wire: UTF-8, base64, hex, percent.
 * Invariant: decoders are strict where a second spelling of the same bytes could slip past a comparison (base64).
 * Does not know dates and durations (timetext.c). */
#include "base/text.h"

#include "utf8.h"

size_t utf8_one(const unsigned char *p, size_t n)
{
	unsigned c = p[0];

	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		return n >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
	if (c >= 0xe0 && c <= 0xef) {
		unsigned lo = c == 0xe0 ? 0xa0 : 0x80, hi = c == 0xed ? 0x9f : 0xbf;

		return n >= 3 && p[1] >= lo && p[1] <= hi && (p[2] & 0xc0) == 0x80 ? 3 : 0;
	}
	if (c >= 0xf0 && c <= 0xf4) {
		unsigned lo = c == 0xf0 ? 0x90 : 0x80, hi = c == 0xf4 ? 0x8f : 0xbf;

		return n >= 4 && p[1] >= lo && p[1] <= hi && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80 ? 4 : 0;
	}
	return 0;
}

bool utf8_valid(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	for (size_t i = 0; i < s.n;) {
		uint64_t w;

		/* most text is ASCII: eight bytes at a time */
		if (s.n - i >= 8 && (memcpy(&w, p + i, 8), (w & 0x8080808080808080u) == 0)) {
			i += 8;
			continue;
		}
		size_t len = utf8_one(p + i, s.n - i);
		if (!len)
			return false;
		i += len;
	}
	return true;
}

bool text_check(struct str s, const char *field, struct err *err)
{
	if (s.n && memchr(s.p, '\0', s.n))
		return err_set(err, ERR_INVALID, "%s: must not contain a NUL character", field);
	if (!utf8_valid(s))
		return err_set(err, ERR_INVALID, "%s: must be valid UTF-8", field);
	return true;
}

static const char *b64_digits(bool url)
{
	return url ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		   : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

struct str base64_encode(struct arena *a, struct str in, bool url)
{
	const char *digits = b64_digits(url);
	const unsigned char *p = (const unsigned char *)in.p;
	char *out = arena_alloc(a, (in.n + 2) / 3 * 4 + 1);
	size_t at = 0;

	for (size_t i = 0; i < in.n; i += 3) {
		size_t left = MIN(in.n - i, (size_t)3);
		unsigned v = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);

		out[at++] = digits[v >> 18];
		out[at++] = digits[v >> 12 & 63];
		if (left > 1)
			out[at++] = digits[v >> 6 & 63];
		else if (!url)
			out[at++] = '=';
		if (left > 2)
			out[at++] = digits[v & 63];
		else if (!url)
			out[at++] = '=';
	}
	out[at] = '\0';
	return (struct str){out, at};
}

static int b64_val(char c, bool url)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (url ? '-' : '+'))
		return 62;
	if (c == (url ? '_' : '/'))
		return 63;
	return -1;
}

bool base64_decode(struct arena *a, struct str in, bool url, struct str *ret)
{
	size_t n = in.n;

	while (n > 0 && in.n - n < 2 && in.p[n - 1] == '=')
		n--;
	if (n % 4 == 1 || (n != in.n && in.n % 4 != 0))
		return false;
	char *out = arena_alloc(a, n / 4 * 3 + 3);
	size_t at = 0;
	unsigned acc = 0, bits = 0;

	for (size_t i = 0; i < n; i++) {
		int v = b64_val(in.p[i], url);

		if (v < 0)
			return false;
		acc = (acc << 6 | (unsigned)v) & 0xffff;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[at++] = (char)(acc >> bits & 0xff);
		}
	}
	/* bits that encode nothing must be zero, or one value would have several spellings */
	if (acc & ((1u << bits) - 1))
		return false;
	out[at] = '\0';
	*ret = (struct str){out, at};
	return true;
}

struct str hex_encode(struct arena *a, struct str in)
{
	static const char digits[] = "0123456789abcdef";
	char *out = arena_alloc(a, in.n * 2 + 1);

	for (size_t i = 0; i < in.n; i++) {
		out[2 * i] = digits[(unsigned char)in.p[i] >> 4];
		out[2 * i + 1] = digits[in.p[i] & 15];
	}
	out[2 * in.n] = '\0';
	return (struct str){out, in.n * 2};
}

static int hex_val(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct str percent_decode(struct arena *a, struct str in, bool plus_is_space)
{
	char *out = arena_alloc(a, in.n + 1);
	size_t at = 0;

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];

		/* a broken escape stays as it is: whoever checks the value names the field */
		if (c == '%' && in.n - i > 2 && hex_val(in.p[i + 1]) >= 0 && hex_val(in.p[i + 2]) >= 0) {
			c = (char)(uint8_t)(hex_val(in.p[i + 1]) << 4 | hex_val(in.p[i + 2]));
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		out[at++] = c;
	}
	out[at] = '\0';
	return (struct str){out, at};
}
