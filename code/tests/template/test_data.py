import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import data
import loss
import metric
from data.digits import digits
from exper.training import random_state
from exper.training.data import batches as batches_module
from exper.training.data.batches import Batches, Tensors
from exper.training.distributed import collective
from tests.support import play
from transform import Transform

CPU = torch.device("cpu")
LABELS = digits(Path()).targets


def loaded(seed: int = 1, transform: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Batches]:
    settings = play.config()["data"] | {"batch_size": 50} | changes
    return data.load(Path(), settings, Transform(transform or []), CPU, seed).batches


def read(batches: Batches, epoch: int = 0, first: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*batches.of_epoch(epoch, first), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_the_split_depends_on_its_own_seed_alone() -> None:
    first = loaded(seed=1)
    second = loaded(seed=2)
    assert all(torch.equal(first[name].index_N, second[name].index_N) for name in first)
    other = loaded(seed=1, split=play.config()["data"]["split"] | {"seed": 1})
    assert not torch.equal(first["test"].index_N, other["test"].index_N)


def test_an_epoch_has_every_sample_once_and_a_smaller_last_batch() -> None:
    batches = loaded()["train"]
    sizes = [len(label) for _, label in batches.of_epoch(3)]
    assert sizes == [50] * 25 + [7]
    assert len(batches) == 26
    assert read(batches)[1].bincount().equal(LABELS[batches.index_N].bincount())


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    images = [read(loaded(seed)["train"], epoch)[0] for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])
    assert not torch.equal(images[0], images[3])


def test_an_epoch_can_begin_at_any_batch() -> None:
    batches = loaded(transform=[{"name": "crop", "padding": 2}, {"name": "flip"}])["train"]
    whole = read(batches, 2)[0]
    assert torch.equal(read(batches, 2, first=7)[0], whole[350:])


def test_workers_give_the_numbers_of_memory() -> None:
    transform: list[dict[str, Any]] = [{"name": "crop", "padding": 2}, {"name": "flip"}]
    state = torch.get_rng_state()
    in_memory = read(loaded(transform=transform)["train"], 1, first=20)
    assert all(map(torch.equal, in_memory, read(loaded(transform=transform, workers=2)["train"], 1, first=20)))
    assert torch.equal(state, torch.get_rng_state())


