"""What changes weights: optimizers by name, each with its learning rate's schedule, and the average of the weights."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from exper.core import components
from exper.core.errors import Refused, unknown_name
from schedule import rate

Part = dict[str, Any]
Weights = dict[str, nn.Parameter]  # by name; those that have a gradient
OPTIMIZER = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}


class Optimizers:
    """The optimizers of config.py: one or, under the beginnings of the names of their weights, several."""

    def __init__(self, model: nn.Module, optimizer: Part, scheduler: Part | None, steps: int, epochs: int) -> None:
        """Give each weight that is not frozen to one of them.

        Raises:
            Refused: a setting is wrong, or a weight is left over.
        """
        left = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        if not left:
            raise Refused("optimizer: the model has no weight that is not frozen.")
        self._weights = list(left.values())
        self.each = {name: _optimizer(name, part, left) for name, part in _parted(optimizer).items()}
        if left:
            beginnings = dict.fromkeys(name.partition(".")[0] for name in left)
            raise Refused(f"optimizer: nothing changes {next(iter(left))}. Add a part for: {', '.join(beginnings)}.")
        self.rates = {name: rate(one, scheduler, steps, epochs) for name, one in self.each.items()}
        self._all: Any = _Together(list(self.each.values()))

    @property
    def lr(self) -> float:
        """The learning rate of the next step, of the first group of the first optimizer."""
        return next(iter(self.each.values())).param_groups[0]["lr"]  # type: ignore[no-any-return]

    def zero_grad(self) -> None:
        for optimizer in self.each.values():
            optimizer.zero_grad()

    def clip(self, norm: float, scaler: GradScaler) -> None:
        """Shorten the gradient of all weights together to `norm`, if it is longer."""
        scaler.unscale_(self._all)
        nn.utils.clip_grad_norm_(self._weights, norm)

    def step(self, scaler: GradScaler) -> None:
        """Change the weights, and go on to the next learning rates."""
        scaler.step(self._all)
        scaler.update()
        for one in self.rates.values():
            one.step()

    def end_epoch(self, value: float) -> None:
        """Tell plateaus the monitored metric; larger is better."""
        for one in self.rates.values():
            one.end_epoch(value)

    def state_dict(self) -> Part:
        return {
            "optimizer": {name: one.state_dict() for name, one in self.each.items()},
            "scheduler": {name: one.state_dict() for name, one in self.rates.items()},
        }

    def load_state_dict(self, saved: Part) -> None:
        for name, one in self.each.items():
            one.load_state_dict(saved["optimizer"][name])
            self.rates[name].load_state_dict(saved["scheduler"][name])


class _Together:
    """Several optimizers, as a GradScaler takes one: where a gradient overflows, none of them takes the step."""

    def __init__(self, each: list[Optimizer]) -> None:
        self._each = each

    @property
    def param_groups(self) -> list[Part]:
        return [group for one in self._each for group in one.param_groups]

    def step(self) -> None:
        for one in self._each:
            one.step()


def check(optimizer: Part, scheduler: Part | None, monitor: str | None) -> None:
    """Refuse what is wrong in these settings; names of weights are checked where there is a model."""
    for prefix, part in _parted(optimizer).items():
        own = {name: value for name, value in part.items() if name != "groups"} if isinstance(part, dict) else part
        function, arguments = components.check(_setting(prefix), own, OPTIMIZER, leading=1, also=["groups"])
        _check_groups(_setting(prefix), part.get("groups", {}), function, arguments)
        rate(_tried(_setting(prefix), arguments, function), scheduler, steps=100, epochs=10)
    if scheduler is not None and scheduler["name"] == "plateau" and monitor is None:
        raise Refused('scheduler.name = "plateau": nothing tells it when. Set monitor.')


def _check_groups(setting: str, groups: Any, function: Callable[..., Any], arguments: Part) -> None:
    if not isinstance(groups, dict) or not all(isinstance(changes, dict) for changes in groups.values()):
        raise Refused(f'{setting}.groups = {groups!r}: write such as {{"<beginning of names>": {{"lr": 0.001}}}}.')
    for name, changes in groups.items():
        own = {key: value for key, value in changes.items() if key != "groups"}
        components.check_arguments(f"{setting}.groups.{name}", own, function, leading=1, also=["groups"])
        _tried(f"{setting}.groups.{name}", arguments | own, function)
        _check_groups(f"{setting}.groups.{name}", changes.get("groups", {}), function, arguments | own)


def _tried(setting: str, arguments: Part, function: Callable[..., Any]) -> Optimizer:
    """Build it for a weight of no model; arguments that exclude one another are a RuntimeError of torch's."""
    try:
        return components.call(setting, arguments, function, [nn.Parameter(torch.zeros(1))])  # type: ignore[no-any-return]
    except RuntimeError as error:
        raise Refused(f"{setting} = {arguments!r}: {error}") from error


