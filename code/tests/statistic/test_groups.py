"""Groups of runs: means and intervals, against scipy's t distribution."""

import math

import pytest
from scipy import stats

from exper.statistic import groups
from exper.statistic.history import Curve


def test_a_mean_curve_has_the_interval_of_the_t_distribution_over_the_runs_that_have_the_epoch() -> None:
    mean = groups.mean_curve([Curve([1, 2], [1.0, 4.0]), Curve([1, 2, 3], [2.0, 8.0, 5.0]), Curve([1], [6.0])])
    assert mean.curve == ([1, 2, 3], [3.0, 6.0, 5.0])
    for at, values in enumerate(([1.0, 2.0, 6.0], [4.0, 8.0])):
        scale = stats.sem(values)
        low, high = stats.t.interval(0.95, len(values) - 1, loc=mean.curve.y[at], scale=scale)
        assert [mean.low[at], mean.high[at]] == pytest.approx([low, high])
    assert math.isnan(mean.low[2])
    assert math.isnan(mean.high[2])


def test_a_group_has_the_same_interval_as_its_curve() -> None:
    rows = [{"run": f"a/{i}", "status": "finished", "metric/best/acc": value} for i, value in enumerate([0.5, 0.75, 1])]
    [summary] = groups.grouped(rows, "tag")
    mean = groups.mean_curve([Curve([1], [value]) for value in (0.5, 0.75, 1.0)])
    assert summary["metric/best/acc/mean"] == mean.curve.y[0] == 0.75
    assert summary["metric/best/acc/ci95"] == pytest.approx(mean.high[0] - 0.75)
