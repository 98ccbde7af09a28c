#!/usr/bin/env python3
"""Rules of the tree that no compiler holds; `make check` runs this.  Prints what is wrong, exits 1.

    lint.py [RULE...]    LINT_CFLAGS holds the compiler's flags for the headers"""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.chdir(TOP)
CI = os.environ.get("CI") == "true"
# what is committed or will be: a file that was just written is looked at too
FILES = sorted(f for f in subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], stdout=subprocess.PIPE, text=True,
                                         check=True).stdout.split("\n") if os.path.isfile(f))
C_FILES = [f for f in FILES if f.endswith((".c", ".h"))]
BINARY = (".png", ".ico", ".gz", ".woff2")
LINES_MAX = 800
# part of libpq, not of the program: its headers, its allocator
LIBPQ = "src/pqtls/"
# longer for a reason that stands beside it
LONG = set()
# header (prefix): the one module that may include it; keys and TLS share a library
SOLE = {"ev.h": "io", "libpq-fe.h": "db", "nghttp2/": "net", "jansson.h": "json", "mbedtls/": "crypto net", "psa/": "crypto net",
        "protobuf-c/": "pb", "pthread.h": "io"}
# no bound, no error, global state, or a shell between us and the kernel; and what it is replaced by
BANNED = {
    "alloca": "an arena", "asctime": "rfc3339_format", "atof": "jv_f64", "atoi": "str_to_i64", "atol": "str_to_i64",
    "atoll": "str_to_i64", "ctime": "rfc3339_format", "gets": "read", "gethostbyname": "getaddrinfo", "longjmp": "struct err",
    "mktemp": "mkstemp", "popen": "posix_spawn", "rand": "rand_u64", "random": "rand_u64", "setjmp": "struct err",
    "sprintf": "snprintf or strb", "srand": "rand_seed", "stpcpy": "struct str", "strcat": "strb", "strcpy": "struct str",
    "strncat": "strb", "strncpy": "memcpy", "strtok": "struct str", "system": "posix_spawn", "tmpnam": "mkstemp",
    "vsprintf": "vsnprintf", "malloc": "xmalloc or an arena", "calloc": "xcalloc or an arena", "realloc": "xrealloc",
    "strdup": "xstrndup", "strndup": "xstrndup",
}
BANNED_RE = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
BANNED_OK = {("src/base/base.c", "malloc"), ("src/base/base.c", "calloc"), ("src/base/base.c", "realloc")}
# all that the engine takes from outside of itself: memory, containers, asserts.  No clock, chance, socket, file or log.
ENGINE_TAKES = set("""memcpy memmove memset memcmp strlen free xcalloc xmalloc xrealloc vec_grow_
    arena_alloc arena_dup arena_strf arena_strz arena_zalloc err_set heap_del heap_fini heap_set imap_del imap_fini imap_get
    imap_next imap_put smap_del smap_fini smap_get smap_next smap_put run_status_of
    abort __assert_fail __stack_chk_fail __memcpy_chk __memmove_chk __memset_chk _GLOBAL_OFFSET_TABLE_""".split())
# files that documents speak of and that are made by running something
MADE = {"bench/results.jsonl"}
bad = []


def text(path):
    with open(path, errors="replace") as f:
        return f.read()


def complain(path, line, what):
    bad.append(f"{path}:{line}: {what}" if line else f"{path}: {what}")


def run(*words, **more):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def code_of(source):
    """Comments and the insides of strings blanked, lines kept."""
    def blank(m):
        return m[0] if m[0][0] == "'" else '""' if m[0][0] == '"' else "\n" * m[0].count("\n") + " "
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'", blank, source, flags=re.S)


def sizes():
    for f in FILES:
        if f.endswith((".c", ".h", ".py", ".sh", ".js", ".go", ".sql", ".mk")) and f not in LONG:
            n = text(f).count("\n")
            if n > LINES_MAX:
                complain(f, 0, f"{n} lines, at most {LINES_MAX}")
    for f in LONG:
        if not os.path.exists(f) or text(f).count("\n") <= LINES_MAX:
            complain("tools/lint.py", 0, f"{f} needs no exception any more")


def includes():
    """Which module may include which, and who alone includes a library."""
    p = run("python3", "tools/check-layers.py")
    if p.returncode:
        bad.extend(p.stdout.splitlines() or ["tools/check-layers.py fails"])
    for f in C_FILES:
        if f.startswith(("src/", "include/")):
            for n, line in enumerate(text(f).splitlines(), 1):
                m = re.match(r"\s*#\s*include\s*[<\"]([^>\"]+)", line)
                for header, owner in SOLE.items() if m else ():
                    if m[1].startswith(header) and f.split("/")[1] not in owner.split() and not f.startswith(LIBPQ):
                        complain(f, n, f"only src/{owner.replace(' ', ' and src/')} includes {header}")


def calls():
    for f in C_FILES:
        if f.startswith(("src/", "include/")):
            source = text(f)
            if not source.startswith("/*"):
                complain(f, 1, "the first line says what the file is for")
            for n, line in enumerate(code_of(source).split("\n"), 1):
                for m in BANNED_RE.finditer(line):
                    if (f, m[1]) not in BANNED_OK and not f.startswith(LIBPQ):
                        complain(f, n, f"{m[1]}() is not used here: {BANNED[m[1]]}")


