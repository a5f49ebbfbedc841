"""Learning rate schedules by name.

Most are functions from the share of the optimizer's steps that are done, 0 to 1, to a factor of the learning rate, so
one setting fits any number of epochs. In a run of n steps the last one is at (n - 1) / n: the end of a curve is never
reached. Each docstring says how a schedule differs from its counterpart in torch.optim.lr_scheduler.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from exper.core import components
from exper.core.components import Count, Decay, Positive, Share

Schedule = Callable[[float], float]


def constant() -> Schedule:
    """Keep the learning rate, for `warmup` or `rates` alone. torch's ConstantLR starts at a third for five steps."""
    return lambda done: 1.0  # noqa: ARG005


def cosine(floor: Share = 0.0) -> Schedule:
    """Fall to `floor` along half a cosine (Loshchilov and Hutter, SGDR, 2017, equation 5, without restarts).

    As torch's CosineAnnealingLR with T_max = steps, but `floor` is a factor of each group's learning rate where torch's
    eta_min is a learning rate.
    """
    return lambda done: floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


def linear(floor: Share = 0.0) -> Schedule:
    """Fall to `floor` in a straight line. torch's LinearLR rises by default, from a third in five steps."""
    return lambda done: 1 - (1 - floor) * done


def stairs(at: list[Share], factor: Share = 0.1) -> Schedule:
    """Multiply by `factor` at each share in `at`, such as [0.5, 0.75]. torch's MultiStepLR counts steps or epochs."""
    return lambda done: factor ** sum(done >= share for share in at)


def cosine_warmup_decay(peak: Share = 0.3) -> Schedule:
    """Rise from 1/25 to 1 at the share `peak`, then fall to 0, each along half a cosine.

    That is the learning rate of torch's OneCycleLR (Smith and Topin, Super-Convergence, 2018) without its cycle of the
    momentum, and with an end at 0 where torch ends at 1/250000.
    """
    rise = max(peak, 1e-9)
    fall = max(1 - peak, 1e-9)
    return lambda done: (
        1 - 0.48 * (1 + math.cos(math.pi * done / rise))
        if done < peak
        else (1 + math.cos(math.pi * (done - peak) / fall)) / 2
    )


class Plateau:
    """Multiply by `factor` after `patience` epochs in a row without progress of the monitored metric.

    torch's ReduceLROnPlateau waits for one epoch more. Its threshold is relative by default; `min_delta` is absolute.
    """

    def __init__(self, factor: Share = 0.1, patience: Count = 5, min_delta: float = 0.0) -> None:
        self._reduce_by = factor
        self._patience = patience
        self._min_delta = min_delta
        self.factor = 1.0  # of the learning rate now
        self.best = -math.inf
        self.waited = 0  # epochs in a row without progress

    def __call__(self, done: float) -> float:  # noqa: ARG002
        return self.factor

    def see(self, value: float) -> None:
        """Take in the metric after an epoch; larger is better."""
        self.waited += 1
        if value > self.best + self._min_delta:
            self.best = value
            self.waited = 0
        if self.waited >= self._patience:
            self.factor *= self._reduce_by
            self.waited = 0

    def state_dict(self) -> dict[str, float]:
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.factor = saved["factor"]
        self.best = saved["best"]
        self.waited = saved["waited"]


class Rate:
    """The learning rate of an optimizer: in the first epochs `rates`, then a linear warmup, then the schedule.

    Groups keep their proportions. Each of `rates` replaces the optimizer's `lr` for an epoch. `warmup` is the
    share of the steps after them in which the learning rate rises from 0.

    Raises:
        ValueError: there are `rates`, but the optimizer's learning rate is 0.
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
        self._optimizer = optimizer
        self._schedule = schedule
        self._lr = optimizer.defaults["lr"]
        self._lrs = [group["lr"] for group in optimizer.param_groups]
        self._rates = rates or []
        self._steps_of_epoch = steps / epochs
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
        """Set the learning rate of the next step."""
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


class OneCycle:
    """torch's OneCycleLR over all steps of the run, with its arguments (Smith and Topin, Super-Convergence, 2018).

    The learning rate of each group is its `max_lr`. While it rises, the momentum (beta1 of Adam) falls from
    `max_momentum` to `base_momentum`, and then back: the optimizer's own momentum is not used. cycle_momentum = False
    keeps it. `rates` and `warmup` are not for this schedule, which has a rise of its own.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        steps: int,
        *,
        pct_start: Share = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: Decay = 0.85,
        max_momentum: Decay = 0.95,
        div_factor: Positive = 25.0,
        final_div_factor: Positive = 1e4,
        three_phase: bool = False,
    ) -> None:
        if pct_start * steps == 1:
            pct_start = math.nextafter(pct_start, 0)  # a rise of no step: torch would divide by zero
        # In fp16 a step that overflows is skipped; of the first step torch would warn that it was forgotten.
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
        self._scheduler = OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            total_steps=steps,
            pct_start=float(pct_start),
            anneal_strategy=anneal_strategy,
            cycle_momentum=cycle_momentum,
            base_momentum=base_momentum,
            max_momentum=max_momentum,
            div_factor=div_factor,
            final_div_factor=final_div_factor,
            three_phase=three_phase,
        )

    def step(self) -> None:
        """Set the learning rate and momentum of the next step."""
        if self._scheduler.last_epoch + 1 < self._scheduler.total_steps:  # after the last step there is none
            self._scheduler.step()

    def end_epoch(self, value: float) -> None:
        """Do nothing: the schedule depends on steps alone."""

    def state_dict(self) -> dict[str, Any]:
        return self._scheduler.state_dict()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore the step; learning rates and momentum are part of the optimizer's state."""
        self._scheduler.load_state_dict(saved)


SCHEDULER: dict[str, Callable[..., Any]] = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
    "stairs": stairs,
    "cosine_warmup_decay": cosine_warmup_decay,
    "one_cycle": OneCycle,
    "plateau": Plateau,
}


def rate(optimizer: Optimizer, scheduler: dict[str, Any] | None, steps: int, epochs: int) -> Rate | OneCycle:
    """Build the `scheduler` of config.py for a run of `steps` in `epochs`; None is a constant learning rate.

    Raises:
        Refused: an unknown name, or a wrong argument.
    """
    component = {"name": "constant"} if scheduler is None else scheduler
    if isinstance(component, dict) and component.get("name") == "one_cycle":
        return components.build("scheduler", component, SCHEDULER, optimizer, steps)  # type: ignore[no-any-return]
    own = {name: value for name, value in component.items() if name not in ("rates", "warmup")}
    components.check("scheduler", own, SCHEDULER, leading=0, also=("rates", "warmup"))
    schedule = components.build("scheduler", own, SCHEDULER)
    start = {name: value for name, value in component.items() if name not in own}
    return components.call("scheduler", start, Rate, optimizer, steps, epochs, schedule)  # type: ignore[no-any-return]
