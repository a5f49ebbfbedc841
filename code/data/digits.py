"""Handwritten digits of the UCI repository, as scikit-learn ships them: 1797 grey images of 8 x 8."""

from pathlib import Path

import torch
from sklearn.datasets import load_digits

from data.batches import Tensors


def digits(folder: Path) -> Tensors:  # noqa: ARG001  nothing to download
    """Return images (1797, 1, 8, 8), uint8 in 0..255, and labels 0..9."""
    bunch = load_digits()
    return Tensors((torch.from_numpy(bunch.images)[:, None] * 255 / 16).byte(), torch.from_numpy(bunch.target), 10)
