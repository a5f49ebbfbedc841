"""The mean of curves of several runs, with its 95 % interval by the t distribution."""

from collections.abc import Sequence
from typing import NamedTuple

from exper.statistic.history import Curve


class Mean(NamedTuple):
    """A mean curve and the ends of its interval, NaN where there is one run alone."""

    curve: Curve
    low: list[float]
    high: list[float]


def of(curves: Sequence[Curve]) -> Mean:
    """Return the mean at each epoch over the runs that have it; of NaN it is NaN."""
    import numpy as np
    from scipy.special import stdtrit

    xs = np.unique(np.concatenate([curve.x for curve in curves]))
    values, has = np.zeros((len(curves), len(xs))), np.zeros((len(curves), len(xs)), dtype=bool)
    for number, curve in enumerate(curves):
        at = np.searchsorted(xs, curve.x)
        values[number, at], has[number, at] = curve.y, True
    with np.errstate(all="ignore"):  # infinite values, and single ones
        n = has.sum(axis=0)
        mean = values.sum(axis=0) / n
        variance = np.where(has, (values - mean) ** 2, 0).sum(axis=0) / (n - 1)
        half = np.where(n > 1, stdtrit(np.maximum(n - 1, 1), 0.975) * np.sqrt(variance / n), np.nan)
        return Mean(Curve(xs.tolist(), mean.tolist()), (mean - half).tolist(), (mean + half).tolist())
