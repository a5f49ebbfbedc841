"""Evaluate the weights of a run on its test split: `exper evaluate <tag>/<id>` starts this file of the tag's code.

It writes predictions.csv, for classes confusion.png, and the test's numbers into statistic.json.
Shape suffixes: B images, K classes, H height, W width, C channels, N values.
"""

from exper.training import startup

startup.listen(__name__)  # before the slow imports; a signal ends this program at once

import argparse
import copy
import csv
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import epoch
import main
from exper.config import config_file
from exper.core import files, statistic_file
from exper.core.errors import Refused
from exper.training.checkpoints import Checkpoints
from exper.training.data.batches import Batches
from exper.training.inspect import prediction_plots
from exper.training.records import recorder
from exper.training.records.totals import main_output
from exper.training.run import Run, handed_run
from exper.training.session import Session
from exper.training.state import State
from metric import Confusion, dice_of_images, predicted
from setting import Settings


def evaluate(run: Run, config: dict[str, Any], epoch_name: str, pictures_every: int | None) -> None:
    """Test the weights of an epoch, "best", "last" or a number; of segmentation, draw every n-th image."""
    recorded = statistic_file.require(run.files).content
    run = replace(run, record=run.record | {"recorded": recorded, "exact": False})
    session = Session(run, config, Settings, main.CODE.parent, lambda files: checkpoint(files, recorded, epoch_name))
    _, batches, state = main.build(session)
    test_batches = batches["test"]
    if pictures_every is not None:
        target = next(iter(test_batches.of_epoch()))[1]
        if target.ndim < 3 or target.is_floating_point():
            raise Refused("--pictures: this data set has no masks to draw. Leave it out.")
    assert session.checkpoint is not None
    state.load_state_dict(session.checkpoint)

    predictions = Predictions(state.loss)
    state.loss = predictions
    model = copy.deepcopy(state.evaluated)  # as `state.best` returns it: not compiled
    values = epoch.evaluate(state, model, test_batches, "test")
    print(recorder.test_text(values, state.epoch))
    with files.new_folder(run.files.evaluated(state.epoch)) as folder:
        predictions.write(folder, test_batches.index_N.tolist())
        if pictures_every is not None:
            draw(folder, state, model, replace(test_batches, index_N=test_batches.index_N[::pictures_every]))
    statistic_file.replace_test(run.files, {"epoch": state.epoch, **values})


def checkpoint(checkpoints: Checkpoints, recorded: dict[str, Any], epoch_name: str) -> dict[str, Any]:
    """Return the checkpoint of an epoch; "best" is that of statistic.json, or the last where none is best.

    Raises:
        Refused: it is not there, or is corrupt.
    """
    epochs = checkpoints.epochs()
    last = max(epochs, default=0)
    best = recorded["metric"]["best"].get("epoch", last)
    number = {"best": best, "last": last}[epoch_name] if epoch_name in ("best", "last") else int(epoch_name)
    saved = checkpoints.of_epoch(number)
    if saved is None:
        there = ", ".join(map(str, epochs)) or "none"
        raise Refused(f"there is no whole checkpoint of epoch {number}. Name another: --epoch n. There are: {there}.")
    return saved


class Predictions(nn.Module):
    """A loss that also keeps a row of numbers for each image, in the order of the split."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self._loss = loss
        self._columns: list[str] = []
        self._rows: list[Tensor] = []  # (B, columns), on the device
        self._confusion = Confusion()

    def forward(self, output: Tensor | list[Tensor], target: Tensor) -> Tensor:
        output_BK = main_output(output)
        if target.is_floating_point():
            columns = _of_floats(output_BK, target)
        elif target.ndim > 1:
            columns = _of_masks(output_BK, target)
        else:
            columns = _of_classes(output_BK, target)
            self._confusion.add(output_BK, target)
        self._columns = list(columns)
        self._rows.append(torch.stack([column.double() for column in columns.values()], 1))
        return self._loss(output, target)  # type: ignore[no-any-return]

    def write(self, folder: Path, index: list[int]) -> None:
        """Write predictions.csv, at full precision, and for a classification confusion.png."""
        rows = torch.cat(self._rows).cpu()
        is_whole = [name in ("true", "predicted") for name in self._columns]
        with open(folder / "predictions.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["index", *self._columns])
            for sample, row in zip(index, rows.tolist(), strict=True):
                writer.writerow([sample, *(int(n) if whole else n for n, whole in zip(row, is_whole, strict=True))])
        if "true" in self._columns:
            prediction_plots.confusion(folder / "confusion.png", torch.as_tensor(self._confusion.counts).cpu())


def _of_classes(output_BK: Tensor, target_B: Tensor) -> dict[str, Tensor]:
    """Return the class, the most probable class, its probability, and that of every class."""
    logit_BK = output_BK.double()
    if logit_BK.shape[1] == 1:
        logit_BK = torch.cat([torch.zeros_like(logit_BK), logit_BK], 1)
    probability_BK = logit_BK.softmax(1)
    columns = {"true": target_B, "predicted": predicted(output_BK), "probability": probability_BK.amax(1)}
    return columns | {f"probability/{k}": probability_B for k, probability_B in enumerate(probability_BK.unbind(1))}


def _of_masks(output_BKHW: Tensor, target_BHW: Tensor) -> dict[str, Tensor]:
    """Return each image's share of correct pixels, and its Dice coefficient."""
    accuracy_B = (predicted(output_BKHW) == target_BHW).flatten(1).double().mean(1)
    return {"accuracy": accuracy_B, "dice": dice_of_images(output_BKHW, target_BHW)}


def _of_floats(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return the mean squared error of each image, whose target is another image or a vector."""
    output_BN = output.double().reshape(len(output), -1)
    target_BN = target.double().reshape(len(target), -1)
    return {"mse": (output_BN - target_BN).square().mean(1)}


@torch.no_grad()
def draw(folder: Path, state: State, model: nn.Module, batches: Batches) -> None:
    """Draw image, mask and prediction of each image, as the model gets them."""
    triplets = prediction_plots.Triplets(folder)
    index = iter(batches.index_N.tolist())
    for image_BCHW, target_BHW in batches.of_epoch():
        with state.precision():
            guess_BHW = predicted(main_output(model(image_BCHW)))
        for image_CHW, target_HW, guess_HW in zip(image_BCHW, target_BHW, guess_BHW, strict=True):
            triplets.draw(next(index), image_CHW, target_HW, guess_HW)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--epoch", default="best")
    parser.add_argument("--pictures", type=int)
    options = parser.parse_args()
    if "EXPER_RUN" not in os.environ:
        parser.error("it needs a run. Type: exper evaluate <tag>/<id>")
    with handed_run() as this_run:
        config = config_file.read((main.CODE / "config.py").read_bytes())
        evaluate(this_run, config, options.epoch, options.pictures)
