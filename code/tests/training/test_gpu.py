"""What only a GPU shows."""

from pathlib import Path

import pytest
import torch

from tests import play

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="THERE IS NO GPU: nothing has been trained on one, or drawn by one"
)


def test_a_run_goes_on_within_an_epoch(tmp_path: Path) -> None:
    names = ("acc", "f1", "precision", "recall", "iou", "dice", "confusion")
    settings = play.small(epochs=1, device="cuda", metric=[{"name": name} for name in names])
    run = play.born(tmp_path / "0")
    play.train(run, settings)
    unbroken = play.history(run)[-1]
    (run.checkpoint / "epoch_1.path").unlink()
    play.train(run, settings)
    again = play.history(run)[-1]
    assert again["step"] == unbroken["step"] == 4
    for name in ("train/acc", "train/f1", "train/iou", "train/loss"):
        assert again[name] == pytest.approx(unbroken[name], rel=1e-2)
