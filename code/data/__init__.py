"""Data sets by name, split, and fed to the loop in batches.

A data set is a function of (folder, arguments of config.py's `data`); it keeps its files in a folder of its own under
__data__ and returns what batches.py calls a data set.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from data.batches import Batches
from data.digits import digits
from data.split import split
from exper.error import Refused
from exper.training import parts
from transform import Transform

DATA = {"digits": digits}


class Reading(NamedTuple):
    """What config.py says of every data set, beside the arguments of its own."""

    batch_size: int
    eval_batch_size: int
    split: dict[str, Any]
    workers: int = 0


class Data(NamedTuple):
    """What training needs to know of its data."""

    train: Batches
    val: Batches
    test: Batches
    shape: tuple[int, int, int]  # channels, height, width
    classes: int
    about: dict[str, Any]  # statistic.json's section


def check(settings: dict[str, Any]) -> tuple[dict[str, Any], Reading]:
    """Return the part and the rest of config.py's `data`; refuse what is wrong in them, without loading anything."""
    shared = {name: value for name, value in settings.items() if name in Reading._fields}
    part = {name: value for name, value in settings.items() if name not in shared}
    parts.check("data", part, DATA, ahead=1, beside=Reading._fields)
    parts.check_arguments("data", shared, Reading)
    reading = Reading(**shared)
    parts.check_arguments("data.split", reading.split, split, ahead=1)
    if min(reading.batch_size, reading.eval_batch_size) < 1 or reading.workers < 0:
        raise Refused("data.batch_size and data.eval_batch_size must be at least 1, and data.workers at least 0.")
    return part, reading


def load(folder: Path, settings: dict[str, Any], transform: Transform, device: torch.device, seed: int) -> Data:
    """Load the data set that config.py names and split it."""
    part, reading = check(settings)
    dataset = parts.build("data", part, DATA, folder)
    index = split(dataset.labels, **reading.split)
    about = {
        "name": part["name"],
        "size": {name: len(one) for name, one in index.items()},
        "fingerprint": dataset.fingerprint(),
    }
    if not reading.workers:
        dataset.to(device)
    batches = {
        name: Batches(
            dataset,
            one,
            size=reading.batch_size if name == "train" else reading.eval_batch_size,
            transform=transform,
            device=device,
            workers=reading.workers,
            seed=seed if name == "train" else None,
        )
        for name, one in index.items()
    }
    return Data(**batches, shape=dataset.shape, classes=dataset.classes, about=about)
