# Libraries built from source packages into a cache outside the tree; see deps.lock.
MBEDCRYPTO := $(DEPS_CACHE)/lib/libmbedcrypto.a
.PHONY: deps
deps:	## fetch and build the libraries of deps.lock (DEPS_DIR=folder of tarballs: offline)
	@CC="$(CC)" tools/build-deps.sh "$(DEPS_CACHE)"
# made once when it is missing; a changed deps.lock takes effect with `make deps`
$(MBEDCRYPTO):
	@CC="$(CC)" tools/build-deps.sh "$(DEPS_CACHE)"
$(foreach m,rel dbg asan clang,build/$(m)/lib.a $(patsubst %.c,build/$(m)/%.o,$(wildcard src/crypto/*.c))): | $(MBEDCRYPTO)
