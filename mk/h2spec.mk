# h2spec, from the Go module proxy at a pinned version.
H2SPEC_VERSION := v2.2.1+incompatible
build/bin/h2spec: mk/h2spec.mk
	@mkdir -p build/bin
	GOBIN=$(CURDIR)/build/bin GOFLAGS=-mod=mod go install github.com/summerwind/h2spec/cmd/h2spec@$(H2SPEC_VERSION)
	@touch $@
.PHONY: h2spec
h2spec: all build/bin/h2spec	## HTTP/2 conformance of the built server
	@python3 tests/e2e/h2spec.py build/bin/h2spec
