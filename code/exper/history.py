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
            if ("/" in name or name == "lr") and _is_number(value):
                x = line.get("step" if name.startswith("step/") else "epoch")
                if x is not None and _is_number(x):
                    curve = found.setdefault(name, Curve([], []))
                    curve.x.append(x)
                    curve.y.append(value)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
