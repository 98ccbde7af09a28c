#!/usr/bin/env python3
"""How servers end and follow each other, as workers and callers see it.  test_handover.py [NAME...]"""
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fixture  # noqa: E402
from fixture import Worker, call, d, details, equal, has, name_of, put, refused, trigger, until, v1, wait_status, wf  # noqa: E402
from hatchet import BIN, PgNode, Server  # noqa: E402
from wire import Refused, Wire  # noqa: E402

PG = None


def use(server):
    """Calls of the fixture go to that server."""
    fixture.S, fixture.W = server, Wire(server.grpc, server.token)


def says(server, part):
    """Does /ready say that, now?"""
    try:
        return part in json.dumps(server.rest("GET", "/ready", token="x")[1])
    except OSError:
        return False


def worker_of(name, **more):
    """Without a thread that beats: no test is silent for thirty seconds."""
    return Worker(name, beat=False, **more)


class RawH2:
    """A connection that only reads frames: what gRPC libraries keep to themselves."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        self.frames = []
        self.ended = threading.Event()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        f = self.sock.makefile("rb")
        try:
            while len(head := f.read(9)) == 9:
                n = int.from_bytes(head[:3], "big")
                self.frames.append((head[3], f.read(n)))
        except OSError as e:
            self.frames.append(("error", str(e)))
        self.ended.set()

    def say(self, times):
        """PINGs to a server that has said its last: none may be refused, or gRPC clients take that for the reason of the end."""
        for _ in range(times):
            self.sock.sendall(b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + 8 * b"p")
            time.sleep(0.001)  # the answer to the one before would be here by now

    def goaways(self):
        """(last stream, error code) of each GOAWAY."""
        return [struct.unpack(">II", body[:8]) for kind, body in self.frames if kind == 7]


class Obedient:
    """Works off all that its worker gets; remembers what the server said OK to."""

    def __init__(self, worker):
        self.worker = worker
        self.completed = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        at = 0
        while not self.stop.is_set():
            if at == len(self.worker.actions):
                self.stop.wait(0.002)
                continue
            a = self.worker.actions[at]
            run = a.task_run_external_id.decode()
            try:
                self.worker.completed(run, json.dumps({"of": run}), attempt=a.retry_count)
            except Refused:  # said again until it is heard
                self.stop.wait(0.05)
                continue
            at += 1
            self.completed.append(run)

    def end(self):
        self.stop.set()
        self.thread.join(30)


class Trigger:
    """Triggers without pause until told to stop; remembers what was acknowledged, and what ended it."""

    def __init__(self, server, name):
        self.wire = Wire(server.grpc, server.token)
        self.request = v1.TriggerWorkflowRequest(name=name.encode(), input=b'{"x":1}')
        self.acked, self.codes = [], []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop.is_set():
            try:
                got = call("/WorkflowService/TriggerWorkflow", self.request, wf.TriggerWorkflowResponse, self.wire, 5)
                self.acked.append(got.workflow_run_id.decode())
            except Refused as e:
                self.codes.append((e.code, e.text))
                self.stop.wait(0.02)

    def end(self):
        self.stop.set()
        self.thread.join(30)


def case_stop_under_load():
    """Exit code 0 within ten seconds; streams end with UNAVAILABLE, connections with GOAWAY; what was acknowledged is there."""
    s = Server(PG, PG.create("stopping") and "stopping")
    name = name_of("load")
    triggers, workers, idle = [], [], []
    try:
        use(s.start())
        put(name)
        workers = [Obedient(worker_of(name, slots=100)) for _ in range(3)]
        waiting = worker_of(name_of("waiting"), slots=1)  # a stream on which nothing goes on
        triggers = [Trigger(s, name) for _ in range(6)]
        raws = [RawH2(s.grpc_port) for _ in range(5)]
        for half in (b"", b"GET /live HTTP/1.1\r\nHost: x\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):  # those who never go on
            c = socket.create_connection(("127.0.0.1", s.http_port))
            c.sendall(half)
            idle.append(c)
        until("work under way", lambda: min(len(t.acked) for t in triggers) > 20 and min(len(w.completed) for w in workers) > 20)
        began = time.monotonic()
        s.process.send_signal(signal.SIGTERM)
        until("the first connection's end", raws[0].ended.is_set)
        raws[0].say(50)
        raws[0].sock.close()
        equal(s.process.wait(20), 0, f"exit code; {s.tail(3000)}")
        took = time.monotonic() - began
        print(f"# stopped in {took:.2f} s; {sum(len(t.acked) for t in triggers)} triggers and {sum(len(w.completed) for w in workers)} "
              "reports acknowledged")
        if took > 10:
            raise AssertionError(f"stopping took {took:.1f} s")
        for w in [o.worker for o in workers] + [waiting]:
            until("the stream's end", lambda w=w: w.end)
            equal(w.end[0], "UNAVAILABLE", w.end)
            has(w.end[1], "going away")
        for raw in raws:
            until("the connection's end", raw.ended.is_set)
            equal([code for _, code in raw.goaways()][-1:], [0], f"GOAWAY without an error, of {len(raw.frames)} frames, at last {raw.frames[-1]}")
        for t in triggers:
            t.end()
            equal({c for c, _ in t.codes} <= {"UNAVAILABLE"}, True, f"how triggers ended: {t.codes[:3]}")
        done = [list(w.completed) for w in workers]
        use(s.start())
        for t in triggers:
            for run in t.acked:
                details(run)  # refused as NOT_FOUND if it was lost
        for run in sum(done, []):
            got = details(run)
            equal(v1.RunStatus.Name(got.status), "COMPLETED", "an acknowledged report")
            equal(json.loads(got.task_runs[0].value.output), {"of": run})
        for w in workers:  # they come back and get on with the rest
            w.worker.listen()
        for t in triggers:
            for run in t.acked:
                wait_status(run, "COMPLETED", 60)
        for w in workers:
            w.end()
        equal(s.stop_server(), 0)
    finally:
        for t in triggers + workers:
            t.stop.set()
        for c in idle:
            c.close()
        s.stop()
        s.close()


def case_stop_with_work_running():
    """A worker at work keeps its task over a stop and a start: it reports to the next server, once."""
    s = Server(PG, PG.create("running") and "running")
    name = name_of("long")
    try:
        use(s.start())
        put(name)
        w = worker_of(name)
        run = trigger(name)
        w.get(run)
        w.started(run)
        began = time.monotonic()
        equal(subprocess.run([BIN, "server", "stop", "--data-dir", s.data_dir]).returncode, 0)
        equal(s.process.wait(1), 0)
        if time.monotonic() - began > 5:
            raise AssertionError(f"a server with nothing to commit stopped in {time.monotonic() - began:.1f} s")
        s.start()
        use(s)
        w.listen()
        w.completed(run, '{"late":1}')
        wait_status(run, "COMPLETED")
        equal(json.loads(details(run).task_runs[0].value.output), {"late": 1})
        equal(len([a for a in w.actions if a.task_run_external_id == run.encode()]), 1, "pushes of the task")
        w.close()
        equal(s.audit(), [], "what the audit finds")
        equal(s.stop_server(), 0)
    finally:
        s.stop()
        s.close()


def pair(db):
    """An active server and its standby with one public address, so that one token is good for both."""
    PG.create(db)
    a = Server(PG, db)
    a.flags = ["--url", f"http://localhost:{a.http_port}"]
    b = Server(PG, db, flags=a.flags)
    use(a.start())
    b.env_file = a.env_file
    b.spawn()
    until("the standby lives", lambda: b.get_status("/live") == 200)
    until("the standby names the owner", lambda: says(b, f"localhost:{a.grpc_port}"))
    return a, b


def case_standby():
    """RPCs of all kinds are refused by the standby, which names the owner; it takes over the work of one killed or stopped."""
    a, b = pair("standby")
    name = name_of("moved")
    try:
        put(name)
        w = worker_of(name)
        run = trigger(name)
        w.get(run)
        w.started(run)
        other = Wire(b.grpc, a.token)
        owner = f"localhost:{a.grpc_port}"
        refused("UNAVAILABLE", owner, "/WorkflowService/TriggerWorkflow", v1.TriggerWorkflowRequest(name=name.encode()), wf.TriggerWorkflowResponse,
                other)
        refused("UNAVAILABLE", owner, "/Dispatcher/Register", d.WorkerRegisterRequest(worker_name=b"x"), d.WorkerRegisterResponse, other)
        try:
            next(other.stream("/Dispatcher/ListenV2", d.WorkerListenRequest(worker_id=w.id), d.AssignedAction))
            raise AssertionError("a standby listens to workers")
        except Exception as e:
            equal(e.code().name if hasattr(e, "code") else repr(e), "UNAVAILABLE")
            has(e.details(), owner)
        equal((b.get_status("/live"), b.get_status("/ready")), (200, 503))
        a.kill9()
        began = time.monotonic()
        until("the standby takes over", lambda: b.get_status("/ready") == 200, 10)
        took = time.monotonic() - began
        print(f"# took over {took:.1f} s after the kill")
        if took > 5:
            raise AssertionError(f"took over after {took:.1f} s")
        use(b)
        until("the stream is cut", lambda: w.end)
        w.wire = Wire(b.grpc, b.token)
        w.listen()
        w.completed(run)
        wait_status(run, "COMPLETED")
        equal(len(w.actions), 1, "pushes of the task")
        # and back, by a graceful stop with a waiting task
        a.spawn()
        until("the old one is the standby", lambda: says(a, "standby"))
        late = trigger(name, '{"late":1}')
        w.get(late)
        equal(b.stop_server(), 0)
        began = time.monotonic()
        until("the old one takes over", lambda: a.get_status("/ready") == 200, 10)
        took = time.monotonic() - began
        print(f"# took over {took:.1f} s after the stop")
        if took > 5:
            raise AssertionError(f"took over after {took:.1f} s")
        use(a)
        until("the stream is cut", lambda: w.end)
        w.wire = Wire(a.grpc, a.token)
        w.listen()
        w.completed(late)
        wait_status(late, "COMPLETED")
        w.close()
        equal(a.audit(), [], "what the audit finds")
    finally:
        for s in (a, b):
            s.stop()
            s.close()


def case_two_start_at_once():
    """On an empty database: one makes the schema and serves, the other waits, and nobody fails."""
    PG.create("twins")
    twins = [Server(PG, "twins") for _ in range(3)]
    try:
        for s in twins:
            s.spawn()
        until("one is ready", lambda: any(s.get_status("/ready") == 200 for s in twins))
        try:
            until("all others are its standby", lambda: sum(says(s, "standby") for s in twins) == 2, 5)
        except TimeoutError:
            raise AssertionError([(s.alive(), s.get_status("/ready"), s.tail(600)) for s in twins]) from None
        equal(sum(s.get_status("/ready") == 200 for s in twins), 1, "active ones")
        equal([s.alive() for s in twins], [True] * 3)
    finally:
        for s in twins:
            s.stop()
            s.close()


def case_frozen_owner():
    """An owner that was frozen while another took over writes nothing when it goes on, and becomes the standby."""
    a, b = pair("frozen")
    name = name_of("frozen")
    try:
        put(name)
        run = trigger(name)
        session = PG.sql("select distinct l.pid from pg_locks l join hatchet.shard s on l.objid::int = s.engine_id"
                         " where l.locktype = 'advisory' and l.granted", "frozen")
        equal(len(session), 1, "sessions that hold the owner's lock")
        a.process.send_signal(signal.SIGSTOP)
        PG.sql(f"select pg_terminate_backend({session[0][0]})", "frozen")  # as when its network is gone for long
        until("the standby takes over", lambda: b.get_status("/ready") == 200, 10)
        use(b)
        w = worker_of(name)
        w.get(run)
        w.completed(run)
        wait_status(run, "COMPLETED")
        a.process.send_signal(signal.SIGCONT)  # SIGCONT
        until("it knows", lambda: says(a, f"localhost:{b.grpc_port}"))
        refused("UNAVAILABLE", f"localhost:{b.grpc_port}", "/WorkflowService/TriggerWorkflow", v1.TriggerWorkflowRequest(name=name.encode()),
                wf.TriggerWorkflowResponse, Wire(a.grpc, a.token))
        wait_status(run, "COMPLETED")
        second = trigger(name)
        w.get(second)
        w.close()
        equal(b.audit(), [], "what the audit finds")
    finally:
        a.process.send_signal(signal.SIGCONT)
        for s in (a, b):
            s.stop()
            s.close()


def main():
    global PG
    cases = {n[5:]: f for n, f in globals().items() if n.startswith("case_")}
    passed = failed = 0
    PG = PgNode(durable=False)
    try:
        PG.start()
        for name in sys.argv[1:] or cases:
            began = time.monotonic()
            try:
                cases[name]()
                passed += 1
                print(f"ok - {name} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception as e:
                failed += 1
                print(f"not ok - {name}: {type(e).__name__}: {str(e)[:3700]}", flush=True)
                traceback.print_exc(limit=-3, file=sys.stdout)
    finally:
        PG.stop()
    print(f"{passed} passed, {failed} failed, 0 skipped", flush=True)
    os._exit(failed > 0)  # threads of streams may still wait


if __name__ == "__main__":
    main()
