"""CIFAR-10 (Krizhevsky 2009): 50,000 colour images of 32 x 32 to train with, 10,000 to test."""

from pathlib import Path

import torch

from exper.training.data.batches import Tensors
from exper.training.data.downloads import train_and_test


def cifar10(folder: Path) -> Tensors:
    """Return images, uint8 (60000, 3, 32, 32), with labels 0..9, airplane to truck."""
    root = folder / "CIFAR10"
    train, test = train_and_test("CIFAR10", root, f"cifar-10-python.tar.gz into {root}")
    images = torch.cat([torch.from_numpy(part.data).permute(0, 3, 1, 2) for part in (train, test)]).contiguous()
    labels = torch.tensor([*train.targets, *test.targets])
    return Tensors(images, labels, 10, own={"test": torch.arange(len(train), len(labels))})
