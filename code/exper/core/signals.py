"""Stop signals: noted when they arrive and checked between two steps, so that no step is interrupted."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(Exception):
    """A stop signal has arrived; the exit code is 128 plus its number."""

    def __init__(self, number: int, was_typed: bool = False) -> None:
        """Keep the signal's number, and whether Ctrl-C was typed while training had the terminal."""
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number
        self.was_typed = was_typed


class Signals:
    """Within the block, note stop signals, and forward them to training once it runs."""

    def __init__(self) -> None:
        """Note nothing yet."""
        self.noted: int | None = None
        self.receiver: int | None = None  # pid of the process that they are forwarded to
        self.was_without_terminal = False  # the receiver had it, so that Ctrl-C reached the receiver alone
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup`, and `&` in scripts, set it
                self._before[number] = signal.signal(number, self._note)
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal ends nothing
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.noted is not None:
            raise Interrupted(self.noted)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.noted = number
        if self.receiver is not None:
            try:
                os.kill(self.receiver, number)
            except ProcessLookupError:
                self.receiver = None


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise Interrupted on a stop signal or when the terminal is closed; further signals are ignored."""
    numbers = [n for n in (*STOPPING, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]

    def end(number: int, _frame: FrameType | None) -> None:
        for every in numbers:
            signal.signal(every, signal.SIG_IGN)
        raise Interrupted(number)

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
