#!/usr/bin/env python3
"""Writes every capture of this folder, truth.json and README.md; with --check, says what differs.

Needs nothing but Python's standard library, and gives the same bytes on any machine.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True

from maker import demo, file, flow, hosts, http, link, others  # noqa: E402
from maker.book import Book  # noqa: E402

HERE = Path(__file__).resolve().parent

# What the limits of the repository allow: captures are cloned by everybody.
DEMO_LEN_MAX = 64 << 10
ALL_LEN_MAX = 600 << 10

TOP = """
# Captures

Small captures, each named after the point it makes, made by `make.py` (`python3 captures/make.py`; `--check` only compares).
Nothing here was captured from anybody: addresses, names and secrets are made up.

- `truth.json` says for machines what must be found: frames, flows, findings by kind with flows and the sum of their counts,
  uninspected and stopped by reason, the exit code. A credential or mismatch kind that is not named must not be found.
- Every token begins with `CANARY-`, every password with `canary-pw-` (beside `admin:admin`, which products ship with).
  No output may hold one, in any encoding; a test looks for them.
- Times begin at 2026-11-23 09:15:00 UTC.
"""


def made():
    """Returns every file by its path in this folder."""
    book = Book()
    for part in (demo, http, flow, hosts, others, link, file):
        part.add(book)
    size = sum(map(len, book.files.values()))
    assert len(book.files["demo.pcap"]) <= DEMO_LEN_MAX, f"demo.pcap has {len(book.files['demo.pcap'])} bytes"
    assert size <= ALL_LEN_MAX, f"the captures have {size} bytes"
    return {**book.files, "truth.json": book.truth(), "README.md": book.readme(TOP)}


def there():
    """Returns the paths of what is in the tree, but for what makes it."""
    paths = (path for path in HERE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
    names = {path.relative_to(HERE).as_posix() for path in paths}
    # Recorded from real servers by record/, so not made here.
    return {name for name in names if not name.startswith(("real/", "record/"))}


def check(files):
    """Says how the tree differs; returns the exit code."""
    differences = [f"captures/{path}: make.py does not make it" for path in there() - set(files)]
    for path, data in files.items():
        if not (HERE / path).is_file():
            differences.append(f"captures/{path}: missing")
        elif (HERE / path).read_bytes() != data:
            differences.append(f"captures/{path}: differs from what make.py makes")
    for line in sorted(differences):
        print(f"error: {line}", file=sys.stderr)
    if differences:
        print("hint: run python3 captures/make.py and look at the difference", file=sys.stderr)
    return 1 if differences else 0


def write(files):
    """Writes what is new or differs."""
    for path, data in files.items():
        place = HERE / path
        place.parent.mkdir(exist_ok=True)
        if not place.is_file() or place.read_bytes() != data:
            place.write_bytes(data)
            print(f"captures/{path}: {len(data)} bytes")


def main(arguments):
    """Writes or checks."""
    if arguments not in ([], ["--check"]):
        print(f"usage: {sys.argv[0]} [--check]", file=sys.stderr)
        return 2
    files = made()
    if arguments:
        return check(files)
    write(files)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
