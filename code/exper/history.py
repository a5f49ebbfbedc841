"""The curves of a run, read from its history.jsonl."""

from typing import Any, NamedTuple

from exper import files, paths


class Curve(NamedTuple):
    """The points of one metric: of each epoch against `epoch`, of each step against `step`."""

    x: list[float]
    y: list[float]


def curves(run: paths.Run) -> dict[str, Curve]:
    """Return the run's curves by name, such as `val/loss` and `lr`; those of steps have names like `step/loss`.

    Raises:
        Refused: a line of history.jsonl that is not the last one can't be read.
    """
    found: dict[str, Curve] = {}
    for line in files.read_lines(run.history):
        for name, value in line.items():
            if ("/" in name or name == "lr") and is_number(value):
                x = line.get("step" if name.startswith("step/") else "epoch")
                if x is not None and is_number(x):
                    curve = found.setdefault(name, Curve([], []))
                    curve.x.append(x)
                    curve.y.append(value)
    return found


def is_number(value: Any) -> bool:
    """Tell whether a value of JSON is a number that a float can hold."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e308)
