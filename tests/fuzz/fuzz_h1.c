/* HTTP/1.1: a whole connection of bytes that may be anything. */
#include "session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 65536)
		session_run(STR(""), data, n);
	return 0;
}
