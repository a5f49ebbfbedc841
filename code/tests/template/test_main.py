import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import loss
from exper import paths
from tests import play


def part(setting: str, /, **changes: Any) -> dict[str, Any]:
    return {setting: play.config()[setting] | changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epoch": 3}, "config.py: 'epoch' is unknown. Did you mean 'epochs'? Known: accumulate, amp, checkpoint,"),
        ({"epochs": 0}, "epochs = 0: must be a whole number at least 1."),
        ({"epochs": "3"}, "epochs = '3'"),
        ({"deterministic": 1}, "deterministic = 1: must be True or False"),
        ({"clip": -1.0}, "clip = -1.0: must be a number above 0 or None."),
        ({"ema": 2}, "ema = 2: must be a number from 0 to 1 or None."),
        (
            part("optimizer", name="adm"),
            "optimizer.name: 'adm' is unknown. Did you mean 'adam'? Known: adam, adamw, rmsprop, sgd.",
        ),
        (part("optimizer", lr=-0.1), "Invalid learning rate: -0.1"),
        (part("optimizer", momentum=0.9), "optimizer: 'momentum' is unknown."),
        (part("scheduler", name="cosin"), "scheduler.name: 'cosin' is unknown. Did you mean 'cosine'?"),
        (part("scheduler", warmup=3), "scheduler.warmup = 3"),
        (part("model", name="resnet"), "model.name: 'resnet' is unknown. Did you mean 'lenet'? Known: lenet."),
        (part("model", drop=0.1), "model: 'drop' is unknown. Did you mean 'dropout'?"),
        (part("model", dropout=1.5), "model.dropout = 1.5: must be a number from 0 to 1."),
        (part("loss", name="cross-entropy"), "Did you mean 'cross_entropy'?"),
        ({"metric": [{"name": "accuracy"}]}, "metric.name: 'accuracy' is unknown."),
        ({"metric": ["acc"]}, "metric = ['acc']: must be a list, each a dict."),
        ({"transform": [{"name": "crop"}]}, "transform lacks 'padding'"),
        ({"transform": [{"name": "crop", "padding": 0}]}, "transform.padding = 0"),
        (part("data", name="digit"), "data.name: 'digit' is unknown. Did you mean 'digits'?"),
        (part("data", batchsize=3), "data: 'batchsize' is unknown. Did you mean 'batch_size'?"),
        (part("data", batch_size=0), "data.batch_size = 0"),
        (part("data", split={"val": 0.1}), "no test of its own: write a share or a count for test"),
        (part("data", split={"val": 0.6, "test": 0.5}), "data.split = "),
        ({"monitor": "max val/acd"}, "monitor: 'val/acd' is unknown. Did you mean 'val/acc'?"),
        ({"early_stop": {"patience": 0}}, "early_stop.patience = 0"),
        ({"early_stop": {"patience": 2}, "monitor": None}, "None without early_stop"),
        (part("checkpoint", every=0), "checkpoint.every = 0"),
        (part("checkpoint", evry=1), "checkpoint: 'evry' is unknown. Did you mean 'every'?"),
        ({"device": "gpu"}, "device = 'gpu': write auto, cpu, cuda or cuda:<n>."),
        ({"device": "cuda:99"}, "device = 'cuda:99': torch sees"),
        ({"processes": 0}, "processes = 0"),
        ({"logger": ["tensorbord"]}, "logger: 'tensorbord' is unknown. Did you mean 'tensorboard'?"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_and_leaves_nothing(
    changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    run = play.born(tmp_path / "0")
    with pytest.raises(SystemExit) as error:
        play.train(run, play.config() | changes)
    assert error.value.code == 2
    assert re.search(re.escape(says), run.refused.read_text())
    assert run.refused.read_text().count("\n") == 1
    assert sorted(os.listdir(run.folder)) == ["lock", "refused", "run.json", "seed"]


def test_a_missing_setting_is_refused(tmp_path: Path) -> None:
    run, config = play.born(tmp_path / "0"), play.config()
    del config["monitor"]
    with pytest.raises(SystemExit):
        play.train(run, config)
    assert "config.py lacks 'monitor'" in run.refused.read_text()


def test_the_default_learns_the_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.config())
    assert play.statistic(run)["metric"]["test"]["test/acc"] > 0.96
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("lenet: 84,146 parameters, on ")
    assert len(shown) == 1 + 10 + 1


def test_the_files_of_a_run(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small())
    statistic = play.statistic(run)
    assert list(statistic) == ["format", "hparam", "data", "device", "metric"]
    assert statistic["hparam"]["optimizer.lr"] == 0.003
    assert statistic["data"]["size"] == {"train": 57, "val": 100, "test": 1640}
    assert list(statistic["device"]) == ["name", "threads", "cpu_capability", "processes", "deterministic"]
    lines = [line for line in play.history(run) if "weights" in line]
    names = ["epoch", "step", "train/loss", "train/acc", "val/loss", "val/acc", "lr", "weights"]
    assert [list(line) for line in lines] == [names] * 3
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 4), (2, 8), (3, 12)]
    steps = [line for line in play.history(run) if "weights" not in line]
    assert [(line["epoch"], line["step"]) for line in steps] == [(1 + step // 4, 1 + step) for step in range(12)]
    checkpoint = torch.load(run.checkpoint / "epoch_3.path", weights_only=True)
    wanted = {"format", "epoch", "step", "model", "optimizer", "scheduler", "random", "metric", "config"}
    assert wanted <= set(checkpoint)


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


def test_early_stop_ends_training_and_still_tests(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small(epochs=50, early_stop={"patience": 2, "min_delta": 10.0}))
    assert play.statistic(run)["metric"]["last"]["epoch"] == 3
    assert "test/acc" in play.statistic(run)["metric"]["test"]


class Broken(nn.Module):
    """A loss that is NaN from the seventh training batch on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, output_BK: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
        self.calls += torch.is_grad_enabled()
        return nn.functional.cross_entropy(output_BK, label_B) * (float("nan") if self.calls >= 7 else 1)


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


@pytest.mark.parametrize("is_exact", [False, True])
def test_differences_from_the_recorded_run_are_said_or_refused(
    is_exact: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = play.born(tmp_path / "0")
    play.train(first, play.small(epochs=1))
    recorded = {part: play.statistic(first)[part] for part in ("device", "data")}
    same = play.born(tmp_path / "1", recorded=recorded, exact=is_exact)
    play.train(same, play.small(epochs=1))
    assert "not as recorded" not in capsys.readouterr().out

    recorded["device"]["threads"], recorded["data"]["fingerprint"] = 64, "other"
    other = play.born(tmp_path / "2", recorded=recorded, exact=is_exact)
    if is_exact:
        with pytest.raises(SystemExit):
            play.train(other, play.small(epochs=1))
        said = other.refused.read_text()
    else:
        play.train(other, play.small(epochs=1))
        said = capsys.readouterr().out
    assert "device threads was 64 and is 1" in said
    assert "data fingerprint was 'other'" in said


def test_several_processes_are_said_to_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small(epochs=1, processes=2))
    assert "come with torchrun; this run uses one" in capsys.readouterr().out
    assert play.statistic(run)["device"]["processes"] == 1


def test_without_loggers_there_is_no_tensorboard_folder(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small(epochs=1, logger=[]))
    assert not run.tensorboard.exists()


def test_deterministic_algorithms_are_a_setting(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    try:
        play.train(run, play.small(epochs=1, deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_run_whose_lock_was_not_handed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from exper.training.run import this_run

    run = play.born(tmp_path / "0")
    run.lock.touch()
    with open(os.devnull) as other, pytest.raises(SystemExit) as error:  # noqa: SIM117
        with this_run(play.CODE, play.environment(run, other.fileno())):
            pass
    assert error.value.code == 2
    assert "unset EXPER_RUN" in capsys.readouterr().err
    assert not run.refused.exists()


def test_config_names_what_every_project_has() -> None:
    flat = json.dumps(play.config())
    names = "epochs data transform model loss metric optimizer scheduler monitor early_stop checkpoint"
    names += " device processes threads deterministic logger"
    assert all(f'"{name}"' in flat for name in names.split())
    assert {"every", "keep"} <= set(play.config()["checkpoint"])
    assert paths.Run(Path("x/0")).checkpoint.name == "checkpoint"
