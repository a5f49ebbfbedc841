"""Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI, 1998; the test set), part of scikit-learn."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from exper.training.data.batches import Tensors


def digits(folder: Path) -> Tensors:  # noqa: ARG001  nothing to download
    """Return grey images, uint8 (1797, 1, 8, 8) in 0..255, and labels 0..9."""
    spec = find_spec("sklearn")  # not imported: that takes longer than an epoch
    assert spec is not None
    assert spec.origin is not None
    rows = np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    image_N1HW = torch.from_numpy(rows[:, :64] * 255 / 16).byte().view(-1, 1, 8, 8)
    return Tensors(image_N1HW, torch.from_numpy(rows[:, 64]).long(), 10)
