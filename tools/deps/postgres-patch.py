#!/usr/bin/env python3
"""What the Postgres inside the binary does differently from its source: postgres-patch.py SOURCE-ROOT

* plpgsql is linked in: a static program loads no shared objects;
* randomness comes from getrandom(): there may be no /dev;
* pg_resetwal gives the cluster an identity of its own, since every copy comes from one template; with PG_TEMPLATE in its
  environment the identity and all times are fixed, so that a template is the same whenever and wherever it is made."""
import os
import sys

ROOT = sys.argv[1]


def ours(name):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "postgres-parts", name)) as f:
        return f.read()


def edit(name, *pairs):
    path = os.path.join(ROOT, name)
    with open(path) as f:
        text = f.read()
    for old, new in pairs:
        if text.count(old) != 1:
            sys.exit(f"{name}: {old!r} stands there {text.count(old)} times, not once")
        text = text.replace(old, new)
    with open(path, "w") as f:
        f.write(text)


LOAD = "/*\n * Load the specified dynamic-link library file, and look for a function\n"
EXPAND = ("\t/* Expand the possibly-abbreviated filename to an exact path name */\n"
          "\tfullname = expand_dynamic_library_name(filename);\n\n\t/* Load the shared library, unless we already did */")
RESTRICT = "\t/* Apply security restriction if requested */"
DLSYM = "\treturn dlsym(filehandle, funcname);\n"
edit("src/backend/utils/fmgr/dfmgr.c",
     (LOAD, ours("linked.c") + "\n" + LOAD),
     (EXPAND, "\tif (is_linked(filename) && ((retval = find_linked(funcname)) != NULL || !signalNotFound))\n\t{\n"
              "\t\tif (filehandle)\n\t\t\t*filehandle = (void *) linked;\n\t\treturn retval;\n\t}\n\n" + EXPAND),
     (RESTRICT, "\tif (is_linked(filename))\n\t\treturn;\n\n" + RESTRICT),
     (DLSYM, "\tif (filehandle == (void *) linked)\n\t\treturn find_linked(funcname);\n" + DLSYM))

with open(os.path.join(ROOT, "src/port/pg_strong_random.c"), "w") as f:
    f.write(ours("random.c"))

REWRITE = "\n/*\n * Write out the new pg_control file.\n */\n"
REDO = ("\t\t\t\t\t\t\tControlFile.checkPointCopy.redo);\n"
        "\tControlFile.checkPointCopy.time = (pg_time_t) time(NULL);\n")
edit("src/bin/pg_resetwal/pg_resetwal.c",
     ("static void RewriteControlFile(void);\n", "static void RewriteControlFile(void);\nstatic void new_identity(void);\n"),
     (REWRITE, "\n" + ours("identity.c") + REWRITE),
     (REDO, REDO.replace("time(NULL)", "(is_template() ? 0 : time(NULL))")),
     ("\tRewriteControlFile();\n\tKillExistingXLOG();", "\tnew_identity();\n\tRewriteControlFile();\n\tKillExistingXLOG();"))
edit("src/common/controldata_utils.c",
     ("\tControlFile->time = (pg_time_t) time(NULL);", "\tControlFile->time = getenv(\"PG_TEMPLATE\") ? 0 : (pg_time_t) time(NULL);"))
