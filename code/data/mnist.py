"""MNIST and FashionMNIST, downloaded by torchvision."""

from pathlib import Path

import torch

from exper.training.data.batches import Tensors
from exper.training.data.downloads import train_and_test

CONTENTS = ("images-idx3", "labels-idx1")


def mnist(folder: Path) -> Tensors:
    """Return handwritten digits, uint8 (70000, 1, 28, 28), with labels 0..9; the last 10,000 are for test.

    LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998.
    """
    return _read("MNIST", folder)


def fashion_mnist(folder: Path) -> Tensors:
    """Return pictures of clothes, uint8 (70000, 1, 28, 28), with labels 0..9; the last 10,000 are for test.

    Xiao et al., Fashion-MNIST, 2017.
    """
    return _read("FashionMNIST", folder)


def _read(kind: str, folder: Path) -> Tensors:
    files = ", ".join(f"{split}-{content}-ubyte.gz" for split in ("train", "t10k") for content in CONTENTS)
    train, test = train_and_test(kind, folder, f"{files} into {folder / kind / 'raw'}, in place of broken files,")
    image_N1HW = torch.cat([train.data, test.data])[:, None]
    labels = torch.cat([train.targets, test.targets])
    return Tensors(image_N1HW, labels, 10, own={"test": torch.arange(len(train), len(labels))})
