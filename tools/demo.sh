#!/bin/sh
# From nothing to a task's result: make demo.  YES=1 asks nothing, KEEP=1 leaves the server running.
set -eu
cd "$(dirname "$0")/.."
dir=$PWD/build/demo
missing=$(tools/setup.sh --list)

echo "This demo"
[ -z "$missing" ] || echo "  installs these packages of the distribution: $missing"
[ -x build/venv/bin/python ] || echo "  installs the official Python SDK into build/venv"
echo "  builds build/hatchet, starts it with a Postgres of its own in $dir,"
echo "  and runs a worker and a trigger written with the official Python SDK."
if [ "${YES:-}" != 1 ]; then
	printf 'Go on? [y/N] '
	read -r answer || answer=
	case $answer in y | Y | yes) ;; *) echo "Nothing was done."; exit 1 ;; esac
fi

say() { echo "== $*"; }
say "packages"
tools/setup.sh
say "build"
make -s -j2 all venv
mkdir -p "$dir"
chmod 755 "$dir"
rm -f "$dir/env"
say "server"
# Postgres, which does not run as root, may not reach this checkout: root's data stands elsewhere, apart for each checkout
if [ "$(id -u)" = 0 ]; then data=/var/lib/hatchet-demo/$(printf %s "$PWD" | cksum | cut -d ' ' -f 1); else data=$dir/data; fi
setsid build/hatchet server start --dashboard-port 0 --grpc-port 0 --data-dir "$data" --env-file "$dir/env" >"$dir/server.log" 2>&1 </dev/null &
server=$!
worker=
stop() {
	[ -z "$worker" ] || kill "$worker" 2>/dev/null || true
	[ "${keep:-}" = 1 ] || build/hatchet server stop --data-dir "$data" 2>/dev/null || true
}
trap stop EXIT
tries=0
until [ -f "$dir/env" ]; do
	kill -0 "$server" 2>/dev/null || { cat "$dir/server.log"; exit 1; }
	tries=$((tries + 1))
	[ "$tries" -lt 600 ] || { echo "the server is not ready after a minute; see $dir/server.log"; exit 1; }
	sleep 0.1
done
set -a
# shellcheck disable=SC1091 # written by the server
. "$dir/env"
set +a
say "worker and trigger"
PYTHONUNBUFFERED=1 build/venv/bin/python examples/python/worker.py >"$dir/worker.log" 2>&1 </dev/null &
worker=$!
if ! result=$(cd examples/python && timeout 60 ../../build/venv/bin/python trigger.py 2>"$dir/trigger.log"); then
	cat "$dir/trigger.log" "$dir/worker.log"
	exit 1
fi
echo
echo "result      $result"
echo "dashboard   $HATCHET_CLIENT_SERVER_URL"
echo "gRPC        $HATCHET_CLIENT_HOST_PORT"
echo "env file    $dir/env"
if [ "${KEEP:-}" != 1 ] && [ "${YES:-}" != 1 ] && [ -t 0 ]; then
	printf 'Leave the server running? [y/N] '
	read -r answer || answer=
	case $answer in y | Y | yes) KEEP=1 ;; esac
fi
if [ "${KEEP:-}" = 1 ]; then
	keep=1
	echo "The server runs on; stop it with: build/hatchet server stop --data-dir $data"
fi
