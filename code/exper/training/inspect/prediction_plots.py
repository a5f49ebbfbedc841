"""Pictures of a model's predictions; matplotlib is imported only when one is drawn."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_MAX_COUNTED = 20  # classes of a matrix with its counts written into it


def confusion(path: Path, counts_KK: Tensor) -> None:
    """Draw the confusion matrix, with the true class as row; colours are shares of the row."""
    classes = len(counts_KK)
    side = min(12.0, 2.5 + 0.45 * classes)
    figure = _figure(side, side)
    axes = figure.add_subplot()
    share_KK = counts_KK / counts_KK.sum(1, keepdim=True).clamp(min=1)
    axes.imshow(share_KK.numpy(), cmap="Blues", vmin=0, vmax=1)
    if classes <= _MAX_COUNTED:
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
        for row, column in counts_KK.nonzero().tolist():
            colour = "white" if share_KK[row, column] > 0.5 else "black"
            axes.text(column, row, str(int(counts_KK[row, column])), ha="center", va="center", color=colour)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    right = int(counts_KK.diagonal().sum())
    axes.set_title(f"{right} of {int(counts_KK.sum())} right")
    figure.savefig(path)


class Triplets:
    """Pictures of image, mask and prediction side by side, in a file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def draw(self, index: int, image_CHW: Tensor, target_HW: Tensor, guess_HW: Tensor) -> None:
        """Draw picture_<index>.png, with the image's values stretched to 0..1; if it isn't RGB, its first channel."""
        image_CHW = image_CHW.float().cpu()
        low = image_CHW.min()
        high = image_CHW.max()
        image_CHW = (image_CHW - low) / (high - low).clamp(min=1e-12)
        image_HW3 = (image_CHW if len(image_CHW) == 3 else image_CHW[:1].expand(3, -1, -1)).movedim(0, -1)
        right = f"{float((target_HW == guess_HW).double().mean()):.1%} right"
        pictures = {f"image {index}": image_HW3, "mask": target_HW, f"prediction, {right}": guess_HW}
        largest = max(1, int(torch.stack([target_HW, guess_HW]).max()))
        figure = _figure(9.0, 3.4)
        for axes, (title, picture) in zip(figure.subplots(1, 3), pictures.items(), strict=True):
            axes.imshow(picture.cpu().numpy(), vmin=0, vmax=largest, interpolation="nearest")
            axes.set_title(title)
            axes.axis("off")
        figure.savefig(self._folder / f"picture_{index}.png")


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")
