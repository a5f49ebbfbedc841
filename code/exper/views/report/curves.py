"""The curves of all runs, as data for the page's script."""

import math
from typing import Any

from exper.core.messages import printable
from exper.views.report.content import Content

MOST_POINTS = 2000  # of a curve; longer ones are thinned out, and the page says so


def data(contents: list[Content]) -> dict[str, Any]:
    """Return the data that curves.js reads: of each metric the points of each run, and the metric to show first.

    Numbers have 6 digits; one that is not finite is a string, such as "nan".
    """
    names = dict.fromkeys(name for content in contents for name in content.curves)
    return {"metrics": [_metric(name, contents) for name in names], "first": _first(contents, list(names))}


def _metric(name: str, contents: list[Content]) -> dict[str, Any]:
    runs = []
    thinned = 0
    for i, content in enumerate(contents):
        if name in content.curves:
            points = list(zip(*content.curves[name], strict=True))
            kept = thin(points)
            thinned = max(thinned, len(points) if len(kept) < len(points) else 0)
            runs.append([i, _compact([x for x, _ in kept]), [short(y) for _, y in kept]])
    x = "step" if name.startswith("step/") else "epoch"
    return {"name": printable(name), "x": x, "runs": runs, "thinned": thinned}


def thin(points: list[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Keep of each stretch its first, last, lowest and highest point, and a point that is not finite."""
    if len(points) <= most:
        return points
    size = math.ceil(len(points) / (most // 5))
    kept: dict[tuple[float, float], None] = {}
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        corners = {0, len(stretch) - 1, *_extremes([y for _, y in stretch])}
        kept |= dict.fromkeys(stretch[at] for at in sorted(corners))
    return list(kept)


def _extremes(values: list[float]) -> list[int]:
    """Return the indices of the lowest and the highest value, and of the first that is not finite."""
    finite = [at for at, value in enumerate(values) if abs(value) < math.inf]
    odd = [at for at, value in enumerate(values) if not abs(value) < math.inf][:1]
    return [*odd, min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)] if finite else odd


def _compact(places: list[float]) -> Any:
    """Return `[first, count]` for consecutive places, else `[places]`."""
    if all(place == places[0] + at for at, place in enumerate(places)):
        return [places[0], len(places)]
    return [places]


def short(value: float) -> float | str:
    """Return a number rounded to 6 digits, or a string if it is not finite."""
    if not abs(value) < math.inf:
        return str(value)
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e15 else rounded


def _first(contents: list[Content], names: list[str]) -> int:
    """Return the index of the metric to show first: the monitored one, else one of validation."""
    monitors = [str(content.settings.get("monitor")).rpartition(" ")[2] for content in contents]
    wanted = [name for name in names if name in monitors] or [name for name in names if name.startswith("val/")]
    return names.index(wanted[0]) if wanted else 0
