"""Optimizers by name, each with a schedule of its learning rate."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from exper.core import components
from exper.core.components import Component
from exper.core.errors import Refused, unknown_name
from schedule import rate

Weights = dict[str, nn.Parameter]  # by name; those that have a gradient


class Optimizers:
    """The optimizers of config.py: one, or several by the prefixes of the names of their weights."""

    def __init__(self, model: nn.Module, optimizer: Component) -> None:
        """Give each weight that is not frozen to one of them.

        Raises:
            Refused: a setting is wrong, or no optimizer covers a weight.
        """
        left = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        if not left:
            raise Refused("optimizer: the model has no weight that is not frozen.")
        self.weights = list(left.values())
        self.each = {prefix: _optimizer(prefix, component, left) for prefix, component in _by_prefix(optimizer).items()}
        if left:
            prefixes = dict.fromkeys(name.partition(".")[0] for name in left)
            raise Refused(f"optimizer: no optimizer covers {next(iter(left))}. Add one for: {', '.join(prefixes)}.")
        self._all: Any = _Together(list(self.each.values()))

    @property
    def lr(self) -> float:
        """The learning rate of the next step, of the first group of the first optimizer."""
        return next(iter(self.each.values())).param_groups[0]["lr"]  # type: ignore[no-any-return]

    def zero_grad(self) -> None:
        for optimizer in self.each.values():
            optimizer.zero_grad()

    def clip(self, norm: float, scaler: GradScaler) -> None:
        """Scale the gradient of all weights together down to `norm`, if it is longer."""
        scaler.unscale_(self._all)
        nn.utils.clip_grad_norm_(self.weights, norm)

    def step(self, scaler: GradScaler) -> None:
        """Change the weights. Waits for the GPU in fp16."""
        scaler.step(self._all)
        scaler.update()

    def state_dict(self) -> Component:
        return {prefix: optimizer.state_dict() for prefix, optimizer in self.each.items()}

    def load_state_dict(self, saved: Component) -> None:
        for prefix, optimizer in self.each.items():
            optimizer.load_state_dict(saved[prefix])


class Schedules:
    """The learning-rate schedule of each optimizer, for `epochs` of `epoch_steps` steps."""

    def __init__(self, optimizers: Optimizers, scheduler: Component | None, epoch_steps: int, epochs: int) -> None:
        steps = epochs * epoch_steps
        self.each = {prefix: rate(optimizer, scheduler, steps, epochs) for prefix, optimizer in optimizers.each.items()}

    def step(self) -> None:
        """Go on to the next learning rates: once a batch."""
        for schedule in self.each.values():
            schedule.step()

    def end_epoch(self, value: float) -> None:
        """Tell plateaus the monitored metric; larger is better."""
        for schedule in self.each.values():
            schedule.end_epoch(value)

    def state_dict(self) -> Component:
        return {prefix: schedule.state_dict() for prefix, schedule in self.each.items()}

    def load_state_dict(self, saved: Component) -> None:
        for prefix, schedule in self.each.items():
            schedule.load_state_dict(saved[prefix])


class _Together:
    """Several optimizers as one, for a GradScaler: where a gradient overflows, none of them takes the step."""

    def __init__(self, optimizers: list[Optimizer]) -> None:
        self._optimizers = optimizers

    @property
    def param_groups(self) -> list[Component]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        for optimizer in self._optimizers:
            optimizer.step()


def check(optimizer: Component, scheduler: Component | None, monitor: str | None) -> None:
    """Refuse what is wrong in these settings; names of weights are checked once there is a model."""
    for prefix, component in _by_prefix(optimizer).items():
        setting = _setting(prefix)
        plain = _without(component, "groups") if isinstance(component, dict) else component
        function, arguments = components.check(setting, plain, OPTIMIZER, leading=1, also=["groups"])
        _check_groups(setting, component.get("groups", {}), function, arguments)
        rate(_try(setting, arguments, function), scheduler, steps=100, epochs=10)
    if scheduler is not None and scheduler["name"] == "plateau" and monitor is None:
        raise Refused('scheduler.name = "plateau": it follows the monitored metric. Set monitor.')


def _check_groups(setting: str, groups: Any, function: Callable[..., Any], arguments: Component) -> None:
    if not isinstance(groups, dict) or not all(isinstance(changes, dict) for changes in groups.values()):
        raise Refused(f'{setting}.groups = {groups!r}: write such as {{"<prefix of names>": {{"lr": 0.001}}}}.')
    for prefix, changes in groups.items():
        setting_of_group = f"{setting}.groups.{prefix}"
        own = _without(changes, "groups")
        components.check_arguments(setting_of_group, own, function, leading=1, also=["groups"])
        _try(setting_of_group, arguments | own, function)
        _check_groups(setting_of_group, changes.get("groups", {}), function, arguments | own)


def _try(setting: str, arguments: Component, function: Callable[..., Any]) -> Optimizer:
    """Build the optimizer for a weight of no model; torch raises RuntimeError for arguments that exclude each other."""
    try:
        return components.call(setting, arguments, function, [nn.Parameter(torch.zeros(1))])  # type: ignore[no-any-return]
    except RuntimeError as error:
        raise Refused(f"{setting} = {arguments!r}: {error}") from error


def _by_prefix(optimizer: Component) -> dict[str, Component]:
    """Return the optimizers by the prefix of the names of their weights; a single one has the empty prefix."""
    return {"": optimizer} if "name" in optimizer or not optimizer else optimizer


def _setting(prefix: str) -> str:
    return f"optimizer.{prefix}".rstrip(".")


def _without(component: Component, *names: str) -> Component:
    return {name: value for name, value in component.items() if name not in names}


def _optimizer(prefix: str, component: Component, left: Weights) -> Optimizer:
    """Take the weights under `prefix` out of `left`, into groups with arguments of their own, such as `lr`."""
    groups = _groups(_setting(prefix), prefix, component, left)
    arguments = _without(component, "name", "groups")
    return components.call(_setting(prefix), arguments, OPTIMIZER[component["name"]], groups)  # type: ignore[no-any-return]


def _groups(setting: str, prefix: str, component: Component, left: Weights) -> list[Component]:
    """Return the parameter groups under `prefix`: the weights that no inner group takes, then the inner groups."""
    own = _take(setting, prefix, left)
    arguments = _without(component, "name", "groups")
    inner_groups: list[Component] = []
    for name, changes in component.get("groups", {}).items():
        inner_prefix = f"{prefix}.{name}".lstrip(".")
        inner_groups += _groups(f"{setting}.groups.{name}", inner_prefix, arguments | changes, own)
    return [{"params": list(own.values()), **arguments}, *inner_groups] if own else inner_groups


def _take(setting: str, prefix: str, left: Weights) -> Weights:
    names = [name for name in left if not prefix or name == prefix or name.startswith(f"{prefix}.")]
    if not names:
        outer_prefix, _, last = prefix.rpartition(".")
        choices = dict.fromkeys(name.removeprefix(f"{outer_prefix}.").partition(".")[0] for name in left)
        unknown = unknown_name(setting.rpartition(".")[0], last, choices)
        raise Refused(f"{unknown} Weights that are frozen don't count.")
    return {name: left.pop(name) for name in names}


OPTIMIZER = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
