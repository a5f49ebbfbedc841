"""Interrupted at any moment and started again, a run ends in the same bits as an unbroken one."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import data
import loss
import metric
import model
from exper.core import paths
from exper.core.checkpoint_file import is_whole
from exper.training import checkpoints, stopping
from exper.training.state import State
from model.mlp import MLP
from tests.support import play

STEPS = 12  # of play.small()


class Copier:
    """A metric that copies the run's folder while it trains: what a kill at that moment would leave."""

    def __init__(self) -> None:
        self.seen = 0

    def add(self, output_BK: torch.Tensor, label_B: torch.Tensor) -> None:
        self.seen += len(label_B)
        if Copier.source is not None and torch.is_grad_enabled():
            number = len(list(Copier.target.iterdir()))
            shutil.copytree(Copier.source, Copier.target / str(number), symlinks=True)

    def value(self) -> float:
        return float(self.seen)

    source: Path | None = None
    target: Path


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], list[Path], dict[str, Any]]]:
    """Train with everything on; yield its end, what each moment between two steps left, and its settings."""
    metric.METRIC["copier"] = Copier
    yield copied(tmp_path_factory.mktemp("unbroken"), play.small(metric=[{"name": "acc"}, {"name": "copier"}]))
    del metric.METRIC["copier"]


def copied(folder: Path, settings: dict[str, Any]) -> tuple[dict[str, Any], list[Path], dict[str, Any]]:
    """Train with the copier among the metrics; return the end, what each moment left, and the settings."""
    run = play.born(folder / "0")
    Copier.source = run.folder
    Copier.target = folder / "moments"
    Copier.target.mkdir()
    try:
        play.train(run, settings)
    finally:
        Copier.source = None
    moments = len(list(Copier.target.iterdir()))
    return play.end(run), [Copier.target / str(number) for number in range(moments)], settings


def ends_alike(folder: Path, unbroken: Any, **changes: Any) -> None:
    end, _, settings = unbroken
    play.train(paths.Run(folder), settings | changes)
    assert play.end(paths.Run(folder)) == end


@pytest.mark.parametrize("step", range(STEPS))
def test_from_every_step_it_ends_alike(step: int, unbroken: Any) -> None:
    folder = unbroken[1][step]
    newest = torch.load(folder / "checkpoint" / "epoch_last.path", weights_only=True)
    assert newest["step"] == step
    ends_alike(folder, unbroken)


class Masks:
    """A data set of bright squares on noise, and where they are."""

    shape = (1, 20, 18)
    classes = 1
    labels = torch.zeros(32, dtype=torch.long)

    def __init__(self, folder: Path) -> None:
        self.own: dict[str, torch.Tensor] = {}
        random = torch.Generator().manual_seed(0)
        self.masks = torch.zeros(32, 20, 18, dtype=torch.long)
        for mask, (row, column) in zip(self.masks, torch.randint(12, (32, 2), generator=random), strict=True):
            mask[row : row + 8, column : column + 6] = 1
        self.images = (0.5 * self.masks + torch.rand(32, 20, 18, generator=random) / 2)[:, None]

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, index_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index_B], self.masks[index_B]

    def to(self, device: torch.device) -> None:
        pass

    def fingerprint(self) -> str:
        return "masks"


