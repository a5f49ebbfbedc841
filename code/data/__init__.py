"""Data sets by name: each is called with the folder of its files and the arguments in config.py's `data`.

A data set of your own is a function that returns `Tensors`, or a class like those in image_folder.py and carvana.py:
`Dataset` in exper/training/data/batches.py lists what it needs. It is a file here and a line in DATA.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch

from data.carvana import Carvana
from data.cifar10 import cifar10
from data.digits import digits
from data.image_folder import ImageFolder
from data.mnist import fashion_mnist, mnist
from exper.core import components
from exper.core.components import Component, Count
from exper.core.errors import Refused
from exper.training.data.batches import Batches, Dataset, Tensors
from exper.training.data.split import Split
from transform import Transform

DATA: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "image_folder": ImageFolder,
    "carvana": Carvana,
}


class Reading(NamedTuple):
    """The arguments of `data` in config.py that every data set has."""

    batch_size: Count
    eval_batch_size: Count
    split: dict[str, Any]
    workers: Annotated[int, "at least 0", 0, math.inf] = 0
    cache: bool = False  # read files once, into memory


class Loaded(NamedTuple):
    """The batches of each split, and the section `data` of statistic.json."""

    batches: dict[str, Batches]  # of "train", "val" and "test"
    description: dict[str, Any]


class Checked(NamedTuple):
    """The `data` of config.py, checked."""

    component: Component  # the data set and its own arguments
    reading: Reading
    split: Split


def check(settings: dict[str, Any]) -> Checked:
    """Check `data` of config.py without loading anything.

    Raises:
        Refused: an unknown data set, or a wrong argument.
    """
    shared = {name: value for name, value in settings.items() if name in Reading._fields}
    component = {name: value for name, value in settings.items() if name not in shared}
    components.check("data", component, DATA, leading=1, also=Reading._fields)
    reading: Reading = components.call("data", shared, Reading)
    return Checked(component, reading, components.call("data.split", reading.split, Split))


def load(
    folder: Path,
    settings: dict[str, Any],
    transform: Transform,
    device: torch.device,
    seed: int,
    *,
    epoch_length: int | None = None,
) -> Loaded:
    """Load and split the data set that `settings`, `data` of config.py, names.

    Args:
        folder: __data__, or the folder that has its files.
        settings: the data set, its arguments, and those of `Reading`.
        transform: of whole batches; it decides on the shape of images that the model gets.
        device: for images in memory and for batches.
        seed: of the order of training samples and of random transforms.
        epoch_length: the number of batches in an epoch of training; None is a pass over all samples.

    Raises:
        Refused: the data set is missing or damaged, can't be split so, or doesn't fit `transform`.
    """
    component, reading, split = check(settings)
    dataset = components.build("data", component, DATA, folder)
    index = _index(dataset, split, reading)
    sizes = {name: len(index_N) for name, index_N in index.items()}
    description = {"name": component["name"], "size": sizes, "fingerprint": dataset.fingerprint()}
    train = Batches(
        dataset,
        index["train"],
        size=reading.batch_size,
        transform=transform,
        device=device,
        workers=reading.workers,
        seed=seed,
        length=epoch_length,
    )
    train = _placed(train, transform, cache=reading.cache)
    val = replace(train, index_N=index["val"], size=reading.eval_batch_size, seed=None, length=None)
    return Loaded({"train": train, "val": val, "test": replace(val, index_N=index["test"])}, description)


def _index(dataset: Dataset, split: Split, reading: Reading) -> dict[str, torch.Tensor]:
    """Return the sample numbers of "train", "val" and "test"."""
    try:
        return split.of(dataset)
    except ValueError as error:
        raise Refused(f"data.split = {reading.split!r}: {error}") from error


def _placed(train: Batches, transform: Transform, *, cache: bool) -> Batches:
    """Return the batches with the shape of an image, and images in memory on the device, normalized."""
    if cache and not isinstance(train.dataset, Tensors):
        train = replace(train, dataset=train.in_memory(), workers=0)
    train.shape = transform.check(*train.dataset.__getitems__(train.index_N[:2]))
    if train.workers:
        return train
    train.dataset.to(train.device)
    return train.normalized()
