"""The bar that a person sees during an epoch."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
tqdm.monitor_interval = 0  # no watching thread: data workers are forked


def bar(items: Iterable[Item], title: str, total: int, done: int = 0, verbose: str = "batch") -> Iterable[Item]:
    """Yield `items` behind a bar that vanishes at the end; only a terminal shows it, drawn twice a second at most.

    There is none unless `verbose` is "batch".
    """
    hidden = None if verbose == "batch" else True  # None: where no terminal is
    return tqdm(items, title, total, initial=done, leave=False, mininterval=0.5, dynamic_ncols=True, disable=hidden)
