# The whole test suite: tools/run-suites.py runs what it names, one line over all at the end.
# `make test S="unit cli"` runs the named suites only.
S ?=
.PHONY: test setup venv sdk-ts sdk-go sql-clients
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
# drivers of Postgres, for the programs that enqueue by SQL
SQL_CLIENTS := tests/e2e/sqlfront
sql-clients: build/sqlfront/python/.done build/sqlfront/node/.done	## build/sqlfront: what the programs of tests/e2e/sqlfront need
	cd $(SQL_CLIENTS) && GOFLAGS=-buildvcs=false go build -o $(CURDIR)/build/sqlfront/client .
build/sqlfront/python/.done: $(SQL_CLIENTS)/requirements.txt build/venv/.done
	@rm -rf $(@D); mkdir -p $(@D)
	build/venv/bin/python -m pip install --quiet --disable-pip-version-check --target $(@D) -r $<
	@touch $@
build/sqlfront/node/.done: $(SQL_CLIENTS)/package.json $(SQL_CLIENTS)/package-lock.json
	@rm -rf $(@D); mkdir -p $(@D)
	@cp $^ $(@D)/
	cd $(@D) && npm ci --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
.PHONY: sdk-tls
sdk-tls: all venv sdk-ts sdk-go	## the three SDKs without TLS, with it, and with mutual TLS
	@build/venv/bin/python tests/sdk/tls.py
# go.sum holds the checksums; Go 1.21 or later fetches the toolchain that go.mod asks for
sdk-go:	## build/sdk-go/suite: the suite of the Go SDK
	@mkdir -p build/sdk-go
	cd tests/sdk/go && GOFLAGS=-buildvcs=false go build -o $(CURDIR)/build/sdk-go/suite .
