#!/usr/bin/env python3
"""The judge must see what it is there for: small histories, each sound but for one planted fault, and the rule that finds it."""
import os
import sys
import tempfile

import history

# Two clients' triggers on two workers; w1 dies at 20, its task starts again on w2 30 s later.
SOUND = {
    "c": """0 process 1 client c
        1 sent a-plain
        1.1 acked a-plain=A
        1 sent b-fail
        1.1 acked b-fail=B
        2 sent d-plain
        2.1 acked d-plain=D
        2.2 cancel D
        2.3 cancelled D
        60 read A COMPLETED""",
    "w1": """0 process 11 worker w1
        0.1 registered W1 1
        0.2 listen 1
        3 got A 0 a-plain
        3 start A 0
        3.1 started A 0 3.0
        16.1 sign 16.0""",
    "w2": """0 process 12 worker w2
        0.1 registered W2 1
        0.2 listen 1
        4 got B 0 b-fail
        4 start B 0
        4.1 started B 0 4.0
        4.2 end B 0 FAILED
        4.3 ended B 0 FAILED 4.2
        1.5 lost 1 UNAVAILABLE ''
        1.6 listen 2
        25.1 sign 25
        46.5 got A 1 a-plain
        46.5 start A 1
        46.6 started A 1 46.5
        46.7 end A 1 COMPLETED
        46.8 ended A 1 COMPLETED 46.7
        50.1 sign 50""",
    "loop": """20 kill worker 11""",
}
FINAL = {"A": {"status": "COMPLETED", "u": "a-plain", "output": '{"u":"a-plain","attempt":1,"worker":"w2"}'},
         "B": {"status": "FAILED", "u": "b-fail", "output": "", "error": "as asked"},
         "D": {"status": "CANCELLED", "u": "d-plain", "output": ""}}

# title of the rule that must fail: (file, old, new) edits of the sound history, and what differs at the end
PLANTED = [
    ("every acknowledged run ended", [], {"A": {"status": "RUNNING"}}),
    ("every acknowledged run ended", [], {"B": None}),
    ("every acknowledged trigger exists once", [("c", "1.1 acked b-fail=B", "1.1 acked b-fail=B\n1.2 sent e-plain\n1.3 acked e-plain=B")], {}),
    ("every acknowledged trigger exists once", [("w2", "4 got B 0 b-fail", "3.9 got E 0 b-fail\n3.9 end E 0 FAILED\n4 got B 0 b-fail")], {}),
    ("every further attempt has its cause", [("w2", "46.5 got", "45.5 got")], {}),
    ("every further attempt has its cause", [("w1", "16.1 sign", "3.2 end A 0 COMPLETED\n3.3 ended A 0 COMPLETED 3.2\n16.1 sign")], {}),
    ("every further attempt has its cause", [("w2", "4.2 end B", "4.15 got B 1 b-fail\n4.2 end B")], {}),
    ("answered reports stand", [], {"A": {"status": "FAILED", "output": ""}}),
    ("every outcome is what a worker sent", [], {"A": {"output": '{"u":"a-plain","attempt":1,"worker":"w1"}'}}),
    ("every outcome is what a worker sent", [("w1", "16.1 sign", "3.2 end A 0 COMPLETED\n16.1 sign")],
     {"A": {"output": '{"u":"a-plain","attempt":0,"worker":"w1"}'}}),
    ("every outcome is what a worker sent", [("c", "2.2 cancel D\n", ""), ("c", "2.3 cancelled D\n", "")], {}),
    ("cancelled stays cancelled", [], {"D": {"status": "RUNNING"}}),
    ("cancelled stays cancelled", [("w2", "4 got B 0", "9 got D 0 d-plain\n4 got B 0")], {}),
    ("a final status never changes", [("c", "60 read A COMPLETED", "60 read A COMPLETED\n61 read A RUNNING\n62 read A COMPLETED")], {}),
    ("a final status never changes", [("c", "60 read A COMPLETED", "60 read A FAILED")], {}),
    ("no worker runs more than its slots", [("w2", "4 got B 0 b-fail", "4 got B 0 b-fail\n4.05 got E 0 b-fail")], {}),
    ("no answer or delivery that cannot be", [("w2", "46.5 got A 1 a-plain", "46.5 got A 1 a-plain\n46.5 got A 0 a-plain")], {}),
    ("no answer or delivery that cannot be", [("w2", "46.5 start", "46.5 got A 1 a-plain\n46.5 start")], {}),
    ("no answer or delivery that cannot be", [("c", "2.2 cancel D", "2.2 unread A NOT_FOUND 'x'\n2.2 cancel D")], {}),
    ("no answer or delivery that cannot be", [("w2", "UNAVAILABLE", "OK")], {}),
]


def broken(edits=(), final=None):
    """Titles of the rules that such a history breaks."""
    files = {n: "\n".join(line.strip() for line in text.splitlines()) + "\n" for n, text in SOUND.items()}
    for name, old, new in edits:
        assert old in files[name], old
        files[name] = files[name].replace(old, new, 1)
    end = {run: dict(f) for run, f in FINAL.items()}
    for run, f in (final or {}).items():
        if f is None:
            del end[run]
        else:
            end[run].update(f)
    with tempfile.TemporaryDirectory() as d:
        for name, text in files.items():
            with open(os.path.join(d, name + ".history"), "w") as f:
                f.write(text)
        return [title for title, bad in history.Judge(history.History(d), end).verdicts() if bad]


def test():
    """(title, what is wrong) of each case."""
    got = broken()
    yield "judge: a sound history passes", [f"broken: {got}"] if got else []
    for i, (title, edits, final) in enumerate(PLANTED):
        got = broken(edits, final)
        yield f"judge: planted {i + 1}: {title}", [] if title in got else [f"found only {got}"]


if __name__ == "__main__":
    results = list(test())
    for title, bad in results:
        print(("not ok - " if bad else "ok - ") + title, *bad)
    sys.exit(any(bad for _, bad in results))
