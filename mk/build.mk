# Objects per mode (rel, arm64, opt, dbg, asan) from wildcards; one archive without main, so that tests link what they need.
SRCS := $(foreach m,$(MODULES),$(wildcard src/$(m)/*.c))
LIB_SRCS := $(filter-out src/app/main.c,$(SRCS))
GEN_SRCS := $(GEN_PB_C) build/gen/sql.c

# what a mode does not say for itself: the compiler, flags and libraries of the machine
cc = $(or $(CC_$(1)),$(CC))
cppflags = $(or $(CPPFLAGS_$(1)),$(CPPFLAGS))
libs = $(or $(LIBS_$(1)),$(LIBS))

# build/MODE/flags: what was compiled with other flags is compiled again
define MODE
build/$(1)/flags: FORCE
	@mkdir -p $$(@D)
	@echo '$(call cc,$(1)) $$(CSTD) $$(call cppflags,$(1)) $$(CFLAGS_$(1)) $$(WARN) $$(ALWAYS)' >$$@.new
	@cmp -s $$@ $$@.new || cp $$@.new $$@; rm $$@.new
build/$(1)/%.o: %.c build/$(1)/flags | $$(GEN) build/deps-$(call flavour,$(1))
	@mkdir -p $$(@D)
	@echo '  CC $$@'; $(call cc,$(1)) $$(CSTD) $$(call cppflags,$(1)) $$(CFLAGS_$(1)) $$(if $$(filter build/gen/%,$$<),-w,$$(WARN) $$(ALWAYS)) -Isrc/$$(word 2,$$(subst /, ,$$<)) -Itests/lib -MD -MP -c -o $$@ $$<
build/$(1)/embed.o: build/gen/embed.S | build/deps-$(call flavour,$(1))
	@mkdir -p $$(@D)
	@$(call cc,$(1)) -c -o $$@ $$<
build/$(1)/payload.o: build/deps-$(call flavour,$(1)) mk/build.mk
	@mkdir -p $$(@D)
	@echo '$$(call payload,$$(PAYLOAD_$(1)))' | $(call cc,$(1)) -x assembler -c -o $$@ -
build/$(1)/share.o: build/gen/THIRD-PARTY-$(call flavour,$(1)) mk/build.mk
	@mkdir -p $$(@D)
	@echo '$$(call carried,hatchet_licences,$$<.z) $$(call carried,hatchet_zones,$(DEPS)/$(call flavour,$(1))/share/zones.bin)' | \
		$(call cc,$(1)) -x assembler -c -o $$@ -
build/$(1)/lib.a: $$(LIB_SRCS:%.c=build/$(1)/%.o) $$(GEN_SRCS:%.c=build/$(1)/%.o) build/$(1)/embed.o build/$(1)/payload.o build/$(1)/share.o
	@rm -f $$@; ar rcs $$@ $$^
build/$(1)/hatchet: build/$(1)/src/app/main.o build/$(1)/lib.a $$(if $$(FLAVOUR_$(1)),build/deps-$$(FLAVOUR_$(1)))
	@echo '  LD $$@'; $(call cc,$(1)) $$(CFLAGS_$(1)) $$(LDFLAGS_$(1)) -o $$@ $$(filter %.o %.a,$$^) $$(call libs,$(1))
endef
# carried SYMBOL,FILE: its bytes between SYMBOL and SYMBOL_end
carried = .section .rodata.$(1),"a"; .globl $(1), $(1)_end; .balign 16; $(1): .incbin "$(2)"; $(1)_end: .byte 0; \
	.section .note.GNU-stack,"",%progbits;
build/gen/THIRD-PARTY-%: build/deps-% LICENSE tools/third-party.py
	@mkdir -p build/gen
	@python3 tools/third-party.py $(DEPS)/$*/share/licences $@
build/THIRD-PARTY: build/gen/THIRD-PARTY-x64
	@cp $< $@
# The database that ships inside, or nothing between the two symbols.
PAYLOAD_rel := $(DEPS)/x64/postgres.tar.zst
PAYLOAD_arm64 := $(DEPS)/arm64/postgres.tar.zst
payload = .section .rodata.payload,"a"; .globl hatchet_pg_payload, hatchet_pg_payload_end; .balign 16; \
	hatchet_pg_payload: $(if $(and $(1),$(shell ls $(1) 2>/dev/null)),.incbin "$(1)";) hatchet_pg_payload_end: .byte 0; \
	.section .note.GNU-stack,"",%progbits
$(foreach m,rel arm64 opt dbg asan,$(eval $(call MODE,$(m))))

# As shipped: stripped, what a debugger wants lies beside it.
build/hatchet: build/rel/hatchet build/THIRD-PARTY
	@objcopy --only-keep-debug --compress-debug-sections $< $@.debug
	@objcopy --strip-all --add-gnu-debuglink=$@.debug $< $@.new
	@mv $@.new $@
# the same for 64 bit ARM, whose archive takes the template of the database from this machine's
.PHONY: arm64
arm64: build/hatchet-arm64	## build/hatchet-arm64: the program for 64 bit ARM, cross-compiled
build/deps-arm64: build/deps-x64
build/hatchet-arm64: build/arm64/hatchet
	@aarch64-linux-gnu-objcopy --only-keep-debug --compress-debug-sections $< $@.debug
	@aarch64-linux-gnu-objcopy --strip-all --add-gnu-debuglink=$@.debug $< $@.new
	@mv $@.new $@
-include $(shell find build -name '*.d' 2>/dev/null)
