"""What a program in Python does with the front door: psycopg, client.py WORKFLOW.  One JSON object on standard output."""
import json
import sys

import psycopg
from psycopg.types.json import Jsonb

workflow = sys.argv[1]
out = {}

with psycopg.connect(autocommit=True) as db:
    try:
        with db.transaction():
            db.execute("insert into orders values ('python-rolled-back')")
            db.execute("select hatchet.enqueue(%s, %s)", (workflow, Jsonb({"order": "python-rolled-back"})))
            raise RuntimeError("the shop has closed")
    except RuntimeError:
        pass

    with db.transaction():
        db.execute("insert into orders values ('python')")
        out["run"] = db.execute("select hatchet.enqueue(%s, %s, priority => 3, additional_metadata => %s)",
                                (workflow, Jsonb({"order": "python"}), Jsonb({"by": "python"}))).fetchone()[0]

    try:
        db.execute("select hatchet.enqueue(%s, priority => 9)", (workflow,))
    except psycopg.errors.InvalidParameterValue as e:
        out["error"] = e.diag.message_primary

print(json.dumps(out, default=str))
