# What must hold before a commit, under a minute.
.PHONY: check format clang repro run asan demo
check: all build/deps-glibc	## layers, lint, headers alone, generated files are current: under a minute
	@CC="$(CC)" LINT_CFLAGS="$(CSTD) $(CPPFLAGS)" python3 tools/lint.py
format:	## format the lines changed since the last commit, those only
	git clang-format --force HEAD -- src include tests bench

# The second compiler finds other things: the program, the tests and the load driver compile without a warning.  What stands in
# tests/e2e links with what ships, whose libpq is newer than the machine's.
CFLAGS_clang := -O1 -g $(HARD) -Werror -DHATCHET_FAULTS -DHATCHET_SLOW_CHECKS
LDFLAGS_clang := -pie
CC_clang := clang
$(eval $(call MODE,clang))
clang: build/clang/hatchet $(patsubst %.c,build/clang/%.o,$(filter-out tests/e2e/%,$(wildcard tests/*/*.c bench/*.c bench/*/*.c)))	## compile everything with clang too, warnings are errors

repro: all	## build once more in another folder: the same checksum (R=--deps: with the libraries anew)
	@DEPS_CACHE="$(DEPS_CACHE)" tools/repro.sh $(R)
asan: build/asan/hatchet	## build/asan/hatchet: with the address and undefined-behaviour sanitizers
run: dev	## debug server on the default ports, with a Postgres of its own in build/run
	@mkdir -p build/run
	build/dbg/hatchet server start --data-dir $(CURDIR)/build/run --env-file build/run/env
demo:	## everything from nothing: install, build, start, run a task with the Python SDK (YES=1: no question; KEEP=1: leave it running)
	@tools/demo.sh
