/* The event loop: one thread, turns.  I/O callbacks collect; deferred work and turn-end hooks act.
 * Sole includer of <ev.h> is src/io. */
#ifndef IO_LOOP_H
#define IO_LOOP_H
#include "base/list.h"
#include "base/op.h"

struct loop;
struct loop *loop_new(void) MUST_USE;
void loop_free(struct loop *l);
void loop_run(struct loop *l);			/* until loop_stop */
void loop_stop(struct loop *l);
struct now loop_now(const struct loop *l);	/* sampled at the start of the turn */
int64_t loop_mono_us(void);			/* the real clock, for measuring inside a turn */

/* Run @fn(arg) once, later in this turn (before its turn-end hooks) or at once in the next. FIFO.
 * The item is embedded by the caller, must stay valid, and may be cancelled. */
struct defer {
	struct list node;
	void (*fn)(void *arg);
	void *arg;
};
void loop_defer(struct loop *l, struct defer *d, void (*fn)(void *arg), void *arg);	/* no-op when already queued */
void defer_cancel(struct defer *d);

/* Hooks run at the end of every turn in the order of registration: engine step, flush, then socket writes. */
void loop_on_turn_end(struct loop *l, void (*fn)(void *arg), void *arg);

struct timer;	/* one shot */
struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg) MUST_USE;
void timer_set(struct timer *t, int64_t mono_us);	/* absolute on the monotonic clock; past: next turn */
void timer_clear(struct timer *t);
void timer_free(struct timer *t);

/* Readiness of a foreign descriptor (libpq). */
struct watch;
enum { WATCH_READ = 1, WATCH_WRITE = 2 };
struct watch *watch_new(struct loop *l, void (*fn)(void *arg, int events), void *arg) MUST_USE;
void watch_set(struct watch *w, int fd, int events);	/* events 0: off; the fd may change between calls */
void watch_free(struct watch *w);			/* stop before closing the fd */

void loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg), void *arg);
void loop_on_child(struct loop *l, int pid, void (*fn)(void *arg, int status), void *arg);

/* Blocking work on a small thread pool: @work runs there, @done->fn on the loop.  Bounded queue: false when full. */
bool loop_offload(struct loop *l, void (*work)(void *arg), void *arg, struct op *done) MUST_USE;
#endif
