"""What came of a trial, read off the files of its runs."""

import math
import statistics
from dataclasses import dataclass

from exper.core import paths, statistic_file
from exper.runs import run_record, status
from exper.statistic import history


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: with a value, or failed and `why`; with neither it was pruned."""

    value: float | None = None
    why: str | None = None


def of(runs: list[paths.Run], metric: str) -> Outcome | None:
    """Return what came of the runs of a trial, each with a seed of its own; None as long as something is to come.

    The value is the mean of the best that each has reached.
    """
    states = [state(run) for run in runs]
    for run, known in zip(runs, states, strict=True):
        if known in ("failed", "damaged"):
            return Outcome(why=f"{run}: {run_record.ending(run_record.read(run)) if known == 'failed' else known}")
    if states[0] == "pruned":
        return Outcome()
    if any(known != "finished" for known in states):
        return None
    values = [best(run, metric) for run in runs]
    for run, value in zip(runs, values, strict=True):
        if value is None:
            return Outcome(why=f"{run}: it has no {metric}")
        if not math.isfinite(value):
            return Outcome(why=f"{run}: its best {metric} is {value}")
    return Outcome(statistics.fmean(value for value in values if value is not None))


def state(run: paths.Run) -> str | None:
    """Return a run's status; None if there is no such run."""
    return status.read(run) if run.folder.is_dir() else None


def best(run: paths.Run, metric: str) -> float | None:
    """Return the best value of a metric, if there is one."""
    value = statistic_file.read_if_readable(run).metrics("best").get(metric)
    return float(value) if history.is_number(value) else None
