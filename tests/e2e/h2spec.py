#!/usr/bin/env python3
"""h2spec in full against the server's gRPC port, in clear and behind TLS; what it fails must be listed in EXCEPTIONS and explained in docs/http.md.

h2spec.py PATH-OF-H2SPEC"""
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from hatchet import PgNode, Server  # noqa: E402

EXCEPTIONS = set()  # as printed below
TESTS = 145  # of the pinned version
PAGE = "/metrics"  # long enough for the tests of a small window, which h2spec leaves out otherwise


def run(h2spec, port, *more):
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        p = subprocess.run([h2spec, "-h", "127.0.0.1", "-p", str(port), "--path", PAGE, "-o", "3", "-j", report.name, *more],
                           stdout=subprocess.PIPE, encoding="utf-8", errors="replace", timeout=240)
        # the text of a failure is not escaped: a quoted byte or "<" in it is no XML
        xml = re.sub(r"<(failure|error)>.*?</\1>", r"<\1/>", report.read().decode("utf-8", "replace"), flags=re.S)
        return p.stdout, ET.fromstring(xml)


def judge(how, text, root, alive):
    """(passed, failed, skipped) of one run."""
    passed = failed = skipped = 0
    for case in root.iter("testcase"):
        name = f"{how}: {case.get('package')}/{case.get('classname')}"
        if case.find("failure") is not None or case.find("error") is not None:
            if name in EXCEPTIONS:
                print(f"ok - {name} # exception, see docs/http.md")
                passed += 1
            else:
                print(f"not ok - {name}")
                failed += 1
        elif case.find("skipped") is not None:
            print(f"ok - {name} # SKIP left out by h2spec")
            skipped += 1
        else:
            passed += 1
    if failed:
        print(text[text.find("Failures:"):])
    m = re.search(r"(\d+) tests, (\d+) passed", text)
    if not m or not alive or int(m[1]) != TESTS:
        print(f"not ok - {how}: h2spec did not run in full, or the server ended")
        failed += 1
    return passed, failed, skipped


def main():
    pg = PgNode(durable=False)
    server = Server(pg, flags=["--tls", "self", "--tls-optional"])
    sums = []
    try:
        pg.start()
        server.start()
        for how, more in (("clear", []), ("TLS", ["-t", "-k"])):
            text, root = run(sys.argv[1], server.grpc_port, *more)
            sums.append(judge(how, text, root, server.alive()))
    finally:
        server.stop()
        server.close()
        pg.stop()
    passed, failed, skipped = (sum(c) for c in zip(*sums))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0


sys.exit(main())
