/* One asynchronous operation: what happens when it is done.
 *
 * Whoever starts work that ends later takes a `struct op *` (borrowed until it fires) and calls
 * op_done() on the loop thread exactly once, never before the starting call has returned. */
#ifndef BASE_OP_H
#define BASE_OP_H
#include "base/err.h"

struct op;
typedef void op_fn(struct op *op, const struct err *err);	/* err NULL: success */
struct op {
	op_fn *fn;
	void *arg;
};

static inline void op_done(struct op *op, const struct err *err)
{
	op->fn(op, err);
}
#endif
