#!/usr/bin/env python3
"""make bench: the figures of docs/performance.md, in one run on one machine.

    run.py [--quick] [--full]

A durable private Postgres, the release build, the load driver beside them.  Medians of ROUNDS; ratios are taken within one
round, since absolute times drift with the machine.  Writes build/bench.json, appends to bench/results.jsonl.
--quick: small counts, one round, no idle minute (the figure is then missing).  --full: the backlog of a million."""
import glob
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
from hatchet import PgNode, Server, until  # noqa: E402

QUICK = "--quick" in sys.argv
FULL = "--full" in sys.argv
ROUNDS = 1 if QUICK else 5
TASKS = 10000 if QUICK else 60000
DRIVER = os.path.join(TOP, "build", "bench", "driver")
FLOOR = os.path.join(TOP, "build", "bench", "floor")
SETTINGS = ["shared_buffers = 1GB", "max_wal_size = 8GB", "checkpoint_timeout = 30min", "log_line_prefix = '%m [%p] db=%d '"]
# keyed concurrency: one entry, two, as many keys as tasks, and few keys that all wait for
KEYED = {"key_one": ["--keys", 1000], "key_two": ["--keys", 1000, "--entries", 2], "key_100k": ["--keys", 100000, "--limit", 1],
         "key_busy": ["--keys", 50, "--limit", 20],
         # rate limits that nobody reaches: one for all tasks, and one for each
         "limit_one": ["--keys", 1, "--metered"], "limit_own": ["--keys", 100000, "--metered"],
         "priorities": ["--priorities"], "batch": ["--batched", 50], "idem_ttl": ["--idempotent", "ttl"], "idem_status": ["--idempotent", "status"],
         # each task is run twice: attempts count
         "retries": ["--retries"],
         "mixed": ["--keys", 1000, "--entries", 2, "--priorities", "--idempotent", "status"]}
TARGETS = {
    "engine_bulk_tasks_per_s": (">=", 10000), "engine_single_tasks_per_s": (">=", 4000), "start_p99_ms_at_500": ("<=", 15),
    "wal_bytes_per_task": ("<=", 1500), "commits_per_task": ("<=", 0.3), "idle_statements_per_min": ("<=", 0),
    "rss_idle_mb": ("<=", 15), "ready_ms": ("<=", 100),
    "ephemeral_ready_ms": ("<=", 300), "backlog_slowdown": ("<=", 0.2), "backlog_other_queue_slowdown": ("<=", 0.2),
    "backlog_growth_mb": ("<=", 200), **{f"{row}_ratio": (">=", 0.5) for row in KEYED},
}


def say(text):
    print(text, file=sys.stderr, flush=True)


def cpu_seconds(pid, children=False):
    with open(f"/proc/{pid}/stat") as f:
        v = f.read().rsplit(")", 1)[1].split()
    own = int(v[11]) + int(v[12])
    return (own + (int(v[13]) + int(v[14]) if children else 0)) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024


