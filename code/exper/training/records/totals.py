"""Sums over an epoch and over all processes: the loss, metrics, and the numbers that `state.log` takes."""

import copy
import functools
import math
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exper.training.data.batches import Batch
from exper.training.distributed import collective

_GROUPS = ("", "train", "val", "test", "step")


def main_output(output: Tensor | list[Tensor]) -> Tensor:
    """Return the output that metrics are computed from: the last of a list (deep supervision)."""
    return output[-1] if isinstance(output, list) else output


class Totals:
    """Loss and metrics over the images of an epoch so far; a smaller last batch counts by its size.

    A metric has `add(output, target)` and `value()`. Its attributes without an underscore are sums: a checkpoint holds
    them, and they are added up over the processes.
    """

    def __init__(self, metrics: dict[str, Any]) -> None:
        self.metrics = metrics  # by their names in history
        self._empty = copy.deepcopy(metrics)
        self.loss: Tensor | float = 0.0
        self.seen = 0
        self._before_batch: tuple[Tensor | float, int] = (0.0, 0)  # loss and images, before the last batch and after
        self._after_batch: tuple[Tensor | float, int] = (0.0, 0)
        self.finite: Tensor | int = 0  # batches before the first whose loss is NaN or infinite

    def empty(self) -> "Totals":
        """Return totals of the same metrics, over no image yet."""
        return Totals(copy.deepcopy(self._empty))

    def check(self, classes: int) -> None:
        """Refuse a metric that does not fit a model with so many outputs."""
        for metric in self.metrics.values():
            if hasattr(metric, "check"):
                metric.check(classes)

    @property
    def names(self) -> list[str]:
        """The names in `values`, without the split."""
        return ["loss", *(name for name, metric in self.metrics.items() if not _is_table(metric))]

    def add(self, loss: Tensor, output: Tensor | list[Tensor], batch: Batch) -> None:
        """Add a batch, or a part of it, given its mean loss. Nothing here waits for the GPU."""
        if not batch.share:  # a stand-in for a process that has no image of this batch
            return
        output = main_output(output).detach()
        self.loss = self.loss + loss.detach().double() * len(batch.target)
        self.seen += len(batch.target)
        for metric in self.metrics.values():
            metric.add(output, batch.target)

    def end_batch(self) -> None:
        """Note whether the loss has been finite so far."""
        self._before_batch = self._after_batch
        self._after_batch = (self.loss, self.seen)
        self.finite = self.finite + (torch.as_tensor(self.loss).abs() < math.inf)  # isfinite takes longer

    @property
    def batch_loss(self) -> Tensor | float:
        """The mean loss of the last batch, over all processes."""
        loss_before, seen_before = self._before_batch
        loss_after, seen_after = self._after_batch
        loss, seen = collective.added([loss_after - loss_before, seen_after - seen_before])
        return loss / seen  # type: ignore[no-any-return]

    def values(self, split: str) -> dict[str, float]:
        """Return the means over all processes, such as {"val/loss": 0.1, "val/acc": 0.98}. Waits for the GPU."""
        total = self.total()
        values = {f"{split}/loss": float(total.loss) / total.seen}
        for name in self.names[1:]:
            values[f"{split}/{name}"] = _number(name, total.metrics[name].value())
        return values

    def tables(self, split: str) -> dict[str, list[list[int]]]:
        """Return the metrics that are tables: {"val/confusion": rows}. Waits for the GPU."""
        tables = {name: metric for name, metric in self.total().metrics.items() if _is_table(metric)}
        return {f"{split}/{name}": metric.value() for name, metric in tables.items()}

    def total(self) -> "Totals":
        """Return these sums added up over all processes."""
        if collective.count() == 1:
            return self
        total = copy.copy(self)
        total.metrics = {name: copy.copy(metric) for name, metric in self.metrics.items()}
        total.load_state_dict(merged(collective.gathered(self.state_dict())))
        return total

    def state_dict(self) -> dict[str, Any]:
        sums = {name: _sums(metric) for name, metric in self.metrics.items()}
        # A checkpoint can't hold numpy's types. Dicts, so that those of several processes can be added up.
        from_numpy = {
            name: {key: 1 for key, value in own.items() if isinstance(value, np.ndarray)} for name, own in sums.items()
        }
        plain = {name: {key: _plain(value) for key, value in own.items()} for name, own in sums.items()}
        return {"loss": self.loss, "seen": self.seen, "finite": self.finite, "metrics": plain, "numpy": from_numpy}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.loss = saved["loss"]
        self.seen = saved["seen"]
        self.finite = saved["finite"]
        self._after_batch = (self.loss, self.seen)
        self._before_batch = self._after_batch
        for name, metric in self.metrics.items():
            for key, value in saved["metrics"][name].items():
                vars(metric)[key] = value.numpy(force=True)[()] if key in saved["numpy"][name] else value


def merged(states: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sum of the `state_dict` of the Totals of several processes, over the same batches."""
    return functools.reduce(collective.plus, states) | {"finite": min(int(state["finite"]) for state in states)}


def _is_table(metric: Any) -> bool:
    return getattr(metric, "is_table", False)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"metric {name!r}: value() gave {value!r}: it must be one number") from error


def _sums(metric: Any) -> dict[str, Any]:
    """Return a metric's sums; numbers of numpy's as arrays, so that they keep their type."""
    sums = {key: value for key, value in vars(metric).items() if key[0] != "_"}
    return {key: np.asarray(value) if isinstance(value, np.generic) else value for key, value in sums.items()}


def _plain(value: Any) -> Any:
    """Return numpy's arrays as tensors, and its numbers, within lists and dicts, as Python's."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return value.item() if isinstance(value, np.generic) else value


class Means:
    """The numbers that `state.log` took in the current epoch; only `last` and `values` wait for other processes."""

    def __init__(self) -> None:
        self._sums: dict[str, list[Any]] = {}  # name: sum, count, latest value

    def add(self, values: dict[str, Tensor | float], taken: Collection[str]) -> None:
        """Add numbers, or tensors of one number, under names that are not `taken` in history.

        Raises:
            ValueError: a name is taken, or a value is not one number.
        """
        for name, value in values.items():
            group, _, last = name.rpartition("/")
            if group in _GROUPS and last in taken:
                raise ValueError(f"history has {name!r} already: log it under another name")
            if math.prod(shape := getattr(value, "shape", ())) != 1:
                raise ValueError(f"state.log: {name!r} has the shape {tuple(shape)}: log one number")
            number = value.detach().double() if isinstance(value, Tensor) else float(value)
            total, count, _ = self._sums.get(name, (0.0, 0, 0.0))
            self._sums[name] = [total + number, count + 1, number]

    def last(self) -> dict[str, float]:
        """Return the latest values, as `step/<name>`; a name with a slash is for the epoch alone."""
        latest = {name: [value, 1] for name, (_, _, value) in self._sums.items() if "/" not in name}
        return {f"step/{name}": float(total) / count for name, (total, count) in collective.added(latest).items()}

    def values(self) -> dict[str, float]:
        """Return the means, as `train/<name>`; a name with a slash stays as it is."""
        means = {name: float(total) / count for name, (total, count, _) in collective.added(self._sums).items()}
        return {name if "/" in name else f"train/{name}": value for name, value in means.items()}

    def state_dict(self) -> dict[str, Any]:
        return dict(self._sums)

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self._sums = dict(saved)
