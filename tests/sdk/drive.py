#!/usr/bin/env python3
"""Run the suite of one SDK: drive.py python|typescript|go.

Starts two servers, each on a Postgres of its own: one for the cases that share a server, one that is restarted under a
running task together with its Postgres.  The suite learns of them by HATCHET_CLIENT_* and asks for restarts over HTTP
at CONTROL_URL.  Closes with the sum of both halves."""
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
from hatchet import PgNode, Server  # noqa: E402

LINE = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
HALF_SECONDS = 280


def build(*parts):
    return os.path.join(TOP, "build", *parts)


def command(sdk, group):
    if sdk == "python":
        return [build("venv", "bin", "python"), os.path.join(HERE, "python", "suite.py"), group]
    if sdk == "typescript":
        return ["node", os.path.join(HERE, "typescript", "suite.js"), group]
    if sdk == "go":
        return [build("sdk-go", "suite"), group]
    raise SystemExit(f"no suite for {sdk}")


class Control(http.server.BaseHTTPRequestHandler):
    """What a suite may ask of the machine it runs on."""

    def do_GET(self):
        try:
            if self.path == "/restart-server":
                self.server.hatchet.kill9()
                self.server.hatchet.start()
            elif self.path == "/restart-postgres":
                self.server.pg.kill9()
                self.server.pg.start()
                self.server.hatchet.wait_ready()
            else:
                raise ValueError(f"no such request: {self.path}")
            self.reply(200, {"ok": True})
        except Exception as e:
            self.reply(500, {"error": repr(e)})

    def reply(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


def half(sdk, group, logs, sums):
    """One half of the cases on a server of its own."""
    marks = os.path.join(logs, group)
    shutil.rmtree(marks, ignore_errors=True)
    os.makedirs(marks)
    home = tempfile.mkdtemp(prefix="hatchet-sdk-home-")
    pg = server = None
    out = []
    try:
        pg = PgNode()
        pg.start()
        server = Server(pg)
        server.start()
        control = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Control)
        control.hatchet, control.pg = server, pg
        threading.Thread(target=control.serve_forever, daemon=True).start()
        env = {k: os.environ[k] for k in ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE") if k in os.environ}
        env.update(server.client_env(), HOME=home, SUITE_DIR=marks, NODE_PATH=build("sdk-ts", "node_modules"), PYTHONDONTWRITEBYTECODE="1",
                   CONTROL_URL="http://127.0.0.1:%d/" % control.server_address[1])
        p = subprocess.Popen(command(sdk, group), env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace")
        timer = threading.Timer(HALF_SECONDS, p.kill)
        timer.start()
        for line in p.stdout:
            m = LINE.match(line.strip())
            if m:
                out.append([int(n) for n in m.groups()])
            else:
                print(f"{group}: {line}", end="", flush=True)
        p.wait()
        timer.cancel()
        control.shutdown()
        if not server.alive():
            print(f"not ok - {group}: the server ended by itself", flush=True)
            out.append([0, 1, 0])
    except Exception as e:
        print(f"not ok - {group}: {type(e).__name__}: {e}", flush=True)
        out = [[0, 1, 0]]
    finally:
        for x in (server, pg):
            try:
                if x:
                    x.stop()
            except Exception as e:
                print(f"not ok - {group}: stopping: {e!r}", flush=True)
                out.append([0, 1, 0])
        if server:
            server.save_log(os.path.join(logs, f"server-{group}.log"))
        shutil.rmtree(home, ignore_errors=True)
    sums[group] = [sum(c) for c in zip(*out)] if out else [0, 1, 0]


def main(sdk):
    began = time.monotonic()
    logs = build("test-logs", "sdk-" + sdk)
    os.makedirs(logs, exist_ok=True)
    sums = {}
    threads = [threading.Thread(target=half, args=(sdk, g, logs, sums)) for g in ("main", "restart")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    passed, failed, skipped = (sum(c) for c in zip(*sums.values()))
    print(f"# {time.monotonic() - began:.0f} s")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
