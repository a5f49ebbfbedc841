"""statistic.json, which training writes: a run's settings, metrics, data and device."""

from dataclasses import dataclass, field
from typing import Any

from exper.core import files, paths
from exper.core.errors import Refused

METRICS = ("best", "last", "test")  # the groups of its metrics


@dataclass(frozen=True)
class Statistic:
    """The content of statistic.json. A user's own program may write anything: a section of another type is empty."""

    content: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        return self.section("hparam")

    def metrics(self, group: str) -> dict[str, Any]:
        """Return the values of one of METRICS by name, with their `epoch`."""
        return files.section(self.section("metric"), group)

    def section(self, name: str) -> dict[str, Any]:
        return files.section(self.content, name)


def read(run: paths.Run) -> Statistic | None:
    """Return a run's statistic.json; None if training has not written it yet.

    Raises:
        Refused: it is damaged.
    """
    try:
        return Statistic(files.read_json(run.statistic))
    except FileNotFoundError:
        return None


def read_or_empty(run: paths.Run) -> Statistic:
    """Return a run's statistic.json; an empty one if it is missing.

    Raises:
        Refused: it is damaged.
    """
    return read(run) or Statistic()


def read_if_readable(run: paths.Run) -> Statistic:
    """Return a run's statistic.json; an empty one if it is missing or damaged."""
    try:
        return read_or_empty(run)
    except Refused:
        return Statistic()


def require(run: paths.Run) -> Statistic:
    """Return a run's statistic.json.

    Raises:
        Refused: it is missing or damaged.
    """
    statistic = read(run)
    if statistic is None:
        raise Refused(f"{run} has no statistic.json: it was never trained. Type: continue {run}")
    return statistic


def replace_test(run: paths.Run, metrics: dict[str, Any]) -> None:
    """Replace the test metrics in statistic.json; `epoch` in `metrics` is that of the tested weights."""
    content = require(run).content
    files.write_json(run.statistic, content | {"metric": content["metric"] | {"test": metrics}})
