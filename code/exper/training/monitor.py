"""Which epoch is best, and when to stop early."""

import math
from collections.abc import Collection
from typing import Any

from exper.error import Refused
from exper.training.parts import unknown


class Monitor:
    """Watch one metric, by a rule such as "max val/acc"; without a rule no epoch is best.

    Args:
        rule: "max" or "min", and a metric's name; or None.
        known: the names that there are.
        patience: epochs without progress after which training stops; None: never.
        min_delta: what counts as progress.
    """

    def __init__(
        self, rule: str | None, known: Collection[str], *, patience: int | None = None, min_delta: float = 0.0
    ) -> None:
        self.best: dict[str, Any] | None = None  # the best epoch's line of history
        self._reference = -math.inf  # what progress is measured from; the sign makes larger better
        self._epochs_without = 0
        self._patience, self._min_delta = patience, min_delta
        direction, _, self._name = (rule or "max ").partition(" ")
        self._sign = {"max": 1.0, "min": -1.0}.get(direction, 0.0)
        if rule is not None and self._sign == 0.0:
            raise Refused(f'monitor = {rule!r}: write "max <metric>", "min <metric>" or None.')
        if rule is not None and self._name not in known:
            raise unknown("monitor", self._name, known)
        if rule is None and patience is not None:
            raise Refused('early_stop needs a monitor, such as monitor = "max val/acc".')
        if patience is not None and (patience < 1 or min_delta < 0):
            raise Refused(f"early_stop: patience = {patience}, min_delta = {min_delta}: must be at least 1 and 0.")

    def see(self, values: dict[str, Any]) -> None:
        """Take in an epoch's line of history."""
        if not self._name:
            return
        value = self._sign * values[self._name]
        if self.best is None or value > self._sign * self.best[self._name]:
            self.best = values
        if value > self._reference + self._min_delta:
            self._reference, self._epochs_without = value, 0
        else:
            self._epochs_without += 1

    @property
    def best_epoch(self) -> int | None:
        return None if self.best is None else self.best["epoch"]

    @property
    def is_over(self) -> bool:
        """Tell whether early stopping ends training."""
        return self._patience is not None and self._epochs_without >= self._patience

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "reference": self._reference, "epochs_without": self._epochs_without}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.best, self._reference = saved["best"], saved["reference"]
        self._epochs_without = saved["epochs_without"]
