"""What changes weights: optimizers by name, each with its learning rate's schedule, and the average of the weights."""

import copy
from typing import Any

import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from exper import parts
from exper.error import Refused
from schedule import rate

Part = dict[str, Any]
OPTIMIZER = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}


class Optimizers:
    """The optimizers of config.py: one or, under the beginnings of the names of their weights, several."""

    def __init__(self, model: nn.Module, optimizer: Part, scheduler: Part | None, steps: int, epochs: int) -> None:
        """Give each weight that has a gradient to one of them.

        Raises:
            Refused: a setting is wrong, or a weight is left over.
        """
        weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.each = {name: _optimizer(name, part, weights) for name, part in _parted(optimizer).items()}
        if weights:
            raise Refused(f"optimizer: none takes {next(iter(weights))!r}. Add a part with the beginning of that name.")
        self.rates = {name: rate(one, scheduler, steps, epochs) for name, one in self.each.items()}

    @property
    def lr(self) -> float:
        """The learning rate of the next step, of the first group of the first optimizer."""
        return next(iter(self.each.values())).param_groups[0]["lr"]  # type: ignore[no-any-return]

    def zero_grad(self) -> None:
        for optimizer in self.each.values():
            optimizer.zero_grad()

    def clip(self, norm: float, scaler: GradScaler) -> None:
        """Shorten the gradient of all weights together to `norm`, if it is longer."""
        for optimizer in self.each.values():
            scaler.unscale_(optimizer)
        groups = [group["params"] for optimizer in self.each.values() for group in optimizer.param_groups]
        nn.utils.clip_grad_norm_([weight for group in groups for weight in group], norm)

    def step(self, scaler: GradScaler) -> None:
        """Change the weights, and go on to the next learning rates."""
        for name, optimizer in self.each.items():
            scaler.step(optimizer)
            self.rates[name].step()
        scaler.update()

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


def check(optimizer: Part, scheduler: Part | None, monitor: str | None) -> None:
    """Refuse what is wrong in these settings; names of weights are checked where there is a model."""
    for part in _parted(optimizer).values():
        one = _optimizer("", part | {"groups": {}}, {"weight": nn.Parameter(torch.zeros(1))})
        rate(one, scheduler, steps=100, epochs=10)
    if scheduler is not None and scheduler["name"] == "plateau" and monitor is None:
        raise Refused('scheduler.name = "plateau": nothing tells it when. Set monitor.')


def _parted(optimizer: Part) -> dict[str, Part]:
    return {"": optimizer} if "name" in optimizer or not optimizer else optimizer


def _optimizer(prefix: str, part: Part, weights: dict[str, nn.Parameter]) -> Optimizer:
    """Take the weights under `prefix`, and of them the `groups` that have learning rates or the like of their own."""
    setting = f"optimizer.{prefix}".rstrip(".")
    own = _take(setting, weights, prefix)
    arguments = {name: value for name, value in part.items() if name != "groups"}
    function, _ = parts.check(setting, arguments, OPTIMIZER, ahead=1, beside=["groups"])
    groups = []
    for name, changes in part.get("groups", {}).items():
        parts.check_arguments(f"{setting}.groups.{name}", changes, function, ahead=1)
        groups.append({"params": list(_take(f"{setting}.groups", own, name).values())} | changes)
    return parts.build(setting, arguments, OPTIMIZER, [{"params": list(own.values())}, *groups])  # type: ignore[no-any-return]


def _take(setting: str, weights: dict[str, nn.Parameter], prefix: str) -> dict[str, nn.Parameter]:
    found = [name for name in weights if not prefix or name == prefix or name.startswith(f"{prefix}.")]
    if not found:
        known = dict.fromkeys(name.partition(".")[0] for name in weights)
        raise parts.unknown(setting, prefix, known)
    return {name: weights.pop(name) for name in found}


class Average:
    """An exponential moving average (EMA) of a model's weights; its buffers are copies."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._blend = get_ema_multi_avg_fn(decay)  # torch's AveragedModel would wait for the GPU at every step

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average by 1 - decay towards `model`."""
        self._blend(list(self.model.parameters()), list(model.parameters()), 0)
        for own, new in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(new)
