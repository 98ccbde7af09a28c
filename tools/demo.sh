#!/bin/sh
# From nothing to a task's result: make demo.  YES=1 asks nothing, KEEP=1 leaves the server running.
set -eu
cd "$(dirname "$0")/.."
dir=$PWD/build/demo
# Postgres, which does not run as root, may not reach this checkout: root's data stands elsewhere, apart for each checkout
if [ "$(id -u)" = 0 ]; then data=/var/lib/hatchet-demo/$(printf %s "$PWD" | cksum | cut -d ' ' -f 1); else data=$dir/data; fi
missing=$(tools/setup.sh --run --list)
server=
worker=

say() { echo "== $*"; }

ask() {
	printf '%s [y/N] ' "$1"
	read -r answer || answer=
	case $answer in y | Y | yes) ;; *) return 1 ;; esac
}

end() {	# $1: its process, gone after at most 15 s
	kill "$1" 2>/dev/null || return 0
	tries=0
	while kill -0 "$1" 2>/dev/null && [ "$tries" -lt 150 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	kill -9 "$1" 2>/dev/null || true
}

stop() {
	[ -z "$worker" ] || end "$worker"
	[ -z "$server" ] || end "$server"
}

await() {	# $1: what, $2: its process, $3: its log; then the command that tells
	what=$1 process=$2 log=$3
	shift 3
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		if ! kill -0 "$process" 2>/dev/null || [ "$tries" -ge 600 ]; then
			cat "$log"
			echo "The $what did not start; its log is $log"
			exit 1
		fi
		sleep 0.1
	done
}

echo "This demo"
[ -z "$missing" ] || echo "  installs these packages of the distribution: $missing"
[ -e build/venv/.done ] || echo "  installs the official Python SDK, with what it needs, into build/venv"
echo "  builds build/hatchet and starts it with a Postgres of its own in $data (that of an earlier demo goes),"
echo "  runs a worker and a trigger written with the official Python SDK."
if [ "${YES:-}" != 1 ] && ! ask "Go on?"; then
	echo "Nothing was done; YES=1 make demo goes on without a question."
	exit 1
fi

say "packages"
tools/setup.sh --run
say "build"
make -s -j2 all venv
# settings of another server or client must not reach this one
for name in $(env | sed -n 's/^\(\(SERVER\|HATCHET\|DATABASE\)_[A-Z0-9_]*\)=.*/\1/p'); do
	unset "$name"
done
if build/hatchet server status --data-dir "$data" >/dev/null 2>&1; then
	echo "The server of an earlier demo is still running; stop it with:  build/hatchet server stop --data-dir $data"
	exit 1
fi
mkdir -p "$dir"
rm -rf "$data" "$dir/env" "$dir/worker.log"	# from nothing: what an older build left there may not even be readable for this one
trap stop EXIT
trap 'exit 130' INT TERM HUP PIPE

say "server"
setsid build/hatchet server start --dashboard-port 0 --grpc-port 0 --data-dir "$data" --env-file "$dir/env" >"$dir/server.log" 2>&1 </dev/null &
server=$!
await server "$server" "$dir/server.log" test -f "$dir/env"
set -a
# shellcheck disable=SC1091 # written by the server
. "$dir/env"
set +a

say "worker"
PYTHONUNBUFFERED=1 build/venv/bin/python examples/python/worker.py >"$dir/worker.log" 2>&1 </dev/null &
worker=$!
await worker "$worker" "$dir/worker.log" grep -q 'waiting for tasks' "$dir/worker.log"

say "trigger"
if ! result=$(timeout 60 build/venv/bin/python examples/python/trigger.py 2>"$dir/trigger.log"); then
	cat "$dir/trigger.log" "$dir/worker.log"
	exit 1
fi
end "$worker"
worker=
echo
echo "result      $result"
echo "dashboard   $HATCHET_CLIENT_SERVER_URL"
echo "gRPC        $HATCHET_CLIENT_HOST_PORT"
echo "env file    $dir/env"
if [ "${KEEP:-}" != 1 ] && [ "${YES:-}" != 1 ] && [ -t 0 ] && ask "Leave the server running?"; then
	KEEP=1
fi
if [ "${KEEP:-}" = 1 ]; then
	server=
	echo "The server runs on.  Its clients' environment: set -a; . $dir/env"
	echo "Stop it with:  build/hatchet server stop --data-dir $data"
fi
