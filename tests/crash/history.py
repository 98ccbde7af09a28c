"""The judge of the crash loop.  Knows what clients and workers wrote down, when something was killed, and the final state that
the API gives; nothing of the engine.

Times are of one monotonic clock.  A call is sent before the engine sees it and answered after its commit, so each rule compares
only what is certain: "sent before", "answered after".

A task may start again for one of these causes, each with the earliest moment at which the engine could know of it:
  failed       the worker reported FAILED                                          the report was first sent
  timeout      the execution timeout passed                                        after the earliest possible assignment
  silent       no sign of life of its worker for 30 s, dead or frozen or cut off   30 s after the last answered heartbeat was sent
  unconfirmed  no STARTED answered within 5 s of the worker's new stream           5 s after that stream was asked for
  undelivered  no worker ever saw that attempt
A report that was answered before that moment must stand."""
import bisect
import collections
import glob
import json
import os

SILENT = 30.0
CONFIRM = 5.0
LIMIT = {"plain": 120, "long": 120, "retry": 120, "fail": 120, "backoff": 120, "keyed": 120, "metered": 120, "once": 120, "slow": 3, "late": 3}
EPS = 0.005  # an engine timer may be this early against our clock
READ_LAG = 3.0  # what was written to a stream may be read this late on a busy machine
MAY_REFUSE = {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}
FINAL = ("COMPLETED", "FAILED", "CANCELLED")
INF = float("inf")


class Attempt:
    """One START as a worker process received it."""

    def __init__(self, worker, at, u):
        self.worker = worker
        self.got = at
        self.u = u
        self.started = INF  # answered
        self.end_sent = INF
        self.end_answered = INF
        self.end = None
        self.stopped = INF


class Process:
    def __init__(self, role, name, pid, at):
        self.role, self.name, self.pid, self.began = role, name, pid, at
        self.id = None
        self.slots = 0
        self.signs = []  # (sent, answered) of heartbeats
        self.listens = []
        self.attempts = {}  # (run, attempt) -> Attempt
        self.killed = INF