def pss_mb(pid):
    """Proportional: Postgres' shared memory counts once over all its processes.  0: ended meanwhile."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            for line in f:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0


class Bench:
    def __init__(self):
        self.pg = PgNode(durable=True, settings=SETTINGS)
        self.pg.start()
        self.server = Server(self.pg, db=self.new_db())
        self.server.start()
        self.names = 0

    def new_db(self):
        self.pg.sql("create database bench")
        return "bench"

    def backends(self):
        found = []
        for p in glob.glob("/proc/[0-9]*/cwd"):
            try:
                if os.readlink(p) == self.pg.data:
                    found.append(int(p.split("/")[2]))
            except OSError:
                pass
        return found

    def pg_cpu(self):
        # ended backends are counted by the postmaster, which has reaped them
        total = cpu_seconds(self.pg.process.pid, children=True)
        for pid in self.backends():
            if pid != self.pg.process.pid:
                try:
                    total += cpu_seconds(pid)
                except OSError:
                    pass
        return total

    def number(self, sql):
        return int(self.pg.sql(sql)[0][0])

    def wal(self):
        return self.number("select (pg_current_wal_insert_lsn() - '0/0')::int8")

    def commits(self):
        """Transactions that wrote; exact at once, unlike pg_stat_database, which idle sessions feed late."""
        return self.number("select pg_snapshot_xmax(pg_current_snapshot())::text::int8")

    def drive(self, *words):
        self.names += 1
        env = dict(os.environ, **self.server.client_env())
        p = subprocess.run([DRIVER, "--port", str(self.server.grpc_port), "--name", f"b{self.names}", *map(str, words)], env=env,
                           stdout=subprocess.PIPE, text=True, timeout=400)
        if p.returncode:
            raise RuntimeError(f"driver: {p.returncode}: {self.server.tail()}")
        return json.loads(p.stdout)

    def measured(self, *words):
        """A run with what it cost: WAL, commits, CPU of both."""
        commits, wal, engine, pg = self.commits(), self.wal(), cpu_seconds(self.server.process.pid), self.pg_cpu()
        got = self.drive(*words)
        n = got["tasks"]
        got["wal"] = (self.wal() - wal) / n
        got["engine_us"] = (cpu_seconds(self.server.process.pid) - engine) / n * 1e6
        got["postgres_us"] = (self.pg_cpu() - pg) / n * 1e6
        got["commits"] = (self.commits() - commits) / n
        return got

    def floor(self):
        return float(subprocess.run([FLOOR, self.pg.url("postgres"), "2" if QUICK else "5"], stdout=subprocess.PIPE, text=True,
                                    check=True, timeout=60).stdout)

    def ready_ms(self):
        """From exec to 200 of /ready."""
        def ready():
            try:
                with socket.create_connection(("127.0.0.1", self.server.http_port), timeout=1) as c:
                    c.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    return b" 200 " in c.recv(64)
            except OSError:
                return False

        self.server.stop_server()
        began = time.monotonic()
        self.server.spawn()
        until("ready", ready, 30, every=0.0005)
        return (time.monotonic() - began) * 1000

    def ephemeral_ready_ms(self):
        """From exec to the environment file of a server with a throw-away Postgres of its own, the one inside."""
        server = Server(None, flags=["--ephemeral"])
        try:
            began = time.monotonic()
            server.spawn()
            until("ready", lambda: os.path.exists(server.env_file), 30, every=0.0005)
            return (time.monotonic() - began) * 1000
        finally:
            server.stop_server()
            server.close()

    def idle_statements(self):
        """Of one minute with ten workers connected and beating: every statement that Postgres logs for the server's database."""
        def logged():
            with open(self.pg.log, errors="replace") as f:
                f.seek(at)
                return re.findall(r"^.*db=bench LOG:  (?:statement|execute).*$", f.read(), re.M)

        env = dict(os.environ, **self.server.client_env())
        p = subprocess.Popen([DRIVER, "--port", str(self.server.grpc_port), "--name", "idle", "--workers", "10", "--slots", "10",
                              "--idle", "70"], env=env, stdout=subprocess.PIPE, text=True)
        p.stdout.readline()
        self.pg.sql("alter system set log_statement = 'all'")
        self.pg.sql("select pg_reload_conf()")
        until("statements are logged", lambda: self.pg.sql("show log_statement") == [["all"]])
        at = os.path.getsize(self.pg.log)
        self.pg.sql("select 1", db="bench")
        until("our own is seen", logged)
        time.sleep(3)  # what the registrations still write
        at = os.path.getsize(self.pg.log)
        time.sleep(60)  # the minute is what is measured
        got = logged()
        self.pg.sql("alter system reset log_statement")
        self.pg.sql("select pg_reload_conf()")
        if p.wait(30):
            raise RuntimeError(f"driver: {p.returncode}")
        for line in got[:5]:
            say("  " + line)
        return len(got)

    def close(self):
        self.server.stop()
        self.server.close()
        self.pg.stop()


