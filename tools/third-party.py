#!/usr/bin/env python3
"""third-party.py FOLDER FILE: the notices of the libraries inside, from the files that `make deps` left in FOLDER.

FILE is the text, FILE.z the same for the binary: four bytes of its length, little endian, then zlib."""
import os
import struct
import sys
import zlib

RULE = "-" * 100 + "\n"


def main(folder, path):
    notices = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), errors="replace") as f:
            notices.append(f.read().rstrip() + "\n")
    with open("LICENSE") as f:
        own = f.read()
    text = "hatchet itself:\n\n" + own + "\nIn this file are, by name, version and licence:\n\n"
    text += "".join("  " + n.split("\n", 1)[0] + "\n" for n in notices)
    for n in notices:
        text += "\n" + RULE + n
    data = text.encode()
    with open(path, "wb") as f:
        f.write(data)
    with open(path + ".z", "wb") as f:
        f.write(struct.pack("<I", len(data)) + zlib.compress(data, 9))


main(*sys.argv[1:])
