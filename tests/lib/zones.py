#!/usr/bin/env python3
"""zones.py FILE: lines `zone instant offset` by Python's own reader of the zones in the packed file (tools/deps/tzpack.py).

The instants: fixed ones far back and far ahead, chance ones between, and those around every change of the next century's rules."""
import io
import random
import struct
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
FIXED = [-(2 ** 31) - 1, -(2 ** 31), -1, 0, 1, 951782400, 1709164800, 2 ** 31 - 1, 2 ** 31, 4102444800, 7258118400, 32503680000]


def offset(zone, t):
    return int((EPOCH + timedelta(seconds=t)).astimezone(zone).utcoffset().total_seconds())


def changes(zone, lo, hi):
    """The instants between at which the offset changes, found by halving between samples a month apart."""
    step = 30 * 86400
    while lo < hi:
        a, b = lo, lo + step
        if offset(zone, a) != offset(zone, b):
            while b - a > 1:
                m = (a + b) // 2
                a, b = (m, b) if offset(zone, m) == offset(zone, a) else (a, m)
            yield b
        lo += step


def main(path):
    data = open(path, "rb").read()
    chance = random.Random(7)
    for i in range(struct.unpack_from("<I", data, 16)[0]):
        name_at, at, n = struct.unpack_from("<III", data, 20 + 12 * i)
        name = data[name_at:data.index(b"\0", name_at)].decode()
        zone = ZoneInfo.from_file(io.BytesIO(data[at:at + n]), name)
        times = FIXED + [chance.randrange(-3 * 10 ** 9, 10 ** 10) for _ in range(30)]
        if i % 8 == 0:
            for c in changes(zone, 1700000000, 1700000000 + 20 * 31557600):
                times += [c - 1, c]
        for t in times:
            print(name, t, offset(zone, t))


main(sys.argv[1])
