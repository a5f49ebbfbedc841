"""What a model makes of each image of a split: predictions.csv, and the confusion matrix as a picture.

Legend: B images, K classes, H height, W width, N images in all.
"""

import csv
from pathlib import Path

import torch
from torch import Tensor, nn

from exper.training.inspect import prediction_plots
from metric import Confusion, dice_of_images, main_output, predicted


class Predictions(nn.Module):
    """A loss that notes what it sees, image by image, in the order of the split."""

    def __init__(self, loss_of: nn.Module) -> None:
        super().__init__()
        self._loss_of = loss_of
        self._columns: list[str] = []
        self._rows: list[Tensor] = []  # (B, columns), on the device
        self._confusion = Confusion()

    def forward(self, output: Tensor | list[Tensor], target: Tensor) -> Tensor:
        shown = main_output(output)
        if target.is_floating_point():
            columns = _of_floats(shown, target)
        elif target.ndim > 1:
            columns = _of_masks(shown, target)
        else:
            columns = _of_classes(shown, target)
            self._confusion.add(shown, target)
        self._columns = list(columns)
        self._rows.append(torch.stack([column.double() for column in columns.values()], 1))
        return self._loss_of(output, target)  # type: ignore[no-any-return]

    def write(self, folder: Path, index_N: list[int]) -> None:
        """Write predictions.csv, in full precision, and of a classification confusion.png."""
        rows = torch.cat(self._rows).cpu()
        whole = [name in ("true", "predicted") for name in self._columns]
        with open(folder / "predictions.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["index", *self._columns])
            for index, row in zip(index_N, rows.tolist(), strict=True):
                numbers = (int(number) if is_whole else number for number, is_whole in zip(row, whole, strict=True))
                writer.writerow([index, *numbers])
        if "true" in self._columns:
            prediction_plots.confusion(folder / "confusion.png", torch.as_tensor(self._confusion.counts).cpu())


def _of_classes(output_BK: Tensor, target_B: Tensor) -> dict[str, Tensor]:
    """Return the class, the most probable one, its probability, and that of every class."""
    logit_BK = output_BK.double()
    if logit_BK.shape[1] == 1:
        logit_BK = torch.cat([torch.zeros_like(logit_BK), logit_BK], 1)
    probability_BK = logit_BK.softmax(1)
    found = {"true": target_B, "predicted": predicted(output_BK), "probability": probability_BK.amax(1)}
    return found | {f"probability/{number}": one for number, one in enumerate(probability_BK.unbind(1))}


def _of_masks(output_BKHW: Tensor, target_BHW: Tensor) -> dict[str, Tensor]:
    """Return of each image the share of right pixels and the Dice coefficient."""
    accuracy_B = (predicted(output_BKHW) == target_BHW).flatten(1).double().mean(1)
    return {"accuracy": accuracy_B, "dice": dice_of_images(output_BKHW, target_BHW)}


def _of_floats(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return the mean squared error of each image, whose target is another image, or numbers."""
    output_BN, target_BN = (one.double().reshape(len(one), -1) for one in (output, target))
    return {"mse": (output_BN - target_BN).square().mean(1)}
