"""The curves of all runs as the data that the page's script draws."""

import math
from typing import Any

from exper.core.messages import printable
from exper.views.report.content import Content

MOST_POINTS = 2000  # of a curve; more is thinned out, and the page says so


def data(contents: list[Content]) -> dict[str, Any]:
    """Return what curves.js reads: of each metric the places and values of each run, and which metric comes first.

    Numbers have 6 digits; what is not finite is a string, such as "nan".
    """
    names = dict.fromkeys(name for one in contents for name in one.curves)
    return {"metrics": [_metric(name, contents) for name in names], "first": _first(contents, list(names))}


def _metric(name: str, contents: list[Content]) -> dict[str, Any]:
    runs = []
    thinned = 0
    for i, one in enumerate(contents):
        if name in one.curves:
            points = list(zip(*one.curves[name], strict=True))
            kept = thin(points)
            thinned = max(thinned, len(points) if len(kept) < len(points) else 0)
            runs.append([i, _compact([x for x, _ in kept]), [short(y) for _, y in kept]])
    x = "step" if name.startswith("step/") else "epoch"
    return {"name": printable(name), "x": x, "runs": runs, "thinned": thinned}


def thin(points: list[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Keep of each stretch the first and last point, the lowest and highest, and one that is not finite."""
    if len(points) <= most:
        return points
    size = math.ceil(len(points) / (most // 5))
    kept: dict[tuple[float, float], None] = {}
    for start in range(0, len(points), size):
        part = points[start : start + size]
        corners = {0, len(part) - 1, *_extremes([y for _, y in part])}
        kept |= dict.fromkeys(part[at] for at in sorted(corners))
    return list(kept)


def _extremes(values: list[float]) -> list[int]:
    """Return where the lowest and the highest value are, and the first that is not finite."""
    finite = [at for at, value in enumerate(values) if abs(value) < math.inf]
    odd = [at for at, value in enumerate(values) if not abs(value) < math.inf][:1]
    return [*odd, min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)] if finite else odd


def _compact(places: list[float]) -> Any:
    """Return `[first, count]` for places that follow one another by 1, else all of them in a list of their own."""
    if all(place == places[0] + at for at, place in enumerate(places)):
        return [places[0], len(places)]
    return [places]


def short(value: float) -> float | str:
    """Return a number with 6 digits; a string if it is not finite."""
    if not abs(value) < math.inf:
        return str(value)
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e15 else rounded


def _first(contents: list[Content], names: list[str]) -> int:
    """Return which metric is shown first: the monitored one, else one of validation."""
    monitors = [str(one.settings.get("monitor")).rpartition(" ")[2] for one in contents]
    wanted = [name for name in names if name in monitors] or [name for name in names if name.startswith("val/")]
    return names.index(wanted[0]) if wanted else 0
