/* UUID text and SipHash-2-4.  Knows nothing of versions and variants: model/id makes those. */
#include "base/uuid.h"

static int hex_val(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool dash_at(size_t i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

bool uuid_parse(struct str s, struct uuid *ret)
{
	struct uuid u;
	size_t out = 0;

	if (s.n != UUID_TEXT)
		return false;
	for (size_t i = 0; i < UUID_TEXT;) {
		if (dash_at(i)) {
			if (s.p[i++] != '-')
				return false;
			continue;
		}
		int hi = hex_val(s.p[i]), lo = hex_val(s.p[i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		u.b[out++] = (uint8_t)(hi << 4 | lo);
		i += 2;
	}
	*ret = u;
	return true;
}

void uuid_format(const struct uuid *u, char out[UUID_TEXT + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0;

	for (size_t i = 0; i < 16; i++) {
		if (dash_at(at))
			out[at++] = '-';
		out[at++] = digits[u->b[i] >> 4];
		out[at++] = digits[u->b[i] & 15];
	}
	out[at] = '\0';
}

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static uint64_t le64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] = rotl(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] = rotl(v[2], 32);
}

uint64_t siphash(const void *p, size_t n, const uint8_t key[16])
{
	const uint8_t *in = p;
	uint64_t k0 = le64(key), k1 = le64(key + 8), m;
	uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
			 k1 ^ 0x7465646279746573u};
	size_t left = n;

	for (; left >= 8; left -= 8, in += 8) {
		m = le64(in);
		v[3] ^= m;
		sip_round(v);
		sip_round(v);
		v[0] ^= m;
	}
	m = (uint64_t)n << 56;
	for (size_t i = 0; i < left; i++)
		m |= (uint64_t)in[i] << (8 * i);
	v[3] ^= m;
	sip_round(v);
	sip_round(v);
	v[0] ^= m;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
