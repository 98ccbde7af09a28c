# The whole test suite: tools/run-suites.py runs what it names, one line over all at the end.
.PHONY: test setup
setup:	## install the packages that building and testing need
	@tools/setup.sh
test: setup	## everything: installs what is missing, builds, runs all suites
	@CI=$(CI) python3 tools/run-suites.py
