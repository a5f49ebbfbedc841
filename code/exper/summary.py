"""What lists of runs show of one: status, seed, epoch, best metric, age."""

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from exper import files, paths, run_json, status
from exper.error import Refused
from exper.rows import section


@dataclass(frozen=True)
class Summary:
    """A run in one line; what its files do not tell is None."""

    run: paths.Run
    status: str
    seed: int | None
    epoch: int | None
    epochs: int | None
    best: str | None  # such as `val/acc 0.9861 @8`
    started: datetime | None

    @property
    def progress(self) -> str:
        """Return the epochs done of all, such as `3/10`; nothing if none is known."""
        return "" if self.epoch is None else f"{self.epoch}/{'?' if self.epochs is None else self.epochs}"


def of(run: paths.Run) -> Summary:
    """Read a run's files, as far as they can be read."""
    try:
        record = run_json.read(run)
    except Refused:
        return Summary(run, "damaged", None, None, None, None, None)
    try:
        statistic = files.read_json(run.statistic)
    except (FileNotFoundError, Refused):
        statistic = {}
    hparam, metric = section(statistic, "hparam"), section(statistic, "metric")
    return Summary(
        run=run,
        status=status.of(run, record),
        seed=record["seed"],
        epoch=section(metric, "last").get("epoch"),
        epochs=hparam.get("epochs"),
        best=_best(section(metric, "best"), hparam.get("monitor")),
        started=_time(record["started"]),
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(timezone.utc)
    except ValueError:
        return None


def _best(best: dict[str, Any], monitor: object) -> str | None:
    names = [name for name in best if name != "epoch"]
    name = str(monitor or "").rpartition(" ")[2]
    name = name if name in names else next(iter(names), "")
    if not name or not isinstance(best[name], (int, float)):
        return None
    return f"{name} {best[name]:.4g} @{best.get('epoch', '?')}"


def age(started: datetime | None) -> str:
    """Return how long ago that was, in one unit."""
    if started is None:
        return ""
    seconds = max(0.0, (datetime.now(timezone.utc) - started).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as aligned columns; what is not printable is shown as an escape."""
    return aligned(zip(*rows, strict=True))


def aligned(columns: Iterable[Sequence[str]], width: int | None = None) -> str:
    """Return columns side by side, cut to a width if one is given; what is not printable is shown as an escape."""
    shown: list[Iterable[str]] = []
    used = 0
    for column in columns:
        clean = [cell if cell.isprintable() else ascii(cell) for cell in column]
        widest = max(map(len, clean))
        shown.append(map(str.ljust, clean, itertools.repeat(widest)))
        used += widest + 2
        if width is not None and used > width + 2:
            break
    lines = map("  ".join, zip(*shown, strict=True))
    return "\n".join(_cut(line.rstrip(), width) for line in lines)


def _cut(line: str, width: int | None) -> str:
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def as_json(objects: Iterable[dict[str, Any]]) -> str:
    """Return a JSON list of objects, one a line; as JSON has no such numbers: "nan", "inf" and "-inf"."""
    return "[\n" + ",\n".join(map(_json, objects)) + "\n]"


def _json(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(value))


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    return [_without_nan(item) for item in value] if isinstance(value, list) else value
