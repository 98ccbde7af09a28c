# Unit tests and fuzzers.  `make unit` runs all of tests/unit, `make unit T=heap` one program of it.
T ?=
# made by pattern rules, yet never to be deleted as leftovers
.SECONDARY: $(GEN_PB_C) $(GEN_PB_C:%.c=%.h)
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
.PRECIOUS: build/gen/tests/%.tab.c

define TEST_MODE
build/$(1)/testlib.a: $$(TESTLIB_SRCS:%.c=build/$(1)/%.o)
	@rm -f $$@; ar rcs $$@ $$^
build/$(1)/tests/unit/test_%: build/$(1)/tests/unit/test_%.o build/$(1)/build/gen/tests/test_%.tab.o \
		build/$(1)/testlib.a build/$(1)/lib.a
	$$(CC) $$(CFLAGS_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$^ $$(LIBS)
.PRECIOUS: build/$(1)/tests/unit/test_%.o build/$(1)/build/gen/tests/test_%.tab.o build/$(1)/tests/unit/test_%
endef
$(foreach m,dbg asan,$(eval $(call TEST_MODE,$(m))))

.PHONY: unit asan-unit
unit: $(UNIT_SRCS:%.c=build/dbg/%)	## unit tests (T=name: one program)
	@tests/lib/run-tap.sh $^
asan-unit: $(UNIT_SRCS:%.c=build/asan/%)	## unit tests under the address and undefined-behaviour sanitizers
	@tests/lib/run-tap.sh $^
