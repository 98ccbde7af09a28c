/* The one error shape: filling it and what its codes mean on both wires.
 * Invariant: the message is always NUL terminated, cut at a character boundary when too long. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

bool err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (!err)
		return false;
	/* built aside, so that the old message may be an argument of the new one */
	char msg[sizeof(err->msg)];
	va_start(ap, fmt);
	n = vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(msg)) {
		size_t end = sizeof(msg) - 1;

		/* a character cut in half makes the whole text invalid for the client's decoder */
		while (end > 0 && ((unsigned char)msg[end - 1] & 0xc0) == 0x80)
			end--;
		if (end > 0 && (unsigned char)msg[end - 1] >= 0xc0)
			end--;
		msg[end] = '\0';
	}
	memcpy(err->msg, msg, strlen(msg) + 1);
	err->code = code;
	return false;
}

unsigned err_grpc_status(enum err_code code)
{
	static const unsigned char t[] = {
#define ERR_X(name, grpc, http) [ERR_##name] = grpc,
		ERR_TABLE(ERR_X)
#undef ERR_X
	};

	return (size_t)code < ARRAY_LEN(t) ? t[code] : 13;
}

unsigned err_http_status(enum err_code code)
{
	static const unsigned short t[] = {
#define ERR_X(name, grpc, http) [ERR_##name] = http,
		ERR_TABLE(ERR_X)
#undef ERR_X
	};

	return (size_t)code < ARRAY_LEN(t) ? t[code] : 500;
}

const char *err_name(enum err_code code)
{
	static const char *const t[] = {
#define ERR_X(name, grpc, http) [ERR_##name] = #name,
		ERR_TABLE(ERR_X)
#undef ERR_X
	};

	return (size_t)code < ARRAY_LEN(t) ? t[code] : "INTERNAL";
}
