"""Data sets by name, each a function of a folder, for its files, and of arguments in config.py's `data`."""

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
from exper.core.components import Count
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
    """What config.py says of every data set, beside its own arguments."""

    batch_size: Count
    eval_batch_size: Count
    split: dict[str, Any]
    workers: Annotated[int, "at least 0", 0, math.inf] = 0
    cache: bool = False  # read files once, into memory


def check(settings: dict[str, Any]) -> tuple[dict[str, Any], Reading, Split]:
    """Divide config.py's `data` into a part and the rest; refuse what is wrong in them, without loading anything."""
    shared = {name: value for name, value in settings.items() if name in Reading._fields}
    part = {name: value for name, value in settings.items() if name not in shared}
    components.check("data", part, DATA, leading=1, also=Reading._fields)
    reading: Reading = components.call("data", shared, Reading)
    return part, reading, components.call("data.split", reading.split, Split)


def load(
    folder: Path,
    settings: dict[str, Any],
    transform: Transform,
    device: torch.device,
    seed: int,
    epoch_length: int | None = None,
) -> tuple[dict[str, Batches], dict[str, Any]]:
    """Return the batches of "train", "val" and "test", and statistic.json's `data`."""
    part, reading, split = check(settings)
    dataset = components.build("data", part, DATA, folder)
    try:
        index = split.of(dataset)
    except ValueError as error:
        raise Refused(f"data.split = {reading.split!r}: {error}") from error
    sizes = {name: len(one) for name, one in index.items()}
    about = {"name": part["name"], "size": sizes, "fingerprint": dataset.fingerprint()}
    size, workers = reading.batch_size, reading.workers
    train = Batches(dataset, index["train"], size, transform, device, workers, seed, length=epoch_length)
    if reading.cache and not isinstance(dataset, Tensors):
        train = replace(train, dataset=train.in_memory(), workers=0)
    train.shape = transform.check(*train.dataset.__getitems__(index["train"][:2]))
    if not train.workers:
        train.dataset.to(device)
        train = train.normalized()
    val = replace(train, index_N=index["val"], size=reading.eval_batch_size, seed=None, length=None)
    return {"train": train, "val": val, "test": replace(val, index_N=index["test"])}, about
