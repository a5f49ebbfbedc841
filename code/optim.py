"""What changes weights: optimizers and schedulers by name, and the average of the weights."""

import copy

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.swa_utils import get_ema_multi_avg_fn

from exper.parts import Share


def cosine(optimizer: Optimizer, steps: int, floor: float = 0.0) -> lr_scheduler.LRScheduler:
    """Fall from the learning rate to `floor` along half a cosine, in all steps of training."""
    return lr_scheduler.CosineAnnealingLR(optimizer, steps, floor)


def one_cycle(optimizer: Optimizer, steps: int, warmup: Share = 0.3) -> lr_scheduler.LRScheduler:
    """Rise to the learning rate in a share of the steps, then fall to nothing (Smith, Super-Convergence, 2018)."""
    return lr_scheduler.OneCycleLR(optimizer, optimizer.param_groups[0]["lr"], steps, pct_start=warmup)


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


OPTIMIZER = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULER = {"cosine": cosine, "one_cycle": one_cycle}  # stepped after every step of the optimizer
