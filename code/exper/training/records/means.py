"""Numbers of a user's own: averaged over the epoch and all processes; a step's line has the latest."""

import math
from collections.abc import Collection
from typing import Any

from torch import Tensor

from exper.training.distributed import collective

_GROUPS = ("", "train", "val", "test", "step")


class Means:
    """The numbers logged in the epoch under way; only `last` and `values` wait for the GPU and other processes."""

    def __init__(self) -> None:
        self._sums: dict[str, list[Any]] = {}  # name: sum, count, latest value

    def add(self, values: dict[str, Tensor | float], taken: Collection[str]) -> None:
        """Take in numbers, or tensors of one number, under names that are not `taken` in history."""
        for name, value in values.items():
            group, _, last = name.rpartition("/")
            if group in _GROUPS and last in taken:
                raise ValueError(f"history has {name!r} already: log it under another name")
            if math.prod(shape := getattr(value, "shape", ())) != 1:
                raise ValueError(f"state.log: {name!r} has the shape {tuple(shape)}: log one number")
            number = value.detach().double() if isinstance(value, Tensor) else float(value)
            total, count, _ = self._sums.get(name, (0.0, 0, 0.0))
            self._sums[name] = [total + number, count + 1, number]

    def last(self) -> dict[str, float]:
        """Return the latest values, as `step/<name>`; a name with a slash is for the epoch alone."""
        latest = collective.added({name: [one[2], 1] for name, one in self._sums.items() if "/" not in name})
        return {f"step/{name}": float(total) / count for name, (total, count) in latest.items()}

    def values(self) -> dict[str, float]:
        """Return the means, as `train/<name>`, or under the name as it is if that has a slash."""
        found = {name: float(total) / count for name, (total, count, _) in collective.added(self._sums).items()}
        return {name if "/" in name else f"train/{name}": value for name, value in found.items()}

    def state_dict(self) -> dict[str, Any]:
        return dict(self._sums)

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self._sums = dict(saved)
