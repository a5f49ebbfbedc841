"""Pictures of what a model predicts; matplotlib is imported only where one is drawn."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_MOST_NUMBERS = 20  # classes of a matrix whose counts are written into it


def confusion(path: Path, counts_KK: Tensor) -> None:
    """Draw how often a class, in its row, is taken for another; colours are shares of the row."""
    classes = len(counts_KK)
    side = min(12.0, 2.5 + 0.45 * classes)
    figure = _figure(side, side)
    axes = figure.add_subplot()
    share_KK = counts_KK / counts_KK.sum(1, keepdim=True).clamp(min=1)
    axes.imshow(share_KK.numpy(), cmap="Blues", vmin=0, vmax=1)
    if classes <= _MOST_NUMBERS:
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
    """Pictures of image, mask and prediction, side by side; one file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def draw(self, index: int, image_CHW: Tensor, target_HW: Tensor, guess_HW: Tensor) -> None:
        """Draw picture_<index>.png; the image is stretched to black and white, of other than 3 channels the first."""
        image_CHW = image_CHW.float().cpu()
        low, high = image_CHW.min(), image_CHW.max()
        image_CHW = (image_CHW - low) / (high - low).clamp(min=1e-12)
        image_HW3 = (image_CHW if len(image_CHW) == 3 else image_CHW[:1].expand(3, -1, -1)).movedim(0, -1)
        right = f"{float((target_HW == guess_HW).double().mean()):.1%} right"
        shown = {f"image {index}": image_HW3, "mask": target_HW, f"prediction, {right}": guess_HW}
        largest = max(1, int(torch.stack([target_HW, guess_HW]).max()))
        figure = _figure(9.0, 3.4)
        for axes, (title, picture) in zip(figure.subplots(1, 3), shown.items(), strict=True):
            axes.imshow(picture.cpu().numpy(), vmin=0, vmax=largest, interpolation="nearest")
            axes.set_title(title)
            axes.axis("off")
        figure.savefig(self._folder / f"picture_{index}.png")


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")
