import inspect
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import loss
import metric
import model
import optim
from exper.config import config_file
from exper.core import components, paths
from exper.training.records.totals import Totals
from loss import Loss
from metric import METRIC
from schedule import SCHEDULER
from setting import Settings
from tests.support import play


def part(setting: str, /, **changes: Any) -> dict[str, Any]:
    return {setting: play.config()[setting] | changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"epoch": 3},
            "config.py: 'epoch' is unknown. Did you mean 'epochs'? Known: accumulate, amp, anomaly, checkpoint,",
        ),
        ({"epochs": 0}, "epochs = 0: must be a whole number at least 1."),
        ({"epochs": "3"}, "epochs = '3'"),
        ({"deterministic": 1}, "deterministic = 1: must be True or False"),
        ({"clip": -1.0}, "clip = -1.0: must be a number above 0 or None."),
        ({"ema": 2}, "ema = 2: must be a number at least 0 and below 1 or None."),
        ({"ema": 1.0}, "ema = 1.0: must be a number at least 0 and below 1 or None."),  # it would never move
        (
            part("optimizer", name="adm"),
            "optimizer.name: 'adm' is unknown. Did you mean 'adam'? Known: adam, adamw, rmsprop, sgd.",
        ),
        (part("optimizer", lr=-0.1), "Invalid learning rate: -0.1"),
        (part("optimizer", momentum=0.9), "optimizer: 'momentum' is unknown."),
        (
            {"optimizer": {"conv1": {"name": "adam"}, "linaer": {"name": "sgd", "lr": 0.1}}},
            "optimizer: 'linaer' is unknown. Did you mean 'linear2'? Known: conv2, linear1, linear2.",
        ),
        (
            {"optimizer": {"conv1": {"name": "adam"}}},
            "optimizer: no optimizer covers conv2.weight. Add one for: conv2, ",
        ),
        ({"optimizer": {"conv1": {"lr": 0.1}}}, "optimizer.conv1 = {'lr': 0.1}: write a component, such as"),
        (
            part("optimizer", groups={"conv3": {"lr": 1.0}}),
            "optimizer.groups: 'conv3' is unknown. Did you mean 'conv2'?",
        ),
        (part("optimizer", groups={"conv1": {"lr": "x"}}), "optimizer.groups.conv1.lr = 'x': must be a number"),
        (
            {"scheduler": {"name": "plateau"}, "monitor": None},
            'scheduler.name = "plateau": it follows the monitored metric.',
        ),
        (
            {"scheduler": {"name": "stairs", "at": 0.5}},
            "scheduler.at = 0.5: must be a list, each a number from 0 to 1.",
        ),
        ({"scheduler": {"name": "cosine", "rates": [0.0]}}, "scheduler.rates = [0.0]: must be a list, each a number"),
        ({"amp": "fp8"}, "amp = 'fp8': must be 'bf16' or 'fp16' or None."),
        ({"accumulate": 0}, "accumulate = 0: must be a whole number at least 1."),
        (part("scheduler", name="cosin"), "scheduler.name: 'cosin' is unknown. Did you mean 'cosine'?"),
        (part("scheduler", warmup=3), "scheduler.warmup = 3"),
        (
            part("model", name="resnet"),
            "model.name: 'resnet' is unknown. Did you mean 'resnet18'? Known: lenet, mlp, resnet18, torchvision, unet,",
        ),
        (part("model", drop=0.1), "model: 'drop' is unknown. Did you mean 'dropout'?"),
        (part("model", dropout=1.5), "model.dropout = 1.5: must be a number from 0 to 1."),
        (
            {"model": {"name": "mlp", "hidden": 64}},
            "model.hidden = 64: must be a list, each a whole number at least 1.",
        ),
        ({"model": {"name": "mlp", "hidden": [64, 0]}}, "model.hidden = [64, 0]: must be a list"),
        ({"model": {"name": "resnet18", "stem": "tiny"}}, "model.stem = 'tiny': must be 'small' or 'large'."),
        ({"model": {"name": "torchvision"}}, "model lacks 'net'. Add it."),
        (
            {"model": {"name": "torchvision", "net": "resnet12"}},
            "model.net: 'resnet12' is unknown. Did you mean 'resnet152'? Known: alexnet, convnext_base,",
        ),
        ({"pretrained": "first/0"}, "pretrained = 'first/0': there is no run first/0 in "),
        ({"pretrained": "resnet.pth"}, "pretrained = 'resnet.pth': there is no file "),
        ({"pretrained": {"from": "a/0", "onyl": "body"}}, "pretrained: 'onyl' is unknown. Did you mean 'only'?"),
        ({"pretrained": "torchvision"}, 'only the model "torchvision" has such weights.'),
        (part("loss", name="cross-entropy"), "Did you mean 'cross_entropy'?"),
        ({"loss": []}, "loss = []: write a component, such as"),
        ({"loss": [{"name": "dice", "weight": -1}]}, "loss.weight = -1: must be a number above 0."),
        ({"loss": [{"name": "dice"}, {"name": "fokal"}]}, "loss.name: 'fokal' is unknown. Did you mean 'focal'?"),
        (part("loss", class_weights=[1.0, 2.0]), "loss.class_weights = [1.0, 2.0]: the data have 10 classes."),
        ({"loss": {"name": "bce"}}, "loss.name = 'bce': it is for one output, the data have 10 classes."),
        ({"metric": [{"name": "accuracy"}]}, "metric.name: 'accuracy' is unknown."),
        ({"metric": [{"name": "acc"}, {"name": "acc"}]}, "metric: 'acc' is listed twice."),
        ({"metric": [{"name": "top_k"}]}, "metric lacks 'k'. Add it."),
        ({"metric": [{"name": "top_k", "k": 10}]}, "metric.k = 10: of 10 classes it has to leave some out."),
        ({"metric": [{"name": "f1", "average": "mean"}]}, "metric.average = 'mean': must be 'macro' or 'micro'."),
        ({"metric": [{"name": "confusion"}], "monitor": "max val/confusion"}, "monitor: 'val/confusion' is unknown."),
        ({"metric": ["acc"]}, "metric = ['acc']: must be a list, each a dict."),
        ({"transform": [{"name": "crop"}]}, "transform lacks 'padding'"),
        ({"transform": [{"name": "crop", "padding": 0}]}, "transform.padding = 0"),
        (part("data", name="digit"), "data.name: 'digit' is unknown. Did you mean 'digits'?"),
        (part("data", batchsize=3), "data: 'batchsize' is unknown. Did you mean 'batch_size'?"),
        (part("data", batch_size=0), "data.batch_size = 0"),
        (part("data", workers=-1), "data.workers = -1: must be a whole number at least 0."),
        ({"scheduler": {}}, 'scheduler = {}: write a component, such as {"name": "constant"}.'),
        (part("optimizer", foreach=True, fused=True), "`fused` and `foreach` cannot be `True` together."),
        (
            part("data", batch_size=8) | {"model": {"name": "resnet18", "width": 2}},
            "data.batch_size = 8: with 1257 training samples, accumulate = 1 and 1 process, a batch has 1 image;"
            " batch normalization needs 2. Write 7.",
        ),
        (
            part("data", batch_size=10) | {"accumulate": 4, "model": {"name": "resnet18", "width": 2}},
            "data.batch_size = 10: with 1257 training samples, accumulate = 4 and 1 process, a batch has 1 image;"
            " batch normalization needs 2. Write 9.",
        ),
        (
            {"overfit": 1, "model": {"name": "resnet18", "width": 2}},
            "data.batch_size = 16: with 1 training samples, accumulate = 1 and 1 process, a batch has 1 image;"
            " batch normalization needs 2. Take more samples, or fewer parts or processes.",
        ),
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
        ({"verbose": "loud"}, "verbose = 'loud': must be 'batch' or 'epoch' or 'quiet'."),
        ({"overfit": 0}, "overfit = 0: must be a whole number at least 1 or None."),
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


