from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.digits import digits
from exper.training.data.batches import Tensors
from exper.training.data.split import Split

DIGITS = digits(Path())
LABELS = DIGITS.targets


def labelled(labels: list[int], **own: list[int]) -> Tensors:
    splits = {name: torch.tensor(index) for name, index in own.items()}
    return Tensors(torch.zeros(len(labels), 1, 2, 2), torch.tensor(labels), 10, splits)


def as_sets(index: dict[str, torch.Tensor]) -> dict[str, set[int]]:
    return {name: {*one.tolist()} for name, one in index.items()}


def test_splits_are_disjoint_and_leave_nothing_out() -> None:
    index = Split(0.15, 200).of(DIGITS)
    assert sorted(torch.cat([*index.values()]).tolist()) == list(range(1797))
    assert {name: len(one) for name, one in index.items()} == {"train": 1327, "val": 270, "test": 200}


@given(
    labels=st.lists(st.integers(0, 3), min_size=12, max_size=80),
    split=st.one_of(
        st.builds(Split, val=st.floats(0.1, 0.4), test=st.integers(1, 4), sample=st.none() | st.floats(0.2, 0.9)),
        st.builds(Split, test=st.floats(0.1, 0.4), folds=st.integers(3, 5), fold=st.integers(0, 2)),
    ),
    stratify=st.booleans(),
    seed=st.integers(0, 9),
    own=st.sets(st.integers(0, 11), min_size=1, max_size=4),
    has_own=st.booleans(),
)
def test_any_split_is_disjoint_and_fair(
    labels: list[int], split: Split, stratify: bool, seed: int, own: set[int], has_own: bool
) -> None:
    split = replace(split, stratify=stratify, seed=seed, test=None if has_own else split.test)
    index = as_sets(split.of(labelled(labels, **({"test": sorted(own)} if has_own else {}))))
    together = [number for one in index.values() for number in one]
    assert len(together) == len({*together})
    assert {*together} <= {*range(len(labels))}
    if has_own:
        assert index["test"] == own
    if split.sample is None:
        assert len(together) == len(labels)
    elif stratify:
        unsampled = as_sets(
            replace(split, sample=None).of(labelled(labels, **({"test": sorted(own)} if has_own else {})))
        )
        assert index["train"] <= unsampled["train"]
        for label in {*labels}:
            ours = sum(labels[number] == label for number in index["train"])
            all_of_it = sum(labels[number] == label for number in unsampled["train"])
            assert abs(ours - all_of_it * len(index["train"]) / len(unsampled["train"])) < 1


def test_stratified_splits_have_the_same_mix_of_classes() -> None:
    whole = LABELS.bincount() / len(LABELS)
    index = Split(0.15, 0.15, sample=0.1).of(DIGITS)
    assert len(index["train"]) == 126
    for one in index.values():
        assert (LABELS[one].bincount() - whole * len(one)).abs().max() <= 1.5


def test_unlike_without_stratify() -> None:
    test = LABELS[Split(0.15, 0.15, stratify=False).of(DIGITS)["test"]].bincount()
    assert (test - LABELS.bincount() * 0.15).abs().max() > 3


