# Tests against a private Postgres: `make test-db`, `make test-db T=flush` one program of it.
DB_TEST_SRCS := $(if $(T),$(wildcard tests/db/test_$(T).c),$(wildcard tests/db/test_*.c))

build/gen/tests/%.tab.c: tests/db/%.c mk/db.mk
	@mkdir -p $(@D)
	@{ echo '#include "tap.h"'; \
	   sed -n 's/^TEST(\([a-z0-9_]*\)).*/void test_\1(void);/p' $<; \
	   echo 'const struct tap_test tap_table[] = {'; \
	   sed -n 's/^TEST(\([a-z0-9_]*\)).*/	{"\1", test_\1},/p' $<; \
	   echo '	{NULL, NULL},'; echo '};'; } > $@
.SECONDARY: $(DB_TEST_SRCS:tests/db/%.c=build/gen/tests/%.tab.c)

define DB_TEST_MODE
build/$(1)/tests/db/test_%: build/$(1)/tests/db/test_%.o build/$(1)/build/gen/tests/test_%.tab.o \
		build/$(1)/testlib.a build/$(1)/lib.a
	$$(CC) $$(CFLAGS_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$^ $$(LIBS)
.SECONDARY: $$(DB_TEST_SRCS:%.c=build/$(1)/%.o) $$(DB_TEST_SRCS:tests/db/%.c=build/$(1)/build/gen/tests/%.tab.o)
endef
$(foreach m,dbg asan,$(eval $(call DB_TEST_MODE,$(m))))

.PHONY: test-db asan-db
test-db: $(DB_TEST_SRCS:%.c=build/dbg/%)	## tests of db and store against a private Postgres (T=name: one program)
	@tests/lib/run-tap.sh $^
asan-db: $(DB_TEST_SRCS:%.c=build/asan/%)	## the same under the sanitizers
	@tests/lib/run-tap.sh $^
