# Objects per mode (rel, dbg, asan) from wildcards; one archive without main, so that tests link what they need.
SRCS := $(foreach m,$(MODULES),$(wildcard src/$(m)/*.c))
LIB_SRCS := $(filter-out src/app/main.c,$(SRCS))
GEN_SRCS := $(GEN_PB_C) build/gen/sql.c

define MODE
build/$(1)/%.o: %.c | $$(GEN)
	@mkdir -p $$(@D)
	@echo '  CC $$@'; $$(CC) $$(CSTD) $$(CPPFLAGS) $$(CFLAGS_$(1)) $$(if $$(filter build/gen/%,$$<),-w,$$(WARN) $$(ALWAYS)) -Isrc/$$(word 2,$$(subst /, ,$$<)) -Itests/lib -MD -MP -c -o $$@ $$<
build/$(1)/embed.o: build/gen/embed.S
	@mkdir -p $$(@D)
	@$$(CC) -c -o $$@ $$<
build/$(1)/lib.a: $$(LIB_SRCS:%.c=build/$(1)/%.o) $$(GEN_SRCS:%.c=build/$(1)/%.o) build/$(1)/embed.o
	@rm -f $$@; ar rcs $$@ $$^
build/$(1)/hatchet: build/$(1)/src/app/main.o build/$(1)/lib.a
	@echo '  LD $$@'; $$(CC) $$(CFLAGS_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$^ $$(LIBS)
endef
$(foreach m,rel dbg asan,$(eval $(call MODE,$(m))))
build/hatchet: build/rel/hatchet
	@cp --remove-destination $< $@
-include $(shell find build -name '*.d' 2>/dev/null)
