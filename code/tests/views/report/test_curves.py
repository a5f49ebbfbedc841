"""The data behind the curves: small, and never silently less than what was recorded."""

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from exper.core import paths
from exper.statistic.history import Curve
from exper.views.report import curves
from exper.views.report.content import Content

FLOATS = st.floats(allow_nan=True, allow_infinity=True)


def _content(**named: Curve) -> Content:
    run = paths.Run(Path("base/0"))
    return Content(run, {"run": "base/0", "status": "finished", "epoch": 1}, curves=named)


def test_places_that_follow_one_another_are_told_by_the_first_and_their_number() -> None:
    data = curves.data([_content(lr=Curve([1, 2, 3], [0.1, 0.2, 0.3])), _content(lr=Curve([1, 3], [1, float("nan")]))])
    assert data["metrics"][0]["runs"] == [[0, [1, 3], [0.1, 0.2, 0.3]], [1, [[1, 3]], [1, "nan"]]]


@given(st.lists(FLOATS, min_size=1, max_size=60))
def test_thinning_out_keeps_the_ends_and_the_extremes(values: list[float]) -> None:
    points = [(float(x), y) for x, y in enumerate(values)]
    kept = curves.thin(points, 10)
    assert len(kept) <= 10
    assert [x for x, _ in kept] == sorted({x for x, _ in kept})
    assert kept[0][0] == 0
    assert kept[-1][0] == len(values) - 1
    finite = [y for y in values if abs(y) < math.inf]
    if finite:
        assert {min(finite), max(finite)} <= {y for _, y in kept}


def test_the_page_is_told_how_many_points_were_thinned_out() -> None:
    steps = Curve(list(range(10_000)), [1.0] * 10_000)
    epochs = Curve(list(range(1000)), [1.0] * 1000)
    step, epoch = curves.data([_content(**{"step/loss": steps, "val/loss": epochs})])["metrics"]
    assert (step["thinned"], step["x"]) == (10_000, "step")
    assert (epoch["thinned"], epoch["x"], epoch["runs"][0][1]) == (0, "epoch", [0, 1000])


@given(FLOATS)
def test_six_digits_are_right(value: float) -> None:
    short = curves.short(value)
    if isinstance(short, str):
        assert not abs(value) < math.inf
    else:
        assert math.isclose(short, value, rel_tol=1e-5, abs_tol=0)