class History:
    def __init__(self, directory):
        self.processes = []
        self.sent = {}  # u -> time
        self.acked = {}  # u -> (run, time)
        self.cancels = {}  # run -> time sent
        self.cancelled = {}  # run -> time answered
        self.reads = collections.defaultdict(list)  # run -> (time, status)
        self.odd = []  # what needs no rule to be wrong
        self.kills = collections.Counter()
        self.frozen = []  # (pid, from, to)
        self.refusals = collections.Counter()
        self.reports = []  # (sent, answered)
        for path in sorted(glob.glob(os.path.join(directory, "*.history"))):
            self.read(path)
        self.runs = {run: u for u, (run, _) in self.acked.items()}
        self.starts = collections.defaultdict(dict)  # run -> attempt -> Attempt
        for p in self.processes:
            for (run, n), a in p.attempts.items():
                if n in self.starts[run]:
                    self.odd.append(f"attempt {n} of {run} was given to {self.starts[run][n].worker.name} and to {p.name}")
                self.starts[run][n] = a
        reports = sorted(self.reports)
        self.report_sent = [s for s, _ in reports]
        self.report_answered = [a for _, a in reports]  # the first answer to anything sent from then on
        for i in range(len(reports) - 2, -1, -1):
            self.report_answered[i] = min(self.report_answered[i], self.report_answered[i + 1])

    def read(self, path):
        p = None
        with open(path) as f:
            lines = f.read().split("\n")
        for line in lines[:-1]:  # the last one is empty, or cut by a kill
            t, kind, *words = line.split()
            t = float(t)
            if kind == "process":
                p = Process(words[1], words[2], int(words[0]), t)
                self.processes.append(p)
            else:
                getattr(self, "on_" + kind)(p, t, words)

    # the loop
    def on_kill(self, p, t, w):
        self.kills[w[0]] += 1
        for q in self.processes:
            if len(w) > 1 and q.pid == int(w[1]) and q.began < t and q.killed == INF:
                q.killed = t

    def on_freeze(self, p, t, w):
        self.kills["freeze"] += 1
        self.frozen.append([int(w[0]), t, INF])

    def on_thaw(self, p, t, w):
        self.frozen[-1][2] = t

    def on_up(self, p, t, w):
        pass

    def on_ended(self, p, t, w):
        if w:
            a = p.attempts[(w[0], int(w[1]))]
            a.end_answered = t
            self.reports.append((float(w[-1]), t))

    # clients
    def on_sent(self, p, t, w):
        for u in w:
            self.sent[u] = t

    def on_acked(self, p, t, w):
        for pair in w:
            u, run = pair.split("=")
            self.acked[u] = (run, t)

    def refusal(self, p, t, what, code, text):
        self.refusals[f"{what} {code}"] += 1
        # a beat waits only 3 s; everything else 20 s, which no restart takes, but a frozen caller may
        slow = what == "heartbeat" or any(pid == p.pid and at < t for pid, at, _ in self.frozen)
        if code not in MAY_REFUSE and not (code == "DEADLINE_EXCEEDED" and slow):
            self.odd.append(f"{p.name} at {t:.3f}: {what} answered {code}: {text}")

    def on_refused(self, p, t, w):
        at = 1 if p.role == "worker" else 2
        self.refusal(p, t, w[0] if at == 1 else "trigger", w[at], " ".join(w[at + 1:]))

    def on_held(self, p, t, w):
        self.refusals["trigger held"] += 1

    def on_cancel(self, p, t, w):
        self.cancels.setdefault(w[0], t)

    def on_cancelled(self, p, t, w):
        self.cancelled.setdefault(w[0], t)

    def on_uncancelled(self, p, t, w):
        self.refusal(p, t, "cancel", w[1], " ".join(w[2:]))

    def on_read(self, p, t, w):
        self.reads[w[0]].append((t, w[1]))

    def on_unread(self, p, t, w):
        self.refusal(p, t, "read", w[1], " ".join(w[2:]))

    # workers
    def on_registered(self, p, t, w):
        p.id, p.slots = w[0], int(w[1])
        p.signs.append((t, t))

    def on_listen(self, p, t, w):
        p.listens.append(t)

    def on_lost(self, p, t, w):
        self.refusal(p, t, "stream", w[1], " ".join(w[2:]))

    def on_got(self, p, t, w):
        key = (w[0], int(w[1]))
        if key in p.attempts:
            self.odd.append(f"attempt {w[1]} of {w[0]} was given to {p.name} twice")
        else:
            p.attempts[key] = Attempt(p, t, w[2])

    def on_stopped(self, p, t, w):
        a = p.attempts.get((w[0], int(w[1])))
        if a:
            a.stopped = min(a.stopped, t)

    def on_sign(self, p, t, w):
        p.signs.append((float(w[0]), t))

    def on_unbeaten(self, p, t, w):
        self.refusal(p, t, "heartbeat", w[0], " ".join(w[1:]))

    def on_start(self, p, t, w):
        pass

    def on_started(self, p, t, w):
        p.attempts[(w[0], int(w[1]))].started = t
        self.reports.append((float(w[-1]), t))

    def on_end(self, p, t, w):
        a = p.attempts[(w[0], int(w[1]))]
        a.end, a.end_sent = w[2], t

    def on_broken(self, p, t, w):
        self.odd.append(f"{p.name} at {t:.3f}: {' '.join(w)}")

    # causes
    def born(self, run, n):
        """No assignment of attempt n was made before this."""
        a = self.starts[run].get(n)
        first = self.sent.get(a.u if a else self.runs.get(run), 0)
        return max([first] + [x.got for k, x in self.starts[run].items() if k < n])

    def causes(self, run, n):
        """cause -> earliest moment at which attempt n, which a worker got, could be taken from it."""
        a = self.starts[run][n]
        p = a.worker
        born = self.born(run, n)
        found = {}
        if a.end == "FAILED":
            found["failed"] = a.end_sent
        found["timeout"] = born + LIMIT[a.u.rsplit("-", 1)[1]] - EPS
        ends = [s for s in p.signs[1:]] + [(INF, INF)]
        for (sent, _), (_, until) in zip(p.signs, ends):
            if until - sent >= SILENT - EPS and until > a.got:
                found["silent"] = max(sent + SILENT, born) - EPS
                break
        for at in p.listens[1:]:  # nothing was assigned to it before its first
            if at >= born - EPS and at + CONFIRM - EPS < a.started and self.pending(at, a.got):
                found["unconfirmed"] = at + CONFIRM - EPS
                break
        return found

    def pending(self, listen, got):
        """Could an assignment made before this stream came up be that long on its way?  Only while nothing was committed: what
        was reported after it and answered is younger."""
        i = bisect.bisect_left(self.report_sent, listen + 1)
        return i == len(self.report_sent) or self.report_answered[i] > got - READ_LAG

    def earliest(self, run, n, before=INF):
        """(moment, cause) of the first cause that was there in time."""
        return min(((t, c) for c, t in self.causes(run, n).items() if t <= before), default=(INF, None))