def backlog(b, out):
    """A million waiting: what of it an assignment feels, in its own queue and in another."""
    n = 200000 if not FULL else 1000000
    window = ["--tasks", TASKS, "--window", 1500]
    plain = statistics.median(b.drive(*window)["tasks_per_s"] for _ in range(1 if QUICK else 3))
    own = b.drive("--tasks", n, "--batch", 500, "--delay", max(5, n // 40000))["drain_per_s"]
    b.server.stop_server()  # memory as it is before any backlog
    b.server.start()
    before = rss_mb(b.server.process.pid)
    b.drive("--tasks", n, "--batch", 500, "--no-worker")
    out["backlog_tasks"] = n
    out["backlog_growth_mb"] = rss_mb(b.server.process.pid) - before
    other = statistics.median(b.drive(*window)["tasks_per_s"] for _ in range(1 if QUICK else 3))
    out["backlog_other_queue_slowdown"] = 1 - other / plain
    out["backlog_slowdown"] = 1 - own / plain


def main():
    b = Bench()
    out = {}
    rounds = []
    try:
        say("ready")
        out["ready_ms"] = statistics.median(b.ready_ms() for _ in range(ROUNDS))
        out["ephemeral_ready_ms"] = statistics.median(b.ephemeral_ready_ms() for _ in range(3 * ROUNDS))
        out["rss_idle_mb"] = rss_mb(b.server.process.pid)
        b.drive("--tasks", TASKS // 2, "--window", 1500)  # warm: pages, plans
        for i in range(ROUNDS):
            say(f"round {i + 1} of {ROUNDS}")
            r = {"floor": b.floor(), "bulk": b.measured("--tasks", TASKS, "--window", 1500)}
            r["rss"] = rss_mb(b.server.process.pid)
            r["single"] = b.measured("--tasks", TASKS // 2, "--batch", 1, "--calls", 64)
            for row, words in KEYED.items():
                r[row] = b.measured("--tasks", TASKS // 2, "--window", 1500, *words)
            rounds.append(r)
            say("  " + ", ".join(f"{row} {r[row]['tasks_per_s'] / r['bulk']['tasks_per_s']:.2f}" for row in KEYED))
            say(f"  floor {r['floor']:.0f}/s, bulk {r['bulk']['tasks_per_s']:.0f}/s, single {r['single']['tasks_per_s']:.0f}/s")
        if not QUICK:
            say("idle minute")  # long after the start, whose maintenance is no idling
            out["idle_statements_per_min"] = b.idle_statements()
        say("at 500/s")
        rate = [b.drive("--tasks", 5000, "--batch", 1, "--rate", 500) for _ in range(1 if QUICK else 3)]
        say("through head and tail")
        head = b.measured("--tasks", min(TASKS, 30000), "--delay", 2)
        out["rss_postgres_mb"] = sum(pss_mb(p) for p in b.backends())
        tail = b.measured("--tasks", 260000 if not QUICK else 210000, "--batch", 500, "--delay", 6)
        say("backlog")
        backlog(b, out)

        def med(f):
            return statistics.median(f(r) for r in rounds)
        out.update(
            floor_tasks_per_s=med(lambda r: r["floor"]), engine_bulk_tasks_per_s=med(lambda r: r["bulk"]["tasks_per_s"]),
            engine_single_tasks_per_s=med(lambda r: r["single"]["tasks_per_s"]),
            bulk_to_floor_ratio=med(lambda r: r["bulk"]["tasks_per_s"] / r["floor"]),
            wal_bytes_per_task=med(lambda r: r["bulk"]["wal"]), wal_bytes_per_task_head=head["wal"], wal_bytes_per_task_tail=tail["wal"],
            commits_per_task=med(lambda r: r["bulk"]["commits"]), commits_per_task_single=med(lambda r: r["single"]["commits"]),
            engine_cpu_us_per_task=med(lambda r: r["bulk"]["engine_us"]), postgres_cpu_us_per_task=med(lambda r: r["bulk"]["postgres_us"]),
            drain_tail_tasks_per_s=tail["drain_per_s"], rss_loaded_mb=med(lambda r: r["rss"]))
        for row in KEYED:
            out[f"{row}_ratio"] = med(lambda r, row=row: r[row]["tasks_per_s"] * (2 if row == "retries" else 1) / r["bulk"]["tasks_per_s"])
        for name in ("ack", "start", "done", "delay"):
            for p in ("p50", "p99"):
                out[f"{name}_{p}_ms_at_500"] = statistics.median(r[f"{name}_{p}_ms"] for r in rate)
    finally:
        b.close()
    out = {k: round(v, 4) if isinstance(v, float) else v for k, v in sorted(out.items())}
    with open(os.path.join(TOP, "build", "bench.json"), "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")
    commit = subprocess.run(["git", "-C", TOP, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True).stdout.strip()
    if not QUICK:
        with open(os.path.join(TOP, "bench", "results.jsonl"), "a") as f:
            f.write(json.dumps({"commit": commit, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **out}) + "\n")
    width = max(map(len, out))
    for k, v in out.items():
        op, goal = TARGETS.get(k, (None, None))
        met = "" if op is None else "ok" if (v <= goal if op == "<=" else v >= goal) else "MISSED"
        print(f"{k:{width}}  {v:>12}  {'' if op is None else f'{op} {goal}':>10}  {met}")


if __name__ == "__main__":
    main()
