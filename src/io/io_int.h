/* Private to src/io: the loop as its files see it. */
#ifndef IO_IO_INT_H
#define IO_IO_INT_H
#include "io/loop.h"

struct offload;
struct offload *offload_new(struct loop *l);
void offload_free(struct offload *o);
bool offload_put(struct offload *o, void (*work)(void *arg), void *arg, struct op *done);
void *loop_ev(struct loop *l);	/* struct ev_loop * */
#endif
