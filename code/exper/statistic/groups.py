"""Groups of runs: mean, standard deviation and 95 % interval, by Student's t, of their metrics and of their curves."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from exper.statistic.history import Curve
from exper.statistic.rows import Row

FIRST = ("runs", "finished")
OF_METRIC = ("n", "mean", "std", "ci95")


class MeanCurve(NamedTuple):
    """A mean curve and the limits of its interval, NaN at points of a single run."""

    curve: Curve
    low: list[float]
    high: list[float]


def grouped(rows: Iterable[Row], key: str) -> list[Row]:
    """Return a row for each value of a column, in the order of the runs; `key` is a column, or `tag`.

    It has the key, `runs`, `finished`, the settings that no group has two values of, and for each metric `n`, `mean`,
    `std` and `ci95`, half the width of the 95 % interval of the mean. Only finished runs have metrics.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(repr(_key(row, key)), []).append(row)  # repr: a list is one value too
    dropped = {key, *(name for group in groups.values() for name in _varying(group))}
    return [_summary(group, key, dropped) for group in groups.values()]


def mean_curve(curves: Sequence[Curve]) -> MeanCurve:
    """Return the mean at each epoch over the runs that have it; NaN where one of them is NaN."""
    import numpy as np

    xs = np.unique(np.concatenate([curve.x for curve in curves]))
    values = np.zeros((len(curves), len(xs)))
    has_value = np.zeros((len(curves), len(xs)), dtype=bool)
    for number, curve in enumerate(curves):
        columns = np.searchsorted(xs, curve.x)
        values[number, columns] = curve.y
        has_value[number, columns] = True
    with np.errstate(all="ignore"):  # infinite values, and points of a single run
        n = has_value.sum(axis=0)
        mean = values.sum(axis=0) / n
        variance = np.where(has_value, (values - mean) ** 2, 0).sum(axis=0) / (n - 1)
        half = np.where(n > 1, _t_quantile(np.maximum(n - 1, 1)) * np.sqrt(variance / n), np.nan)
        return MeanCurve(Curve(xs.tolist(), mean.tolist()), (mean - half).tolist(), (mean + half).tolist())


def _key(row: Row, key: str) -> Any:
    return row["run"].rpartition("/")[0] if key == "tag" else row.get(key, ...)  # None is a value


def _varying(group: list[Row]) -> list[str]:
    """Return the settings of which a group has several values."""
    names = dict.fromkeys(name for row in group for name in row if name.startswith("hparam/"))
    return [name for name in names if len({repr(row.get(name, ...)) for row in group}) > 1]


def _summary(group: list[Row], key: str, dropped: set[str]) -> Row:
    first = group[0]
    finished = [row for row in group if row["status"] == "finished"]
    summary: Row = {key: _key(first, key)} if key == "tag" or key in first else {}
    summary |= {"runs": len(group), "finished": len(finished)}
    summary |= {name: value for name, value in first.items() if name.startswith("hparam/") and name not in dropped}
    for name in dict.fromkeys(name for row in finished for name in row if name.startswith("metric/")):
        values = [_float(row[name]) for row in finished if _is_number(row.get(name))]
        summary |= {f"{name}/{measure}": value for measure, value in _of_metric(values).items()}
    return summary


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return math.inf if value > 0 else -math.inf


def _of_metric(values: list[float]) -> dict[str, float]:
    """Return the measures of OF_METRIC that the values have; a single value has no spread."""
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
    return {"n": n, "mean": mean, "std": std, "ci95": float(_t_quantile(n - 1)) * std / math.sqrt(n)}


def _t_quantile(degrees: Any) -> Any:
    """Return the 97.5 % quantile of Student's t distribution, of a number or an array of degrees of freedom."""
    from scipy.special import stdtrit  # slow to import; scipy.stats takes twice as long

    return stdtrit(degrees, 0.975)
