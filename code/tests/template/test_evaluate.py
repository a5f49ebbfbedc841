"""Weights of a run, tested again in this process; the command itself is tested in tests/commands."""

import csv
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import data
import epoch
import loss
import model
from evaluate import Predictions
from exper.core import paths
from exper.training.data.batches import Tensors
from exper.training.state import State
from tests.support import play


def rows(run: paths.Run, epoch: int) -> list[dict[str, str]]:
    with open(run.evaluated(epoch) / "predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[paths.Run, dict[str, Any]]:
    """Return a run of 3 epochs of which the last is not best, and its settings."""
    run = play.born(tmp_path_factory.mktemp("trained") / "0")
    settings = play.small(monitor="max val/loss", optimizer={"name": "adam", "lr": 0.001})
    play.train(run, settings | {"checkpoint": {"keep": None}})
    assert play.statistic(run)["metric"]["best"]["epoch"] < 3
    return run, settings


def test_the_best_weights_give_what_training_has_recorded(trained: Any) -> None:
    run, settings = trained
    before = run.statistic.read_bytes()
    play.evaluate(run, settings)
    assert run.statistic.read_bytes() == before


def test_predictions_are_those_that_the_metrics_are_of(trained: Any) -> None:
    run, settings = trained
    play.evaluate(run, settings, "3")
    found = rows(run, 3)
    tested = play.statistic(run)["metric"]["test"]
    right = [row["true"] == row["predicted"] for row in found]
    assert sum(right) / len(right) == tested["test/acc"]
    losses = [-torch.tensor(float(row[f"probability/{row['true']}"]), dtype=torch.float64).log() for row in found]
    assert float(sum(losses)) / len(losses) == pytest.approx(tested["test/loss"], rel=1e-6)
    assert all(row["probability"] == row[f"probability/{row['predicted']}"] for row in found)


def test_each_image_is_named_by_its_index_in_the_data_set(trained: Any) -> None:
    run, settings = trained
    play.evaluate(run, settings, "3")
    labels = data.DATA["digits"](Path()).labels
    assert labels is not None
    found = rows(run, 3)
    assert len({row["index"] for row in found}) == len(found) == 1640
    assert all(int(labels[int(row["index"])]) == int(row["true"]) for row in found)


@pytest.mark.parametrize(("wanted", "epoch"), [("last", 3), ("2", 2), ("0", 0)])
def test_another_epoch_changes_the_test_and_nothing_else(wanted: str, epoch: int, trained: Any) -> None:
    run, settings = trained
    before = play.statistic(run)
    history = run.history.read_bytes()
    events = {path: path.read_bytes() for path in run.tensorboard.iterdir()}
    checkpoints = sorted(os.listdir(run.checkpoint))
    play.evaluate(run, settings, wanted)
    after = play.statistic(run)
    assert after["metric"].pop("test")["epoch"] == epoch
    before["metric"].pop("test")
    assert after == before
    assert run.history.read_bytes() == history
    assert {path: path.read_bytes() for path in run.tensorboard.iterdir()} == events
    assert sorted(os.listdir(run.checkpoint)) == checkpoints
    with Image.open(run.evaluated(epoch) / "confusion.png") as picture:
        assert picture.width > 300


@pytest.mark.parametrize(
    ("wanted", "pictures", "says"),
    [
        ("4", None, "there is no whole checkpoint of epoch 4. Name another: --epoch n. There are: 0, 1, 2, 3."),
        ("best", 5, "--pictures: this data set has no masks to draw."),
    ],
)
def test_what_is_not_there_is_refused(wanted: str, pictures: int | None, says: str, trained: Any) -> None:
    run, settings = trained
    before = run.statistic.read_bytes()
    names = sorted(os.listdir(run.folder))
    with pytest.raises(SystemExit) as error:
        play.evaluate(run, settings, wanted, pictures)
    assert error.value.code == 2
    assert says in run.refused.read_text()
    run.refused.unlink()
    assert (run.statistic.read_bytes(), sorted(os.listdir(run.folder))) == (before, names)


def test_a_corrupt_checkpoint_is_not_evaluated(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small(epochs=1))
    os.truncate(run.checkpoint / "epoch_1.path", 2000)
    with pytest.raises(SystemExit):
        play.evaluate(run, play.small(epochs=1), "last")
    assert "no whole checkpoint of epoch 1" in run.refused.read_text()


def test_a_run_that_never_trained_is_refused(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    with pytest.raises(SystemExit):
        play.evaluate(run, play.small())
    assert "it was never trained" in run.refused.read_text()


def test_other_data_than_recorded_is_said_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small(epochs=1))
    monkeypatch.setattr(Tensors, "fingerprint", lambda self: "other")
    play.evaluate(run, play.small(epochs=1))
    assert "not as recorded, so numbers may differ: data fingerprint was" in capsys.readouterr().out


def test_the_average_of_the_weights_is_what_is_evaluated(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.small(epochs=2, monitor=None))
    before = run.statistic.read_bytes()
    play.evaluate(run, play.small(epochs=2, monitor=None))
    assert run.statistic.read_bytes() == before


def test_what_is_tested_is_not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(state: State, model: nn.Module, *given: Any) -> dict[str, float]:
        models.append(model)
        return evaluate(state, model, *given)

    run = play.born(tmp_path / "0")
    settings = play.small(epochs=1, ema=None)
    play.train(run, settings)
    models: list[nn.Module] = []
    before = run.statistic.read_bytes()
    evaluate = epoch.evaluate
    monkeypatch.setattr(epoch, "evaluate", noted)
    play.evaluate(run, settings | {"compiled": True})
    assert [model._compiled_call_impl for model in models] == [None]
    assert run.statistic.read_bytes() == before


# -- segmentation ------------------------------------------------------------------------------------------------------


def bright(folder: Path) -> Tensors:
    """Return images of 60 bright squares on noise, with masks of them."""
    generator = torch.Generator().manual_seed(0)
    image_NCHW = torch.randint(100, (60, 3, 16, 16), generator=generator, dtype=torch.uint8)
    mask_NHW = torch.zeros(60, 16, 16, dtype=torch.int64)
    for number in range(60):
        top = number % 8
        left = number % 7
        mask_NHW[number, top : top + 6, left : left + 8] = 1
    return Tensors(image_NCHW + 120 * mask_NHW[:, None].byte(), mask_NHW, 2)


class Pixels(nn.Conv2d):
    """A model that looks at each pixel alone."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(shape[0], classes, 1)


class Deep(Pixels):
    """Pixels with deep supervision, in evaluation as well: what it gives first is wrong."""

    def forward(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        output = super().forward(x)
        return [-0.01 * output, output]


@pytest.mark.parametrize("pixels", [Pixels, Deep])
def test_segmentation_gets_scores_and_pictures_of_every_nth_image(
    pixels: type[nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(data.DATA, "bright", bright)
    monkeypatch.setitem(model.MODEL, "pixels", pixels)
    split = {"val": 10, "test": 20, "stratify": False, "seed": 0}
    settings = play.config(
        data={"name": "bright", "batch_size": 5, "eval_batch_size": 6, "split": split, "workers": 0},
        transform=[], model={"name": "pixels"}, metric=[], epochs=20, optimizer={"name": "adam", "lr": 0.1},
    )  # fmt: skip
    run = play.born(tmp_path / "0")
    play.train(run, settings)
    play.evaluate(run, settings, pictures=7)
    best = play.statistic(run)["metric"]["best"]["epoch"]
    found = rows(run, best)
    assert list(found[0]) == ["index", "accuracy", "dice"]
    assert [float(row["dice"]) for row in found] == [1.0] * 20
    drawn = {found[number]["index"] for number in (0, 7, 14)}
    names = {"predictions.csv"} | {f"picture_{index}.png" for index in drawn}
    assert set(os.listdir(run.evaluated(best))) == names

    with Image.open(run.evaluated(best) / f"picture_{found[7]['index']}.png") as picture:
        shown = picture.convert("RGB")
    third = shown.width // 3
    colours = [shown.crop((n * third, 60, (n + 1) * third, shown.height)).getcolors(9999) for n in (1, 2)]
    mask, guess = [sorted(counts, reverse=True)[:3] for counts in colours if counts]
    assert [colour for _, colour in mask] == [colour for _, colour in guess]

    play.evaluate(run, settings)
    assert os.listdir(run.evaluated(best)) == ["predictions.csv"]


# -- images as targets -------------------------------------------------------------------------------------------------


def noisy(folder: Path) -> Tensors:
    """Return 60 images, and as the target of each the same image with 0.1 more everywhere."""
    image_NCHW = torch.rand(60, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return Tensors(image_NCHW, image_NCHW + 0.1, 3)


class Same(nn.Module):
    """A model that gives back what it gets, times a number that is 1 at first."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def test_a_target_may_be_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(data.DATA, "noisy", noisy)
    monkeypatch.setitem(model.MODEL, "same", Same)
    monkeypatch.setitem(loss.LOSS, "mse", nn.MSELoss)
    split = {"val": 10, "test": 20, "stratify": False, "seed": 0}
    settings = play.config(
        data={"name": "noisy", "batch_size": 7, "eval_batch_size": 6, "split": split, "workers": 0},
        transform=[{"name": "flip"}, {"name": "v2.RandomVerticalFlip"}], model={"name": "same"}, loss={"name": "mse"},
        metric=[{"name": "psnr"}, {"name": "ssim"}], epochs=1, optimizer={"name": "sgd", "lr": 1e-9}, scheduler=None,
    )  # fmt: skip
    run = play.born(tmp_path / "0")
    play.train(run, settings)
    line = play.history(run)[-1]
    tested = play.statistic(run)["metric"]["test"]
    for name in ("train/psnr", "val/psnr"):
        assert line[name] == pytest.approx(20, abs=1e-3)  # 10 log10(1 / 0.1²)
    assert tested["test/ssim"] > 0.9
    play.evaluate(run, settings)
    assert [float(row["mse"]) for row in rows(run, 1)] == pytest.approx([0.01] * 20, rel=1e-4)
    with pytest.raises(SystemExit):
        play.evaluate(run, settings, pictures=1)
    assert "has no masks to draw" in run.refused.read_text()


# -- rows of predictions.csv -------------------------------------------------------------------------------------------


def of(output: Tensor, target: Tensor, folder: Path) -> list[list[str]]:
    """Return the rows of predictions.csv for one batch."""
    seen = Predictions(nn.Identity())
    seen._loss = nn.CrossEntropyLoss() if output.shape[1] > 1 else _Zero()
    seen(output, target)
    seen.write(folder, list(range(len(target))))
    return list(csv.reader((folder / "predictions.csv").read_text().splitlines()))


class _Zero(nn.Module):
    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.zeros(())


def test_one_logit_is_of_two_classes(tmp_path: Path) -> None:
    header, first, second = of(torch.tensor([[2.0], [-1.0]]), torch.tensor([1, 1]), tmp_path)
    assert header == ["index", "true", "predicted", "probability", "probability/0", "probability/1"]
    assert first[:3] == ["0", "1", "1"]
    assert second[:3] == ["1", "1", "0"]
    assert float(first[5]) == pytest.approx(float(torch.tensor(2.0).double().sigmoid()), rel=1e-12)


@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 1, 1, 1)])
def test_numbers_have_a_squared_error(shape: tuple[int, ...], tmp_path: Path) -> None:
    seen = Predictions(_Zero())
    seen(torch.tensor([1.0, 2.0]).view(shape), torch.tensor([1.0, 4.0]))
    seen.write(tmp_path, [5, 7])
    assert (tmp_path / "predictions.csv").read_text().split() == ["index,mse", "5,0.0", "7,4.0"]


def test_dice_is_that_of_class_1_or_the_mean_over_classes(tmp_path: Path) -> None:
    target_BHW = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]]])
    logit_B1HW = torch.tensor([[[[1.0, -1, 1, -1]]], [[[-1.0, -1, -1, -1]]]])
    assert of(logit_B1HW, target_BHW, tmp_path)[1:] == [["0", "0.5", "0.5"], ["1", "1.0", "1.0"]]
    output_BKHW = torch.cat([-logit_B1HW, logit_B1HW, torch.full_like(logit_B1HW, -9)], 1)
    assert of(output_BKHW, target_BHW, tmp_path)[1:] == [["0", "0.5", "0.5"], ["1", "1.0", "1.0"]]
    output_BKHW[1, 2, 0, 0] = 9.0  # one pixel of a class that is not there: dice 6/7 of class 0, and 0 of it
    assert float(of(output_BKHW, target_BHW, tmp_path)[2][2]) == pytest.approx(3 / 7)
