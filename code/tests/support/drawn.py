"""Random outputs and targets for metrics and their totals."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from exper.training.data.batches import Batch
from exper.training.records.totals import Totals

Batches = list[tuple[Tensor, Tensor]]


def batches(classes: int = 10, size: tuple[int, ...] = (), known: int | None = None) -> Batches:
    """Draw four batches, the last one smaller, for images of `size`; targets are below `known`."""
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for batch in (64, 64, 64, 7):
        output = torch.randn(batch, classes, *size, generator=generator)
        drawn.append((output, torch.randint(known or max(2, classes), (batch, *size), generator=generator)))
    return drawn


def fed(totals: Totals, some: Batches) -> Totals:
    for output, label in some:
        loss = cross_entropy(output, label) if output.shape[1] > 1 else torch.tensor(0.0)
        totals.add(loss, output, Batch(output, label, 1.0))
        totals.end_batch()
    return totals
