"""A file of JSON lines that another process appends to, read as it grows."""

import json
import sys
from pathlib import Path
from typing import IO, Any


class Follower:
    """Reads lines, each once, in their order.

    A file that was cut back meanwhile, and has grown again, has the same lines at other offsets: it is read anew, up to
    the number of the next line.
    """

    def __init__(self, path: Path, number: int) -> None:
        """Begin with the line `number`, counted from 0."""
        self._path = path
        self._next = number
        self._rewind()

    def _rewind(self) -> None:
        self._number = 0  # of lines before the offset
        self._offset = 0
        self._last = b""  # the last line before the offset

    def lines(self, most: int = sys.maxsize) -> list[tuple[int, dict[str, Any]]]:
        """Return the next lines with their numbers, at most `most`; a line that can't be parsed is an empty dict."""
        try:
            with open(self._path, "rb") as file:
                return self._read(file, most)
        except FileNotFoundError:
            return []

    def _read(self, file: IO[bytes], most: int) -> list[tuple[int, dict[str, Any]]]:
        file.seek(self._offset - len(self._last))
        if file.read(len(self._last)) != self._last:
            self._rewind()
            file.seek(0)
        lines: list[tuple[int, dict[str, Any]]] = []
        while len(lines) < most:
            line = file.readline()
            if not line.endswith(b"\n"):
                break
            if self._number >= self._next:
                lines.append((self._number, _object(line)))
                self._next += 1
            self._number += 1
            self._offset += len(line)
            self._last = line
        return lines


def _object(line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
