"""Split a data set into train, val and test, by a seed of the split's own."""

import torch
from torch import Tensor

from exper.error import Refused
from exper.training import streams


def split(
    label_N: Tensor,  # N samples
    val: float | int,
    test: float | int,
    stratify: bool = True,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Return the indices of each split.

    Args:
        label_N: the class of each sample.
        val: a share (float) or a number (int) of the samples.
        test: likewise.
        stratify: give each split the same mix of classes.
        seed: decides alone who goes where; the seed of a run does not.
    """
    samples = len(label_N)
    counts = {name: round(part * samples) if isinstance(part, float) else part for name, part in (("val", val), ("test", test))}
    if min(counts.values()) < 1 or sum(counts.values()) >= samples:
        raise Refused(f"data.split: {counts} of {samples} samples; each split, and train, needs at least one.")
    order_N = torch.randperm(samples, generator=streams.generator(seed, "split"))
    if stratify:
        order_N = order_N[_evenly(label_N[order_N])]
    test_N, val_N, train_N = order_N.split([counts["test"], counts["val"], samples - sum(counts.values())])
    return {"train": train_N.sort()[0], "val": val_N.sort()[0], "test": test_N.sort()[0]}


def _evenly(label_N: Tensor) -> Tensor:
    """Return an order in which each class is spread evenly, so that every stretch of it has the same mix."""
    place_N = torch.empty(len(label_N), dtype=torch.float64)
    for label in label_N.unique():
        here = label_N == label
        count = int(here.sum())
        place_N[here] = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return place_N.argsort(stable=True)
