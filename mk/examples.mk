# What the examples need, installed as their own READMEs say, from their own files, beside the tree.
.PHONY: example-pytest example-jest example-vitest example-quickstart
example-pytest: build/examples/venv/.done	## what examples/pytest needs, in build/examples
build/examples/venv/.done: examples/pytest/requirements.txt
	@rm -rf build/examples/venv; mkdir -p build/examples
	python3 -m venv build/examples/venv
	build/examples/venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
example-jest: build/examples/jest/.done	## the same for examples/jest
example-vitest: build/examples/vitest/.done	## the same for examples/vitest
example-quickstart: build/examples/quickstart/.done	## the same for the TypeScript project of `hatchet quickstart`
# The locks are for us and our platform: a project that is copied from examples/ makes one of its own.
# $(1): name, $(2): its folder
define NODE_EXAMPLE
build/examples/$(1)/.done: $(2)/package.json tests/e2e/locks/$(1).json
	@rm -rf build/examples/$(1); mkdir -p build/examples/$(1)
	@cp $$< build/examples/$(1)/; cp tests/e2e/locks/$(1).json build/examples/$(1)/package-lock.json
	cd build/examples/$(1) && npm install --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $$@
endef
$(foreach x,jest vitest,$(eval $(call NODE_EXAMPLE,$(x),examples/$(x))))
$(eval $(call NODE_EXAMPLE,quickstart,quickstart/typescript))