MASKS: dict[str, Any] = {
    "data": {
        "name": "masks",
        "batch_size": 4,
        "eval_batch_size": 8,
        "split": {"val": 8, "test": 8, "stratify": False, "seed": 0},
        "workers": 0,
    },
    "transform": [{"name": "normalize", "mean": [0.3], "std": [0.3]}],
    "model": {"name": "unet", "width": 4},
    "loss": {"name": "bce_dice"},
    "metric": [{"name": "acc"}, {"name": "dice"}, {"name": "iou"}, {"name": "f1"}],
}
SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True}
ADAMW = {"name": "adamw", "lr": 0.01, "groups": {"weight": {"weight_decay": 0.1}}}
EVERY_METRIC = ["acc", "f1", "precision", "recall", "iou", "dice", "confusion"]
COMBINATIONS: dict[str, dict[str, Any]] = {
    "sgd, rates, warmup, cosine": {
        "optimizer": SGD,
        "scheduler": {"name": "cosine", "rates": [0.01], "warmup": 0.3},
        "ema": None,
        "clip": None,
    },
    "several optimizers, parts, clip": {
        "optimizer": {"conv1": ADAMW, "conv2": SGD, "linear1": SGD, "linear2": {"name": "rmsprop", "lr": 0.001}},
        "scheduler": {"name": "linear", "floor": 0.1},
        "accumulate": 3,
        "clip": 0.5,
    },
    "plateau": {
        "optimizer": {"name": "adam", "lr": 0.01},
        "scheduler": {"name": "plateau", "patience": 1, "factor": 0.5, "min_delta": 100.0},
        "early_stop": {"patience": 3, "min_delta": 100.0},  # the plateau falls twice until then
        "epochs": 10,
    },
    "bf16, parts": {"amp": "bf16", "accumulate": 2, "scheduler": None},
    "fp16, several optimizers": {
        "amp": "fp16",
        "optimizer": {"conv1": SGD, "conv2": SGD, "linear1": ADAMW, "linear2": ADAMW},
        "scheduler": {"name": "stairs", "at": [0.3, 0.6]},
        "ema": 0.99,
    },
    "batch normalization, all metrics": {
        "model": {"name": "resnet18", "width": 2},
        "metric": [*({"name": name} for name in EVERY_METRIC), {"name": "top_k", "k": 2}, {"name": "top_k", "k": 5}],
    },
    "sum of losses, one_cycle": {
        "model": {"name": "mlp", "hidden": [16], "dropout": 0.5},
        "scheduler": {"name": "one_cycle"},
        "loss": [{"name": "cross_entropy", "class_weights": [2.0] * 10, "weight": 0.5}, {"name": "focal"}],
        "accumulate": 16,
        "ema": None,
    },
    "masks": MASKS | {"optimizer": {"name": "adam", "lr": 0.01}},
    "masks, deep supervision, sum of losses, parts": MASKS
    | {
        "model": {"name": "unet++", "width": 2, "deep_supervision": True},
        "loss": [{"name": "bce", "weight": 0.5}, {"name": "dice"}, {"name": "focal", "gamma": 1.0}],
        "accumulate": 2,
        "amp": "bf16",
    },
    "fp16, groups of groups, everything": {
        "optimizer": {"name": "sgd", "lr": 0.05, "groups": {"body": {"groups": {"stem": {"momentum": 0.5}}}}},
        "scheduler": {"name": "cosine_warmup_decay", "warmup": 0.1, "rates": [0.1, 0.2]},
        "model": {"name": "resnet18", "width": 2, "stem": "large"},
        "amp": "fp16",
        "accumulate": 2,
    },
}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_combination_ends_alike_from_wherever_it_was_left(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(metric.METRIC, "copier", Copier)
    monkeypatch.setitem(data.DATA, "masks", Masks)
    settings = play.small(**COMBINATIONS[name])
    settings["metric"] = [*settings["metric"], {"name": "copier"}]
    unbroken = copied(tmp_path, settings)
    moments = unbroken[1]
    for moment in {0, len(moments) // 5, len(moments) // 3, len(moments) // 2, len(moments) - 1}:
        ends_alike(moments[moment], unbroken)


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a compiler: apt install g++")
def test_a_compiled_model_ends_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metric.METRIC, "copier", Copier)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    quick = {"name": "mlp", "hidden": [8], "dropout": 0.5}  # to compile
    settings = play.small(compiled=True, ema=None, model=quick, metric=[{"name": "acc"}, {"name": "copier"}])
    settings["data"]["eval_batch_size"] = 100
    unbroken = copied(tmp_path, settings)
    for step in (3, 10):
        torch.compiler.reset()  # as in a new process, where kernels are made in another order
        ends_alike(unbroken[1][step], unbroken)
    for name, module in list(sys.modules.items()):  # nor are there kernels in a process that compiles nothing
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def test_from_the_checkpoint_before_a_corrupt_one(unbroken: Any, tmp_path: Path) -> None:
    shutil.copytree(unbroken[1][7], tmp_path / "0", symlinks=True)
    with open(tmp_path / "0" / "checkpoint" / "epoch_last.path", "r+b") as file:
        file.seek(5000)
        file.write(b"flipped")
    ends_alike(tmp_path / "0", unbroken)


def test_from_nothing_when_no_checkpoint_verifies(unbroken: Any, tmp_path: Path) -> None:
    shutil.copytree(unbroken[1][7], tmp_path / "0", symlinks=True)
    for path in (tmp_path / "0" / "checkpoint").glob("epoch_*.path"):
        if not path.is_symlink():
            os.truncate(path, 1000)
    ends_alike(tmp_path / "0", unbroken)


def test_from_a_checkpoint_by_time_in_the_middle_of_an_epoch(unbroken: Any, tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    settings = unbroken[2] | {"checkpoint": {"every": 3, "every_minutes": 0.004 / 60}}
    Copier.source = run.folder
    Copier.target = tmp_path / "moments"
    Copier.target.mkdir()
    play.train(run, settings)
    Copier.source = None
    moments = [paths.Run(path) for path in Copier.target.iterdir()]
    inside = [run for run in moments if "step" in newest(run).name]
    play.train(inside[-1], settings)
    ends = [play.end(one) for one in (run, inside[-1])]
    assert ends[0] == ends[1]
    assert ends[0]["model"] == unbroken[0]["model"]


def test_a_finished_run_started_again_changes_no_number(unbroken: Any, tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, unbroken[2])
    ends_alike(run.folder, unbroken)


class Asker(metric.Accuracy):
    """Accuracy that asks training to stop during the second validation."""

    validations = 0

    def add(self, output_BK: torch.Tensor, label_B: torch.Tensor) -> None:
        super().add(output_BK, label_B)
        if not torch.is_grad_enabled() and self.seen > 64:
            Asker.validations += 1
            if Asker.validations == 2:
                signal.raise_signal(signal.SIGTERM)


def test_from_a_stop_during_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metric.METRIC, "acc", Asker)
    monkeypatch.setattr(stopping, "_asked", None)
    unbroken = play.born(tmp_path / "0")
    broken = play.born(tmp_path / "1")
    before = signal.signal(signal.SIGTERM, stopping._handle)
    try:
        with pytest.raises(SystemExit) as error:
            play.train(broken, play.small())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert error.value.code == 143
    assert newest(broken).name == "epoch_1_step_8.path"
    monkeypatch.setattr(stopping, "_asked", None)
    play.train(broken, play.small())
    play.train(unbroken, play.small())
    assert play.end(broken) == play.end(unbroken)


def interrupted(run: paths.Run, settings: dict[str, Any], batch: int, patch: pytest.MonkeyPatch) -> None:
    """Train, log in evaluation as well, and ask it to stop at its n-th batch, of those that are evaluated, too."""
    numbers = itertools.count(1)
    leave = State.stop_if_asked

    def asked(state: State, *given: Any) -> None:
        if not torch.is_grad_enabled():
            state.log(noise=torch.rand(()))
        if next(numbers) == batch:
            stopping._asked = (signal.SIGTERM, 0.0)
        leave(state, *given)

    with patch.context() as within:
        within.setattr(State, "stop_if_asked", asked)
        within.setattr(stopping, "_asked", None)
        try:
            play.train(run, settings)
        except SystemExit:
            assert next(numbers) == batch + 1


def goes_on_alike(folder: Path, settings: dict[str, Any], batches: tuple[int, ...], patch: pytest.MonkeyPatch) -> Any:
    """Compare runs that are interrupted at one of these batches with one that is not, and return its end."""
    unbroken = play.born(folder / "0")
    interrupted(unbroken, settings, 0, patch)
    for batch in batches:
        broken = play.born(folder / str(batch))
        interrupted(broken, settings, batch, patch)
        assert len(play.history(broken)) < len(play.history(unbroken))
        interrupted(broken, settings, 0, patch)
        assert play.end(broken) == play.end(unbroken)
    return play.end(unbroken)


class Dice(MLP):
    """A model that draws when it is evaluated, too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.2)) * random.uniform(0.9, 1.1) * np.random.uniform(0.9, 1.1)


class Centred(nn.Module):
    """A loss with a memory: one tensor that changes, and one that is replaced."""

    centre: Tensor
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(10))
        self.register_buffer("calls", torch.zeros(()))
        self.judge = nn.Linear(10, 10).requires_grad_(False)

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        self.calls += 1
        self.centre = 0.9 * self.centre + 0.1 * output_BK.detach().mean(0)
        return nn.functional.cross_entropy(self.judge(output_BK - self.centre) / self.calls.sqrt(), target_B)


class Numbers:
    """A metric of numpy's numbers."""

    def __init__(self) -> None:
        self.total = 0.0
        self.each = [0, 0]
        self.array = np.zeros(2)
        self.counts: Any = 0  # numpy's from the first batch on
        self.rough: Any = np.float32(0)

    def add(self, output_BK: Tensor, target_B: Tensor) -> None:
        self.total = self.total + output_BK.float().numpy().mean(dtype=np.float64)
        self.each = [self.each[0] + np.int64(len(target_B)), self.each[1]]
        self.array += output_BK.float().numpy()[:, :2].sum(0, dtype=np.float64)
        self.counts = self.counts + np.bincount(target_B.numpy(), minlength=10)
        self.rough = self.rough + output_BK.float().numpy().mean()

    def value(self) -> Any:
        assert self.rough.dtype == np.float32
        return self.total / self.each[0] + self.array.mean() + self.counts.astype(float).max() + self.rough


ENDS: dict[str, Any] = {"checkpoint": {"every": 1}}  # and within an epoch at a stop alone


def test_from_a_stop_within_a_validation_that_draws_and_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model.MODEL, "dice", Dice)
    monkeypatch.setitem(loss.LOSS, "centred", Centred)
    settings = play.small(**ENDS, model={"name": "dice", "hidden": [8]}, loss={"name": "centred"}, ema=None)
    end = goes_on_alike(tmp_path, settings, (5, 12), monkeypatch)  # of 4 + 2
    assert all("train/noise" in line for line in end["history"] if "weights" in line)


