"""When to stop: signals, and the end of the supervisor. Imports no torch, so that it listens during slow imports."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # Ctrl-C; the end of a job; a scheduler's notice of it
_TWICE_SECONDS = 0.25  # schedulers and shells deliver one Ctrl-C twice within a moment

_asked: int | None = None
_asked_at = 0.0
_waits_for_step = False
_handed: list[int] = []


def listen() -> None:
    """Handle the signals: until `wait_for_steps` they end the process at once, with the exit code of an interruption."""
    for number in SIGNALS:
        signal.signal(number, _handle)


def wait_for_steps() -> None:
    """From here on a signal only sets what `exit_code` returns; the loop saves and leaves."""
    global _waits_for_step
    _waits_for_step = True


def exit_code() -> int | None:
    """Return 130, 143 or 138 if training was asked to stop, else None."""
    return None if _asked is None else 128 + _asked


def _handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    global _asked, _asked_at
    now = time.monotonic()
    if number == _asked == signal.SIGINT and now - _asked_at > _TWICE_SECONDS:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    if _asked is None:
        _asked, _asked_at = number, now
    if not _waits_for_step:
        raise SystemExit(128 + number)


def hold(descriptors: list[int]) -> None:
    """Keep what the supervisor handed over from programs that training starts, or they would hold the run's lock."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    _handed[:] = descriptors


def leave_to_parent(worker: int = 0) -> None:  # noqa: ARG001
    """In a forked data worker: leave signals and the run's lock to the process that trains."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for descriptor in _handed:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def watch_supervisor(control: int, output: int | None, log: Path) -> None:
    """Stop as by SIGTERM when the supervisor is gone, which is when the pipe `control` ends.

    Args:
        control: descriptor to read; nothing is ever written to its other end.
        output: the terminal whose other side is our stdout; it is emptied into `log`, or who writes to it would block.
        log: where output goes then.
    """
    threading.Thread(target=_watch, args=(control, output, log), name="supervisor", daemon=True).start()


def _watch(control: int, output: int | None, log: Path) -> None:
    while os.read(control, 1):
        pass
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    os.kill(os.getpid(), signal.SIGTERM)
    if output is not None:
        from exper.output import drain

        drain(output, log)
