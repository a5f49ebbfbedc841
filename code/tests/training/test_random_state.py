import random
from pathlib import Path

import numpy as np
import pytest
import torch

from exper.training import random_state


def draws(generator: torch.Generator) -> list[float]:
    return list(torch.rand(4, generator=generator).tolist())


def shared() -> list[float]:
    return [random.random(), float(np.random.rand()), float(np.random.randn()), float(torch.rand(()))]


def test_a_generator_depends_only_on_its_purpose() -> None:
    random.seed(3)
    first = draws(random_state.generator(1, "order", 2))
    torch.rand(7)
    assert draws(random_state.generator(1, "order", 2)) == first


def test_generators_for_different_purposes_differ() -> None:
    purposes: list[tuple[int | str, ...]] = [
        (1, "order", 2),
        (1, "order", 3),
        (2, "order", 2),
        (1, "transform", 2),
        (1, "o", 2),
    ]
    assert len({tuple(draws(random_state.generator(*one))) for one in purposes}) == len(purposes)


def test_the_largest_seed_is_accepted() -> None:
    random_state.start(2**63 - 1)


def test_start_repeats_the_shared_generators() -> None:
    random_state.start(5)
    first = shared()
    random_state.start(5)
    assert shared() == first


def test_restore_goes_back_to_where_state_was_taken(tmp_path: Path) -> None:
    random_state.start(5)
    np.random.randn()  # leaves a second value in numpy's cache
    torch.save(random_state.state(), tmp_path / "state")
    first = shared()
    random_state.restore(torch.load(tmp_path / "state", weights_only=True))
    assert shared() == first


def test_states_of_missing_gpus_are_not_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    restored = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, number: restored.append((number, state.tolist())))
    random_state.restore(random_state.state() | {"cuda": [torch.tensor([3]), torch.tensor([4])]})
    assert restored == [(0, [3])]
