from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from exper.training.inspect import prediction_plots


def pixels(path: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    return np.asarray(Image.open(path).convert("RGB")) / 255


@pytest.mark.parametrize("classes", [2, 20, 30])
def test_the_confusion_matrix_is_darkest_on_its_diagonal_if_all_is_right(classes: int, tmp_path: Path) -> None:
    prediction_plots.confusion(tmp_path / "right.png", torch.eye(classes, dtype=torch.long) * 7)
    prediction_plots.confusion(tmp_path / "none.png", torch.zeros(classes, classes, dtype=torch.long))
    dark = (pixels(tmp_path / "right.png")[:, :, 0] < 0.1).mean()
    assert dark > (pixels(tmp_path / "none.png")[:, :, 0] < 0.1).mean()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_image_mask_and_prediction_are_side_by_side(channels: int, tmp_path: Path) -> None:
    image_CHW = torch.linspace(-3, 5, 16 * 16).reshape(1, 16, 16).expand(channels, -1, -1)
    target_HW = torch.zeros(16, 16, dtype=torch.long)
    guess_HW = torch.ones(16, 16, dtype=torch.long)
    prediction_plots.Triplets(tmp_path).draw(4, image_CHW, target_HW, guess_HW)
    picture = pixels(tmp_path / "picture_4.png")
    height, width, _ = picture.shape
    left, middle, right = (picture[height // 2, width * place // 6] for place in (1, 3, 5))
    assert not np.allclose(middle, right)
    assert not np.allclose(left, middle)
