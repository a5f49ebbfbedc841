"""The content of a report: what the files of each run hold, as far as they can be read."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from exper.core import paths, statistic_file
from exper.core.errors import Refused
from exper.core.statistic_file import Statistic
from exper.runs import run_record, status
from exper.statistic import history, rows

HAS_LOG = ("failed", "died", "damaged")  # the statuses of runs whose log is shown
TAIL_LINES = 50
_MOST_BYTES = 1 << 16
_LONGEST_LINE = 1000  # characters
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>78])")


class Tail(NamedTuple):
    """The last lines of a log, without colours; `is_whole` if they are all of it."""

    lines: list[str]
    is_whole: bool


@dataclass
class Content:
    """The content of one run; `damage` has an error for each file that can't be read."""

    run: paths.Run
    row: rows.Row = field(default_factory=dict)
    record: run_record.Record = field(default_factory=dict)
    statistic: Statistic = field(default_factory=Statistic)
    curves: dict[str, history.Curve] = field(default_factory=dict)
    log: Tail | None = None
    damage: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        return str(self.row["status"])

    @property
    def commit(self) -> str | None:
        commit = self.record.get("commit")
        return commit if isinstance(commit, str) else None

    @property
    def settings(self) -> dict[str, Any]:
        return {name.removeprefix("hparam/"): self.row[name] for name in self.row if name.startswith("hparam/")}

    @property
    def ending(self) -> str:
        """The status; of a failed run also its exit code or signal."""
        fields = {name: self.record.get(name) for name in ("signal", "exit_code")}
        return run_record.ending(fields | {"status": self.status})

    @property
    def seconds(self) -> float | None:
        """The duration of all sessions together; None if the end of one is unknown."""
        total = 0.0
        for session in self.record.get("sessions", ()):
            started = run_record.time(session.get("started"))
            ended = run_record.time(session.get("ended"))
            if started is None or ended is None:
                return None
            total += (ended - started).total_seconds()
        return total if self.record else None


def of(run: paths.Run) -> Content:
    """Read a run."""
    content = Content(run)
    with _noted(content.damage):
        content.record = run_record.read(run)
    with _noted(content.damage):
        content.statistic = statistic_file.read_or_empty(run)
    state = "damaged" if content.damage else status.derive(run, content.record)
    content.row = rows.row(run, state, Statistic() if content.damage else content.statistic)
    with _noted(content.damage):
        content.curves = history.curves(run)
    if state in HAS_LOG:
        content.log = tail(run.log)
    return content


@contextlib.contextmanager
def _noted(damage: list[str]) -> Iterator[None]:
    """Add the error of the block, if a file can't be read."""
    try:
        yield
    except Refused as error:
        damage.append(str(error))
    except OSError as error:  # a folder, or no permission
        damage.append(f"{error.filename} can't be read: {error.strerror}")


def tail(path: Path) -> Tail | None:
    """Return the end of a log, or None if it can't be read."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, 2) - _MOST_BYTES)
            file.seek(start)
            text = file.read().decode(errors="backslashreplace")
    except OSError:
        return None
    lines = _ANSI.sub("", text).split("\n")
    if lines[-1] == "":
        lines.pop()
    is_whole = start == 0 and len(lines) <= TAIL_LINES
    return Tail([_cut(line.rstrip("\r")) for line in lines[-TAIL_LINES:]], is_whole)


def _cut(line: str) -> str:
    more = len(line) - _LONGEST_LINE
    return line if more <= 0 else f"{line[:_LONGEST_LINE]} … and {more:,} more characters"