def test_the_split_depends_on_its_own_seed() -> None:
    first, again, other = (Split(0.15, 0.15, seed=seed).of(DIGITS) for seed in (0, 0, 1))
    assert as_sets(first) == as_sets(again)
    assert all(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("stratify", [True, False])
def test_all_folds_together_cover_what_is_not_test_exactly_once(stratify: bool) -> None:
    folds = [Split(test=0.15, folds=5, fold=fold, stratify=stratify).of(DIGITS) for fold in range(5)]
    covered = torch.cat([fold["val"] for fold in folds])
    assert all(torch.equal(fold["test"], folds[0]["test"]) for fold in folds)
    assert sorted([*covered.tolist(), *folds[0]["test"].tolist()]) == list(range(1797))
    assert {len(fold["val"]) for fold in folds} == {305, 306}
    for fold in folds:
        assert {*fold["train"].tolist()} == {*covered.tolist()} - {*fold["val"].tolist()}
    if stratify:
        counts = torch.stack([LABELS[fold["val"]].bincount() for fold in folds])
        assert (counts.amax(0) - counts.amin(0)).max() <= 1


def test_a_sample_changes_neither_val_nor_test() -> None:
    whole, tenth, ten = (as_sets(Split(0.15, 0.15, sample=sample).of(DIGITS)) for sample in (None, 0.1, 10))
    assert whole["val"] == tenth["val"] == ten["val"]
    assert whole["test"] == tenth["test"] == ten["test"]
    assert tenth["train"] < whole["train"]
    assert sorted(LABELS[[*ten["train"]]].tolist()) == list(range(10))


def test_own_splits_stay_and_the_others_come_from_the_rest() -> None:
    index = as_sets(Split(val=0.5).of(labelled([0, 0, 0, 0, 1, 1, 1, 1, 2, 2], test=[8, 9])))
    assert index["test"] == {8, 9}
    assert len(index["val"] & {0, 1, 2, 3}) == len(index["val"] & {4, 5, 6, 7}) == 2
    assert index["train"] == {*range(8)} - index["val"]


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (Split(0.6, 0.5), "val would get 1078 samples of the 899 that are left"),
        (Split(900, 897), "train 0: each needs one at least"),
        (Split(0.0001, 0.1), "val 0, train"),
        (Split(0.1, 0.1, sample=0.0001), "train 0: each needs one at least"),
        (Split(0.1, 1.5), "test = 1.5 is neither a share nor a count"),
        (Split(0.1), "the data set has no test of its own: write a share or a count for test"),
        (Split(test=0.1), "the data set has no val of its own"),
        (Split(test=1796, folds=3, fold=2), "val 0, train"),
    ],
)
def test_what_cannot_be_split_is_an_error(split: Split, says: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  its text is compared
        split.of(DIGITS)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ({"val": 1, "test": 1}, "comes with its own test: write test = None"),
        ({"val": 1}, "comes with its own val: write val = None"),
        ({"folds": 2}, "comes with its own val: write folds = None"),
    ],
)
def test_splits_of_the_data_set_and_of_the_config_do_not_compete(split: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Split(**split).of(labelled([0, 1] * 5, test=[0], val=[1]))


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"valid": torch.arange(2)}, "comes with its own 'valid'; that can only be 'val' or 'test'"),
        ({"val": [0, 1]}, "own val is no tensor of sample numbers"),
        ({"test": torch.arange(10) < 2}, "own test is no tensor of sample numbers"),
        ({"test": torch.tensor(3)}, "own test is no tensor of sample numbers"),
        ({"test": torch.tensor([3, 10])}, "own test has samples outside 0 to 9"),
        ({"val": torch.tensor([3, -1])}, "own val has samples outside 0 to 9"),
        ({"val": torch.tensor([3, 4]), "test": torch.tensor([4, 5])}, "own splits, val and test, have samples twice"),
        ({"test": torch.tensor([4, 4])}, "own splits, test, have samples twice"),
    ],
)
def test_a_data_set_comes_with_a_val_and_a_test_of_its_own_samples_or_is_refused(own: Any, says: str) -> None:
    made = Tensors(torch.zeros(10, 1, 2, 2), torch.arange(10) % 2, 2, own)
    with pytest.raises(ValueError, match=says):
        Split(val=None if "val" in own else 0.2, test=None if "test" in own else 0.2).of(made)


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ({"fold": 1}, "fold = 1 needs folds = 2 or more"),
        ({"folds": 3, "fold": 3}, "fold = 3 needs folds = 4"),
        ({"folds": 3, "val": 0.1}, "write val = None"),
    ],
)
def test_contradictions_are_found_without_data(split: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Split(**split)


def test_masks_have_no_classes_to_stratify_by() -> None:
    masks = Tensors(torch.zeros(9, 1, 2, 2), torch.zeros(9, 2, 2), 1)
    with pytest.raises(ValueError, match="write stratify = False"):
        Split(0.2, 0.2).of(masks)
    assert sorted(len(one) for one in Split(0.2, 0.2, stratify=False).of(masks).values()) == [2, 2, 5]
