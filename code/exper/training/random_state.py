"""Random numbers: most are a function of the seed and their purpose; the other generators are saved and restored."""

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch


def generator(*purpose: int | str) -> torch.Generator:
    """Return a generator on the CPU whose numbers depend only on `purpose`, such as (seed, "order", epoch)."""
    return torch.Generator().manual_seed(_key(*purpose))


def _key(*purpose: int | str | None) -> int:
    return int.from_bytes(hashlib.blake2b(repr(purpose).encode(), digest_size=8).digest(), "little") >> 1


def start(seed: int, *more: int) -> None:
    """Seed the global generators of Python, numpy and torch, which initialize weights and draw dropout."""
    _seed(torch.manual_seed, seed, *more)


def _seed(torch_seed: Callable[[int], Any], seed: int | None, *more: int) -> None:
    random.seed(_key(seed, "python", *more))
    np.random.seed(_key(seed, "numpy", *more) % 2**32)
    torch_seed(_key(seed, "torch", *more))


def state() -> dict[str, Any]:
    """Return the state of the global generators, in types that load with weights_only=True."""
    kind, keys, *rest = np.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    numpy = [kind, np.asarray(keys).tolist(), *rest]
    return {"python": random.getstate(), "numpy": numpy, "torch": torch.get_rng_state(), "cuda": cuda}


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Restore the global generators after the block."""
    before = state()
    try:
        yield
    finally:
        restore(before)


@contextlib.contextmanager
def seeded(seed: int | None, *more: int) -> Iterator[None]:
    """Seed the CPU's global generators with the arguments for the block, and restore them after it."""
    python = random.getstate()
    numpy = np.random.get_state()
    torch_ = torch.get_rng_state()
    _seed(torch.default_generator.manual_seed, seed, *more)  # torch.manual_seed takes 0.1 ms, for GPUs
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_)


def restore(saved: dict[str, Any]) -> None:
    """Restore the global generators to a state that `state` returned."""
    random.setstate(saved["python"])
    np.random.set_state(tuple(saved["numpy"]))
    torch.set_rng_state(saved["torch"])
    gpus = torch.cuda.device_count()  # may be fewer than when the state was saved
    for number, cuda in enumerate(saved["cuda"][:gpus]):
        torch.cuda.set_rng_state(cuda, number)
