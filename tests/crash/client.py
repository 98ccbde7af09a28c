#!/usr/bin/env python3
"""A client of the crash loop: triggers with unique inputs, cancels a few, reads the status of some.

    client.py ADDRESS HISTORY NAME SEED RATE        (token in HATCHET_CLIENT_TOKEN; ends at SIGTERM)

History:  sent N u...      one call for these inputs (single or bulk)
          acked u=run...   its answer          refused N code          held u   its idempotency key is
          cancel run       sent                cancelled run   answered
          read run status"""
import os
import random
import signal
import sys
import threading
import time

from wire import History, Refused, Wire
import v1_pb2 as v1
import workflows_pb2 as wf

STATUS = ("QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
# long: its worker takes its time to say STARTED; slow: always over its timeout; late: only at first, and then it reports all the same
KINDS = (("plain", 60), ("keyed", 8), ("metered", 6), ("long", 4), ("retry", 12), ("fail", 4), ("slow", 1), ("late", 1), ("backoff", 4))
WORKFLOW = {"plain": "crash-plain", "long": "crash-plain", "retry": "crash-plain", "fail": "crash-plain", "slow": "crash-slow", "late": "crash-slow",
            "backoff": "crash-backoff", "keyed": "crash-keyed", "metered": "crash-metered", "once": "crash-once"}


class Client:
    def __init__(self, address, path, name, seed, rate):
        self.h = History(path)
        self.h.put("process", os.getpid(), "client", name)
        self.wire = Wire(address, os.environ["HATCHET_CLIENT_TOKEN"])
        self.name = name
        self.seed = seed
        self.rate = rate
        self.count = 0
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.recent = []

    def item(self, rnd, kind=None):
        with self.lock:
            self.count += 1
            number = self.count
        kind = kind or rnd.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0]
        u = f"{self.name}-{number}-{kind}"
        fails = {"retry": rnd.randint(1, 2), "once": rnd.choice((0, 0, 1)), "fail": 99, "backoff": 1}.get(kind, 0)
        ms = {"slow": 30000, "late": 2000, "long": rnd.randint(200, 1000)}.get(kind) or rnd.randint(0, 50)
        body = '{"u":"%s","key":"k%d","ms":%d,"fails":%d,"late":%d,"wait":%d}' % (
            u, rnd.randrange(12), ms, fails, kind == "late" and rnd.randint(3300, 4900), kind == "long" and rnd.randint(0, 3500))
        return u, v1.TriggerWorkflowRequest(name=WORKFLOW[kind].encode(), input=body.encode(), priority=rnd.randint(1, 3))

    def trigger(self, rnd, n, kind=None):
        items = [self.item(rnd, kind) for _ in range(n)]
        us = [u for u, _ in items]
        self.h.put("sent", " ".join(us))
        try:
            if n == 1:
                got = [self.wire.call("/WorkflowService/TriggerWorkflow", items[0][1], wf.TriggerWorkflowResponse).workflow_run_id]
            else:
                got = self.wire.call("/WorkflowService/BulkTriggerWorkflow", wf.BulkTriggerWorkflowRequest(workflows=[m for _, m in items]),
                                     wf.BulkTriggerWorkflowResponse).workflow_run_ids
        except Refused as e:
            if kind == "once" and e.code == "ALREADY_EXISTS":
                self.h.put("held", us[0])
                return True
            self.h.put("refused", us[0], n, e.code, repr(e.text))
            return False
        self.h.put("acked", " ".join(f"{u}={r.decode()}" for u, r in zip(us, got)))
        self.recent = (self.recent + [r.decode() for r in got])[-2000:]
        return True

    def loop(self, share, n, salt):
        """`share` of the rate in calls of n: open loop, but never more than a second behind."""
        rnd = random.Random(f"{self.seed}-{self.name}-{salt}")
        gap = n / (self.rate * share)
        due = time.monotonic()
        while not self.stop.is_set():
            due = max(due + gap * rnd.uniform(0.2, 1.8), time.monotonic() - 1)
            if self.stop.wait(max(0, due - time.monotonic())):
                return
            if not self.trigger(rnd, n if n == 1 else rnd.randint(2, 2 * n - 2)):
                self.stop.wait(0.05)

    def bursts(self):
        """More at once than the workers' slots and the server's memory for waiting tasks; half of the time every slot is in use."""
        rnd = random.Random(f"{self.seed}-{self.name}-burst")
        while not self.stop.wait(rnd.uniform(1, 9)):
            self.trigger(rnd, rnd.randint(50, 300))

    def once(self):
        """Runs with idempotency keys, mostly held: a handful of keys for all clients."""
        rnd = random.Random(f"{self.seed}-{self.name}-once")
        while not self.stop.wait(rnd.uniform(0, 0.1)):
            self.trigger(rnd, 1, "once")

    def cancels(self):
        rnd = random.Random(f"{self.seed}-{self.name}-cancel")
        while not self.stop.wait(rnd.uniform(0.05, 0.4)):
            if not self.recent:
                continue
            run = rnd.choice(self.recent[-20:])
            self.h.put("cancel", run)
            while True:
                try:
                    self.wire.call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[run.encode()]), v1.CancelTasksResponse)
                    self.h.put("cancelled", run)
                    break
                except Refused as e:
                    self.h.put("uncancelled", run, e.code, repr(e.text))
                    if self.stop.wait(0.1):
                        return

    def reads(self):
        rnd = random.Random(f"{self.seed}-{self.name}-read")
        while not self.stop.wait(rnd.uniform(0.01, 0.1)):
            if not self.recent:
                continue
            run = rnd.choice(self.recent)
            try:
                got = self.wire.call("/v1.AdminService/GetRunDetails", v1.GetRunDetailsRequest(external_id=run.encode()),
                                     v1.GetRunDetailsResponse)
                self.h.put("read", run, STATUS[got.status])
            except Refused as e:
                self.h.put("unread", run, e.code, repr(e.text))

    def run(self):
        signal.signal(signal.SIGTERM, lambda *a: self.stop.set())
        jobs = [(self.loop, 0.25, 1, "s1"), (self.loop, 0.25, 1, "s2"), (self.loop, 0.5, 20, "bulk"), (self.bursts,), (self.once,), (self.cancels,), (self.reads,)]
        threads = [threading.Thread(target=j[0], args=j[1:], daemon=True) for j in jobs]
        for t in threads:
            t.start()
        while not self.stop.is_set():
            self.stop.wait(1)
        for t in threads:
            t.join(30)
        self.h.put("ended")


if __name__ == "__main__":
    a = sys.argv
    Client(a[1], a[2], a[3], a[4], float(a[5])).run()
