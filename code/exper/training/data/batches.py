"""Batches of a data set: fetched whole, in an order that only the seed and the epoch decide."""

import atexit
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

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
        self.images = torch.as_tensor(image_NCHW)
        self.targets = torch.as_tensor(target_N)
        self.classes = classes
        self.own = own or {}
        self.shape = tuple(self.images.shape[1:])
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
        self.images = self.images.to(device)
        self.targets = self.targets.to(device)

    def fingerprint(self) -> str:
        """Return a digest of every pixel and label."""
        sha256 = hashlib.sha256()
        for tensor in (self.images, self.targets):
            sha256.update(f"{tensor.dtype} {tensor.shape}".encode())
            sha256.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)  # numpy has no bfloat16
        return sha256.hexdigest()

    def check_targets(self, ignored: Collection[int]) -> None:
        """Refuse class numbers that the model has no output for, unless the loss ignores them. Waits for the GPU."""
        if self.targets.dtype == torch.bool or self.targets.is_floating_point():
            return
        # As int64, as torch does not compare uint16; but bytes, of many masks, would take eight times the memory.
        targets = self.targets if self.targets.element_size() == 1 else as_target(self.targets)
        lowest, highest = map(int, targets.aminmax())
        last = max(self.classes, 2) - 1
        if 0 <= lowest <= highest <= last:
            return
        outside = targets[(targets < 0) | (targets > last)].unique().tolist()
        if wrong := [number for number in outside if number not in ignored]:
            raise Refused(
                f"data: a target is {wrong[0]}, but with classes = {self.classes} they are 0 to {last}."
                " Number classes from 0; where targets are no class numbers, make them floats."
            )


class Batch(NamedTuple):
    """The images and targets of a step: of this process, or of a part of its batch."""

    input: Tensor  # (B, C, H, W)
    target: Tensor  # (B,), (B, H, W) or floats of any shape
    share: float  # weight of its mean in the mean over the batch of all processes; 0: stands in where no image is left


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
    length: int | None = None  # batches of an epoch, which continues where the last one ended; None: a pass over all

    def __len__(self) -> int:
        return self.length or self._pass_length

    @property
    def _pass_length(self) -> int:
        return -(-len(self.index_N) // self.size)

    def of_epoch(self, epoch: int = 0, first: int = 0) -> Iterator[Samples]:
        """Yield the whole batches from number `first` on: the same, wherever the epoch was interrupted."""
        return self._read(epoch, first, lambda size: slice(0, size))

    def slices(self, epoch: int = 0, first: int = 0) -> Iterator[Batch]:
        """Yield this process's slice of each batch from number `first` on.

        In one process that is the batch, with share 1. Where a process has no image of a batch, one image stands in,
        with share 0.
        """
        for number, samples in enumerate(self._read(epoch, first, collective.own_slice), first):
            size = self._batch_size(epoch, number)
            own = collective.own_slice(size)
            yield Batch(*samples, share=(own.stop - own.start) * collective.count() / size)

    def _read(self, epoch: int, first: int, slice_of: Callable[[int], slice]) -> Iterator[Samples]:
        """Yield a slice of each batch, never empty, transformed and on the device."""

        def own_slice(size: int) -> slice:
            own = slice_of(size)
            return own if own.stop > own.start else slice(0, 1)

        own_indices = (index_B[own_slice(len(index_B))] for index_B in self._indices(epoch, first))
        for number, (image_BCHW, target_B) in enumerate(self._fetch(own_indices, epoch, first), first):
            image_BCHW = image_BCHW.to(self.device, non_blocking=True)
            target_B = as_target(target_B.to(self.device, non_blocking=True))
            size = self._batch_size(epoch, number)
            yield self._transformed(image_BCHW, target_B, self._random(epoch, number), own_slice(size), size)

    def _random(self, epoch: int, number: int) -> torch.Generator | None:
        """Return the generator of a batch's random transforms."""
        if self.seed is None or not self.transform.steps:
            return None
        return random_state.generator(self.seed, "transform", epoch, number)

    def _transformed(
        self, image_BCHW: Tensor, target_B: Tensor, random: torch.Generator | None, own: slice, size: int
    ) -> Samples:
        if random is None or len(image_BCHW) == size:
            return self.transform(image_BCHW, target_B, random)
        # Random transforms draw for every image of the batch. Those of the other processes may be zeros.
        images, targets = self.transform(_placed(image_BCHW, own, size), _placed(target_B, own, size), random)
        return images[own], targets[own]

    def _batch_size(self, epoch: int, number: int) -> int:
        """Return the size of batch `number` of an epoch."""
        place = (epoch * len(self) + number) % self._pass_length
        return min(self.size, len(self.index_N) - place * self.size)

    def check_targets(self, ignored: Collection[int]) -> None:
        """Refuse class numbers of data in memory that the model has no output for; see `Tensors`."""
        if isinstance(self.dataset, Tensors):
            self.dataset.check_targets(ignored)

    @random_state.kept()
    def shape_in_training(self) -> tuple[int, ...]:
        """Return the shape of an image, C, H, W, after random transforms, which may cut it."""
        first = self.dataset.__getitems__(self.index_N[:1])
        return tuple(self.transform(*first, random_state.generator("check"))[0].shape[1:])

    def smallest(self, epochs: int, accumulate: int) -> int:
        """Return the smallest number of images that the model is trained on at a time, in any of the processes."""
        last = min(epochs * len(self), self._pass_length) - 1
        count = collective.count()
        sizes = {self._batch_size(0, number) for number in (0, last)}
        slices = {max(1, share) for size in sizes for share in (size // count, -(-size // count))}  # 1: a stand-in
        return min(len(chunk) for size in slices for chunk in torch.empty(size).chunk(accumulate))

    def _indices(self, epoch: int, first: int) -> Iterator[Tensor]:
        """Yield the samples of each batch. Pass and place in it follow from the number of the batch since the start."""
        order_N = self.index_N
        ordered_pass = None
        for number in range(epoch * len(self) + first, (epoch + 1) * len(self)):
            pass_number, place = divmod(number, self._pass_length)
            if self.seed is not None and pass_number != ordered_pass:
                ordered_pass = pass_number
                random = random_state.generator(self.seed, "order", pass_number)
                order_N = self.index_N[torch.randperm(len(self.index_N), generator=random)]
            yield order_N[place * self.size : (place + 1) * self.size]

    def _fetch(self, indices: Iterator[Tensor], epoch: int = 0, first: int = 0) -> Iterator[Samples]:
        seeded = _Seeded(self.dataset, self.seed, epoch)
        numbered = enumerate(indices, first)
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
        normalize, left = self.transform.split_normalize()
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


def _placed(images: Tensor, own: slice, size: int) -> Tensor:
    """Return a batch of `size` with `images` at `own`, and zeros elsewhere."""
    whole = images.new_zeros(size, *images.shape[1:])
    whole[own] = images
    return whole
