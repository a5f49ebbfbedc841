"""The exponential moving average (EMA) of a model's weights."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """A copy of a model whose weights are the moving average of the model's; its buffers are copies.

    With decay d, each update sets average = d * average + (1 - d) * weight.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._blend = get_ema_multi_avg_fn(decay)  # torch's AveragedModel would wait for the GPU at every step
        # Listed once: walking through a deep model takes as long as changing it.
        self._averages = list(self.model.parameters())
        self._weights = list(model.parameters())
        pairs = zip(self.model.modules(), model.modules(), strict=True)
        self._buffers = [(own, new, name) for own, new in pairs for name, _ in new.named_buffers(recurse=False)]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average by 1 - decay towards the model's weights."""
        self._blend(self._averages, self._weights, 0)
        for own, new, name in self._buffers:  # by name: a model may put another tensor there, or None
            _copy_buffer(getattr(new, name), own, name)

    def state_dict(self) -> dict[str, Any]:
        return self.model.state_dict()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.model.load_state_dict(saved)


def _copy_buffer(value: Tensor | None, module: nn.Module, name: str) -> None:
    current = getattr(module, name)
    if value is None or current is None or (value.shape, value.dtype) != (current.shape, current.dtype):
        setattr(module, name, None if value is None else value.clone())
    else:
        current.copy_(value)
