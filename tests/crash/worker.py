#!/usr/bin/env python3
"""A worker process of the crash loop, without an SDK: registers, listens (again and again, under one worker id), beats every
4 s, reports STARTED, works, reports the end; each report until it is answered, as the SDKs do.

    worker.py ADDRESS HISTORY NAME SLOTS            (token in HATCHET_CLIENT_TOKEN; ends at SIGTERM)

History:  process pid worker name     registered worker slots
          listen n (call made)        lost n code
          got run attempt u           stopped run attempt (a CANCEL came)
          sign sent-at                some call of this worker was answered (sent then, answered now)
          start run attempt           started run attempt sent-at       (answered)
          end run attempt status      ended run attempt status sent-at  (answered; the text of the output is known)"""
import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from wire import History, Refused, Wire
import dispatcher_pb2 as d
import v1_pb2 as v1

FINAL = ("INVALID_ARGUMENT", "UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND")


KEY_LIMIT = 2       # runs under one key at once
WINDOW_LIMIT = 1    # starts under one key in a window of one second


def step(name, idempotency=None, **more):
    action = f"{name}:run".encode()
    return v1.CreateWorkflowVersionRequest(name=name.encode(), idempotency=idempotency, tasks=[v1.CreateTaskOpts(
        readable_id=b"run", action=action, inputs=b"{}", schedule_timeout=b"30m", **more)])


WORKFLOWS = [step("crash-plain", retries=3, timeout=b"120s"), step("crash-slow", retries=1, timeout=b"3s"),
             step("crash-keyed", retries=3, timeout=b"120s", concurrency=[v1.Concurrency(
                 expression=b"input.key", max_runs=KEY_LIMIT, limit_strategy=v1.GROUP_ROUND_ROBIN)]),
             step("crash-metered", retries=3, timeout=b"120s", rate_limits=[v1.CreateTaskRateLimit(
                 key=b"input.key", key_expr=b"input.key", units=1, limit_values_expr=b"%d" % WINDOW_LIMIT, duration=0)]),
             step("crash-once", retries=3, timeout=b"120s", idempotency=v1.IdempotencyConfig(
                 expression=b"input.key", ttl_ms=86400000, method=v1.STATUS)),
             step("crash-backoff", retries=2, timeout=b"120s", backoff_factor=2.0, backoff_max_seconds=2)]


class Worker:
    def __init__(self, address, path, name, slots):
        self.h = History(path)
        self.h.put("process", os.getpid(), "worker", name)
        self.wire = Wire(address, os.environ["HATCHET_CLIENT_TOKEN"])
        self.name = name
        self.slots = slots
        self.stop = threading.Event()
        self.cancelled = {}
        # more threads than slots: too much work must show, not wait here
        self.pool = ThreadPoolExecutor(2 * slots)

    def until_answered(self, path, request, reply):
        """(reply, time of the attempt that was answered); None when the server will not have it."""
        pause = 0.02
        while not self.stop.is_set():
            t = time.monotonic()
            try:
                return self.wire.call(path, request, reply), t
            except Refused as e:
                self.h.put("refused", path, e.code, repr(e.text))
                if e.code in FINAL:
                    return None, t
            self.stop.wait(pause)
            pause = min(0.5, pause * 2)
        return None, 0

    def register(self):
        for w in WORKFLOWS:
            self.until_answered("/v1.AdminService/PutWorkflow", w, v1.CreateWorkflowVersionResponse)
        got, _ = self.until_answered("/Dispatcher/Register", d.WorkerRegisterRequest(
            worker_name=self.name.encode(), actions=[w.tasks[0].action for w in WORKFLOWS], services=[b"default"],
            slot_config=[d.Int32Entry(key=b"default", value=self.slots)]), d.WorkerRegisterResponse)
        self.id = got.worker_id
        self.h.put("registered", self.id.decode(), self.slots)

    def beat(self):
        t = time.monotonic()
        try:
            self.wire.call("/Dispatcher/Heartbeat", d.HeartbeatRequest(worker_id=self.id), d.HeartbeatResponse, 3)
            self.h.put("sign", f"{t:.6f}")
        except Refused as e:
            if e.code == "FAILED_PRECONDITION":  # recorded all the same
                self.h.put("sign", f"{t:.6f}")
            else:
                self.h.put("unbeaten", e.code, repr(e.text))

    def listen(self):
        n = 0
        pause = 0.05
        while not self.stop.is_set():
            n += 1
            t = self.h.put("listen", n)
            try:
                for a in self.wire.stream("/Dispatcher/ListenV2", d.WorkerListenRequest(worker_id=self.id), d.AssignedAction):
                    self.take(a)
                self.h.put("lost", n, "OK")
            except self.wire.grpc.RpcError as e:
                self.h.put("lost", n, e.code().name, repr(e.details()))
            pause = 0.05 if time.monotonic() - t > 2 else min(0.5, pause * 2)
            self.stop.wait(pause)

    def take(self, a):
        run, attempt = a.task_run_external_id.decode(), a.retry_count
        if a.action_type == d.START_STEP_RUN:
            body = json.loads(a.action_payload)["input"]
            self.h.put("got", run, attempt, body["u"])
            self.pool.submit(self.work, a, run, attempt, body)
        else:
            self.h.put("stopped", run, attempt)
            e = self.cancelled.get((run, attempt))
            if e:
                e.set()

    def report(self, a, run, attempt, kind, words, payload=b""):
        names = {d.STEP_EVENT_TYPE_STARTED: ("start", "started")}.get(kind, ("end", "ended"))
        m = d.StepActionEvent(worker_id=self.id, task_id=a.task_id, task_run_external_id=a.task_run_external_id, action_id=a.action_id,
                              event_type=kind, event_payload=payload, retry_count=attempt)
        self.h.put(names[0], run, attempt, *words)
        got, t = self.until_answered("/Dispatcher/SendStepActionEvent", m, d.ActionEventResponse)
        if got:
            self.h.put(names[1], run, attempt, *words, f"{t:.6f}")

    def work(self, a, run, attempt, body):
        try:
            e = self.cancelled[(run, attempt)] = threading.Event()
            self.stop.wait(body["wait"] / 1000)
            self.report(a, run, attempt, d.STEP_EVENT_TYPE_STARTED, ())
            if body["late"] and attempt == 0:  # deaf to CANCEL
                self.stop.wait(body["late"] / 1000)
                stopped = False
            else:
                stopped = e.wait(body["ms"] / 1000)
            del self.cancelled[(run, attempt)]
            if stopped:
                return  # as the SDKs: nothing is reported after a CANCEL
            if attempt < body["fails"]:
                self.report(a, run, attempt, d.STEP_EVENT_TYPE_FAILED, ("FAILED",), b'{"message":"as asked"}')
            else:
                out = '{"u":"%s","attempt":%d,"worker":"%s"}' % (body["u"], attempt, self.name)
                self.report(a, run, attempt, d.STEP_EVENT_TYPE_COMPLETED, ("COMPLETED",), out.encode())
        except Exception as x:  # a thread of a pool dies in silence
            self.h.put("broken", repr(x))

    def run(self):
        signal.signal(signal.SIGTERM, lambda *a: self.stop.set())
        self.register()
        threading.Thread(target=self.listen, daemon=True).start()
        self.beat()
        due = time.monotonic() + 4
        while not self.stop.wait(max(0, due - time.monotonic())):
            due = max(due + 4, time.monotonic())
            self.beat()
        self.h.put("ended")
        os._exit(0)


if __name__ == "__main__":
    Worker(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])).run()
