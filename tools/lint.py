#!/usr/bin/env python3
"""Rules of the tree that no compiler holds: make check runs this after the layers.  Prints what is wrong, exits 1."""
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.chdir(TOP)
FILES = subprocess.run(["git", "ls-files"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
FILES = [f for f in FILES if os.path.isfile(f)]
bad = []
LINES_MAX = 800
SOLE = {"ev.h": "io", "libpq-fe.h": "db", "nghttp2/nghttp2.h": "net", "jansson.h": "json", "mbedtls/": "crypto", "psa/": "crypto"}
BANNED = r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|rand|srand|system|alloca|tmpnam|mktemp|setjmp|longjmp|signal)\s*\("
BANNED_OK = {"signal": {"src/app/main.c"}}
# what the pure engine may take from outside: memory, asserts, and base
ENGINE_OK = re.compile(r"^(mem(cpy|set|move)|abort|free|x(m|c|re)alloc|xstrndup|__stack_chk_fail|__assert_fail|__memcpy_chk|__memset_chk|_GLOBAL_OFFSET_TABLE_|"
                       r"(arena|err|heap|imap|smap|vec|list|id|run_status|live|str)_\w+|assert_failed\w*|base_\w+)$")


def text(path):
    with open(path, errors="replace") as f:
        return f.read()


def complain(path, line, what):
    bad.append(f"{path}:{line}: {what}" if line else f"{path}: {what}")


def c_files():
    for f in FILES:
        if f.endswith((".c", ".h")) and f.startswith(("src/", "include/")):
            module = f.split("/")[1]
            lines = text(f).splitlines()
            if len(lines) > LINES_MAX:
                complain(f, 0, f"{len(lines)} lines, at most {LINES_MAX}")
            if not lines or not lines[0].startswith("/*"):
                complain(f, 1, "the first line says what the file is for")
            for n, line in enumerate(lines, 1):
                code = re.sub(r'"(\\.|[^"\\])*"', '""', line).split("/*")[0]
                m = re.match(r"\s*#\s*include\s*<([^>]+)>", line)
                for header, owner in SOLE.items():
                    if m and m[1].startswith(header) and module != owner:
                        complain(f, n, f"only src/{owner} includes {header}")
                m = re.search(BANNED, code)
                if m and f not in BANNED_OK.get(m[1], ()):
                    complain(f, n, f"{m[1]}() is not used here")


def words():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    # written apart, so that this file does not find itself
    hosts = re.compile("|".join(["registry" + r"\.npmjs", "proxy" + r"\.golang", "pypi" + r"\.org", "deb" + r"\.debian\.org", "crates" + r"\.io", "/wo" + "rk/"]))
    for f in FILES:
        if f.startswith("tests/fuzz/corpus/") or f.endswith((".png", ".ico")):
            continue
        for n, line in enumerate(text(f).splitlines(), 1):
            if marks.search(line) and f != "tools/lint.py":
                complain(f, n, "unfinished: " + marks.search(line)[0])
            if hosts.search(line):
                complain(f, n, "names " + hosts.search(line)[0])
            if line != line.rstrip() and not f.endswith((".patch", ".md")):
                complain(f, n, "white space at the end of the line")


def headers_alone():
    flags = subprocess.run(["make", "-s", "--no-print-directory", "print-flags"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    for f in FILES:
        if f.startswith("include/") and f.endswith(".h"):
            p = subprocess.run([os.environ.get("CC", "gcc"), *flags, "-x", "c", "-fsyntax-only", "-include", f[8:], "/dev/null"],
                               stderr=subprocess.PIPE, text=True)
            if p.returncode:
                complain(f, 0, "does not compile alone: " + p.stderr.splitlines()[0])


def engine_is_pure():
    for f in FILES:
        if f.startswith("src/engine/") and f.endswith(".c"):
            o = "build/rel/" + f[:-2] + ".o"
            out = subprocess.run(["nm", "-u", o], stdout=subprocess.PIPE, text=True, check=True).stdout
            for name in (line.split()[-1] for line in out.splitlines()):
                if not ENGINE_OK.match(name) and not name.startswith(("eng_", "engine_", "task_", "queue_", "worker_", "sched_", "tail_", "rank_")):
                    complain(f, 0, f"the engine is pure, but uses {name}")


def documents():
    if os.path.exists("build/hatchet"):
        got = subprocess.run(["build/hatchet", "compat"], stdout=subprocess.PIPE, text=True, check=True).stdout
        if got != text("docs/compatibility.md"):
            complain("docs/compatibility.md", 0, "is not current: build/hatchet compat > docs/compatibility.md")
    got = subprocess.run([sys.executable, "tools/limits.py"], stdout=subprocess.PIPE, text=True, check=True).stdout
    if got != text("docs/limits.md"):
        complain("docs/limits.md", 0, "is not current: tools/limits.py > docs/limits.md")
    for f in ("ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"):
        for n, line in enumerate(text(f).splitlines(), 1):
            for path in re.findall(r"`((?:src|include|tests|tools|docs|bench|proto|web)/[\w./-]*)`", line):
                if not os.path.exists(path.rstrip("/")):
                    complain(f, n, f"{path} does not exist")
            for path in re.findall(r"\]\((?!http)([\w./-]+)\)", line):
                if not os.path.exists(path):
                    complain(f, n, f"{path} does not exist")
        if f == "ARCHITECTURE.md" and len(text(f).splitlines()) > 300:
            complain(f, 0, "more than 300 lines")


def shell():
    files = [f for f in FILES if f.endswith(".sh") or f == ".ci/run"]
    p = subprocess.run(["shellcheck", "-S", "warning", *files], stdout=subprocess.PIPE, text=True)
    if p.returncode:
        bad.append(p.stdout)


for rule in (c_files, words, headers_alone, engine_is_pure, documents, shell):
    rule()
print("\n".join(bad))
print(f"lint: {len(FILES)} files, {len(bad)} complaints")
sys.exit(bool(bad))
