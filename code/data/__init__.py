"""Data sets by name, each a function of a folder, for its files, and of arguments in config.py's `data`."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from data.batches import Batches
from data.digits import digits
from data.split import split
from exper import parts
from exper.parts import Count
from transform import Transform

DATA = {"digits": digits}


class Reading(NamedTuple):
    """What config.py says of every data set, beside its own arguments."""

    batch_size: Count
    eval_batch_size: Count
    split: dict[str, Any]
    workers: int = 0


def check(settings: dict[str, Any]) -> tuple[dict[str, Any], Reading]:
    """Divide config.py's `data` into a part and the rest; refuse what is wrong in them, without loading anything."""
    shared = {name: value for name, value in settings.items() if name in Reading._fields}
    part = {name: value for name, value in settings.items() if name not in shared}
    parts.check("data", part, DATA, ahead=1, beside=Reading._fields)
    reading: Reading = parts.call("data", shared, Reading)
    parts.check_arguments("data.split", reading.split, split, ahead=1)
    return part, reading


def load(
    folder: Path, settings: dict[str, Any], transform: Transform, device: torch.device, seed: int
) -> tuple[dict[str, Batches], dict[str, Any]]:
    """Return the batches of "train", "val" and "test", and statistic.json's `data`."""
    part, reading = check(settings)
    dataset = parts.build("data", part, DATA, folder)
    index = parts.call("data.split", reading.split, split, dataset.labels)
    sizes = {name: len(one) for name, one in index.items()}
    about = {"name": part["name"], "size": sizes, "fingerprint": dataset.fingerprint()}
    if not reading.workers:
        dataset.to(device)
    train = Batches(dataset, index["train"], reading.batch_size, transform, device, reading.workers, seed)
    val = replace(train, index_N=index["val"], size=reading.eval_batch_size, seed=None)
    return {"train": train, "val": val, "test": replace(val, index_N=index["test"])}, about
