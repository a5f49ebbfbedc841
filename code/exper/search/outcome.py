"""The outcome of a trial, and its curve while it trains, read from the files of its runs."""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from exper.core import paths, statistic_file
from exper.core.follower import Follower
from exper.runs import run_record, status
from exper.statistic import history


@dataclass(frozen=True)
class Outcome:
    """The end of a trial: it has a value, or has failed and says `why`; with neither it was pruned."""

    value: float | None = None
    why: str | None = None


def of(runs: list[paths.Run], metric: str) -> Outcome | None:
    """Return the outcome of a trial with these runs, one for each seed; None while it is open.

    The value is the mean of the runs' best values.
    """
    states = [state(run) for run in runs]
    for run, now in zip(runs, states, strict=True):
        if now == "failed":
            return Outcome(why=f"{run}: {run_record.ending(run_record.read(run))}")
        if now == "damaged":
            return Outcome(why=f"{run}: damaged")
    if states[0] == "pruned":
        return Outcome()
    if any(now != "finished" for now in states):
        return None
    values = []
    for run in runs:
        value = best(run, metric)
        if value is None:
            return Outcome(why=f"{run}: it has no {metric}")
        if not math.isfinite(value):
            return Outcome(why=f"{run}: its best {metric} is {value}")
        values.append(value)
    return Outcome(statistics.fmean(values))


def state(run: paths.Run) -> str | None:
    """Return a run's status, or None if there is no such run."""
    return status.read(run) if run.folder.is_dir() else None


def best(run: paths.Run, metric: str) -> float | None:
    """Return the best value of a metric if the run has one."""
    value = statistic_file.read_if_readable(run).metrics("best").get(metric)
    return float(value) if history.is_number(value) else None


class Curve:
    """The values of one metric in a run's history, each read once, also while the run trains."""

    def __init__(self, run: paths.Run, metric: str) -> None:
        self._history = Follower(run.history, 0)
        self._metric = metric
        self._epoch = 0

    def more(self) -> Iterator[tuple[int, float]]:
        """Yield (epoch, value) of each epoch that has been completed since the last call."""
        try:
            lines = self._history.lines()
        except OSError:
            return
        for _, line in lines:
            epoch = line.get("epoch")
            value = line.get(self._metric)
            if isinstance(epoch, int) and isinstance(value, (int, float)) and epoch > self._epoch:
                self._epoch = epoch
                yield epoch, float(value)
