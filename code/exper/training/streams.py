"""Random numbers: most are a function of the seed and of what they are for; the rest is saved and restored."""

import hashlib
import random
from typing import Any

import numpy as np
import torch


def key(*what: int | str) -> int:
    """Return a number of 63 bits that depends on `what` alone, such as (seed, "order", epoch)."""
    digest = hashlib.blake2b(repr(what).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*what: int | str) -> torch.Generator:
    """Return a generator on the CPU that starts at `key(*what)`."""
    return torch.Generator().manual_seed(key(*what))


def start(seed: int) -> None:
    """Seed the generators that libraries share: weights, dropout, and whatever user code draws."""
    random.seed(key(seed, "python"))
    np.random.seed(key(seed, "numpy") % 2**32)
    torch.manual_seed(key(seed, "torch"))


def state(device: torch.device) -> dict[str, Any]:
    """Return where the shared generators stand, in types that load with weights_only=True."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    found = {
        "python": random.getstate(),
        "numpy": [str(kind), np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def restore(saved: dict[str, Any], device: torch.device) -> None:
    """Put the shared generators back to where `state` found them."""
    random.setstate(saved["python"])
    np.random.set_state(tuple(saved["numpy"]))
    torch.set_rng_state(saved["torch"])
    if device.type == "cuda" and "cuda" in saved:
        torch.cuda.set_rng_state(saved["cuda"], device)
