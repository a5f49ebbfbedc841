"""Batches of a data set: fetched whole, in an order that only the seed and the epoch decide."""

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from exper.training import stop, streams
from transform import Transform

Batch = tuple[Tensor, Tensor]  # image (B, C, H, W), label (B,)


class Dataset(Protocol):
    """What the loop asks of a data set. Each call fetches a batch; workers call it in their own process."""

    def __getitems__(self, index: Tensor) -> Batch: ...


class Tensors:
    """A data set that fits into memory: on the device it needs no copy and no worker."""

    def __init__(self, image_NCHW: Tensor, label_N: Tensor, classes: int) -> None:
        self.images, self.labels, self.classes = image_NCHW, label_N, classes
        self.shape = tuple(image_NCHW.shape[1:])

    def __getitems__(self, index: Tensor) -> Batch:
        return self.images[index], self.labels[index]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> None:
        self.images, self.labels = self.images.to(device), self.labels.to(device)

    def fingerprint(self) -> str:
        """Return a digest of every pixel and label."""
        digest = hashlib.sha256()
        for tensor in (self.images, self.labels):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


class Batches:
    """One split, batch by batch.

    Args:
        dataset: where the samples are.
        index_N: which of them belong to the split.
        size: samples a batch; the last one may be smaller.
        transform: applied on the device, to whole batches.
        device: where batches are wanted.
        workers: processes that read ahead; 0: the data set is on the device.
        seed: of the order and of random transforms; None: in order, and without those.
    """

    def __init__(
        self,
        dataset: Dataset,
        index_N: Tensor,
        *,
        size: int,
        transform: Transform,
        device: torch.device,
        workers: int,
        seed: int | None,
    ) -> None:
        self._dataset, self._index_N, self._size = dataset, index_N, size
        self._transform, self._device, self._workers, self._seed = transform, device, workers, seed

    def __len__(self) -> int:
        return -(-len(self._index_N) // self._size)

    def of_epoch(self, epoch: int = 0, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `first` on; the same, wherever an epoch was interrupted."""
        for number, (image_BCHW, label_B) in enumerate(self._fetch(self._order(epoch)[first:]), first):
            image_BCHW = image_BCHW.to(self._device, non_blocking=True)
            random = None if self._seed is None else streams.generator(self._seed, "transform", epoch, number)
            yield self._transform(image_BCHW, random), label_B.to(self._device, non_blocking=True)

    def _order(self, epoch: int) -> tuple[Tensor, ...]:
        order_N = self._index_N
        if self._seed is not None:
            order_N = order_N[torch.randperm(len(order_N), generator=streams.generator(self._seed, "order", epoch))]
        return order_N.split(self._size)

    def _fetch(self, batches: tuple[Tensor, ...]) -> Iterator[Batch]:
        if not self._workers:
            where = self._device
            return (self._dataset.__getitems__(index.to(where, non_blocking=True)) for index in batches)
        loader: DataLoader[Any] = DataLoader(
            self._dataset,  # type: ignore[arg-type]
            batch_sampler=batches,  # type: ignore[arg-type]
            collate_fn=_as_it_is,
            num_workers=self._workers,
            worker_init_fn=stop.leave_to_parent,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # without one of its own it would draw from the one that dropout uses
        )
        return iter(loader)


def _as_it_is(batch: Batch) -> Batch:
    return batch
