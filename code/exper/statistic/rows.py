"""A run as a row: its status, settings and metrics under the names of a table's columns."""

import functools
import multiprocessing
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from exper.core import paths, statistic_file
from exper.core.errors import Refused
from exper.core.statistic_file import METRICS, Statistic
from exper.runs import run_record, status

Row = dict[str, Any]
FIRST = ("run", "status", "epoch")
_MANY = 4000


class Reading(NamedTuple):
    """A run's row, and the error if one of its files is damaged."""

    row: Row
    error: str | None = None


def of(run: paths.Run) -> Row:
    """Return `run`, `status`, `epoch`, `hparam/<setting>` and, of a finished run, `metric/{best,last,test}/<name>`.

    A run with a damaged file has the status "damaged" and neither settings nor metrics.
    """
    return read(run).row


def read(run: paths.Run) -> Reading:
    """Return a run's row, as `of`, with the error of a damaged file."""
    try:
        return Reading(row(run, status.derive(run, run_record.read(run)), statistic_file.read_or_empty(run)))
    except Refused as refusal:
        return Reading(row(run, "damaged", Statistic()), str(refusal))


def row(run: paths.Run, state: str, statistic: Statistic) -> Row:
    """Return the row of a run that has the status `state`."""
    row: Row = {"run": str(run), "status": state, "epoch": statistic.metrics("last").get("epoch")}
    row.update(_under("hparam", statistic.settings))
    if state == "finished":
        for group in METRICS:
            columns = _under(f"metric/{group}", statistic.metrics(group))
            row.update((name, value) for name, value in columns if value is not None)
    return row


def read_all(runs: list[paths.Run]) -> list[Reading]:
    """Return `read` of each run; several processes share many runs, as parsing JSON takes most of the time."""
    if len(runs) < _MANY:
        return list(map(read, runs))
    processes = min(4, os.cpu_count() or 1)
    ignore_ctrl_c = (signal.SIGINT, signal.SIG_IGN)  # this process ends on it, and ends them
    with multiprocessing.get_context("fork").Pool(processes, signal.signal, ignore_ctrl_c) as pool:
        return list(map(Reading._make, pool.map(_read_in, [str(run.folder) for run in runs], chunksize=500)))


def _read_in(folder: str) -> tuple[Row, str | None]:
    row, error = read(paths.Run(Path(folder)))
    return row, error  # a plain tuple pickles faster than a Reading


def _under(start: str, values: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    return zip(_names(start, tuple(values)), values.values(), strict=True)


@functools.lru_cache
def _names(start: str, names: tuple[str, ...]) -> list[str]:
    """Return the columns of names. Cached: most runs of a long table have the same names."""
    return [f"{start}/{name}" for name in names]


def columns(rows: Iterable[Row]) -> list[str]:
    """Return the names of all columns: the fixed ones, settings, then metrics, each group in the order of the runs."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    groups = {start: [name for name in names if name.startswith(start)] for start in ("hparam/", "metric/")}
    return [*FIRST, *groups["hparam/"], *groups["metric/"]]


def names(statistic: Statistic) -> dict[str, list[str]]:
    """Return the names of a run's settings and metrics, whatever its status, by the sections of a title."""
    metrics = [f"{group}/{name}" for group in METRICS for name in statistic.metrics(group)]
    return {"hparam": list(statistic.settings), "metric": metrics}