class Drawing(Tensors):
    """A data set that draws, from all generators that libraries share."""

    def __init__(self, folder: Path) -> None:
        super().__init__(torch.zeros(20, 1, 2, 3), torch.arange(20) % 2, 2)

    def __getitems__(self, index_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        drawn_B = torch.rand(len(index_B)) + torch.tensor([random.random(), *np.random.rand(len(index_B) - 1)])
        image_BCHW, target_B = super().__getitems__(index_B)
        return image_BCHW + drawn_B[:, None, None, None], target_B


def test_a_data_set_that_draws_does_so_by_seed_epoch_and_batch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(data.DATA, "drawing", Drawing)

    def drawn(split: str, epoch: int, *, seed: int = 1, workers: int = 0, first: int = 0) -> list[float]:
        settings = {"name": "drawing", "batch_size": 3, "eval_batch_size": 3, "workers": workers}
        loaded = data.load(Path(), settings | {"split": {"val": 6, "test": 4}}, Transform([]), CPU, seed).batches
        before = str(random_state.state()), torch.get_rng_state().sum()
        images = read(loaded[split], epoch, first)[0]
        assert (str(random_state.state()), torch.get_rng_state().sum()) == before
        return list(images[:, 0, 0, 0].tolist())

    first = drawn("train", 0)
    assert len(set(first)) == 10
    for workers in (1, 2):
        assert drawn("train", 0, workers=workers) == first
        assert drawn("train", 0, workers=workers, first=2) == first[6:]
    assert not {*first} & {*drawn("train", 1)}
    assert not {*first} & {*drawn("train", 0, seed=2)}
    assert drawn("val", 0, workers=2) == drawn("val", 0) != drawn("train", 0)[:6]


def test_normalizing_ahead_of_all_epochs_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    normalize: dict[str, Any] = {"name": "normalize", "mean": [0.3053], "std": [0.3761]}
    augment: list[dict[str, Any]] = [{"name": "crop", "padding": 2}, {"name": "brightness", "by": 0.1}]
    for listed, is_ahead in (([normalize], True), ([normalize, augment[0]], True), ([*augment, normalize], False)):
        monkeypatch.setattr(batches_module, "MOST", 2**26)
        ahead = loaded(transform=listed)
        monkeypatch.setattr(batches_module, "MOST", 0)
        each = loaded(transform=listed)
        assert ahead["train"].dataset.__getitems__(torch.arange(2))[0].is_floating_point() == is_ahead
        assert not each["train"].dataset.__getitems__(torch.arange(2))[0].is_floating_point()
        for name in ahead:
            assert all(map(torch.equal, read(ahead[name], 1), read(each[name], 1)))


def test_evaluation_is_in_order_and_without_random_transforms() -> None:
    plain = loaded()["val"]
    augmented = loaded(transform=[{"name": "crop", "padding": 2}, {"name": "flip"}])["val"]
    assert torch.equal(read(plain)[0], read(augmented)[0])
    assert torch.equal(read(plain)[1], LABELS[plain.index_N])


def test_the_fingerprint_changes_with_a_pixel() -> None:
    first = digits(Path())
    second = digits(Path())
    assert first.fingerprint() == second.fingerprint()
    second.images[5, 0, 2, 2] += 1
    assert first.fingerprint() != second.fingerprint()


def test_the_fingerprint_of_a_column_is_that_of_its_numbers() -> None:
    table = torch.arange(12).view(6, 2)
    column, plain = (Tensors(torch.zeros(6, 1, 2, 2), one, 2) for one in (table[:, 1], table[:, 1].clone()))
    assert column.fingerprint() == plain.fingerprint()


def test_numpys_arrays_and_half_floats_are_tensors() -> None:
    numbers = torch.arange(12.0).view(3, 1, 2, 2)
    made = [Tensors(numbers, torch.arange(3), 3), Tensors(numbers.numpy(), np.arange(3), 3)]
    assert made[0].fingerprint() == made[1].fingerprint()
    assert made[0].fingerprint() != Tensors(numbers.bfloat16(), torch.arange(3), 3).fingerprint()


@pytest.mark.parametrize(
    ("targets", "classes", "says"),
    [
        (torch.arange(63) % 3, 3, "data: 60 images have 63 targets."),
        (torch.arange(60) % 3 + 1, 3, "data: a target is 3, but with classes = 3 they are 0 to 2."),
        (torch.arange(60) % 3 - 1, 3, "data: a target is -1, but"),
        ((torch.arange(60) % 4).to(torch.uint16), 3, "data: a target is 3, but"),
        (torch.arange(60) % 3, 1, "data: a target is 2, but with classes = 1 they are 0 to 1."),
        ((torch.arange(60) % 2 * 255).byte()[:, None, None].expand(60, 4, 4), 1, "data: a target is 255, but"),
    ],
)  # fmt: skip
def test_targets_that_no_output_is_for_are_refused(
    targets: torch.Tensor, classes: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(data.DATA, "own", lambda folder: Tensors(torch.rand(60, 1, 4, 4), targets, classes))
    run = play.born(tmp_path / "0")
    settings = small_own(loss={"name": "focal"})
    with pytest.raises(SystemExit):
        play.train(run, settings)
    assert run.refused.read_text().startswith(says)


def small_own(**changes: Any) -> dict[str, Any]:
    """Return settings for a data set "own" of 60 images."""
    split = {"val": 10, "test": 20, "stratify": False, "seed": 0}
    own = {"name": "own", "batch_size": 10, "eval_batch_size": 10, "split": split}
    return play.config(data=own, transform=[], model={"name": "mlp", "hidden": []}, metric=[], epochs=1, **changes)


@pytest.mark.parametrize(("ignored", "settings"), [(255, {"ignore_index": 255}), (-100, {})])
def test_a_loss_may_ignore_targets(
    ignored: int, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = torch.arange(60) % 3
    targets[::7] = ignored
    monkeypatch.setitem(data.DATA, "own", lambda folder: Tensors(torch.rand(60, 1, 4, 4), targets, 3))
    monkeypatch.setitem(loss.LOSS, "ignoring", torch.nn.CrossEntropyLoss)
    run = play.born(tmp_path / "0")
    play.train(run, small_own(loss={"name": "ignoring", **settings}))
    assert "test/loss" in play.statistic(run)["metric"]["test"]


@pytest.mark.parametrize("length", [3, 26, 60])
def test_epochs_of_n_batches_go_on_through_the_data(length: int) -> None:
    settings = play.config()["data"] | {"batch_size": 50}
    by_pass = data.load(Path(), settings, Transform([]), CPU, 1).batches["train"]
    by_length = data.load(Path(), settings, Transform([]), CPU, 1, epoch_length=length).batches
    assert {name: len(one) for name, one in by_length.items()} == {"train": length, "val": 1, "test": 1}
    passes = [label for epoch in range(5) for _, label in by_pass.of_epoch(epoch)]
    epochs = [label for epoch in range(120 // length) for _, label in by_length["train"].of_epoch(epoch)]
    assert all(map(torch.equal, epochs, passes))
    assert len(epochs) == 120 // length * length


def test_an_epoch_of_n_batches_can_begin_at_any_of_them() -> None:
    transform: list[dict[str, Any]] = [{"name": "flip"}]
    settings = play.config()["data"] | {"batch_size": 50}
    for workers in (0, 1):
        batches = data.load(
            Path(), settings | {"workers": workers}, Transform(transform), CPU, 1, epoch_length=40
        ).batches["train"]
        whole = read(batches, 2)[0]
        assert torch.equal(read(batches, 2, first=33)[0], whole[-len(read(batches, 2, first=33)[0]) :])


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("accumulate", [1, 3, 4])
def test_the_smallest_number_of_images_is_known_before_training(
    accumulate: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collective, "count", lambda: count)
    of_pass = loaded()["train"]
    for size, length in ((50, None), (157, None), (8, None), (8, 3), (10, 100), (2000, 2)):
        batches = replace(of_pass, size=size, length=length)
        found = []
        for epoch in range(2):
            for index_B in batches._indices(epoch, 0):
                for number in range(count):
                    part_B = index_B[number * len(index_B) // count : (number + 1) * len(index_B) // count]
                    found += [len(one) for one in (part_B if len(part_B) else index_B[:1]).chunk(accumulate)]
        assert batches.smallest(2, accumulate) == min(found)


def test_the_shape_in_training_is_that_after_random_transforms_and_known_without_a_trace() -> None:
    batches = loaded(transform=[{"name": "noise"}, {"name": "v2.RandomCrop", "size": [4, 5]}])["train"]
    before = torch.get_rng_state()
    assert batches.shape_in_training() == (1, 4, 5)
    assert batches.shape == (1, 8, 8)
    assert torch.equal(before, torch.get_rng_state())


class Breaker(metric.Accuracy):
    """Accuracy that ends training at one step, as a crash would."""

    left = 0

    def add(self, output_BK: torch.Tensor, label_B: torch.Tensor) -> None:
        super().add(output_BK, label_B)
        Breaker.left -= 1
        if Breaker.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [2, 5, 8])
def test_a_broken_run_of_short_epochs_and_all_transforms_goes_on_alike(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(metric.METRIC, "acc", Breaker)
    transform = [
        {"name": "affine", "degrees": 10, "shift": 0.1, "scale": 0.1},
        {"name": "erase", "share": 0.2},
        {"name": "contrast", "by": 0.2},
        {"name": "v2.RandomRotation", "degrees": 10},
        {"name": "noise"},
    ]
    split = play.small()["data"]["split"] | {"sample": 0.9, "test": 1600}
    settings = play.small(epoch_length=3, transform=transform, data=play.small()["data"] | {"split": split})
    unbroken = play.born(tmp_path / "0")
    broken = play.born(tmp_path / "1")
    play.train(unbroken, settings)
    Breaker.left = step
    with pytest.raises(KeyboardInterrupt):
        play.train(broken, settings)
    play.train(broken, settings)
    assert play.end(broken) == play.end(unbroken)
    assert [line["step"] for line in play.history(unbroken) if "weights" in line] == [3, 6, 9]


def test_every_fold_is_a_run_of_its_own(tmp_path: Path) -> None:
    digests = set()
    for fold in range(3):
        run = play.born(tmp_path / str(fold))
        split = {"test": 1647, "folds": 3, "fold": fold}
        play.train(run, play.small(epochs=1, data=play.small()["data"] | {"split": split}))
        statistic = play.statistic(run)
        assert statistic["data"]["size"] == {"train": 100, "val": 50, "test": 1647}
        assert statistic["hparam"]["data.split.fold"] == fold
        digests.add(play.history(run)[-1]["weights"])
    assert len(digests) == 3


def test_digits_need_no_import_of_sklearn_or_torchvision() -> None:
    program = "import sys, pathlib, data; data.DATA['digits'](pathlib.Path()); "
    program += "print({'sklearn', 'torchvision'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], cwd=play.CODE, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_digits_are_those_of_sklearn() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    found = digits(Path())
    assert torch.equal(found.images[:, 0], (torch.from_numpy(bunch.images) * 255 / 16).byte())
    assert torch.equal(found.targets, torch.from_numpy(bunch.target))
