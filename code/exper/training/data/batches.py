"""Batches of a data set: fetched whole, in an order that only the seed and the epoch decide."""

import atexit
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from exper.core.errors import Refused
from exper.training import random_state, stopping
from exper.training.data.types import Samples, Transform, as_target
from exper.training.distributed import collective, rank

Array = Tensor | np.ndarray[Any, Any]
MOST = 2**26  # numbers normalized ahead: 256 MB as floats, four times their bytes, in each of several runs at once


class Dataset(Protocol):
    """What a data set has: `Tensors` in memory, or `data.files.Files` read when needed."""

    shape: tuple[int, ...]  # of an image: C, H, W
    classes: int  # outputs of the model; 1: a mask of 0 and 1

    @property
    def labels(self) -> Tensor | None: ...  # (N,), the classes of whole images, which a split can stratify by
    @property
    def own(self) -> Mapping[str, Tensor]: ...  # samples of "val" and "test", where the data set comes with them

    def __len__(self) -> int: ...
    def __getitems__(self, index_B: Tensor) -> Samples: ...
    def to(self, device: torch.device) -> None: ...
    def fingerprint(self) -> str: ...


class Tensors:
    """A data set in memory: on the device, if no workers read it."""

    def __init__(
        self, image_NCHW: Array, target_N: Array, classes: int, own: Mapping[str, Tensor] | None = None
    ) -> None:
        self.images, self.targets = torch.as_tensor(image_NCHW), torch.as_tensor(target_N)
        self.classes, self.own, self.shape = classes, own or {}, tuple(self.images.shape[1:])
        if len(self.images) != len(self.targets):
            raise Refused(f"data: {len(self.images)} images have {len(self.targets)} targets. Give each image one.")

    @property
    def labels(self) -> Tensor | None:
        return self.targets if self.targets.ndim == 1 else None

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, index_B: Tensor) -> Samples:
        """Return a whole batch; the loop, or a DataLoader's worker, calls this."""
        index_B = index_B.to(self.images.device, non_blocking=True)
        return self.images.index_select(0, index_B), self.targets.index_select(0, index_B)  # faster than [index_B]

    def to(self, device: torch.device) -> None:
        self.images, self.targets = self.images.to(device), self.targets.to(device)

    def fingerprint(self) -> str:
        """Return a digest of every pixel and label."""
        sha256 = hashlib.sha256()
        for tensor in (self.images, self.targets):
            sha256.update(f"{tensor.dtype} {tensor.shape}".encode())
            sha256.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)  # numpy has no bfloat16
        return sha256.hexdigest()

    def check(self, ignored: Collection[int]) -> None:
        """Refuse class numbers that the model has no output for, unless the loss ignores them. Waits for the GPU."""
        if self.targets.dtype == torch.bool or self.targets.is_floating_point():
            return
        # as int64, as torch does not compare uint16; but bytes, of many masks, would take eight times the memory
        targets = self.targets if self.targets.element_size() == 1 else as_target(self.targets)
        low, high, last = *map(int, targets.aminmax()), max(self.classes, 2) - 1
        if 0 <= low <= high <= last:
            return
        outside = targets[(targets < 0) | (targets > last)].unique().tolist()
        if wrong := [number for number in outside if number not in ignored]:
            raise Refused(
                f"data: a target is {wrong[0]}, but with classes = {self.classes} they are 0 to {last}."
                " Number classes from 0; where targets are no class numbers, make them floats."
            )


