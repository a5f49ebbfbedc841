"""What only a GPU shows."""

from pathlib import Path
from typing import Any

import pytest
import torch

from exper.training import random_state
from tests.support import play
from transform import Transform

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
    saved = random_state.state()
    first = torch.rand(4, device="cuda")
    random_state.restore(saved | {"cuda": saved["cuda"] + saved["cuda"][:1]})
    assert torch.equal(torch.rand(4, device="cuda"), first)


@pytest.mark.parametrize("part", [{"name": "v2.GaussianNoise"}, {"name": "v2.ColorJitter", "hue": 0.3}])
def test_what_torchvision_draws_there_depends_on_the_generator_alone(part: dict[str, Any]) -> None:
    image_BCHW = torch.full((4, 3, 8, 6), 0.5, device="cuda")
    target_B = torch.zeros(4, device="cuda")
    image_BCHW[:, 0] = 0.2
    before = torch.cuda.get_rng_state()
    first, again, other = (
        Transform([part])(image_BCHW, target_B, random_state.generator(seed))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(before, torch.cuda.get_rng_state())
