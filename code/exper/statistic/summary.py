"""A run in one line, as lists show it: status, seed, epoch, best metric, age; and the text of aligned columns."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

from exper.core import paths, statistic_file
from exper.core.errors import Refused
from exper.core.messages import printable
from exper.runs import run_record, status
from exper.statistic import history


class Best(NamedTuple):
    """The best value of the monitored metric, and its epoch."""

    name: str
    value: float
    epoch: Any


@dataclass(frozen=True)
class Summary:
    """A run in one line; a value that its files lack is None."""

    run: paths.Run
    status: str
    seed: int | None
    epoch: int | None
    epochs: int | None
    measured: Best | None
    direction: str | None  # of `measured`: max, min
    started: datetime | None

    @property
    def best(self) -> str | None:
        """Return the best metric, such as `val/acc 0.9861 @8`."""
        best = self.measured
        return best and f"{best.name} {best.value:.4g} @{'?' if best.epoch is None else best.epoch}"

    @property
    def progress(self) -> str:
        """Return the epochs done and planned, such as `3/10`; empty before the first."""
        return "" if self.epoch is None else f"{self.epoch}/{'?' if self.epochs is None else self.epochs}"


def of(run: paths.Run) -> Summary:
    """Read a run; damaged files count as missing."""
    try:
        record = run_record.read(run)
    except Refused:
        return Summary(run, "damaged", None, None, None, None, None, None)
    statistic = statistic_file.read_if_readable(run)
    direction, _, watched = str(statistic.settings.get("monitor") or "").rpartition(" ")
    measured = _best(statistic.metrics("best"), watched)
    return Summary(
        run=run,
        status=status.derive(run, record),
        seed=record["seed"],
        epoch=statistic.metrics("last").get("epoch"),
        epochs=statistic.settings.get("epochs"),
        measured=measured,
        direction=direction if measured and measured.name == watched else None,
        started=run_record.time(record["started"]),
    )


def _best(best: dict[str, Any], watched: str) -> Best | None:
    names = [name for name in best if name != "epoch"]
    name = watched if watched in names else next(iter(names), "")
    if not name or not history.is_number(best[name]):
        return None
    return Best(name, best[name], best.get("epoch"))


def values(summary: Summary) -> dict[str, Any]:
    """Return the raw values of a summary, for JSON."""
    return {
        "run": str(summary.run),
        "status": summary.status,
        "seed": summary.seed,
        "epoch": summary.epoch,
        "epochs": summary.epochs,
        "best": summary.measured and summary.measured._asdict(),
        "started": summary.started and summary.started.isoformat(timespec="milliseconds"),
    }


def age(started: datetime | None) -> str:
    """Return the time since then in one unit, such as `3 min`."""
    if started is None:
        return ""
    seconds = max(0.0, (datetime.now(timezone.utc) - started).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def table(rows: Iterable[Sequence[str]], width: int | None = None) -> str:
    """Return rows as aligned columns, lines cut to `width`; unprintable characters are escaped."""
    clean = [tuple(row if "".join(row).isprintable() else map(printable, row)) for row in rows]
    widths = (max(map(len, column)) for column in zip(*clean, strict=True))
    line = "  ".join(f"%-{width}s" for width in widths)
    return "\n".join(_cut((line % row).rstrip(), width) for row in clean)


def _cut(line: str, width: int | None) -> str:
    return line if width is None or len(line) <= width else line[: width - 1] + "…"


def as_json(objects: Iterable[dict[str, Any]]) -> str:
    """Return a JSON list of objects, one a line."""
    return "[\n" + ",\n".join(map(json_of, objects)) + "\n]"


def json_of(value: Any) -> str:
    """Return JSON; NaN and infinity, which it lacks, become "nan", "inf" and "-inf"."""
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
