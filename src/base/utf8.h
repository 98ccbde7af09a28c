/* The one reading of UTF-8, shared by the files of this module. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H
#include <stddef.h>

size_t utf8_one(const unsigned char *p, size_t n);	/* length of the valid character at p, 0: none; n > 0 */
#endif
