"""Runs in groups: how many have finished, and mean, spread and a 95 % interval of their metrics."""

import math
import statistics
from collections.abc import Iterable
from typing import Any

from exper.statistic.rows import Row

FIRST = ("runs", "finished")
OF_METRIC = ("n", "mean", "std", "ci95")


def grouped(rows: Iterable[Row], key: str) -> list[Row]:
    """Return a row for each value of a column, in the order of the runs; `key` is a column, or `tag`.

    It has the key, `runs`, `finished`, the settings that no group has two values of, and of each metric `n`, `mean`,
    `std` and `ci95`, half the width of the 95 % interval of the mean by Student's t. Only finished runs have metrics.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(repr(_key(row, key)), []).append(row)  # a list is one value too
    dropped = {key, *(name for group in groups.values() for name in _varying(group))}
    return [_summary(group, key, dropped) for group in groups.values()]


def _key(row: Row, key: str) -> Any:
    return row["run"].rpartition("/")[0] if key == "tag" else row.get(key, ...)  # None is a value


def _varying(group: list[Row]) -> list[str]:
    """Return the settings of which a group has several values."""
    names = dict.fromkeys(name for row in group for name in row if name.startswith("hparam/"))
    return [name for name in names if len({repr(row.get(name, ...)) for row in group}) > 1]


def _summary(group: list[Row], key: str, dropped: set[str]) -> Row:
    first, finished = group[0], [row for row in group if row["status"] == "finished"]
    found: Row = {key: _key(first, key)} if key == "tag" or key in first else {}
    found |= {"runs": len(group), "finished": len(finished)}
    found |= {name: value for name, value in first.items() if name.startswith("hparam/") and name not in dropped}
    for name in dict.fromkeys(name for row in finished for name in row if name.startswith("metric/")):
        values = [_float(row[name]) for row in finished if _is_number(row.get(name))]
        found |= {f"{name}/{what}": value for what, value in _of_metric(values).items()}
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond all floats
        return math.inf if value > 0 else -math.inf


def _of_metric(values: list[float]) -> dict[str, float]:
    """Return what can be said of a metric; one run says nothing of the spread."""
    n = len(values)
    if n == 0:
        return {"n": 0}
    if not all(map(math.isfinite, values)):
        return {"n": n, "mean": sum(values) / n} | ({"std": math.nan, "ci95": math.nan} if n > 1 else {})
    mean = statistics.mean(values)  # exact: the mean of equal numbers is that number
    if n == 1:
        return {"n": n, "mean": mean}
    try:
        std = statistics.stdev(values)
    except OverflowError:  # its square is beyond all floats
        std = math.inf
    return {"n": n, "mean": mean, "std": std, "ci95": _student(n - 1) * std / math.sqrt(n)}


def _student(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution."""
    from scipy.special import stdtrit  # slow to import; scipy.stats twice as slow

    return float(stdtrit(degrees, 0.975))
