# Unit tests and fuzzers.  `make unit` runs all of tests/unit, `make unit T=heap` one program of it.
T ?=
# made by pattern rules, yet never to be deleted as leftovers
.SECONDARY: $(GEN_PB_C) $(GEN_PB_C:%.c=%.h)
kept = $(patsubst %.c,build/$(1)/%.o,$(2))
UNIT_SRCS := $(if $(T),$(wildcard tests/unit/test_$(T).c),$(wildcard tests/unit/test_*.c))
TESTLIB_SRCS := $(wildcard tests/lib/*.c)

# the table of a program's tests, from its TEST(name) lines
build/gen/tests/%.tab.c: tests/unit/%.c mk/test.mk
	@mkdir -p $(@D)
	@{ echo '#include "tap.h"'; \
	   sed -n 's/^TEST(\([a-z0-9_]*\)).*/void test_\1(void);/p' $<; \
	   echo 'const struct tap_test tap_table[] = {'; \
	   sed -n 's/^TEST(\([a-z0-9_]*\)).*/	{"\1", test_\1},/p' $<; \
	   echo '	{NULL, NULL},'; echo '};'; } > $@
.SECONDARY: $(UNIT_SRCS:tests/unit/%.c=build/gen/tests/%.tab.c)

define TEST_MODE
build/$(1)/testlib.a: $$(TESTLIB_SRCS:%.c=build/$(1)/%.o)
	@rm -f $$@; ar rcs $$@ $$^
build/$(1)/tests/unit/test_%: build/$(1)/tests/unit/test_%.o build/$(1)/build/gen/tests/test_%.tab.o \
		build/$(1)/testlib.a build/$(1)/lib.a
	$$(CC) $$(CFLAGS_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$^ $$(LIBS)
.SECONDARY: $$(call kept,$(1),$$(UNIT_SRCS)) $$(UNIT_SRCS:tests/unit/%.c=build/$(1)/build/gen/tests/%.tab.o)
endef
$(foreach m,dbg asan,$(eval $(call TEST_MODE,$(m))))

.PHONY: unit asan-unit
unit: $(UNIT_SRCS:%.c=build/dbg/%)	## unit tests (T=name: one program)
	@tests/lib/run-tap.sh $^
asan-unit: $(UNIT_SRCS:%.c=build/asan/%)	## unit tests under the address and undefined-behaviour sanitizers
	@tests/lib/run-tap.sh $^

# Fuzzers: tests/fuzz/fuzz_X.c with seeds in tests/fuzz/corpus/X.  `make fuzz T=json MIN=5` runs one, without T each
# in turn; what it finds on the way stays in build/fuzz/corpus-X.
MIN ?= 1
FUZZ_CC ?= clang
FUZZ_ALL := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ := $(if $(T),$(filter $(T),$(FUZZ_ALL)),$(FUZZ_ALL))
CFLAGS_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
	-fno-strict-aliasing -DHATCHET_FAULTS -DHATCHET_SLOW_CHECKS
LDFLAGS_fuzz := -fsanitize=fuzzer,address,undefined
CC_fuzz := $(FUZZ_CC)
$(eval $(call MODE,fuzz))
build/fuzz/fuzz_%: build/fuzz/tests/fuzz/fuzz_%.o build/fuzz/tests/lib/netserver.o build/fuzz/tests/lib/tlsclient.o build/fuzz/lib.a
	$(FUZZ_CC) $(CFLAGS_fuzz) $(LDFLAGS_fuzz) -o $@ $^ $(LIBS)
build/asan/fuzz_%: build/asan/tests/fuzz/fuzz_%.o build/asan/tests/fuzz/replay.o build/asan/tests/lib/netserver.o build/asan/tests/lib/tlsclient.o build/asan/lib.a
	$(CC) $(CFLAGS_asan) $(LDFLAGS_asan) -o $@ $^ $(LIBS)
.SECONDARY: $(call kept,fuzz,$(wildcard tests/fuzz/*.c) tests/lib/netserver.c tests/lib/tlsclient.c) $(call kept,asan,$(wildcard tests/fuzz/*.c))

.PHONY: fuzz fuzz-replay
fuzz: $(FUZZ:%=build/fuzz/fuzz_%)	## fuzz for MIN minutes each (T=json: one of them); needs clang
	@for x in $(FUZZ); do \
		mkdir -p build/fuzz/corpus-$$x tests/fuzz/corpus/$$x && \
		echo "fuzz $$x, $(MIN) min" && \
		build/fuzz/fuzz_$$x -max_total_time=$$(($(MIN) * 60)) -timeout=10 -rss_limit_mb=1500 -print_final_stats=1 $$(ls tests/fuzz/$$x.dict 2>/dev/null | sed 's/^/-dict=/') \
			-artifact_prefix=build/fuzz/crash-$$x- build/fuzz/corpus-$$x tests/fuzz/corpus/$$x \
			>build/fuzz/$$x.log 2>&1 || { tail -n 40 build/fuzz/$$x.log; exit 1; }; \
		grep -E 'number_of_executed|new_units' build/fuzz/$$x.log; \
	done
fuzz-replay: $(FUZZ:%=build/asan/fuzz_%)	## feed every fuzz corpus to its program, under the sanitizers
	@for x in $(FUZZ); do \
		build/asan/fuzz_$$x tests/fuzz/corpus/$$x >build/asan/replay-$$x.log 2>&1 || \
			{ echo "fuzz_$$x failed:"; tail -n 40 build/asan/replay-$$x.log; exit 1; }; \
		echo "fuzz_$$x: $$(grep -c '^tests/' build/asan/replay-$$x.log) inputs"; \
	done
