"""What training prints, copied to the terminal as it is and to the log as it remains.

Runs in the supervisor; in training that has lost its supervisor; and, for `python code/main.py`, as a program of its
own (`terminal.py <log> <master>`), so that the output outlives whatever happens to training.
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
_LONGEST_LINE = 1 << 16  # bytes; beyond, a line goes to the log in pieces, or each would be looked at ever again
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>78])")
_ERASES = re.compile(r"\x1b\[[02]?K")  # the rest of the line, or all of it
# tqdm draws an inner bar a line below and moves back up; what it drew there does not remain.
_DRAWN_BELOW = re.compile(rb"\n[^\n]*?\x1b\[1?A")
_DEFAULT_SIZE = struct.pack("HHHH", 24, 80, 0, 0)


class Remaining:
    """Reduce a stream to the lines that a terminal would still show: of a progress bar its last state, no colours."""

    def __init__(self) -> None:
        """Start with nothing held back."""
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return the whole lines that `data` completes."""
        text = self._held + data
        if b"\x1b" not in text and b"\r" not in text:
            whole, newline, self._held = text.rpartition(b"\n")
            return whole + newline + self._too_long()
        while text != (text := _DRAWN_BELOW.sub(b"\r", text)):
            pass
        end = _end_of_what_stays(text)
        self._held = _last_drawn(text[end:])
        return b"".join(_remains(line) + b"\n" for line in text[:end].split(b"\n")[:-1]) + self._too_long()

    def _too_long(self) -> bytes:
        """Return what is held back if it is too much to wait for its end."""
        if len(self._held) <= _LONGEST_LINE:
            return b""
        text, self._held = self._held, b""
        return b"\n".join(map(_remains, text.split(b"\n")))

    def close(self) -> bytes:
        """Return what is left, as a last line."""
        lines = b"\n".join(map(_remains, self._held.split(b"\n")))
        self._held = b""
        return lines if not lines or lines.endswith(b"\n") else lines + b"\n"


def _end_of_what_stays(text: bytes) -> int:
    """Return where the open line begins, or the finished bar before it: something may still move up to that."""
    start = text.rfind(b"\n") + 1
    above = text[:start].rstrip(b"\n")
    bar = above.rfind(b"\n") + 1
    return bar if b"\r" in above[bar:] else start


def _last_drawn(text: bytes) -> bytes:
    """Drop what the open line has overwritten, so that hours of a bar are not held; what comes last may be torn."""
    lines, newline, line = text.rpartition(b"\n")
    drawn, moved_back, last = line.rpartition(b"\r")
    return lines + newline + (b"\r" + _remains(drawn) + b"\r" + last if moved_back else line)


def _remains(line: bytes) -> bytes:
    """Return what a terminal shows of a line: after a carriage return, the text overwrites what was there."""
    shown = ""
    for part in line.decode(errors="surrogateescape").split("\r"):
        text = _ANSI.sub("", part)
        shown = text + ("" if _ERASES.search(part) else shown[len(text) :])
    return (shown.rstrip() if b"\r" in line else shown).encode(errors="surrogateescape")


class Relay:
    """Copy one pseudo-terminal to a log and, as long as somebody is there, to a terminal or pipe."""

    def __init__(self, master: int, log: int, terminal: int | None) -> None:
        """Copy from `master` to the open file `log` and to `terminal`, which gets the log's text if it is none."""
        self.master = master
        self._log = log
        self._terminal = terminal
        self._is_terminal = terminal is not None and os.isatty(terminal)
        self._remaining = Remaining()
        self._size = b""
        self._log_is_full = False
        self.is_between_lines = True

    def pump(self) -> bool:
        """Copy what there is, at most a chunk; return False once every writer is gone."""
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
        """Write what remains of `data` to the log; return what is to be shown of it."""
        self.is_between_lines = data.endswith(b"\n")
        text = self._remaining.feed(data)
        self._write_log(text)
        return data if self._is_terminal else text

    def run(self) -> None:
        """Copy until every writer is gone."""
        while select.select([self.master], [], [], 0.5)[0] == [] or self.pump():
            self.resize()
        self.close()

    def close(self, quiet_seconds: float = 0.2, most_seconds: float = 1.0) -> None:
        """Copy what is left, all of it to the log before any is shown: who reads what we show may be slow.

        A process that still holds the other side, and prints on and on, is not waited for.
        """
        deadline, shown = time.monotonic() + most_seconds, []
        while time.monotonic() < deadline and select.select([self.master], [], [], quiet_seconds)[0]:
            data = self._read()
            if not data:
                break
            shown.append(self._logged(data))
        text = self._remaining.close()
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
    """Return both sides of a new pseudo-terminal, (ours, the program's), that leaves line ends as they are."""
    master, slave = pty.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    return master, slave


def open_log(path: Path) -> int:
    """Open a log for appending; nothing of it is ever cut."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)


def drain(master: int, log: Path) -> None:
    """Copy what is still printed to the log alone, until no process can print any more."""
    Relay(master, open_log(log), None).run()


if __name__ == "__main__":
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGTSTP):
        signal.signal(name, signal.SIG_IGN)
    Relay(int(sys.argv[2]), open_log(Path(sys.argv[1])), sys.stdout.fileno()).run()
