"""Metrics by name, exact over an epoch: sums on the device, read once at its end."""

from typing import Any

import torch
from torch import Tensor

from exper.training import parts


class Accuracy:
    """The share of images whose largest output is at their label; all attributes of a metric go into checkpoints."""

    def __init__(self) -> None:
        self.right: Tensor | int = 0
        self.seen = 0

    def add(self, output_BK: Tensor, label_B: Tensor) -> None:  # B images, K classes
        self.right = self.right + (output_BK.argmax(1) == label_B).sum()
        self.seen += len(label_B)

    def value(self) -> float:
        return float(self.right) / self.seen


METRIC = {"acc": Accuracy}


class Totals:
    """Loss and metrics over the images seen so far; an uneven last batch counts by its size."""

    def __init__(self, metric: list[dict[str, Any]]) -> None:
        self.metrics = {part["name"]: parts.build("metric", part, METRIC) for part in metric}
        self.loss: Tensor | float = 0.0
        self.seen = 0
        self.finite: Tensor | int = 0  # batches before the first whose loss is NaN or infinite

    @torch.no_grad()
    def add(self, loss: Tensor, output_BK: Tensor, label_B: Tensor) -> None:
        """Add a batch, given its mean loss; nothing here waits for the GPU."""
        self.loss = self.loss + loss.double() * len(label_B)
        self.seen += len(label_B)
        self.finite = self.finite + torch.isfinite(self.loss)
        for metric in self.metrics.values():
            metric.add(output_BK, label_B)

    def values(self, split: str) -> dict[str, float]:
        """Return the means so far, such as {"val/loss": 0.1, "val/acc": 0.98}. Waits for the GPU."""
        found = {f"{split}/loss": float(self.loss) / self.seen}
        return found | {f"{split}/{name}": metric.value() for name, metric in self.metrics.items()}

    def state_dict(self) -> dict[str, Any]:
        own = {"loss": self.loss, "seen": self.seen, "finite": self.finite}
        return own | {"metrics": {name: vars(metric) for name, metric in self.metrics.items()}}

    def load_state_dict(self, saved: dict[str, Any], device: torch.device) -> None:
        self.loss, self.seen, self.finite = _to(saved["loss"], device), saved["seen"], _to(saved["finite"], device)
        for name, metric in self.metrics.items():
            vars(metric).update({key: _to(value, device) for key, value in saved["metrics"][name].items()})


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value
