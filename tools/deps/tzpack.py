#!/usr/bin/env python3
"""tzpack.py FOLDER VERSION FILE: the compiled zones of a folder as one file.

Little endian: "HTZ1", version (12 bytes, padded with NUL), number of zones, then sorted by name: offset of the name (ends
with NUL), offset and length of the zone's TZif data; then names and data.  Zones with the same data share it."""
import os
import struct
import sys


def main(folder, version, path):
    zones = {}
    for top, _, files in os.walk(folder):
        for f in files:
            full = os.path.join(top, f)
            with open(full, "rb") as z:
                zones[os.path.relpath(full, folder).encode()] = z.read()
    names = sorted(zones)
    at = 20 + 12 * len(names)
    name_at, data_at, blob = {}, {}, b""
    for n in names:
        name_at[n] = at + len(blob)
        blob += n + b"\0"
    for n in names:
        if zones[n] not in data_at:
            data_at[zones[n]] = at + len(blob)
            blob += zones[n]
    with open(path, "wb") as f:
        f.write(b"HTZ1" + version.encode().ljust(12, b"\0")[:12] + struct.pack("<I", len(names)))
        for n in names:
            f.write(struct.pack("<III", name_at[n], data_at[zones[n]], len(zones[n])))
        f.write(blob)


main(*sys.argv[1:])
