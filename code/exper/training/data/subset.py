"""Fewer samples, for `overfit` and `debug`."""

from dataclasses import replace

import torch

from exper.core.errors import Refused
from exper.training.data.batches import Batches

DEBUG_BATCHES = 4  # of each split, with `debug`


def subset(batches: dict[str, Batches], overfit: int | None, *, debug: bool) -> dict[str, Batches]:
    """Return the batches with the samples that `overfit` and `debug` leave, taken evenly from each split."""
    if overfit is not None:
        samples = len(batches["train"].index_N)
        if overfit > samples:
            raise Refused(f"overfit = {overfit}: the training split has {samples} samples.")
        index_N = _evenly(batches["train"], overfit).index_N
        batches = {name: replace(split, index_N=index_N) for name, split in batches.items()}
    if debug:
        batches = {name: _evenly(split, DEBUG_BATCHES * split.size) for name, split in batches.items()}
    return batches


def _evenly(batches: Batches, samples: int) -> Batches:
    last = len(batches.index_N) - 1
    count = min(samples, len(batches.index_N))
    return replace(batches, index_N=batches.index_N[torch.linspace(0, last, count, dtype=torch.float64).long()])
