#!/usr/bin/env python3
"""Write src/cel/unidata.c and unifold.c: what regular expressions know of Unicode.  Categories and case come from Python, scripts from
Perl.  Run by hand when a newer Unicode is wanted."""
import contextlib
import subprocess
import sys
import unicodedata

END = 0x110000


def runs(of):
    out = []
    for c in range(END):
        v = of(c)
        if not out or out[-1][1] != v:
            out.append((c, v))
    return out


def table(name, rows):
    print(f"\nconst uint32_t {name}[] = {{")
    for i in range(0, len(rows), 10):
        print("\t" + " ".join(f"0x{c << 8 | v:x}," for c, v in rows[i:i + 10]))
    print("};")
    print(f"const uint32_t {name}_n = ARRAY_LEN({name});")


def words(decl, name, rows):
    print(f"\n{decl} = {{")
    line = "\t"
    for r in rows:
        if len(line) + len(r) > 120:
            print(line.rstrip())
            line = "\t"
        line += f'"{r}", '
    print(line.rstrip())
    print("};")
    print(f"const uint32_t {name}_n = ARRAY_LEN({name});")


def categories():
    names = sorted({unicodedata.category(chr(c)) for c in range(END)} - {"Cn"}) + ["Cn"]
    ids = {n: i for i, n in enumerate(names)}
    return names, runs(lambda c: ids[unicodedata.category(chr(c))])


def scripts():
    program = r'''use Unicode::UCD qw(prop_invmap); my ($at, $of) = prop_invmap("Script");
        printf "%d %s\n", $at->[$_], $of->[$_] for 0 .. $#$at; print STDERR Unicode::UCD::UnicodeVersion();'''
    p = subprocess.run(["perl", "-e", program], check=True, capture_output=True, text=True)
    if p.stderr != unicodedata.unidata_version:
        sys.exit(f"Perl has Unicode {p.stderr}, Python {unicodedata.unidata_version}")
    rows = [line.split() for line in p.stdout.splitlines()]
    rows = [(int(at), "" if name == "Unknown" else name) for at, name in rows if int(at) < END]
    names = sorted({n for _, n in rows})
    return names, [(at, names.index(n)) for at, n in rows]


def folds():
    group = {}

    def root(c):
        while group.get(c, c) != c:
            c = group[c]
        return c

    for c in range(END):
        for other in (chr(c).lower(), chr(c).upper(), chr(c).title()):
            if len(other) == 1 and ord(other) != c:
                a, b = root(c), root(ord(other))
                group[max(a, b)] = group[min(a, b)] = min(a, b)
    members = {}
    for c in range(END):
        if c in group or root(c) != c:
            members.setdefault(root(c), []).append(c)
    rows = []
    for m in members.values():
        rows += [(c, m[(i + 1) % len(m)]) for i, c in enumerate(m)]
    return sorted(r for r in rows if r[0] != r[1])


def head():
    print(f"/* Unicode {unicodedata.unidata_version}: written by tools/genunicode.py. */")
    print('#include "regex_int.h"')


def data():
    head()
    names, rows = categories()
    words("const char uni_category_names[][3]", "uni_category_names", names)
    table("uni_categories", rows)
    names, rows = scripts()
    words("const char *const uni_script_names[]", "uni_script_names", names)
    table("uni_scripts", rows)


def fold_data():
    head()
    rows = folds()
    print("\nconst struct uni_fold uni_folds[] = {")
    for i in range(0, len(rows), 6):
        print("\t" + " ".join(f"{{0x{a:x}, 0x{b:x}}}," for a, b in rows[i:i + 6]))
    print("};")
    print("const uint32_t uni_folds_n = ARRAY_LEN(uni_folds);")


for path, write in (("src/cel/unidata.c", data), ("src/cel/unifold.c", fold_data)):
    with open(path, "w") as f, contextlib.redirect_stdout(f):
        write()
