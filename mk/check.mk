# What must hold before a commit, under a minute.
.PHONY: check format clang run asan demo
check: all	## layers, lint, headers alone, generated files are current: under a minute
	@CC="$(CC)" LINT_CFLAGS="$(CSTD) $(CPPFLAGS)" python3 tools/lint.py
format:	## format what is staged with .clang-format
	git clang-format --staged

# the second compiler: everything compiles without a warning
clang:	## compile all of it with clang, warnings are errors
	@$(MAKE) --no-print-directory CC=clang BUILD_CLANG=1 $(patsubst %.c,build/clang/%.o,$(SRCS))
	@echo "1 passed, 0 failed, 0 skipped"
build/clang/%.o: %.c | $(GEN)
	@mkdir -p $(@D)
	@clang $(CSTD) $(CPPFLAGS) -O1 $(HARD) $(WARN) -Wno-string-conversion $(ALWAYS) -Werror -DHATCHET_FAULTS -DHATCHET_SLOW_CHECKS \
		-Isrc/$(word 2,$(subst /, ,$<)) -MD -MP -c -o $@ $<

asan: build/asan/hatchet	## build/asan/hatchet: with the address and undefined-behaviour sanitizers
run: dev	## debug server on the default ports, with a Postgres of its own in build/run
	@mkdir -p build/run
	build/dbg/hatchet server start --data-dir $(CURDIR)/build/run --env-file build/run/env
demo:	## everything from nothing: install, build, start, run a task with the Python SDK (YES=1: no question; KEEP=1: leave it running)
	@tools/demo.sh
