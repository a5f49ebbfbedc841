"""The curves of a run, read from its history.jsonl and hardware.jsonl."""

import itertools
import math
from typing import Any, NamedTuple, TypeGuard

from exper.core import files, paths

_MOST_POINTS = 2000  # of a hardware curve


class Curve(NamedTuple):
    """The points of one metric, by epoch or by step."""

    x: list[float]
    y: list[float]


def curves(run: paths.Run) -> dict[str, Curve]:
    """Return the run's curves by name, such as `val/loss` and `lr`; names of curves by step begin with `step/`.

    Points are in order; the last line of an epoch, or a step, replaces earlier ones.

    Raises:
        Refused: a line of history.jsonl other than the last is damaged.
    """
    points: dict[str, dict[float, float]] = {}
    for line in files.read_lines(run.history):
        for name, value in line.items():
            if ("/" in name or name == "lr") and is_number(value):
                x = line.get("step" if name.startswith("step/") else "epoch")
                if is_number(x) and math.isfinite(x):
                    points.setdefault(name, {})[x] = value
    return {name: Curve(*map(list, zip(*sorted(by_x.items()), strict=True))) for name, by_x in points.items()}


def hardware(run: paths.Run) -> dict[str, Curve]:
    """Return the use of CPU, memory and GPUs in percent, by the minutes of training.

    Pauses between sessions are cut to three times the usual interval.

    Raises:
        Refused: a line of hardware.jsonl other than the last is damaged.
    """
    lines = [line for line in files.read_lines(run.hardware) if is_number(line.get("time"))]
    gaps = [max(0.0, after["time"] - before["time"]) for before, after in itertools.pairwise(lines)]
    longest = 3 * sorted(gaps)[len(gaps) // 2] if gaps else 0.0
    minutes = [seconds / 60 for seconds in itertools.accumulate((min(gap, longest) for gap in gaps), initial=0.0)]
    curves: dict[str, Curve] = {}
    for minute, line in list(zip(minutes, lines, strict=False))[:: 1 + len(lines) // _MOST_POINTS]:
        for name, value in line.items():
            if name.endswith("percent") and is_number(value):
                curve = curves.setdefault(_label(name), Curve([], []))
                curve.x.append(minute)
                curve.y.append(value)
    return curves


def _label(name: str) -> str:
    """Return the label of `machine/cpu_percent`, `gpu0/percent`, `gpu0/memory_percent`: CPU, GPU 0, memory of GPU 0."""
    device, _, quantity = name.partition("/")
    gpu = device.replace("gpu", "GPU ") if device.startswith("gpu") else ""
    if not quantity.startswith("memory"):
        return gpu or "CPU"
    return f"memory of {gpu}" if gpu else "memory"


def is_number(value: Any) -> TypeGuard[float]:
    """Tell whether a JSON value is a number that a float can hold."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e308)
