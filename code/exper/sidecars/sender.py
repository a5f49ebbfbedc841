"""Sends the records of a run to the loggers that its config.py names, while it trains and afterwards.

A sidecar of low priority does it (`sender.py <run> [seconds]`): training never talks to a server. Each logger has its
own thread, so that one that hangs does not hold up another; its outbox is in the run's `sent/`. When standard input
ends, training is over: the loggers have a few seconds for what is left, and a few more for the end of the run, which
the supervisor records next. With `seconds`, for `exper send`, they have that long in all.
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
from exper.core import lock, paths
from exper.core.components import Component
from exper.core.follower import Follower
from exper.runs import status
from exper.sidecars import loggers, outbox, process
from exper.sidecars.loggers import run_info
from exper.sidecars.loggers.run_info import Item, Line

LAST_SECONDS = 10.0  # for what is left when training is over
_END_SECONDS = 30.0  # for the end of the run; nobody waits any more
_NICENESS = 10  # at 19, with all cores busy training, it would import its packages for minutes
_MAX_LINES = 500  # at a time
_MAX_ERROR = 200  # characters
_PAUSE_SECONDS = 2.0  # after each failure twice as long
_MAX_PAUSE_SECONDS = 60.0
_SHARE = 0.0075  # of a core may be spent on sending, once a logger has started: below 0.01 with its own threads


class Worker(threading.Thread):
    """Sends the records of a run to one logger."""

    def __init__(self, run: paths.Run, setting: Component) -> None:
        super().__init__(name=setting["name"], daemon=True)
        self.error = ""
        self.is_idle = False
        self._run = run
        self._setting = setting
        self._sources = loggers.sources(setting)
        self._memory = outbox.memory(run, self.name)
        self._logger: Any = None  # once it has started
        self._files: dict[str, Follower] = {}
        self._asked = threading.Event()
        self._is_over = False  # training
        self._status = ""  # of a run that has ended
        self._has_logged_error = False

    @property
    def waiting(self) -> int:
        """Return the number of records that wait."""
        return outbox.waiting(self._run, self.name, self._sources)

    def ask(self, *, status: str = "") -> None:
        """Have all records sent, and the end of the run if its `status` is given; then the worker is idle."""
        self._is_over = True
        self._status = status
        self.is_idle = False
        self._asked.set()

    def run(self) -> None:
        pause = _PAUSE_SECONDS
        while True:
            was_asked = self._asked.is_set()
            if was_asked:
                self._asked.clear()
            try:
                if self._logger is None and (not self._status or self.waiting):
                    self._start()
                self._began = time.thread_time()
                if self._logger is not None:
                    self._send()
                pause = getattr(self._logger, "pause", _PAUSE_SECONDS)
            except Exception as error:
                pause = min(_MAX_PAUSE_SECONDS, 2 * pause)
                self._note(error)
            self.is_idle = was_asked and not self._asked.is_set()
            self._asked.wait(None if self._is_over else pause)

    def _start(self) -> None:
        logger = loggers.build(self._setting, run_info.read(self._run))
        self._remember(there=logger.start(self._memory["there"]))
        arrived = getattr(logger, "arrived", None)
        if arrived is not None:  # the logger's own count is right where ours may not be
            self._remember(lines={"history": arrived}, tried={"history": arrived})
        self._files = {name: self._follower(name) for name in self._sources}
        self._logger = logger

    def _send(self) -> None:
        for name in self._sources:
            self._send_lines(name)
        for name in outbox.shown(self._run):
            if name not in self._memory["shown"]:
                self._logger.show(Item(self._run.shown / name))
                self._remember(shown=[*self._memory["shown"], name])
        if self._status:
            end = outbox.end(self._run)
            self._logger.finish(run_info.read(self._run).end(self._status))
            self._remember(end=end)
            self._logger = None
        self.error = ""
        self._rest()

    def _follower(self, source: str) -> Follower:
        return Follower(outbox.file_of(self._run, source), self._memory["lines"].get(source, 0))

    def _send_lines(self, source: str) -> None:
        max_lines = getattr(self._logger, "most", _MAX_LINES)
        while lines := [Line(source, *numbered) for numbered in self._files[source].lines(max_lines)]:
            try:
                self._send_batch(source, lines)
            except BaseException:
                self._files[source] = self._follower(source)
                raise
            self._remember(lines=self._memory["lines"] | {source: lines[-1].number + 1})
            self._rest()

    def _send_batch(self, source: str, lines: list[Line]) -> None:
        tried = self._memory["tried"].get(source, 0)
        doubtful = [line for line in lines if line.number < tried]
        missing = [*(self._logger.missing(doubtful) if doubtful else []), *lines[len(doubtful) :]]
        end = lines[-1].number + 1
        if end > tried:
            self._remember(tried=self._memory["tried"] | {source: end})
        if missing:
            self._logger.log(missing)

    def _rest(self) -> None:
        """Wait until the CPU time spent is within its share, unless training is over."""
        if not self._is_over:
            seconds = (time.thread_time() - self._began) * getattr(self._logger, "factor", 1.0)
            self._asked.wait(seconds / _SHARE)
        self._began = time.thread_time()

    def _remember(self, **changes: Any) -> None:
        if any(self._memory[name] != value for name, value in changes.items()):
            self._memory |= changes
            outbox.remember(self._run, self.name, self._memory)

    def _note(self, error: Exception) -> None:
        """Keep an error, and write the first into the log at once."""
        text = logger_registry.without_user(f"{type(error).__name__}: {error}".strip().splitlines()[0])[:_MAX_ERROR]
        if not self._has_logged_error and not self._is_over:
            self._has_logged_error = True
            line = f"{self.name}: {text}; it is tried again, and what it misses waits"
            process.append_to_log(self._run.folder, line)
        self.error = text


def main(folder: Path, seconds: float | None) -> int:
    """Send until standard input has ended, and then what is left; return 1 if a record still waits."""
    training = process.become_sidecar(_NICENESS)
    run = paths.Run(folder)
    run.sent.mkdir(exist_ok=True)
    _wait_for_other_senders(run)
    workers = [Worker(run, setting) for setting in outbox.loggers(run)]
    workers = [worker for worker in workers if worker.waiting or not seconds]
    for worker in workers:
        worker.start()
    while not process.is_training_over(60.0):
        pass
    end = _end_status(run)
    failures = _finish(run, workers, seconds or LAST_SECONDS, end)
    for line in failures:
        _print_in_training(run, line, training)
    os.close(training)
    if not end:
        late_failures = _finish(run, workers, _END_SECONDS, _wait_for_end(run))
        for line in late_failures if not failures else ():
            process.append_to_log(run.folder, line)
    return int(any(worker.waiting for worker in workers))


def _wait_for_other_senders(run: paths.Run) -> None:
    """Wait until no other sender works on the run, such as that of the previous session."""
    while lock.take(run.sent / "lock", wait_seconds=1.0) is None:
        pass


def _finish(run: paths.Run, workers: list[Worker], seconds: float, status: str) -> list[str]:
    """Have all records sent, and the end if the run has ended with `status`; return a line for each failing logger."""
    for worker in workers:
        worker.ask(status=status)
    deadline = time.monotonic() + seconds
    while not all(worker.is_idle for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [_failure(run, worker, seconds) for worker in workers if worker.error or not worker.is_idle]


def _failure(run: paths.Run, worker: Worker, seconds: float) -> str:
    reason = worker.error or f"no answer within {seconds:.0f} s"
    count = worker.waiting
    return f"{worker.name}: {reason}; {count} record{'s wait' if count != 1 else ' waits'}. Later: exper send {run}"


def _print_in_training(run: paths.Run, line: str, training: int) -> None:
    """Have training print a line; append it to the log if training is gone."""
    try:
        os.write(training, f"{line}\n".encode(errors="replace"))
    except OSError:
        process.append_to_log(run.folder, line)


def _end_status(run: paths.Run) -> str:
    """Return the status of a run that is over, or an empty string."""
    run_status = status.read(run)
    return run_status if run_status in status.ENDED else ""


def _wait_for_end(run: paths.Run) -> str:
    deadline = time.monotonic() + _END_SECONDS
    while not (end := _end_status(run)) and run.folder.is_dir() and time.monotonic() < deadline:
        time.sleep(0.1)
    return end


if __name__ == "__main__":
    folder, *rest = sys.argv[1:]
    code = 1
    try:
        code = main(Path(folder), float(rest[0]) if rest else None)
    except Exception as error:
        process.append_to_log(Path(folder), f"nothing is sent to loggers from here on: {type(error).__name__}: {error}")
    os._exit(code)  # threads may hang
