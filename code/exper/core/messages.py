"""Words for people on stderr. Names of files, tags or metrics in them can't move the cursor of a terminal."""

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path

MOST = 10  # lines


def printable(text: str, keep: str = "") -> str:
    """Return text in which what can't be seen (control characters, bidi marks, lone surrogates) is an escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else ascii(one)[1:-1] for one in text)


def say(text: str) -> None:
    """Tell how things go; a closed terminal is no error."""
    with contextlib.suppress(OSError):
        print(printable(text, keep="\n"), file=sys.stderr, flush=True, end="\n" if text else "")


def warn(command: str, lines: "Iterable[str]") -> bool:
    """Tell of parts of the work, such as what went wrong, the first ten of many; return whether there are any."""
    every = list(lines)
    more = [f"and {len(every) - MOST} more"] if len(every) > MOST else []
    for line in every[:MOST] + more:
        say(f"{command}: {printable(line)}")
    return bool(every)


def did_you_mean(name: str, names: "Iterable[str]") -> str:
    """Return ` Did you mean 'baseline'?`, or nothing if no name is close; `lr` is close to `optimizer.lr`."""
    import difflib  # only to refuse something

    others = [other for other in names if other != name]
    close = difflib.get_close_matches(name, others, 1) or [other for other in others if other.endswith(f".{name}")]
    return f" Did you mean {close[0]!r}?" if close else ""


def unknown(path: Path, entries: "Iterable[str]") -> "list[str]":
    """Return a line for each entry of a list that names no run."""
    return [f"{path.name} names {entry!r}, and there is no such run; skipped" for entry in entries]
