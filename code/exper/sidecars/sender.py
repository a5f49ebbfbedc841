"""Sends what a run's files hold to the loggers that its config.py names, while it trains and after.

A program of its own does it (`sender.py <run> [seconds]`), of low priority: training never talks to a server. Each
logger has a thread, so that one that hangs does not hold up another; what it has sent is in the run's `sent/`. When
standard input ends, training is over: there are a few seconds for what is left, and a few more for how the run ended,
which the supervisor records next. With `seconds`, for `exper send`, there are so many for all of it.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from exper.config import logger_registry
from exper.config.logger_registry import Part
from exper.core import lock, paths
from exper.core.follower import Follower
from exper.runs import status
from exper.sidecars import loggers as kinds
from exper.sidecars import outbox, process
from exper.sidecars.loggers import run_info
from exper.sidecars.loggers.run_info import Item, Line

LAST_SECONDS = 10.0  # for what is left when training is over
_AFTER_SECONDS = 30.0  # for how the run ended, when nobody waits any more
_NICENESS = 10  # at 19, where training has all cores busy, it would import its packages for minutes
_MOST_LINES, _LONGEST = 500, 200  # lines at a time; characters of an error
_PAUSE, _LONGEST_PAUSE = 2.0, 60.0  # seconds from one look to the next; after failures, twice as long each time
_SHARE = 0.0075  # of a core may be spent on sending, once a logger has started, and less than 0.01 with its own threads


class Work(threading.Thread):
    """One logger at work on a run."""

    def __init__(self, run: paths.Run, part: Part) -> None:
        super().__init__(name=part["name"], daemon=True)
        self.logger, self.error, self.is_idle = part["name"], "", False
        self._has_noted = False
        self._run, self._part, self._sources = run, part, kinds.sources(part)
        self._memory = outbox.memory(run, self.logger)
        self._kind: Any = None  # the logger, once it has started
        self._files: dict[str, Follower] = {}
        self._asked, self._is_over, self._status = threading.Event(), False, ""

    @property
    def waiting(self) -> int:
        """Return how many records wait."""
        return outbox.waiting(self._run, self.logger, self._sources)

    def ask(self, *, status: str = "") -> None:
        """Have everything sent that there is, and if `status` tells it, how the run ended; then it is idle."""
        self._is_over, self._status, self.is_idle = True, status, False
        self._asked.set()

    def run(self) -> None:
        pause = _PAUSE
        while True:
            was_asked = self._asked.is_set()
            if was_asked:
                self._asked.clear()
            try:
                if self._kind is None and (not self._status or self.waiting):
                    self._start()
                self._began = time.thread_time()
                if self._kind is not None:
                    self._send()
                pause = getattr(self._kind, "pause", _PAUSE)
            except Exception as error:
                pause = min(_LONGEST_PAUSE, 2 * pause)
                self._note(error)
            self.is_idle = was_asked and not self._asked.is_set()
            self._asked.wait(None if self._is_over else pause)

    def _start(self) -> None:
        kind = kinds.build(self._part, run_info.read(self._run))
        self._remember(there=kind.start(self._memory["there"]))
        arrived = getattr(kind, "arrived", None)
        if arrived is not None:  # the logger knows better than we do
            self._remember(lines={"history": arrived}, tried={"history": arrived})
        self._files = {name: self._follower(name) for name in self._sources}
        self._kind = kind

    def _send(self) -> None:
        for name in self._sources:
            self._send_lines(name)
        for name in outbox.shown(self._run):
            if name not in self._memory["shown"]:
                self._kind.show(Item(self._run.shown / name))
                self._remember(shown=[*self._memory["shown"], name])
        if self._status:
            how = outbox.end(self._run)
            self._kind.finish(run_info.read(self._run).end(self._status))
            self._remember(end=how)
            self._kind = None
        self.error = ""
        self._rest()

    def _follower(self, source: str) -> Follower:
        return Follower(outbox.file_of(self._run, source), self._memory["lines"].get(source, 0))

    def _send_lines(self, source: str) -> None:
        while True:
            known, tried = (self._memory[name].get(source, 0) for name in ("lines", "tried"))
            most = getattr(self._kind, "most", _MOST_LINES)
            lines = [Line(source, *one) for one in self._files[source].lines(most)]
            if not lines:
                return
            after = lines[-1].number + 1
            try:
                doubtful = [line for line in lines if line.number < tried]
                fresh = lines[len(doubtful) :]
                missing = [*(self._kind.missing(doubtful) if doubtful else []), *fresh]
                if after > tried:
                    self._remember(tried=self._memory["tried"] | {source: after})
                if missing:
                    self._kind.log(missing)
            except BaseException:
                self._files[source] = Follower(outbox.file_of(self._run, source), known)
                raise
            self._remember(lines=self._memory["lines"] | {source: after})
            self._rest()

    def _rest(self) -> None:
        """Wait until what has been sent has taken its share of the time, unless training is over."""
        if not self._is_over:
            seconds = (time.thread_time() - self._began) * getattr(self._kind, "factor", 1.0)
            self._asked.wait(seconds / _SHARE)
        self._began = time.thread_time()

    def _remember(self, **changes: Any) -> None:
        if any(self._memory[name] != value for name, value in changes.items()):
            self._memory |= changes
            outbox.remember(self._run, self.logger, self._memory)

    def _note(self, error: Exception) -> None:
        """Keep an error, and say the first in the log at once."""
        text = logger_registry.without_user(f"{type(error).__name__}: {error}".strip().splitlines()[0])[:_LONGEST]
        if not self._has_noted and not self._is_over:
            self._has_noted = True
            process.note(self._run.folder, f"{self.logger}: {text}; it is tried again, and what it misses waits")
        self.error = text


def main(folder: Path, seconds: float | None) -> int:
    """Send until standard input has ended, and what is left then; return 1 if something still waits."""
    training = process.settle(_NICENESS)
    run = paths.Run(folder)
    run.sent.mkdir(exist_ok=True)
    _wait_alone(run)
    works = [work for part in outbox.parts(run) if (work := Work(run, part)).waiting or not seconds]
    for work in works:
        work.start()
    while not process.is_training_over(60.0):
        pass
    how = _how_it_ended(run)
    missed = _finish(run, works, seconds or LAST_SECONDS, how)
    for line in missed:
        _tell(run, line, training)
    os.close(training)
    if not how:
        more = _finish(run, works, _AFTER_SECONDS, _wait_for_end(run))
        if not missed:
            for line in more:
                process.note(run.folder, line)
    return int(any(work.waiting for work in works))


def _wait_alone(run: paths.Run) -> None:
    """Wait until no other sender is at work on the run, such as that of the session before."""
    while lock.take(run.sent / "lock", wait_seconds=1.0) is None:
        pass


def _finish(run: paths.Run, works: list[Work], seconds: float, how: str) -> list[str]:
    """Have all that waits sent, and how the run ended if it has; return a line for each logger that fails."""
    for work in works:
        work.ask(status=how)
    deadline = time.monotonic() + seconds
    while not all(work.is_idle for work in works) and time.monotonic() < deadline:
        time.sleep(0.02)
    failing = [work for work in works if work.error or not work.is_idle]
    return [_failure(run, work, seconds) for work in failing]


def _failure(run: paths.Run, work: Work, seconds: float) -> str:
    why = work.error or f"no answer within {seconds:.0f} s"
    count = work.waiting
    return f"{work.logger}: {why}; {count} record{'s wait' if count != 1 else ' waits'}. Later: exper send {run}"


def _tell(run: paths.Run, line: str, training: int) -> None:
    """Have training print a line; if it is gone, put it into the log."""
    try:
        os.write(training, f"{line}\n".encode(errors="replace"))
    except OSError:
        process.note(run.folder, line)


def _how_it_ended(run: paths.Run) -> str:
    """Return the status of a run that is over; nothing if it may go on."""
    how = status.read(run)
    return how if how in (*status.OVER, *status.UNFINISHED) else ""


def _wait_for_end(run: paths.Run) -> str:
    deadline = time.monotonic() + _AFTER_SECONDS
    while not (how := _how_it_ended(run)) and run.folder.is_dir() and time.monotonic() < deadline:
        time.sleep(0.1)
    return how


if __name__ == "__main__":
    folder, *rest = sys.argv[1:]
    code = 1
    try:
        code = main(Path(folder), float(rest[0]) if rest else None)
    except Exception as error:
        process.note(Path(folder), f"nothing is sent to loggers from here on: {type(error).__name__}: {error}")
    os._exit(code)  # threads may hang