def test_a_loss_with_buffers_goes_on_and_an_older_checkpoint_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loss.LOSS, "centred", Centred)
    settings = play.small(**ENDS, loss={"name": "centred"}, monitor="max val/loss")
    end = goes_on_alike(tmp_path, settings, (2, 9), monkeypatch)
    assert set(end["loss"]) == {"parts.0.centre", "parts.0.calls"}
    run = paths.Run(tmp_path / "0")
    before = run.statistic.read_bytes()
    play.evaluate(run, settings)
    assert run.statistic.read_bytes() == before
    older = torch.load(run.checkpoint / "epoch_3.path", weights_only=True)
    del older["loss"]
    checkpoints.write(run.checkpoint / "epoch_3.path", older)
    play.train(run, settings)


def test_a_metric_of_numpys_numbers_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metric.METRIC, "numbers", Numbers)
    settings = play.small(**ENDS, metric=[{"name": "numbers"}], monitor="max val/numbers")
    goes_on_alike(tmp_path, settings, (3, 8), monkeypatch)


class Restless(MLP):
    """A model whose buffers are strided, or replaced, and that has a state which is no tensor."""

    mean: Tensor

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes, hidden=(8,))
        self.register_buffer("strided", torch.arange(6.0)[::2])
        self.register_buffer("mean", torch.zeros(classes))
        self.register_buffer("grid", torch.empty(0), persistent=False)
        self.register_buffer("first", torch.ones(1), persistent=False)
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        self.grid = output.new_ones(output.shape[1])
        self.first = None  # as made at the first need
        output = output * self.grid
        if self.training:
            self.steps += 1
            self.mean = 0.9 * self.mean + 0.1 * output.detach().mean(0)
        return output - self.mean

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


