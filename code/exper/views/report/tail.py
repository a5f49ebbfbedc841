"""The end of a log."""

import re
from pathlib import Path
from typing import NamedTuple

LINES = 50
_MOST_BYTES = 1 << 16
_LONGEST_LINE = 1000  # characters
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>78])")


class Tail(NamedTuple):
    """The last lines of a log, without colours; `is_whole` if there are no others."""

    lines: list[str]
    is_whole: bool


def tail(path: Path) -> Tail | None:
    """Return the end of a log, or None if there is none."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, 2) - _MOST_BYTES)
            file.seek(start)
            text = file.read().decode(errors="backslashreplace")
    except OSError:
        return None
    lines = _ANSI.sub("", text).split("\n")
    if lines[-1] == "":
        lines.pop()
    return Tail([_cut(line.rstrip("\r")) for line in lines[-LINES:]], start == 0 and len(lines) <= LINES)


def _cut(line: str) -> str:
    more = len(line) - _LONGEST_LINE
    return line if more <= 0 else f"{line[:_LONGEST_LINE]} … and {more:,} more characters"
