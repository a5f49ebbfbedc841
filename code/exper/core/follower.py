"""A file of JSON lines that another process appends to, read as it grows."""

import json
import sys
from pathlib import Path
from typing import IO, Any


class Follower:
    """Reads lines, each once, in their order.

    A file that was cut back meanwhile, and has grown again, has the same lines at other offsets: it is read anew, up to
    the number of the line that comes next.
    """

    def __init__(self, path: Path, number: int) -> None:
        """Begin with the line `number`, counted from 0."""
        self._path, self._next = path, number
        self._number, self._offset, self._last = 0, 0, b""  # lines before the offset; the last of them

    def lines(self, most: int = sys.maxsize) -> list[tuple[int, dict[str, Any]]]:
        """Return the next lines with their numbers, at most so many; one that can't be read is empty."""
        try:
            with open(self._path, "rb") as file:
                return self._read(file, most)
        except FileNotFoundError:
            return []

    def _read(self, file: IO[bytes], most: int) -> list[tuple[int, dict[str, Any]]]:
        file.seek(self._offset - len(self._last))
        if file.read(len(self._last)) != self._last:
            self._number, self._offset, self._last = 0, 0, b""
            file.seek(0)
        found: list[tuple[int, dict[str, Any]]] = []
        while len(found) < most:
            line = file.readline()
            if not line.endswith(b"\n"):
                break
            if self._number >= self._next:
                found.append((self._number, _object(line)))
                self._next += 1
            self._number, self._offset, self._last = self._number + 1, self._offset + len(line), line
        return found


def _object(line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