def test_buffers_of_every_kind_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model.MODEL, "restless", Restless)
    end = goes_on_alike(tmp_path, play.small(**ENDS, model={"name": "restless"}), (6, 10), monkeypatch)
    assert end["ema"]["mean"] == end["model"]["mean"]
    assert end["model"]["_extra_state"] == {"steps": 12}


def test_another_seed_ends_otherwise(unbroken: Any, tmp_path: Path) -> None:
    run = play.born(tmp_path / "0", seed=2)
    play.train(run, unbroken[2])
    assert play.end(run)["model"] != unbroken[0]["model"]


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint": {"every": 3, "keep": 1}},
        {"checkpoint": {"every": 1, "every_steps": 3, "background": True}},
        {"data": play.small()["data"] | {"workers": 1}},
        {"data": play.small()["data"] | {"eval_batch_size": 7}},
    ],
    ids=["few checkpoints", "in a thread", "workers", "small evaluation batches"],
)
def test_what_must_not_matter_does_not(changes: dict[str, Any], tmp_path: Path) -> None:
    plain = play.born(tmp_path / "0")
    changed = play.born(tmp_path / "1")
    play.train(plain, play.small())
    play.train(changed, play.small(**changes))
    ends = [play.end(run) for run in (plain, changed)]
    assert ends[0]["model"] == ends[1]["model"]
    assert [line["weights"] for line in play.history(plain) if "weights" in line] == [
        line["weights"] for line in play.history(changed) if "weights" in line
    ]


