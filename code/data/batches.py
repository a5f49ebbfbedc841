"""Batches of a data set: fetched whole, in an order that only the seed and the epoch decide."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from exper.training import stop, streams
from transform import Transform

Batch = tuple[Tensor, Tensor]  # image (B, C, H, W), label (B,)


class Tensors:
    """A data set that fits into memory. A larger one has the same attributes and reads files in `__getitems__`."""

    def __init__(self, image_NCHW: Tensor, label_N: Tensor, classes: int) -> None:
        self.images, self.labels, self.classes = image_NCHW, label_N, classes
        self.shape = tuple(image_NCHW.shape[1:])

    def __getitems__(self, index_B: Tensor) -> Batch:
        """Return a whole batch; the loop, or a DataLoader's worker, calls this."""
        return self.images.index_select(0, index_B), self.labels[index_B]  # a third faster than [index_B]

    def to(self, device: torch.device) -> None:
        self.images, self.labels = self.images.to(device), self.labels.to(device)

    def fingerprint(self) -> str:
        """Return a digest of every pixel and label."""
        tensors = (self.images, self.labels)
        return hashlib.sha256(
            b"".join(f"{t.dtype} {t.shape}".encode() + t.numpy().tobytes() for t in tensors)
        ).hexdigest()


@dataclass
class Batches:
    """One split of a data set, batch by batch; the last one may be smaller."""

    dataset: Tensors
    index_N: Tensor  # the samples of the split
    size: int
    transform: Transform  # of whole batches, on the device
    device: torch.device
    workers: int  # processes that read ahead; 0: the data set is on the device
    seed: int | None = None  # of the order and of random transforms; None: in order, without those

    def __len__(self) -> int:
        return -(-len(self.index_N) // self.size)

    def of_epoch(self, epoch: int = 0, first: int = 0) -> Iterator[Batch]:
        """Yield the batches from number `first` on: the same ones, wherever the epoch was interrupted."""
        order_N, random = self.index_N, None
        if self.seed is not None:
            order_N = order_N[torch.randperm(len(order_N), generator=streams.generator(self.seed, "order", epoch))]
        for number, (image_BCHW, label_B) in enumerate(self._fetch(order_N.split(self.size)[first:]), first):
            if self.seed is not None:
                random = streams.generator(self.seed, "transform", epoch, number)
            image_BCHW = self.transform(image_BCHW.to(self.device, non_blocking=True), random)
            yield image_BCHW, label_B.to(self.device, non_blocking=True)

    def _fetch(self, indices: tuple[Tensor, ...]) -> Iterator[Batch]:
        if not self.workers:
            return (self.dataset.__getitems__(index_B.to(self.device, non_blocking=True)) for index_B in indices)
        how: dict[str, Any] = {
            "num_workers": self.workers,
            "collate_fn": tuple,  # they are batches already
            "worker_init_fn": stop.leave_to_parent,
            "pin_memory": self.device.type == "cuda",
            "generator": torch.Generator(),  # or it would draw from the one that dropout uses
        }
        return iter(DataLoader(self.dataset, batch_sampler=indices, **how))  # type: ignore[arg-type]
