"""What a report tells of a run, gathered from its files as far as they can be read."""

from dataclasses import dataclass, field
from typing import Any

from exper.core import paths, statistic_file
from exper.core.errors import Refused
from exper.core.statistic_file import Statistic
from exper.runs import run_record, status
from exper.statistic import history, rows
from exper.views.report.tail import Tail, tail

TOLD_BY_ITS_LOG = ("failed", "died", "damaged")


@dataclass
class Content:
    """One run; `damage` says which of its files can't be read, and why."""

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
        return {name[7:]: value for name, value in self.row.items() if name.startswith("hparam/")}


def of(run: paths.Run) -> Content:
    """Read a run."""
    one = Content(run)
    one.record = _read(one, lambda: run_record.read(run))
    one.statistic = _read(one, lambda: statistic_file.read_or_empty(run)) or Statistic()
    state = "damaged" if one.damage else status.derive(run, one.record)
    one.row = rows.row(run, state, Statistic() if one.damage else one.statistic)
    one.curves = _read(one, lambda: history.curves(run))
    if one.status in TOLD_BY_ITS_LOG:
        one.log = tail(run.log)
    return one


def _read(one: Content, read: Any) -> Any:
    try:
        return read()
    except FileNotFoundError:
        return {}
    except Refused as error:
        one.damage.append(str(error))
    except OSError as error:  # a folder, or no permission
        one.damage.append(f"{error.filename} can't be read: {error.strerror}")
    return {}


def ending(one: Content) -> str:
    """Return a run's status; of a failed one also how it ended."""
    how = {"status": one.status, "signal": one.record.get("signal"), "exit_code": one.record.get("exit_code")}
    return run_record.ending(how)


def seconds(one: Content) -> float | None:
    """Return how long all sessions took together; None if one has not told its end."""
    total = 0.0
    for session in one.record.get("sessions", ()):
        started, ended = run_record.time(session.get("started")), run_record.time(session.get("ended"))
        if started is None or ended is None:
            return None
        total += (ended - started).total_seconds()
    return total if one.record else None
