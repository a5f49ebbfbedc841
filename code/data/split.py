"""Split a data set into train, val and test, by a seed of the split's own."""

import torch
from torch import Tensor

from exper.training import streams

Part = int | float  # a number, or a share, of the samples


def split(label_N: Tensor, val: Part, test: Part, stratify: bool = True, seed: int = 0) -> dict[str, Tensor]:
    """Return the indices of each split; with `stratify` each has the same mix of classes."""
    samples = len(label_N)
    held = [round(part * samples) if isinstance(part, float) else part for part in (val, test)]
    if min(held) < 1 or sum(held) >= samples:
        raise ValueError(f"of {samples} samples, val and test get {held}; each, and train, needs one at least")
    order_N = torch.randperm(samples, generator=streams.generator(seed, "split"))
    if stratify:
        order_N = order_N[_evenly(label_N[order_N])]
    val_N, test_N, train_N = order_N.split([*held, samples - sum(held)])
    return {"train": train_N.sort()[0], "val": val_N.sort()[0], "test": test_N.sort()[0]}


def _evenly(label_N: Tensor) -> Tensor:
    """Return an order in which each class is spread evenly: every stretch of it has the same mix."""
    place_N = torch.empty(len(label_N), dtype=torch.float64)
    for label in label_N.unique():
        count = int((label_N == label).sum())
        place_N[label_N == label] = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return place_N.argsort(stable=True)
