"""MNIST and FashionMNIST: 60,000 grey images of 28 x 28 to train with, 10,000 to test."""

from pathlib import Path

import torch

from exper.training.data.batches import Tensors
from exper.training.data.downloads import train_and_test

CONTENTS = ("images-idx3", "labels-idx1")


def mnist(folder: Path) -> Tensors:
    """Return handwritten digits, uint8 (70000, 1, 28, 28), with labels 0..9 (LeCun et al. 1998)."""
    return _read("MNIST", folder)


def fashion_mnist(folder: Path) -> Tensors:
    """Return pictures of clothes, uint8 (70000, 1, 28, 28), with labels 0..9 (Xiao et al. 2017)."""
    return _read("FashionMNIST", folder)


def _read(kind: str, folder: Path) -> Tensors:
    files = ", ".join(f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in CONTENTS)
    train, test = train_and_test(kind, folder, f"{files} into {folder / kind / 'raw'}, in place of broken files,")
    images, labels = torch.cat([train.data, test.data]), torch.cat([train.targets, test.targets])
    return Tensors(images[:, None], labels, 10, own={"test": torch.arange(len(train), len(labels))})
