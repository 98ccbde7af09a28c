/* Bytes nobody can guess, from the kernel.  For repeatable numbers see base/rand.h. */
#ifndef CRYPTO_RANDOM_H
#define CRYPTO_RANDOM_H
#include "base/uuid.h"

void random_bytes(void *p, size_t n);	/* the process ends when the kernel has none */
void random_uuid(struct uuid *ret);	/* version 4 */
#endif
