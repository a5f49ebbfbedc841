"""Training's output, copied to the terminal unchanged and to the log as a terminal would finally show it.

It runs in the supervisor; in training that has lost its supervisor; and, for `python code/main.py`, as a program of its
own (`terminal.py <log> <master>`), so that the copying outlives a crash of training.
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path

_CHUNK = 65536  # bytes
_LONGEST_LINE = 1 << 16  # bytes; a longer line is logged in pieces, as each chunk scans the held line again
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>78])")
_ERASES = re.compile(r"\x1b\[[02]?K")  # to the end of the line, or all of it
# tqdm draws an inner bar one line below and moves back up; the log leaves that line out.
_DRAWN_BELOW = re.compile(rb"\n[^\n]*?\x1b\[1?A")
_DEFAULT_SIZE = struct.pack("HHHH", 24, 80, 0, 0)


class FinalLines:
    """Reduce a stream to its final lines: the last state of a progress bar, without colours."""

    def __init__(self) -> None:
        """Hold back nothing yet."""
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return the lines that `data` completes."""
        text = self._held + data
        if b"\x1b" not in text and b"\r" not in text:
            complete, newline, self._held = text.rpartition(b"\n")
            return complete + newline + self._take_too_long()
        while text != (text := _DRAWN_BELOW.sub(b"\r", text)):
            pass
        end = _end_of_final_lines(text)
        self._held = _drop_overdrawn(text[end:])
        return b"".join(_final(line) + b"\n" for line in text[:end].split(b"\n")[:-1]) + self._take_too_long()

    def _take_too_long(self) -> bytes:
        """Return the text held back, and hold none, if it is longer than any line that is waited for."""
        return self._take() if len(self._held) > _LONGEST_LINE else b""

    def _take(self) -> bytes:
        text = self._held
        self._held = b""
        return b"\n".join(map(_final, text.split(b"\n")))

    def close(self) -> bytes:
        """Return the rest, as a last line."""
        lines = self._take()
        return lines if not lines or lines.endswith(b"\n") else lines + b"\n"


def _end_of_final_lines(text: bytes) -> int:
    """Return the start of the open line, or of a finished bar just above it, to which the cursor may still move up."""
    start = text.rfind(b"\n") + 1
    above = text[:start].rstrip(b"\n")
    bar = above.rfind(b"\n") + 1
    return bar if b"\r" in above[bar:] else start


def _drop_overdrawn(text: bytes) -> bytes:
    """Drop the overwritten states of the open line, so that hours of a bar are not held; the last may be incomplete."""
    lines, newline, line = text.rpartition(b"\n")
    drawn, moved_back, last = line.rpartition(b"\r")
    if not moved_back:
        return text
    return lines + newline + b"\r" + _final(drawn) + b"\r" + last


def _final(line: bytes) -> bytes:
    """Return a line as a terminal finally shows it: after a carriage return, new text overwrites the old."""
    shown = ""
    for drawn in line.decode(errors="surrogateescape").split("\r"):
        text = _ANSI.sub("", drawn)
        shown = text + ("" if _ERASES.search(drawn) else shown[len(text) :])
    return (shown.rstrip() if b"\r" in line else shown).encode(errors="surrogateescape")


class Relay:
    """Copy a pseudo-terminal to a log and, until that is closed, to a terminal or pipe."""

    def __init__(self, master: int, log: int, terminal: int | None) -> None:
        """Copy from `master` to the open file `log` and to `terminal`; a pipe gets the log's text."""
        self.master = master
        self._log = log
        self._terminal = terminal
        self._is_terminal = terminal is not None and os.isatty(terminal)
        self._lines = FinalLines()
        self._size = b""
        self._log_is_full = False
        self.is_between_lines = True

    def pump(self) -> bool:
        """Copy at most one chunk; return False once every writer is gone."""
        data = self._read()
        if data:
            self._show(self._logged(data))
        return data != b""

    def _read(self) -> bytes:
        try:
            return os.read(self.master, _CHUNK)
        except OSError:  # EIO: no process has the other side open
            return b""

    def _logged(self, data: bytes) -> bytes:
        """Write the final lines of `data` to the log; return the text to show."""
        self.is_between_lines = data.endswith(b"\n")
        text = self._lines.feed(data)
        self._write_log(text)
        return data if self._is_terminal else text

    def run(self) -> None:
        """Copy until every writer is gone."""
        while select.select([self.master], [], [], 0.5)[0] == [] or self.pump():
            self.resize()
        self.close()

    def close(self, quiet_seconds: float = 0.2, most_seconds: float = 1.0) -> None:
        """Copy the rest, all of it to the log before any is shown: the reader of a pipe may be slow.

        A process that still holds the other side and keeps printing is waited for at most `most_seconds`.
        """
        deadline = time.monotonic() + most_seconds
        shown = []
        while time.monotonic() < deadline and select.select([self.master], [], [], quiet_seconds)[0]:
            data = self._read()
            if not data:
                break
            shown.append(self._logged(data))
        text = self._lines.close()
        self._write_log(text)
        self._show(b"".join(shown) + (b"" if self._is_terminal else text))

    def resize(self) -> bool:
        """Give the pseudo-terminal the size of the terminal; return whether it changed."""
        size = _DEFAULT_SIZE
        if self._is_terminal and self._terminal is not None:
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(self._terminal, termios.TIOCGWINSZ, bytes(8))
        if size == self._size:
            return False
        self._size = size
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)
        return True

    def _write_log(self, text: bytes) -> None:
        try:
            _write(self._log, text)
        except OSError as error:
            if not self._log_is_full:
                self._log_is_full = True
                self._show(f"exper: the log misses lines from here on: {error.strerror}\n".encode())

    def _show(self, text: bytes) -> None:
        if self._terminal is None:
            return
        try:
            _write(self._terminal, text)
        except OSError:  # a closed terminal or pipe must not end training
            self._terminal = None


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(file, view) :]
        except BlockingIOError:
            select.select([], [file], [])


def open_terminal() -> tuple[int, int]:
    """Return both sides of a new pseudo-terminal, (ours, the program's), that keeps line ends as they are."""
    master, slave = pty.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    return master, slave


def open_log(path: Path) -> int:
    """Open a log for appending."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)


def drain(master: int, log: Path) -> None:
    """Copy the remaining output to the log alone, until no process can print any more."""
    Relay(master, open_log(log), None).run()


if __name__ == "__main__":
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGTSTP):
        signal.signal(name, signal.SIG_IGN)
    Relay(int(sys.argv[2]), open_log(Path(sys.argv[1])), sys.stdout.fileno()).run()