def words():
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    # written in pieces, so that this file does not find itself; a lock file may not tell where its packages came from
    hosts = re.compile("|".join([r"registry\." + r"(npmjs|yarnpkg)", r"proxy\." + r"golang", r"(sum|pypi|files)\." + r"(golang|pythonhosted|org)\b",
                                 r"(deb|security)\." + r"debian\.org", r"crates\." + r"io\b", r"(?<![\w.$)}])/(work|root|home/\w+)" + r"/",
                                 r"/tmp/h" + r"-\w"]))
    for f in FILES:
        if f.startswith("tests/fuzz/corpus/") or f.endswith(BINARY):
            continue
        source = text(f)
        if source and not source.endswith("\n") and not f.startswith("web/"):
            complain(f, 0, "no newline at the end")
        for n, line in enumerate(source.split("\n"), 1):
            for rule, what in ((marks, "unfinished"), (hosts, "names a place that is none of its business")):
                m = rule.search(line)
                if m:
                    complain(f, n, f"{what}: {m[0]}")


def white_space():
    empty = run("git", "hash-object", "-t", "tree", "/dev/null").stdout.strip()
    checks = [run("git", "-c", "core.whitespace=-blank-at-eof,tab-in-indent" if ending == "py" else "core.whitespace=blank-at-eof",
                  "diff", "--check", empty, "--", *paths)
              for ending, paths in (("py", ["*.py"]), ("", [".", ":!*.py", ":!tests/fuzz/corpus", ":!*.md", ":!*.go", ":!go.sum"]))]
    for p in checks:
        bad.extend(line for line in p.stdout.splitlines() if re.match(r"\S+:\d+: ", line))


def headers_alone():
    flags = os.environ.get("LINT_CFLAGS", "").split()
    if not flags:
        complain("tools/lint.py", 0, "without LINT_CFLAGS: use make check")
        return

    def one(f):
        folder = os.path.dirname(f)
        return f, run(os.environ.get("CC", "gcc"), *flags, "-I", folder, "-Itests/lib", "-x", "c", "-fsyntax-only", "-include",
                      f[8:] if f.startswith("include/") else f, "/dev/null")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for f, p in pool.map(one, [f for f in C_FILES if f.endswith(".h")]):
            if p.returncode:
                complain(f, 0, "does not compile alone: " + next((s for s in p.stdout.splitlines() if "error" in s), p.stdout))


def engine_is_pure():
    objects = ["build/rel/" + f[:-2] + ".o" for f in C_FILES if f.startswith("src/engine/") and f.endswith(".c")]
    missing = [o for o in objects if not os.path.exists(o)]
    if missing or not objects:
        complain(" ".join(missing) or "src/engine", 0, "is not built: use make check")
        return
    own = {line.split()[-1] for line in run("nm", "-g", "--defined-only", *objects).stdout.splitlines() if len(line.split()) == 3}
    for o in objects:
        for line in run("nm", "-u", o).stdout.splitlines():
            name = line.split()[-1]
            if name not in own and name not in ENGINE_TAKES:
                complain(o[10:-2] + ".c", 0, f"the engine is pure, but uses {name}")


def documents():
    for made, *command in (("docs/compatibility.md", "build/hatchet", "compat"), ("docs/limits.md", "python3", "tools/limits.py")):
        if subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout != text(made):
            complain(made, 0, "is not current: " + " ".join(command) + " > " + made)
    folders = {f.split("/")[0] for f in FILES if "/" in f}
    names = {os.path.basename(f) for f in FILES}
    for f in (f for f in FILES if f.endswith(".md")):
        source = text(f)
        if f == "ARCHITECTURE.md" and source.count("\n") > 300:
            complain(f, 0, "more than 300 lines")
        for n, line in enumerate(source.split("\n"), 1):
            for path in re.findall(r"`([\w.-]+(?:/[\w.*-]*)*)`", line):
                first = path.split("/")[0]
                is_path = first in folders and "/" in path or re.search(r"\.(c|h|sql|py|sh|md|mk|proto)$", path)
                there = glob.glob(path.rstrip("/")) or path in MADE or "/" not in path and path in names
                if is_path and not there and not path.startswith("build/"):
                    complain(f, n, f"{path} does not exist")
            for path in re.findall(r"\]\((?!\w+:)([\w./-]+)\)", line):
                if not os.path.exists(os.path.join(os.path.dirname(f), path)):
                    complain(f, n, f"{path} does not exist")


def targets():
    """Whatever .PHONY names is a target for people, and tells what it does."""
    told = {line.split()[0] for line in run("make", "-s", "--no-print-directory", "help").stdout.splitlines() if line.strip()}
    for f in (f for f in FILES if f == "Makefile" or f.endswith(".mk")):
        for n, line in enumerate(text(f).split("\n"), 1):
            for name in line.split()[1:] if line.startswith(".PHONY:") else ():
                if name != "FORCE" and name not in told:
                    complain(f, n, f"make help does not list {name}")
    for f in ("README.md", "CONTRIBUTING.md"):
        for n, line in enumerate(text(f).split("\n"), 1):
            for name in re.findall(r"(?:^    |`)make ([a-z][\w-]*)", line):
                if name not in told:
                    complain(f, n, f"there is no make {name}")


def shell():
    files = [f for f in FILES if f.endswith(".sh") or re.match(r"#!.*\bsh\b", text(f)[:40])]
    if shutil.which("shellcheck"):
        bad.extend(run("shellcheck", "-f", "gcc", "-S", "warning", *files).stdout.splitlines())
    elif CI:
        complain("shellcheck", 0, "is missing")
    for f in files:
        if not os.access(f, os.X_OK):
            complain(f, 0, "is a script, but not executable")


RULES = (sizes, includes, calls, words, white_space, headers_alone, engine_is_pure, documents, targets, shell)
for rule in RULES:
    if len(sys.argv) < 2 or rule.__name__ in sys.argv[1:]:
        rule()
if bad:
    print("\n".join(bad))
print(f"lint: {len(FILES)} files, {len(bad)} complaints")
sys.exit(bool(bad))
