# The runner of conformance cases for expressions; `make all` makes it too.
build/cel-conformance: build/rel/tests/cel/conformance.o build/rel/lib.a
	@echo '  LD $@'; $(CC_rel) $(CFLAGS_rel) $(LDFLAGS_rel) -o $@ $^ $(LIBS_rel)
build/dbg/cel-conformance: build/dbg/tests/cel/conformance.o build/dbg/lib.a
	@echo '  LD $@'; $(CC) $(CFLAGS_dbg) $(LDFLAGS_dbg) -o $@ $^ $(LIBS)
all: build/cel-conformance

# CEL_CASES: a folder of further files cel-*.jsonl, with cel-*-vars.json beside them
CEL_CASES ?=
.PHONY: cel
cel: build/cel-conformance build/cel-hostile	## conformance cases of expressions (CEL_CASES=DIR: those of a folder too)
	@build/cel-conformance --strict --vars tests/cel/vars.json tests/cel/*.jsonl
	@build/cel-hostile >build/cel-hostile.txt || { grep FAILED build/cel-hostile.txt; false; }; tail -n 2 build/cel-hostile.txt
	@for f in $(if $(CEL_CASES),$(CEL_CASES)/cel-*.jsonl); do \
		echo "$$f"; build/cel-conformance --strict --vars $$(ls $(CEL_CASES)/cel-*vars.json) $$f || exit 1; done
build/cel-hostile: build/rel/tests/cel/hostile.o build/rel/lib.a
	@echo '  LD $@'; $(CC_rel) $(CFLAGS_rel) $(LDFLAGS_rel) -o $@ $^ $(LIBS_rel)
