"""A run as a row: its status, settings and results, under the names of a table's columns."""

import functools
import multiprocessing
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from exper.core import paths, statistic_file
from exper.core.errors import Refused
from exper.core.statistic_file import METRICS, Statistic
from exper.runs import run_record, status

Row = dict[str, Any]
FIRST = ("run", "status", "epoch")
_MANY = 4000


def of(run: paths.Run) -> Row:
    """Return `run`, `status`, `epoch`, `hparam/<setting>` and, of a finished run, `metric/{best,last,test}/<name>`.

    What can't be read is left out; then the status is "damaged".
    """
    return read(run)[0]


def read(run: paths.Run) -> tuple[Row, str | None]:
    """Return a run's row, as `of`, and what can't be read and why, if anything."""
    try:
        state = status.of(run, run_record.read(run))
        statistic = statistic_file.read_or_empty(run)
    except Refused as refusal:
        return row(run, "damaged", Statistic()), str(refusal)
    return row(run, state, statistic), None


def row(run: paths.Run, state: str, statistic: Statistic) -> Row:
    """Return the row of a run in a status, with what its statistic.json holds."""
    row: Row = {"run": str(run), "status": state, "epoch": statistic.metrics("last").get("epoch")}
    row.update(_under("hparam", statistic.settings))
    if state == "finished":
        for group in METRICS:
            columns = _under(f"metric/{group}", statistic.metrics(group))
            row.update((name, value) for name, value in columns if value is not None)
    return row


def read_all(runs: list[paths.Run]) -> list[tuple[Row, str | None]]:
    """Return `read` of each run; many are shared among a few processes, as most of the time is for JSON."""
    if len(runs) < _MANY:
        return list(map(read, runs))
    processes = min(4, os.cpu_count() or 1)
    ignore_ctrl_c = (signal.SIGINT, signal.SIG_IGN)  # it ends us, and we end them
    with multiprocessing.get_context("fork").Pool(processes, signal.signal, ignore_ctrl_c) as pool:
        return pool.map(_read_in, [str(run.folder) for run in runs], chunksize=500)


def _read_in(folder: str) -> tuple[Row, str | None]:
    return read(paths.Run(Path(folder)))


def _under(start: str, values: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    return zip(_names(start, tuple(values)), values.values(), strict=True)


@functools.lru_cache
def _names(start: str, names: tuple[str, ...]) -> list[str]:
    """Return the columns of names; most runs have the same ones, and a table has many runs."""
    return [f"{start}/{name}" for name in names]


def columns(rows: Iterable[Row]) -> list[str]:
    """Return the names of all columns: the fixed ones, settings, then metrics, each group in the order of the runs."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    groups = {start: [name for name in names if name.startswith(start)] for start in ("hparam/", "metric/")}
    return [*FIRST, *groups["hparam/"], *groups["metric/"]]


def names(statistic: Statistic) -> dict[str, list[str]]:
    """Return the names of settings and metrics in a statistic.json, as a title has them; of any status."""
    metrics = [f"{group}/{name}" for group in METRICS for name in statistic.metrics(group)]
    return {"hparam": list(statistic.settings), "metric": metrics}
