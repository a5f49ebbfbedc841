"""The state of training: epochs, the best weights, what a checkpoint holds."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import loss
import main
from exper.training.session import Session
from metric import METRIC, Accuracy
from setting import Settings
from tests.support import play


def test_the_test_is_of_the_best_weights(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small(optimizer={"name": "sgd", "lr": 0.5}, scheduler=None, ema=None, monitor="max val/loss"))
    worst = max((line for line in play.history(run) if "weights" in line), key=lambda line: line["val/loss"])
    metric = play.statistic(run)["metric"]
    assert metric["best"]["epoch"] == metric["test"]["epoch"] == worst["epoch"]


def test_a_lost_best_checkpoint_is_said_and_the_last_one_tested(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    settings = play.small(monitor="max val/loss", optimizer={"name": "adam", "lr": 0.001})
    play.train(run, settings)
    best = play.statistic(run)["metric"]["best"]["epoch"]
    assert best < 3
    os.truncate(run.checkpoint / f"epoch_{best}.path", 1000)
    play.train(run, settings)
    assert play.statistic(run)["metric"]["test"]["epoch"] == 3


def test_early_stop_ends_training_says_so_and_still_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small(epochs=50, early_stop={"patience": 2, "min_delta": 10.0}))
    assert capsys.readouterr().out.count("stops early: no progress of val/loss since epoch 1\n") == 1
    assert play.statistic(run)["metric"]["last"]["epoch"] == 3
    assert "test/acc" in play.statistic(run)["metric"]["test"]


def test_a_monitored_metric_that_never_was_a_number_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(METRIC, "odd", Odd)
    monkeypatch.setattr(Odd, "is_value", math.nan)
    run = play.born(tmp_path / "0")
    play.train(run, play.small(metric=[{"name": "odd"}], monitor="max val/odd", verbose="quiet"))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "val/odd was never a finite number: no epoch is best, the last is tested"
    assert play.statistic(run)["metric"]["test"]["epoch"] == 3


def test_nan_fails_the_run_naming_the_step_and_the_last_checkpoint_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loss.LOSS, "broken", Broken)
    run = play.born(tmp_path / "0")
    with pytest.raises(FloatingPointError, match="at step 7, in epoch 2"):
        play.train(run, play.small(loss={"name": "broken"}, checkpoint={"every": 1}))
    assert os.readlink(run.checkpoint / "epoch_last.path") == "epoch_1.path"
    crash = torch.load(run.checkpoint / "crash.path", weights_only=True)
    assert crash["step"] == 8
    assert crash["model"]["conv1.weight"].isnan().any()


def test_what_is_summed_so_far_goes_from_a_checkpoint_to_the_device_of_the_model(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    settings = play.small(epochs=1, metric=[{"name": "f1"}, {"name": "confusion"}])
    play.train(run, settings)
    (run.checkpoint / "epoch_1.path").unlink()  # the one before is of within the epoch
    with play.taken(run) as this:
        session = Session(this, settings, Settings, play.CODE.parent)
        state = main.build(session).state
    saved = session.checkpoint
    assert saved is not None
    state.model.to("meta")
    state.log(gap=torch.tensor(1.0))
    saved["own"] = state.logged.state_dict()
    with pytest.warns(UserWarning, match="is a no-op"):  # of weights, which have no numbers there
        state.load_state_dict(saved)
    assert state.batch > 0
    sums = state.metric.state_dict()
    tensors = [sums["loss"], sums["finite"], *(one["counts"] for one in sums["metrics"].values())]
    tensors += [state.logged.state_dict()["gap"][0], *state.model.parameters()]
    assert {one.device.type for one in tensors} == {"meta"}


class Odd(Accuracy):
    """A metric whose value is what a test says."""

    is_value: Any = None

    def value(self) -> float:
        return Odd.is_value  # type: ignore[no-any-return]


@pytest.mark.parametrize("value", [None, "high", [0.1, 0.2], torch.ones(3)], ids=str)
def test_a_metric_that_gives_no_number_is_named(value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRIC, "odd", Odd)
    monkeypatch.setattr(Odd, "is_value", value)
    with pytest.raises(TypeError, match=r"^metric 'odd': value\(\) gave .*: it must be one number"):
        play.train(play.born(tmp_path / "0"), play.small(metric=[{"name": "odd"}], epochs=1))


class Broken(nn.Module):
    """A loss that is NaN from the seventh training batch on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, output_BK: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
        self.calls += torch.is_grad_enabled()
        return nn.functional.cross_entropy(output_BK, label_B) * (float("nan") if self.calls >= 7 else 1)
