"""What went wrong with a part of the work, in lines for people."""

import sys
from collections.abc import Iterable
from pathlib import Path

_MOST = 10


def warn(command: str, lines: Iterable[str]) -> bool:
    """Print lines to stderr, the first ten of many, and tell whether there are any."""
    every = list(lines)
    more = [f"and {len(every) - _MOST} more"] if len(every) > _MOST else []
    for line in every[:_MOST] + more:
        # It may hold names of files, or what a list says: they must not move the cursor of a terminal.
        print("".join(one if one.isprintable() else ascii(one)[1:-1] for one in f"{command}: {line}"), file=sys.stderr)
    return bool(every)


def unknown(path: Path, entries: Iterable[str]) -> list[str]:
    """Return a line for each entry of a list that names no run."""
    return [f"{path.name} names {entry!r}, and there is no such run; skipped" for entry in entries]