def _parted(optimizer: Part) -> dict[str, Part]:
    """Return the optimizers by the beginning of the names of their weights; that of all is empty."""
    return {"": optimizer} if "name" in optimizer or not optimizer else optimizer


def _setting(prefix: str) -> str:
    return f"optimizer.{prefix}".rstrip(".")


def _optimizer(prefix: str, part: Part, left: Weights) -> Optimizer:
    """Take the weights under `prefix` out of `left`, into groups with a learning rate or the like of their own."""
    arguments = {name: value for name, value in part.items() if name not in ("name", "groups")}
    groups = _groups(_setting(prefix), prefix, part, left)
    return components.call(_setting(prefix), arguments, OPTIMIZER[part["name"]], groups)  # type: ignore[no-any-return]


def _groups(setting: str, prefix: str, part: Part, left: Weights) -> list[Part]:
    """Return the groups under `prefix`: of the weights that no group inside takes, and those, with its arguments."""
    own = _take(setting, prefix, left)
    arguments = {name: value for name, value in part.items() if name not in ("name", "groups")}
    inside = [
        group
        for name, changes in part.get("groups", {}).items()
        for group in _groups(f"{setting}.groups.{name}", f"{prefix}.{name}".lstrip("."), arguments | changes, own)
    ]
    return [{"params": list(own.values()), **arguments}, *inside] if own else inside


def _take(setting: str, prefix: str, left: Weights) -> Weights:
    found = [name for name in left if not prefix or name == prefix or name.startswith(f"{prefix}.")]
    if not found:
        above, _, last = prefix.rpartition(".")
        known = dict.fromkeys(name.removeprefix(f"{above}.").partition(".")[0] for name in left)
        raise Refused(f"{unknown_name(setting.rpartition('.')[0], last, known)} Weights that are frozen don't count.")
    return {name: left.pop(name) for name in found}


class Average:
    """An exponential moving average (EMA) of a model's weights; its buffers are copies."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._blend = get_ema_multi_avg_fn(decay)  # torch's AveragedModel would wait for the GPU at every step
        # Found once: to walk through a deep model takes as long as to change it.
        self._weights = list(self.model.parameters()), list(model.parameters())
        pairs = zip(self.model.modules(), model.modules(), strict=True)
        self._buffers = [(own, new, name) for own, new in pairs for name, _ in new.named_buffers(recurse=False)]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average by 1 - decay towards the model."""
        self._blend(*self._weights, 0)
        for own, new, name in self._buffers:  # by name: a model may put another tensor there, or None
            _copy(getattr(new, name), own, name)


def _copy(value: Tensor | None, to: nn.Module, name: str) -> None:
    there = getattr(to, name)
    if value is None or there is None or (value.shape, value.dtype) != (there.shape, there.dtype):
        setattr(to, name, None if value is None else value.clone())
    else:
        there.copy_(value)
