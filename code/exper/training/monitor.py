"""The best epoch by a monitored metric, and early stopping."""

import math
from collections.abc import Collection
from typing import Any

from exper.core.components import Count
from exper.core.errors import Refused, unknown_name


class Monitor:
    """Watch one metric by a rule such as "max val/acc"; without a rule no epoch is best.

    Training is over after `patience` consecutive epochs without progress of more than `min_delta`.
    """

    def __init__(
        self, rule: str | None, metrics: Collection[str], patience: Count | None = None, min_delta: float = 0.0
    ) -> None:
        direction, _, self.name = (rule or "max ").partition(" ")  # of the metric, "" without a rule
        if direction not in ("max", "min") or (rule is None and patience is not None):
            raise Refused(f'monitor = {rule!r}: write "max <metric>", "min <metric>", or None without early_stop.')
        if rule is not None and self.name not in metrics:
            raise unknown_name("monitor", self.name, metrics)
        self._sign = 1.0 if direction == "max" else -1.0
        self._patience = patience
        self._min_delta = min_delta
        self.best: dict[str, Any] = {}  # the best epoch's line of history
        self._state = {
            "best": -math.inf,
            "progress": -math.inf,
            "waited": 0,
        }  # the values with larger as better; a count of epochs

    def value(self, line: dict[str, Any]) -> float:
        """Return the metric in an epoch's line of history, with its sign changed if smaller is better."""
        return self._sign * float(line.get(self.name, math.nan))

    def see(self, line: dict[str, Any]) -> None:
        """Update the best epoch and the count by an epoch's line of history."""
        value = self.value(line)
        if value > self._state["best"]:
            self.best = line
            self._state["best"] = value
        self._state["waited"] += 1
        if value > self._state["progress"] + self._min_delta:
            self._state |= {"progress": value, "waited": 0}

    @property
    def waited(self) -> int:
        """Return the number of consecutive epochs without progress."""
        return int(self._state["waited"])

    @property
    def is_over(self) -> bool:
        """Tell whether early stopping ends training."""
        return self._patience is not None and self.waited >= self._patience

    def state_dict(self) -> dict[str, Any]:
        return {"line": self.best, **self._state}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.best = saved["line"]
        self._state = {name: saved[name] for name in self._state}
