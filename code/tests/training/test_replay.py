"""A NaN or infinite loss: training is repeated, and the layer where it began is named."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import data
import loss
import model
from exper.core import paths
from exper.training import stopping
from exper.training.data.batches import Tensors
from tests.support import play

# -- NaN ---------------------------------------------------------------------------------------------------------------


class Planted(nn.Module):
    """Layers of which one breaks at a training step, also when that is taken again: it counts in a buffer."""

    count: Tensor

    def __init__(self, shape: tuple[int, ...], classes: int, layer: str, at: int) -> None:
        super().__init__()
        self.first = nn.Linear(64, 32)
        self.drop = nn.Dropout(0.2)
        self.second = nn.Linear(32, classes)
        self.register_buffer("count", torch.zeros(()))
        self.layer = layer
        self.at = at
        if layer in ("first", "second"):
            getattr(self, layer).register_forward_hook(lambda _, __, output: output / self.fuse())

    def fuse(self) -> Tensor:
        """Return 0 at the step that is to break, else 1."""
        return (self.count != self.at).float()

    def forward(self, x: Tensor) -> Tensor:
        self.count += self.training
        x = self.second(self.drop(self.first(x.flatten(1)).relu()))
        return x * self.fuse().log() if self.layer == "model" else x


def failed(folder: Path, **changes: Any) -> str:
    """Train until it fails; return what the error says."""
    run = play.born(folder)
    with pytest.raises(FloatingPointError) as error:
        play.train(run, play.small(**{"checkpoint": {"every": 3}, "ema": None} | changes))
    return str(error.value)


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model.MODEL, "planted", Planted)


@pytest.mark.parametrize(
    "changes",
    [{}, {"amp": "bf16"}, {"accumulate": 2}, {"scheduler": {"name": "plateau"}, "ema": 0.9}, {"compiled": True}],
    ids=["plain", "amp", "parts of a batch", "plateau and ema", "compiled"],
)
def test_the_first_layer_that_is_not_finite_is_named_with_its_step(changes: dict[str, Any], tmp_path: Path) -> None:
    at = 11 if "accumulate" not in changes else 21
    said = failed(tmp_path / "0", model={"name": "planted", "layer": "second", "at": at}, **changes)
    assert said == (
        "the loss is NaN or infinite at step 11, in epoch 3;"
        " the first output that is not finite is that of 'second' (Linear)"
    )


@pytest.mark.parametrize(("layer", "named"), [("first", "'first' (Linear)"), ("model", "'the model itself' (Planted)")])
def test_so_is_an_earlier_one_and_what_no_layer_computes(layer: str, named: str, tmp_path: Path) -> None:
    said = failed(tmp_path / "0", model={"name": "planted", "layer": layer, "at": 6})
    assert said.endswith(f"at step 6, in epoch 2; the first output that is not finite is that of {named}")


def test_the_search_writes_nothing_and_leaves_the_last_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed(tmp_path / "0", model={"name": "planted", "layer": "first", "at": 11})
    run = paths.Run(tmp_path / "0")
    assert [line["step"] for line in play.history(run)] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12]
    assert os.readlink(run.checkpoint / "epoch_last.path") == "epoch_2.path"
    assert torch.load(run.checkpoint / "crash.path", weights_only=True)["step"] == 12
    shown = capsys.readouterr().out
    assert "to find the layer, training is repeated from step 8" in shown
    assert shown.count("epoch 1/3") == 1


class Late(nn.Module):
    """A loss that is infinite where the outputs have become small, and finite at first."""

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        return output_BK.square().mean() / (output_BK.square().mean() > 0.02)


def test_it_is_said_if_the_loss_alone_is_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss.LOSS, "late", Late)
    said = failed(tmp_path / "0", loss={"name": "late"}, optimizer={"name": "adam", "lr": 0.01}, scheduler=None)
    assert said.endswith("; the output of every layer is finite, so it is the loss that is not")


def test_targets_that_are_not_finite_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Tensors(torch.rand(60, 1, 8, 8), torch.full((60, 1), float("nan")), 1)
    monkeypatch.setitem(data.DATA, "numbers", lambda folder: made)
    monkeypatch.setitem(loss.LOSS, "mse", nn.MSELoss)
    split = {"val": 10, "test": 20, "stratify": False}
    said = failed(
        tmp_path / "0", data={"name": "numbers", "batch_size": 10, "eval_batch_size": 10, "split": split},
        loss={"name": "mse"}, metric=[],
    )  # fmt: skip
    assert said.endswith("at step 1, in epoch 1; the output of every layer is finite, but the targets are not")


class Steep(nn.Module):
    """A finite loss with an infinite gradient in the third step."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        self.calls += torch.is_grad_enabled()
        return output_BK.square().mean() if self.calls % 3 else (output_BK * 0).sqrt().sum()


def test_weights_that_an_earlier_step_has_broken_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss.LOSS, "steep", Steep)
    said = failed(tmp_path / "0", loss={"name": "steep"})
    assert said.endswith("at step 4, in epoch 1; before that step the weight 'conv1.weight' is not finite")


class Shaky(Planted):
    """It breaks in evaluation alone, from the second epoch on."""

    def fuse(self) -> Tensor:
        return torch.tensor(0.0 if not self.training and self.count >= 8 else 1.0)


def test_a_nan_in_validation_is_traced_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model.MODEL, "planted", Shaky)
    said = failed(tmp_path / "0", model={"name": "planted", "layer": "second", "at": 0})
    assert re.fullmatch(r"val/loss is nan after step 8; the first output .* is that of 'second' \(Linear\)", said)


class Picky(Planted):
    """It breaks in evaluation, for as many images as the last batch of the test has."""

    def forward(self, x: Tensor) -> Tensor:
        self.is_last = len(x) == 40 and not self.training
        return super().forward(x)

    def fuse(self) -> Tensor:
        return torch.tensor(0.0 if self.is_last else 1.0)


def test_a_nan_in_the_test_is_traced_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model.MODEL, "planted", Picky)
    said = failed(tmp_path / "0", model={"name": "planted", "layer": "model", "at": 0}, checkpoint={"background": True})
    assert said == (
        "test/loss is nan after step 12; the first output that is not finite is that of 'the model itself' (Picky)"
    )


def test_a_signal_ends_the_search_and_the_run_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "exit_code", lambda: 143 if (tmp_path / "0/checkpoint/crash.path").exists() else None)
    said = failed(tmp_path / "0", model={"name": "planted", "layer": "first", "at": 11})
    assert said.endswith("at step 11, in epoch 3; the search for the layer was stopped")