@pytest.mark.parametrize(("verbose", "lines", "bars"), [("batch", 11, True), ("epoch", 11, False), ("quiet", 1, False)])
def test_verbosity(
    verbose: str, lines: int, bars: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    play.train(play.born(tmp_path / "0"), play.small(verbose=verbose))
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == lines
    assert ("epoch 3" in shown.err) == bars
    assert shown.out.splitlines()[-1].startswith("test of epoch ")


def test_a_missing_setting_is_refused(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    config = play.config()
    del config["monitor"]
    with pytest.raises(SystemExit):
        play.train(run, config)
    assert "config.py lacks 'monitor'" in run.refused.read_text()


def test_the_default_learns_the_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.config())
    assert play.statistic(run)["metric"]["test"]["test/acc"] >= 0.97
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("lenet: 84,146 parameters, on ")
    assert shown[1].split() == ["conv1", "Conv2d", "32", "x", "8", "x", "8", "832"]
    assert len(shown) == 1 + 6 + 10 + 1


def test_the_files_of_a_run(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small())
    statistic = play.statistic(run)
    assert list(statistic) == ["format", "hparam", "data", "device", "outside_code", "metric"]
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


def test_without_loggers_there_is_no_tensorboard_folder(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small(epochs=1, logger=[]))
    assert not run.tensorboard.exists()


def test_config_names_what_every_project_has() -> None:
    flat = json.dumps(play.config())
    names = "epochs data transform model loss metric optimizer scheduler monitor early_stop checkpoint"
    names += " device processes threads deterministic logger"
    assert all(f'"{name}"' in flat for name in names.split())
    assert {"every", "keep"} <= set(play.config()["checkpoint"])
    assert paths.Run(Path("x/0")).checkpoint.name == "checkpoint"


COMPONENTS_PAGE = play.CODE / "docs" / "reference" / "components.md"


def documented() -> list[tuple[str, Any]]:
    """Return the settings in the code blocks of docs/reference/components.md."""
    blocks = re.findall(r"```python\n(.*?)```", COMPONENTS_PAGE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [next(iter(config_file.read(line.encode()).items())) for line in lines]


@pytest.mark.parametrize(("name", "value"), documented())
def test_documented_settings_are_taken(name: str, value: Any) -> None:
    given: Settings = components.call("", play.config() | {name: value}, Settings)
    Loss(given.loss)
    assert len(Totals(metric.build(given.metric)).names) >= 2
    optim.check(given.optimizer, given.scheduler, given.monitor)
    model.check(given.model)


@pytest.mark.parametrize(
    ("setting", "choices"),
    [("model", model.MODEL), ("loss", loss.LOSS), ("metric", METRIC), ("optimizer", optim.OPTIMIZER),
     ("scheduler", SCHEDULER)],
)  # fmt: skip
def test_every_choice_is_documented_with_its_arguments(setting: str, choices: dict[str, Any]) -> None:
    section = COMPONENTS_PAGE.read_text().partition(f"## {setting}\n")[2].partition("\n## ")[0]
    for name, function in choices.items():
        assert re.search(rf"(^|[ |`]){re.escape(name)}([ ,|`]|$)", section, re.MULTILINE), name
        own = [] if setting == "optimizer" else inspect.signature(function).parameters
        assert all(one in section for one in own if one not in ("shape", "classes", "optimizer", "steps")), name
