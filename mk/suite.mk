# The whole test suite: tools/run-suites.py runs what it names, one line over all at the end.
# `make test S="unit cli"` runs the named suites only.
S ?=
.PHONY: test setup venv sdk-ts sdk-go
setup:	## install the packages that building and testing need
	@tools/setup.sh
test: setup	## everything: installs what is missing, builds, runs all suites (S="unit cli": those)
	@CI=$(CI) python3 tools/run-suites.py $(S)

# Python with the official SDK and gRPC, from pinned versions
venv: build/venv/.done	## build/venv: Python with the packages of tests/sdk/python/requirements.txt
build/venv/.done: tests/sdk/python/requirements.txt
	@rm -rf build/venv; mkdir -p build
	python3 -m venv build/venv
	build/venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
# the SDK's packages as locked; none of their install scripts is needed
sdk-ts: build/sdk-ts/.done	## build/sdk-ts: the packages of tests/sdk/typescript/package-lock.json
build/sdk-ts/.done: tests/sdk/typescript/package.json tests/sdk/typescript/package-lock.json
	@rm -rf build/sdk-ts; mkdir -p build/sdk-ts
	@cp $^ build/sdk-ts/
	cd build/sdk-ts && npm ci --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
.PHONY: sdk-tls
sdk-tls: all venv sdk-ts sdk-go	## the three SDKs without TLS, with it, and with mutual TLS
	@build/venv/bin/python tests/sdk/tls.py
# go.sum holds the checksums; Go 1.21 or later fetches the toolchain that go.mod asks for
sdk-go:	## build/sdk-go/suite: the suite of the Go SDK
	@mkdir -p build/sdk-go
	cd tests/sdk/go && GOFLAGS=-buildvcs=false go build -o $(CURDIR)/build/sdk-go/suite .
