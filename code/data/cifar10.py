"""CIFAR-10 (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009), downloaded by torchvision."""

from pathlib import Path

import torch

from exper.training.data.batches import Tensors
from exper.training.data.downloads import train_and_test


def cifar10(folder: Path) -> Tensors:
    """Return images, uint8 (60000, 3, 32, 32), with labels 0..9, airplane to truck; the last 10,000 are for test.

    Raises:
        Refused: the files can't be downloaded or read.
    """
    root = folder / "CIFAR10"
    train, test = train_and_test("CIFAR10", root, f"cifar-10-python.tar.gz into {root}")
    image_NHWC = torch.cat([torch.from_numpy(train.data), torch.from_numpy(test.data)])
    image_NCHW = image_NHWC.permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor([*train.targets, *test.targets])
    return Tensors(image_NCHW, labels, 10, own={"test": torch.arange(len(train), len(labels))})
