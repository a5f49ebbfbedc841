"""Messages on stderr, and the question before a removal. Names in them can't move a terminal's cursor."""

import contextlib
import sys
from collections.abc import Iterable

from exper.core.errors import Refused

MOST = 10  # lines


def printable(text: str, keep: str = "") -> str:
    """Return text with its invisible characters (control characters, bidi marks, lone surrogates) as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text)


def say(text: str) -> None:
    """Print a message for the user; a closed terminal is no error."""
    with contextlib.suppress(OSError):
        print(printable(text, keep="\n"), file=sys.stderr, flush=True, end="\n" if text else "")


def warn(command: str, lines: "Iterable[str]") -> bool:
    """Print the first ten of the lines, each after the command's name; return whether there are any."""
    every = list(lines)
    more = [f"and {len(every) - MOST} more"] if len(every) > MOST else []
    for line in every[:MOST] + more:
        say(f"{command}: {printable(line)}")
    return bool(every)


def confirm_removal(*, yes: bool) -> None:
    """Return if the user agrees to remove what has just been listed.

    Raises:
        Refused: the user does not agree, or there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused("nothing removed: nobody to ask. Add --yes.")
    if input("Remove? [y/N] ").strip().lower() not in ("y", "yes"):
        raise Refused("nothing removed.")


def count(number: int, noun: str) -> str:
    """Return `1 file` or `2,000 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
