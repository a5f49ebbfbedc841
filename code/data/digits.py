"""Handwritten digits of the UCI repository, as scikit-learn ships them: 1797 grey images of 8 x 8."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from exper.training.data.batches import Tensors


def digits(folder: Path) -> Tensors:  # noqa: ARG001  nothing to download
    """Return images (1797, 1, 8, 8), uint8 in 0..255, and labels 0..9."""
    found = find_spec("sklearn")  # not imported: that takes longer than training an epoch
    assert found is not None
    assert found.origin is not None
    rows = np.loadtxt(Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    image_N1HW = torch.from_numpy(rows[:, :64] * 255 / 16).byte().view(-1, 1, 8, 8)
    return Tensors(image_N1HW, torch.from_numpy(rows[:, 64]).long(), 10)