class Judge:
    """Rules over a history and the final state: run -> {status, output, u}."""

    def __init__(self, history, final):
        self.h = history
        self.final = final
        self.seconds = collections.Counter()

    def again(self):
        """Each further attempt has its cause, and a cause that came before any answered report of the attempt it replaces."""
        h = self.h
        for run, starts in h.starts.items():
            top = max(starts)
            for n in range(top):
                later = min(x.got for k, x in starts.items() if k > n)
                if n not in starts:
                    self.seconds["undelivered"] += 1
                    continue
                a = starts[n]
                if later < a.got and not self.is_frozen(a.worker, later, a.got):
                    yield f"{run} attempt {n} was seen after a later one"
                before = min(later, a.end_answered)
                # where several fit, the plainest is counted: they are found in this order
                cause = next((c for c, t in h.causes(run, n).items() if t <= before), None)
                self.seconds[cause or "UNEXPLAINED"] += 1
                if not cause:
                    yield (f"{run} {a.u} attempt {n} on {a.worker.name} got {a.got:.3f} started {a.started:.3f} {a.end} sent {a.end_sent:.3f} "
                           f"answered {a.end_answered:.3f}; next attempt {later:.3f}; possible causes: {h.causes(run, n)}")

    def is_frozen(self, p, since, until):
        return any(pid == p.pid and a < until and b > since - READ_LAG for pid, a, b in self.h.frozen)

    def reports(self):
        """An answered COMPLETED stands with its output; so does the last FAILED."""
        h = self.h
        for run, starts in h.starts.items():
            top = max(starts)
            a = starts[top]
            f = self.final.get(run)
            if not f or a.end_answered == INF:
                continue
            t, cause = h.earliest(run, top, a.end_answered)
            if min(h.cancels.get(run, INF), t if cause != "failed" else INF) <= a.end_answered:
                continue
            if a.end == "COMPLETED" and f["status"] != "COMPLETED":
                yield f"{run} {a.u}: COMPLETED of attempt {top} was answered, it is {f['status']} {f.get('error')}"
            if a.end == "FAILED" and f["status"] != "FAILED" and a.u.endswith("-fail") and top >= 3:
                yield f"{run} {a.u}: FAILED of attempt {top} was answered, it is {f['status']}"

    def outcomes(self):
        """What the API says is what some worker sent, and fits what was asked for."""
        for run, f in self.final.items():
            u = self.h.runs.get(run, f["u"])
            starts = self.h.starts.get(run, {})
            kind = u.rsplit("-", 1)[1]
            if f["u"] != u:
                yield f"{run} was given for {u} and holds {f['u']}"
            if f["status"] == "COMPLETED":
                out = json.loads(f["output"] or "{}")
                a = starts.get(out.get("attempt", -1))
                if not a or a.end != "COMPLETED" or a.worker.name != out["worker"] or out["u"] != u:
                    yield f"{run} {u}: output {f['output']} was never sent"
                elif max(starts) > out["attempt"]:
                    yield f"{run} {u}: COMPLETED by attempt {out['attempt']}, attempt {max(starts)} was started"
                if kind in ("fail", "slow"):
                    yield f"{run} {u} cannot be COMPLETED"
            elif f["status"] == "FAILED" and kind not in ("fail", "slow", "late"):
                yield f"{run} {u} is FAILED: {f.get('error')}"
            elif f["status"] == "CANCELLED" and run not in self.h.cancels:
                yield f"{run} {u} is CANCELLED and nobody asked for it"

    def terminal(self):
        for u, (run, _) in self.h.acked.items():
            f = self.final.get(run)
            if not f:
                yield f"{run} {u} was acknowledged and is not there"
            elif f["status"] not in FINAL:
                yield f"{run} {u} is still {f['status']}"

    def once(self):
        """One run per acknowledged trigger, none twice."""
        runs = collections.defaultdict(set)
        for u, (run, _) in self.h.acked.items():
            runs[u].add(run)
        for run, starts in self.h.starts.items():
            for a in starts.values():
                runs[a.u].add(run)
        for run, f in self.final.items():
            runs[f["u"]].add(run)
        for u, found in runs.items():
            if len(found) > 1:
                yield f"{u} exists as {sorted(found)}"
            if u not in self.h.sent:
                yield f"{u} was never sent"
        if len(self.h.runs) != len(self.h.acked):
            yield f"{len(self.h.acked)} acknowledged triggers share {len(self.h.runs)} run ids"

    def cancels(self):
        h = self.h
        for run, at in h.cancelled.items():
            f = self.final.get(run)
            starts = h.starts.get(run, {})
            if not f:
                continue
            ended = min((a.end_sent for a in starts.values() if a.end), default=INF)
            timed = h.sent[f["u"]] + LIMIT["slow"] if f["u"].endswith(("-slow", "-late")) else INF
            if f["status"] != "CANCELLED" and min(ended, timed) > at:
                yield f"{run} {f['u']}: cancelled and answered before any end, it is {f['status']}"
            for n, a in starts.items():
                if a.got > at + READ_LAG and not self.is_frozen(a.worker, at, a.got):
                    yield f"{run} attempt {n} was started {a.got - at:.3f} s after its cancel was answered"

    def reads(self):
        for run, reads in self.h.reads.items():
            f = self.final.get(run)
            done = None
            for t, status in reads + [(INF, f["status"])] if f else reads:
                if done and status != done:
                    yield f"{run} was read as {done}, later as {status}"
                    break
                if status in FINAL:
                    done = status

    def slots(self):
        """Never more on a worker than its slots."""
        h = self.h
        for p in h.processes:
            edges = []
            for (run, n), a in p.attempts.items():
                free = min(a.end_sent, a.stopped, h.cancels.get(run, INF), h.earliest(run, n)[0])
                if free > a.got:
                    edges += [(a.got, 1, run), (free, -1, run)]
            running = worst = 0
            at = 0
            for t, d, run in sorted(edges):
                running += d
                if running > worst:
                    worst, at = running, t
            if worst > p.slots > 0:
                yield f"{p.name} ran {worst} at {at:.3f}, it has {p.slots} slots"

    RULES = (("every acknowledged run ended", "terminal"), ("every acknowledged trigger exists once", "once"),
             ("every further attempt has its cause", "again"), ("answered reports stand", "reports"),
             ("every outcome is what a worker sent", "outcomes"), ("cancelled stays cancelled", "cancels"),
             ("a final status never changes", "reads"), ("no worker runs more than its slots", "slots"))

    def verdicts(self):
        for title, name in self.RULES:
            yield title, list(getattr(self, name)())
        yield "no answer or delivery that cannot be", self.h.odd
