"""Split a data set into train, val and test, by a seed of its own. Legend: N samples, P places."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from exper.training import random_state
from exper.training.data.batches import Dataset

Size = Annotated[float, "above 0, a share if below 1, else a count", math.ulp(0), math.inf]


@dataclass(frozen=True)
class Split:
    """The setting `data.split` of config.py. The data set's own val or test stays as it is; the rest is split.

    With `stratify`, a split of k samples gets n * k / N of a class with n of the N samples, rounded up or down.

    Raises:
        ValueError: `fold` and `folds`, or `folds` and `val`, exclude each other.
    """

    val: Size | None = None
    test: Size | None = None
    sample: Size | None = None  # of the training samples, to train on fewer
    folds: Annotated[int, "at least 2", 2, math.inf] | None = None  # of all but test, equal in size; one of them is val
    fold: Annotated[int, "at least 0", 0, math.inf] = 0
    stratify: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.fold >= (self.folds or 1):
            raise ValueError(f"fold = {self.fold} needs folds = {self.fold + 1} or more")
        if self.folds is not None and self.val is not None:
            raise ValueError("with folds, one of them is val: write val = None")

    def of(self, dataset: Dataset) -> dict[str, Tensor]:
        """Return the indices (int64, sorted) of "train", "val" and "test": disjoint, none of them empty.

        Raises:
            ValueError: the data set can't be split so.
        """
        _check_samples(dataset.own, len(dataset))
        splits = dict(dataset.own)
        left_N = self._order(dataset)
        samples = len(left_N)
        for name in ("test", "val"):  # in this order: every fold has the same test
            if name in dataset.own:
                self._check_own(name)
            else:
                splits[name], left_N = _divide(left_N, self._places(name, samples, len(left_N)))
        if self.sample is not None:
            left_N, _ = _divide(left_N, _spread("sample", self.sample, len(left_N), len(left_N)))
        splits["train"] = left_N
        if not all(map(len, splits.values())):
            sizes = ", ".join(f"{name} {len(index_N)}" for name, index_N in splits.items())
            raise ValueError(f"of {len(dataset)} samples, {sizes}: each needs one at least")
        return {name: splits[name].sort()[0] for name in ("train", "val", "test")}

    def _order(self, dataset: Dataset) -> Tensor:
        """Return the samples outside the data set's own splits in random order, with `stratify` class by class."""
        is_free_N = torch.ones(len(dataset), dtype=torch.bool)
        for index_N in dataset.own.values():
            is_free_N[index_N] = False
        order_N = is_free_N.nonzero().flatten()
        order_N = order_N[torch.randperm(len(order_N), generator=random_state.generator(self.seed, "split"))]
        if not self.stratify:
            return order_N
        if dataset.labels is None:
            raise ValueError("the data set has no classes of whole images: write stratify = False")
        return order_N[dataset.labels[order_N].argsort(stable=True)]

    def _check_own(self, name: str) -> None:
        if getattr(self, name) is not None:
            raise ValueError(f"the data set comes with its own {name}: write {name} = None")
        if name == "val" and self.folds is not None:
            raise ValueError("the data set comes with its own val: write folds = None")

    def _places(self, name: str, samples: int, left: int) -> Tensor:
        if name == "val" and self.folds is not None:
            return torch.arange(left)[self.fold :: self.folds]
        return _spread(name, getattr(self, name), samples, left)


def _check_samples(own: Mapping[str, Tensor], samples: int) -> None:
    """Refuse invalid splits of the data set's own: nobody would notice a sample outside them, or in two of them."""
    for name, index_N in own.items():
        if name not in ("val", "test"):
            raise ValueError(f"the data set comes with its own {name!r}; that can only be 'val' or 'test'")
        if not isinstance(index_N, Tensor) or index_N.ndim != 1 or index_N.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"the data set's own {name} is no tensor of sample numbers, int64 (N,)")
        if len(index_N) and not 0 <= index_N.min() <= index_N.max() < samples:
            raise ValueError(f"the data set's own {name} has samples outside 0 to {samples - 1}")
    together_N = torch.cat([*own.values()]) if own else torch.empty(0)
    if len(together_N.unique()) < len(together_N):
        raise ValueError(f"the data set's own splits, {' and '.join(own)}, have samples twice")


def _spread(name: str, size: float | None, samples: int, left: int) -> Tensor:
    """Return evenly spaced places in 0..left-1, as many as the share or count `size` of `samples` says."""
    if size is None:
        raise ValueError(f"the data set has no {name} of its own: write a share or a count for {name}")
    count = round(size * samples) if size < 1 else int(size)
    if size >= 1 and count != size:
        raise ValueError(f"{name} = {size} is neither a share nor a count")
    if not 0 <= count <= left:
        raise ValueError(f"{name} would get {count} samples of the {left} that are left")
    return (2 * torch.arange(count) + 1) * left // (2 * max(count, 1))


def _divide(order_N: Tensor, place_P: Tensor) -> tuple[Tensor, Tensor]:
    """Return the samples at some places of an order, and the others."""
    is_in_N = torch.zeros(len(order_N), dtype=torch.bool)
    is_in_N[place_P] = True
    return order_N[is_in_N], order_N[~is_in_N]
