"""Metrics by name, exact over an epoch: summed on the device, read at its end."""

from typing import Any

import torch
from torch import Tensor

from exper import parts


class Accuracy:
    """The share of images whose largest output is at their label. Attributes of a metric go into checkpoints."""

    def __init__(self) -> None:
        self.right: Tensor | int = 0
        self.seen = 0

    def add(self, output_BK: Tensor, label_B: Tensor) -> None:
        self.right = self.right + (output_BK.argmax(1) == label_B).sum()
        self.seen += len(label_B)

    def value(self) -> float:
        return float(self.right) / self.seen


METRIC: dict[str, type[Any]] = {"acc": Accuracy}


class Totals:
    """Loss and metrics over the images of an epoch so far; an uneven last batch counts by its size."""

    def __init__(self, metric: list[dict[str, Any]]) -> None:
        self.metrics = {part["name"]: parts.build("metric", part, METRIC) for part in metric}
        self.loss: Tensor | float = 0.0
        self.seen = 0
        self._before: tuple[Tensor | float, int] = 0.0, 0  # the batch under way
        self.finite: Tensor | int = 0  # batches before the first whose loss is NaN or infinite

    def add(self, loss: Tensor, output_BK: Tensor, label_B: Tensor) -> None:
        """Add a batch or a part of it, given its mean loss; nothing here waits for the GPU."""
        self.loss = self.loss + loss.detach().double() * len(label_B)
        self.seen += len(label_B)
        for metric in self.metrics.values():
            metric.add(output_BK.detach(), label_B)

    def end_batch(self) -> None:
        """Note the batch's mean loss, and whether the loss is finite so far."""
        loss, seen = self._before
        self.batch_loss = (self.loss - loss) / (self.seen - seen)
        self._before = self.loss, self.seen
        self.finite = self.finite + torch.as_tensor(self.loss).isfinite()

    def values(self, split: str) -> dict[str, float]:
        """Return what came out, such as {"val/loss": 0.1, "val/acc": 0.98}. Waits for the GPU."""
        found = {f"{split}/{name}": metric.value() for name, metric in self.metrics.items()}
        return {f"{split}/loss": float(self.loss) / self.seen} | found

    def state_dict(self) -> dict[str, Any]:
        sums = {name: vars(metric) for name, metric in self.metrics.items()}
        return {"loss": self.loss, "seen": self.seen, "finite": self.finite, "metrics": sums}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.loss, self.seen, self.finite = saved["loss"], saved["seen"], saved["finite"]
        self._before = self.loss, self.seen
        for name, metric in self.metrics.items():
            vars(metric).update(saved["metrics"][name])
