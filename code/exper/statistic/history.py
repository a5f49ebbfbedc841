"""The curves of a run, read from its history.jsonl and hardware.jsonl."""

import itertools
import math
from typing import Any, NamedTuple, TypeGuard

from exper.core import files, paths

_MOST_POINTS = 2000  # of a curve of the hardware


class Curve(NamedTuple):
    """The points of one metric: of each epoch against `epoch`, of each step against `step`."""

    x: list[float]
    y: list[float]


def curves(run: paths.Run) -> dict[str, Curve]:
    """Return the run's curves by name, such as `val/loss` and `lr`; those of steps have names like `step/loss`.

    Their points are in order; of several of the same epoch, or step, the one that was written last counts.

    Raises:
        Refused: a line of history.jsonl that is not the last one can't be read.
    """
    found: dict[str, dict[float, float]] = {}
    for line in files.read_lines(run.history):
        for name, value in line.items():
            if ("/" in name or name == "lr") and is_number(value):
                x = line.get("step" if name.startswith("step/") else "epoch")
                if is_number(x) and math.isfinite(x):
                    found.setdefault(name, {})[x] = value
    return {name: Curve(*map(list, zip(*sorted(points.items()), strict=True))) for name, points in found.items()}


def hardware(run: paths.Run) -> dict[str, Curve]:
    """Return how much of CPU, memory and GPUs was in use, in percent, against minutes in which it was looked at.

    Pauses between sessions are cut short.

    Raises:
        Refused: a line of hardware.jsonl that is not the last one can't be read.
    """
    lines = [line for line in files.read_lines(run.hardware) if is_number(line.get("time"))]
    gaps = [max(0.0, after["time"] - before["time"]) for before, after in itertools.pairwise(lines)]
    longest = 3 * sorted(gaps)[len(gaps) // 2] if gaps else 0.0
    minutes = [seconds / 60 for seconds in itertools.accumulate((min(gap, longest) for gap in gaps), initial=0.0)]
    found: dict[str, Curve] = {}
    for minute, line in list(zip(minutes, lines, strict=False))[:: 1 + len(lines) // _MOST_POINTS]:
        for name, value in line.items():
            if name.endswith("percent") and is_number(value):
                curve = found.setdefault(_called(name), Curve([], []))
                curve.x.append(minute)
                curve.y.append(value)
    return found


def _called(name: str) -> str:
    """Return what people call `machine/cpu_percent`, `gpu0/percent`, `gpu0/memory_percent`."""
    thing, _, what = name.partition("/")
    gpu = thing.replace("gpu", "GPU ") if thing.startswith("gpu") else ""
    if not what.startswith("memory"):
        return gpu or "CPU"
    return f"memory of {gpu}" if gpu else "memory"


def is_number(value: Any) -> TypeGuard[float]:
    """Tell whether a value of JSON is a number that a float can hold."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e308)
