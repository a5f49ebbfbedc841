"""What changes weights: optimizers and schedulers by name, and the average of the weights."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.swa_utils import get_ema_multi_avg_fn

# Called with the model's parameters and the arguments of config.py's `optimizer`.
OPTIMIZER: dict[str, Callable[..., Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def cosine(optimizer: Optimizer, epochs: int, steps: int, floor: float = 0.0) -> lr_scheduler.LRScheduler:
    """Fall from the learning rate to `floor` along a half cosine over all of training; `steps` is of an epoch."""
    return lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps, floor)


def one_cycle(optimizer: Optimizer, epochs: int, steps: int, warmup: float = 0.3) -> lr_scheduler.LRScheduler:
    """Rise to the learning rate over the share `warmup` of training, then fall to almost nothing.

    Smith and Topin, Super-Convergence, 2018; momentum (Adam's beta1) goes the other way.
    """
    highest: float = optimizer.param_groups[0]["lr"]
    return lr_scheduler.OneCycleLR(optimizer, highest, total_steps=epochs * steps, pct_start=warmup)


def step(optimizer: Optimizer, epochs: int, steps: int, every: int, factor: float = 0.1) -> lr_scheduler.LRScheduler:  # noqa: ARG001
    """Multiply the learning rate by `factor` after every `every` epochs."""
    return lr_scheduler.StepLR(optimizer, every * steps, factor)


# All are stepped after every step of the optimizer.
SCHEDULER = {"cosine": cosine, "one_cycle": one_cycle, "step": step}


class Average:
    """An exponential moving average (EMA) of a model's weights; buffers, such as batch norm's, are copied."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._blend = get_ema_multi_avg_fn(decay)  # of AveragedModel, which would wait for the GPU at every step

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average by 1 - decay towards `model`."""
        self._blend(list(self.model.parameters()), list(model.parameters()), 0)
        for own, new in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(new)

    def state_dict(self) -> dict[str, Any]:
        return self.model.state_dict()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.model.load_state_dict(saved)
