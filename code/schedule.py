"""Schedules of the learning rate by name: functions from the share of steps done, 0 to 1, to a factor of the rate."""

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from exper.core import components
from exper.core.components import Count, Positive, Share

Schedule = Callable[[float], float]


def constant() -> Schedule:
    """Stay; for `warmup` or `rates` alone."""
    return lambda done: 1.0  # noqa: ARG005


def cosine(floor: Share = 0.0) -> Schedule:
    """Fall to `floor` along half a cosine (Loshchilov and Hutter, SGDR, 2017, without restarts)."""
    return lambda done: floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


def linear(floor: Share = 0.0) -> Schedule:
    """Fall to `floor` in a straight line."""
    return lambda done: 1 - (1 - floor) * done


def stairs(at: list[Share], factor: Share = 0.1) -> Schedule:
    """Multiply by `factor` at each share in `at`, such as [0.5, 0.75]."""
    return lambda done: factor ** sum(done >= one for one in at)


def one_cycle(peak: Share = 0.3) -> Schedule:
    """Rise from 1/25 until the share `peak`, then fall to nothing (Smith, Super-Convergence, 2018), along cosines."""
    rise, fall = max(peak, 1e-9), max(1 - peak, 1e-9)
    return lambda done: (
        1 - 0.48 * (1 + math.cos(math.pi * done / rise))
        if done < peak
        else (1 + math.cos(math.pi * (done - peak) / fall)) / 2
    )


class Plateau:
    """Multiply by `factor` after `patience` epochs without progress of the monitored metric."""

    def __init__(self, factor: Share = 0.1, patience: Count = 5, min_delta: float = 0.0) -> None:
        self._by, self._patience, self._min_delta = factor, patience, min_delta
        self.factor, self.best, self.waited = 1.0, -math.inf, 0

    def __call__(self, done: float) -> float:  # noqa: ARG002
        return self.factor

    def see(self, value: float) -> None:
        """Take in the metric after an epoch; larger is better."""
        self.waited += 1
        if value > self.best + self._min_delta:
            self.best, self.waited = value, 0
        if self.waited >= self._patience:
            self.factor, self.waited = self.factor * self._by, 0

    def state_dict(self) -> dict[str, float]:
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.factor, self.best, self.waited = saved["factor"], saved["best"], saved["waited"]


SCHEDULER: dict[str, Callable[..., Schedule]] = {
    "constant": constant, "cosine": cosine, "linear": linear, "stairs": stairs, "one_cycle": one_cycle,
    "plateau": Plateau,
}  # fmt: skip


class Rate:
    """The learning rate of an optimizer: in the first epochs `rates`, then a rise from nothing, then the schedule.

    `warmup` is the share of the steps after `rates` that the rise takes. Groups keep their proportions.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        steps: int,
        epochs: int,
        schedule: Schedule,
        *,
        rates: list[Positive] | None = None,
        warmup: Share = 0.0,
    ) -> None:
        self._optimizer, self._schedule, self._lr = optimizer, schedule, optimizer.defaults["lr"]
        self._lrs = [group["lr"] for group in optimizer.param_groups]
        self._rates, self._steps_of_epoch = rates or [], steps / epochs
        if self._rates and not self._lr:
            raise ValueError("rates need an lr above 0, of which groups have their share")
        self._first = round(len(self._rates) * self._steps_of_epoch)
        self._warmup = round(warmup * max(0, steps - self._first))
        self._scheduled = max(1, steps - self._first - self._warmup)
        self._step = 0
        self._set()

    def factor(self, step: int) -> float:
        """Return the factor of all learning rates at a step of the optimizer, counted from 0."""
        if step < self._first:
            return self._rates[int(step / self._steps_of_epoch)] / self._lr  # type: ignore[no-any-return]
        if step < self._first + self._warmup:
            return (step - self._first + 1) / (self._warmup + 1)
        return self._schedule((step - self._first - self._warmup) / self._scheduled)

    def step(self) -> None:
        """Go on to the next step's rate."""
        self._step += 1
        self._set()

    def end_epoch(self, value: float) -> None:
        """Tell a plateau the monitored metric; larger is better."""
        if isinstance(self._schedule, Plateau) and self._step >= self._first + self._warmup:
            self._schedule.see(value)
            self._set()

    def _set(self) -> None:
        factor = self.factor(self._step)
        for group, lr in zip(self._optimizer.param_groups, self._lrs, strict=True):
            group["lr"] = lr * factor

    def state_dict(self) -> dict[str, Any]:
        plateau = self._schedule.state_dict() if isinstance(self._schedule, Plateau) else {}
        return {"step": self._step, "plateau": plateau}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self._step = saved["step"]
        if isinstance(self._schedule, Plateau):
            self._schedule.load_state_dict(saved["plateau"])
        self._set()


def rate(optimizer: Optimizer, scheduler: dict[str, Any] | None, steps: int, epochs: int) -> Rate:
    """Build what config.py's `scheduler` says, for `steps` in `epochs`; None: a constant rate."""
    part = {"name": "constant"} if scheduler is None else scheduler
    own = {name: value for name, value in part.items() if name not in ("rates", "warmup")}
    components.check("scheduler", own, SCHEDULER, leading=0, also=("rates", "warmup"))
    schedule = components.build("scheduler", own, SCHEDULER)
    before = {name: value for name, value in part.items() if name not in own}
    return components.call("scheduler", before, Rate, optimizer, steps, epochs, schedule)  # type: ignore[no-any-return]
