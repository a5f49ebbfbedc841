"""What a person sees while it trains: a bar during an epoch, and one line after it."""

from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


class _Bar(tqdm):  # type: ignore[type-arg]
    monitor_interval = 0  # no watching thread: data workers are forked


def bar(items: Iterable[Item], title: str, total: int, done: int = 0) -> Iterable[Item]:
    """Yield `items` behind a bar that vanishes at the end; only a terminal gets it, twice a second at most."""
    return _Bar(items, title, total, initial=done, leave=False, mininterval=0.5, dynamic_ncols=True, disable=None)


def line(values: dict[str, Any], epochs: int) -> str:
    """Return an epoch's line of history for people, such as `epoch  3/10  train/loss 0.2113  …  1.2 s`."""
    shown = [f"epoch {values['epoch']:{len(str(epochs))}}/{epochs}"]
    shown += [f"{name} {values[name]:.4g}" for name in values if "/" in name or name == "lr"]
    return "  ".join([*shown, f"{values['seconds']:.1f} s"])