def own_code(folder: Path) -> Path:
    """Copy the code, with settings that train for about 160 checkpointed steps."""
    code = Path(shutil.copytree(play.CODE, folder / "code", ignore=shutil.ignore_patterns("tests", "__pycache__")))
    config = play.small(epochs=40, early_stop={"patience": 30})
    config["transform"].pop()  # the noise is not in a process of its own
    (code / "config.py").write_text("".join(f"{name} = {value!r}\n" for name, value in config.items()))
    return code


def wait_for_lines(run: paths.Run, lines: int, training: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while not run.history.exists() or run.history.read_bytes().count(b"\n") < lines:
        assert training.poll() is None, run.log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def newest(run: paths.Run) -> Path:
    return run.checkpoint / os.readlink(run.checkpoint / "epoch_last.path")


def test_killed_and_signalled_processes_end_alike(tmp_path: Path) -> None:
    code = own_code(tmp_path)
    unbroken = play.born(tmp_path / "x" / "0")
    broken = play.born(tmp_path / "x" / "1")
    assert play.start(unbroken, code).wait() == 0, unbroken.log.read_text()
    assert len(play.history(unbroken)) > 100

    for number, lines in (
        (signal.SIGKILL, 20),
        (signal.SIGKILL, 45),
        (signal.SIGUSR1, 70),
        (signal.SIGTERM, 100),
        (signal.SIGINT, 120),
    ):
        training = play.start(broken, code)
        wait_for_lines(broken, lines, training)
        time.sleep(0.01 * random.random())  # at any moment of a step or of a save
        training.send_signal(number)
        code_expected = -number if number == signal.SIGKILL else 128 + number
        assert training.wait() == code_expected, broken.log.read_text()
        if number == signal.SIGKILL:
            with open(newest(broken), "r+b") as file:
                file.seek(4000)
                file.write(b"torn")
        else:
            assert is_whole(newest(broken))
            assert "stopped and saved" in broken.log.read_text()
    assert play.start(broken, code).wait() == 0, broken.log.read_text()
    assert play.end(broken) == play.end(unbroken)
