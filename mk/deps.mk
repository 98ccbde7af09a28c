# Libraries built from source packages into a cache outside the tree; see deps.lock.
FLAVOUR_rel := x64
FLAVOUR_arm64 := arm64
flavour = $(or $(FLAVOUR_$(1)),glibc)
.PHONY: deps
deps: build/deps-glibc build/deps-x64	## fetch and build the libraries of deps.lock (DEPS_DIR=folder of tarballs: offline)

# The stamp says that the cache held this tree's libraries; what did not change is not built again.
define FLAVOUR
build/deps-$(1): deps.lock tools/build-deps.sh $(wildcard tools/deps/* tools/deps/*/*) $(if $(filter glibc,$(1)),,$(wildcard src/pqtls/*) schema.sql src/store/functions.sql) \
		$(if $(realpath $(DEPS)/$(1)/lib/libmbedtls.a),,FORCE)
	@mkdir -p build
	@DEPS_VIEW="$(DEPS)" tools/build-deps.sh "$(DEPS_CACHE)" $(1)
	@touch $$@
endef
$(foreach f,glibc x64 arm64,$(eval $(call FLAVOUR,$(f))))
