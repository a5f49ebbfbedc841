"""What only a GPU shows."""

from pathlib import Path

import pytest
import torch

from exper.training import streams
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


def test_states_of_more_gpus_than_there_are_can_be_restored() -> None:
    torch.rand((), device="cuda")
    saved = streams.state()
    first = torch.rand(4, device="cuda")
    streams.restore(saved | {"cuda": saved["cuda"] + saved["cuda"][:1]})
    assert torch.equal(torch.rand(4, device="cuda"), first)