@dataclass
class Batches:
    """One split of a data set, batch by batch; the last one of a pass may be smaller."""

    dataset: Dataset
    index_N: Tensor  # the samples of the split
    size: int
    transform: Transform  # of whole batches, on the device
    device: torch.device
    workers: int  # processes that read ahead; 0: this one reads
    seed: int | None = None  # of the order and of random transforms; None: in order, without those
    shape: tuple[int, ...] = ()  # of an image as the model gets it: C, H, W
    length: int | None = None  # batches of an epoch, which goes on where the last one ended; None: a pass over all

    def __len__(self) -> int:
        return self.length or self._of_pass

    @property
    def _of_pass(self) -> int:
        return -(-len(self.index_N) // self.size)

    def of_epoch(self, epoch: int = 0, first: int = 0) -> Iterator[Samples]:
        """Yield the batches from number `first` on: the same ones, wherever the epoch was interrupted."""
        for image_BCHW, target_B, _ in self._cut(epoch, first, lambda size: slice(0, size)):
            yield image_BCHW, target_B

    def slices(self, epoch: int = 0, first: int = 0) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Yield what of each batch is this process's, and the weight of its mean in the mean over all processes.

        In one process that is the batch, and 1.0. Where nothing is left for this process, one image stands in, with 0.
        """
        for image_BCHW, target_B, size in self._cut(epoch, first, collective.own_slice):
            own = collective.own_slice(size)
            yield image_BCHW, target_B, (own.stop - own.start) * collective.count() / size

    def _cut(self, epoch: int, first: int, part: Callable[[int], slice]) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yield a part of each batch, never empty, and the size of the whole."""

        def cut(size: int) -> slice:
            own = part(size)
            return own if own.stop > own.start else slice(0, 1)

        cuts = (index_B[cut(len(index_B))] for index_B in self._indices(epoch, first))
        for number, (image_BCHW, target_B) in enumerate(self._fetch(cuts, epoch, first), first):
            random = None
            if self.seed is not None and self.transform.steps:
                random = random_state.generator(self.seed, "transform", epoch, number)
            image_BCHW = image_BCHW.to(self.device, non_blocking=True)
            target_B = as_target(target_B.to(self.device, non_blocking=True))
            size = self._size(epoch * len(self) + number)
            if len(image_BCHW) == size or random is None:
                yield *self.transform(image_BCHW, target_B, random), size
                continue
            # random transforms draw for every image of the batch; of those that are not ours, nothing else is needed
            own = cut(size)
            whole = self.transform(_placed(image_BCHW, own, size), _placed(target_B, own, size), random)
            yield whole[0][own], whole[1][own], size

    def _size(self, number: int) -> int:
        """Return the size of the batch with this number since the start."""
        return min(self.size, len(self.index_N) - number % self._of_pass * self.size)

    @random_state.kept()
    def shape_in_training(self) -> tuple[int, ...]:
        """Return the shape of an image, C, H, W, after random transforms, which may cut it."""
        first = self.dataset.__getitems__(self.index_N[:1])
        return tuple(self.transform(*first, random_state.generator("check"))[0].shape[1:])

    def smallest(self, epochs: int, accumulate: int) -> int:
        """Return how many images the model is trained on at a time, at least, in one of the processes."""
        last = min(epochs * len(self), self._of_pass) - 1
        sizes, count = {self._size(number) for number in (0, last)}, collective.count()
        slices = {max(1, share) for size in sizes for share in (size // count, -(-size // count))}  # 1: what stands in
        return min(len(part) for size in slices for part in torch.empty(size).chunk(accumulate))

    def _indices(self, epoch: int, first: int) -> Iterator[Tensor]:
        """Yield the samples of each batch. Pass and place in it follow from the number of the batch since the start."""
        order_N, of_pass = self.index_N, None
        for number in range(epoch * len(self) + first, (epoch + 1) * len(self)):
            done, place = divmod(number, self._of_pass)
            if self.seed is not None and done != of_pass:
                random, of_pass = random_state.generator(self.seed, "order", done), done
                order_N = self.index_N[torch.randperm(len(self.index_N), generator=random)]
            yield order_N[place * self.size : (place + 1) * self.size]

    def _fetch(self, indices: Iterator[Tensor], epoch: int = 0, first: int = 0) -> Iterator[Samples]:
        seeded, numbered = _Seeded(self.dataset, self.seed, epoch), enumerate(indices, first)
        if not self.workers:
            yield from map(seeded.__getitems__, numbered)
            return
        how: dict[str, Any] = {
            "num_workers": self.workers,
            "collate_fn": tuple,  # they are batches already
            "worker_init_fn": stopping.leave_to_parent,
            "pin_memory": self.device.type == "cuda",
            "generator": torch.Generator(),  # or it would draw from the one that dropout uses
        }
        loader: Any = iter(DataLoader(seeded, batch_sampler=numbered, **how))  # type: ignore[arg-type]
        atexit.register(loader._shutdown_workers)  # or Python would wait for them, if an error ends the process
        try:
            yield from loader
        finally:
            loader._shutdown_workers()
            atexit.unregister(loader._shutdown_workers)

    def normalized(self) -> "Batches":
        """Return the same batches; of images in memory, if `normalize` comes first, normalized once for all epochs."""
        normalize, left = self.transform.divided()
        data = self.dataset
        if normalize is None or type(data) is not Tensors or data.images.numel() > MOST:
            return self
        images, targets = normalize(data.images, data.targets, None)
        return replace(self, dataset=Tensors(images, targets, data.classes, data.own), transform=left)

    def in_memory(self) -> Tensors:
        """Read every sample of the data set, the workers' way."""
        numbers = iter(torch.arange(len(self.dataset)).split(self.size))
        images, targets = map(torch.cat, zip(*self._fetch(numbers), strict=True))
        return Tensors(images, targets, self.dataset.classes, self.dataset.own)


@dataclass
class _Seeded:
    """A data set that draws the same for a batch of an epoch, whichever process reads it."""

    dataset: Dataset
    seed: int | None
    epoch: int

    def __getitems__(self, numbered: tuple[int, Tensor]) -> Samples:
        number, index_B = numbered
        if type(self.dataset) is Tensors:  # it draws nothing, and to seed would take longer than to read
            return self.dataset.__getitems__(index_B)
        with random_state.seeded(self.seed, self.epoch, number, rank.number()):
            return self.dataset.__getitems__(index_B)


def _placed(part: Tensor, own: slice, size: int) -> Tensor:
    """Return a batch of zeros but for `part`, which is where `own` says."""
    whole = part.new_zeros(size, *part.shape[1:])
    whole[own] = part
    return whole
