"""Evaluate weights of a run on its test split: `exper evaluate <tag>/<id>` starts this file, of the tag's own code."""

from exper.training import stopping

if __name__ == "__main__":
    stopping.listen()  # before the slow imports; a signal ends this program at once

import argparse
import copy
import os
from dataclasses import replace
from typing import Any

import torch
from torch import nn

import main
from exper.training.data.batches import Batches
from epoch import precision
from exper.core import files, statistic_file
from exper.config import config_file
from exper.core.errors import Refused
from exper.training.inspect import prediction_plots
from exper.training.checkpoints import Checkpoints
from exper.training.run import Run, handed_run
from metric import main_output, predicted
from predictions import Predictions


def evaluate(run: Run, config: dict[str, Any], wanted: str, every: int | None) -> None:
    """Test the weights of the epoch `wanted`, "best", "last" or a number; of segmentation, draw every n-th image."""
    known = statistic_file.require(run.files).content
    run = replace(run, record=run.record | {"recorded": known, "exact": False})
    built = main.build(run, config, lambda checkpoints: chosen(checkpoints, known, wanted))
    state, batches = built.state, built.batches["test"]
    if every is not None:
        target = next(iter(batches.of_epoch()))[1]
        if target.ndim < 3 or target.is_floating_point():
            raise Refused("--pictures: this data set has no masks to draw. Leave it out.")
    assert built.saved is not None
    state.load_state_dict(built.saved)

    seen, model = Predictions(built.loss_of), copy.deepcopy(state.evaluated)  # as `main.best`: not compiled
    line = main.test(built._replace(loss_of=seen), model, state.epoch)
    with files.new_folder(run.files.evaluated(state.epoch)) as folder:
        seen.write(folder, batches.index_N.tolist())
        if every is not None:
            draw(prediction_plots.Triplets(folder), model, batches, every, built.given.amp)
    statistic_file.replace_test(run.files, line)


def chosen(checkpoints: Checkpoints, known: dict[str, Any], wanted: str) -> dict[str, Any]:
    """Return the checkpoint of an epoch; the best one is that of statistic.json, or the last where none is best.

    Raises:
        Refused: it is not there, or is corrupt.
    """
    epochs = checkpoints.epochs()
    last = max(epochs, default=0)
    best = known["metric"]["best"].get("epoch", last)
    number = {"best": best, "last": last}[wanted] if wanted in ("best", "last") else int(wanted)
    saved = checkpoints.of_epoch(number)
    if saved is None:
        there = ", ".join(map(str, epochs)) or "none"
        raise Refused(f"there is no whole checkpoint of epoch {number}. Name another: --epoch n. There are: {there}.")
    return saved


@torch.no_grad()
def draw(triplets: prediction_plots.Triplets, model: nn.Module, batches: Batches, every: int, amp: str | None) -> None:
    """Draw image, mask and prediction of every n-th image, as the model gets them."""
    some = replace(batches, index_N=batches.index_N[::every])
    numbers = iter(some.index_N.tolist())
    for image_BCHW, target_BHW in some.of_epoch():
        with precision(amp, image_BCHW.device):
            guess_BHW = predicted(main_output(model(image_BCHW)))
        for image_CHW, target_HW, guess_HW in zip(image_BCHW, target_BHW, guess_BHW, strict=True):
            triplets.draw(next(numbers), image_CHW, target_HW, guess_HW)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--epoch", default="best")
    parser.add_argument("--pictures", type=int)
    options = parser.parse_args()
    if "EXPER_RUN" not in os.environ:
        parser.error("it needs a run. Type: exper evaluate <tag>/<id>")
    with handed_run() as this:
        evaluate(this, config_file.read((main.CODE / "config.py").read_bytes()), options.epoch, options.pictures)
