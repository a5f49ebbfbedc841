"""When to stop: signals, and the supervisor's end. Imports no torch: signals count during slow imports, too."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from exper.core.terminal import drain

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # Ctrl-C; end of a job; a scheduler's notice of that
_TWICE_SECONDS = 0.25  # schedulers and shells may deliver the same Ctrl-C twice
_POLL_SECONDS = 0.5
_asked: tuple[int, float] | None = None  # the first signal, and when it came
_waits_for_step = False
_handed: list[int] = []  # descriptors from the supervisor


def listen() -> None:
    """Handle the signals; until `wait_for_step` they end the process at once, with their exit code."""
    for number in SIGNALS:
        signal.signal(number, _handle)


def wait_for_step() -> None:
    """Let a signal only set `exit_code` from now on; the loop reads it, saves and exits."""
    global _waits_for_step
    _waits_for_step = True


def exit_code() -> int | None:
    """Return 130, 143 or 138 if a signal has asked training to stop, else None."""
    return None if _asked is None else 128 + _asked[0]


def _handle(number: int, frame: Any) -> None:  # noqa: ARG001
    global _asked
    if _asked is None:
        _asked = (number, time.monotonic())
    elif number == _asked[0] == signal.SIGINT and is_second(_asked[1]):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    if not _waits_for_step:
        raise SystemExit(exit_code())


def is_second(first: float) -> bool:
    """Tell whether a signal that arrives now is a new one, not the same as at the time `first`."""
    return time.monotonic() - first > _TWICE_SECONDS


def hold(descriptors: list[int]) -> None:
    """Don't let programs that training starts inherit the supervisor's descriptors: they would hold the run's lock."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    _handed[:] = descriptors


def leave_to_parent(worker: int) -> None:  # noqa: ARG001
    """In a data worker: ignore the signals and release the run's lock, both of which are for the training process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    while _handed:
        os.close(_handed.pop())


def watch_supervisor(control: int, output: int | None, log: Path) -> None:
    """Stop as at SIGTERM when the pipe `control` ends; then print to `log`, and copy the rest of `output` to it."""
    threading.Thread(target=_watch, args=(control, output, log), name="supervisor", daemon=True).start()


def watch_launcher(launcher: int, log: Path) -> None:
    """Stop as at SIGTERM when the launcher, our parent process, is gone; from then on print to `log`."""
    threading.Thread(target=_watch_launcher, args=(launcher, log), name="launcher", daemon=True).start()


def _watch_launcher(launcher: int, log: Path) -> None:
    while os.getppid() == launcher:
        time.sleep(_POLL_SECONDS)
    _print_to(log)
    os.kill(os.getpid(), signal.SIGTERM)


def _watch(control: int, output: int | None, log: Path) -> None:
    while os.read(control, 1):
        pass
    _print_to(log)
    os.kill(os.getpid(), signal.SIGTERM)
    if output is not None:
        drain(output, log)  # or processes that still write to the terminal would block


def _print_to(log: Path) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for standard in (1, 2):
        os.dup2(handle, standard)
