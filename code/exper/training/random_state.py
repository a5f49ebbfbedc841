"""Random numbers: most are a function of the seed and of what they are for; the rest is saved and restored."""

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch


def generator(*what: int | str) -> torch.Generator:
    """Return a generator on the CPU whose numbers depend on `what` alone, such as (seed, "order", epoch)."""
    return torch.Generator().manual_seed(_key(*what))


def _key(*what: int | str | None) -> int:
    return int.from_bytes(hashlib.blake2b(repr(what).encode(), digest_size=8).digest(), "little") >> 1


def start(seed: int, *more: int) -> None:
    """Seed the generators that libraries share: weights, dropout, and whatever else draws from them."""
    _seed(torch.manual_seed, seed, *more)


def _seed(torch_seed: Callable[[int], Any], seed: int | None, *more: int) -> None:
    random.seed(_key(seed, "python", *more))
    np.random.seed(_key(seed, "numpy", *more) % 2**32)
    torch_seed(_key(seed, "torch", *more))


def state() -> dict[str, Any]:
    """Return where the shared generators stand, in types that load with weights_only=True."""
    kind, keys, *rest = np.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    numpy = [kind, np.asarray(keys).tolist(), *rest]
    return {"python": random.getstate(), "numpy": numpy, "torch": torch.get_rng_state(), "cuda": cuda}


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Leave the shared generators where they are, whatever is drawn meanwhile."""
    before = state()
    try:
        yield
    finally:
        restore(before)


@contextlib.contextmanager
def seeded(seed: int | None, *more: int) -> Iterator[None]:
    """Have the shared generators of the CPU draw what depends on the arguments alone; then they are where they were."""
    python, numpy, torch_ = random.getstate(), np.random.get_state(), torch.get_rng_state()
    _seed(torch.default_generator.manual_seed, seed, *more)  # torch.manual_seed: 0.1 ms, for GPUs
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_)


def restore(saved: dict[str, Any]) -> None:
    """Put the shared generators back to where `state` found them."""
    random.setstate(saved["python"])
    np.random.set_state(tuple(saved["numpy"]))
    torch.set_rng_state(saved["torch"])
    for number, one in enumerate(saved["cuda"][: torch.cuda.device_count()]):  # there may be fewer GPUs than there were
        torch.cuda.set_rng_state(one, number)
