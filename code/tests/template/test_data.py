from pathlib import Path
from typing import Any

import torch

import data
from data.batches import Batches
from data.digits import digits
from tests import play
from transform import Transform

CPU = torch.device("cpu")
LABELS = digits(Path()).targets


def loaded(seed: int = 1, transform: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Batches]:
    settings = play.config()["data"] | {"batch_size": 50} | changes
    return data.load(Path(), settings, Transform(transform or []), CPU, seed)[0]


def read(batches: Batches, epoch: int = 0, first: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*batches.of_epoch(epoch, first), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_the_split_depends_on_its_own_seed_alone() -> None:
    first, second = loaded(seed=1), loaded(seed=2)
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


def test_evaluation_is_in_order_and_without_random_transforms() -> None:
    plain, augmented = loaded()["val"], loaded(transform=[{"name": "crop", "padding": 2}, {"name": "flip"}])["val"]
    assert torch.equal(read(plain)[0], read(augmented)[0])
    assert torch.equal(read(plain)[1], LABELS[plain.index_N])


def test_the_fingerprint_changes_with_a_pixel() -> None:
    first, second = digits(Path()), digits(Path())
    assert first.fingerprint() == second.fingerprint()
    second.images[5, 0, 2, 2] += 1
    assert first.fingerprint() != second.fingerprint()
