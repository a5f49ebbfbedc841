"""The progress bar of an epoch."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
tqdm.monitor_interval = 0  # no watching thread: data workers are forked


def bar(items: Iterable[Item], title: str, total: int, done: int = 0, verbose: str = "batch") -> Iterable[Item]:
    """Yield `items` behind a bar, which is drawn twice a second at most and vanishes at the end.

    It is shown only on a terminal, and only if `verbose` is "batch".
    """
    hidden = None if verbose == "batch" else True  # None: hidden where no terminal is
    return tqdm(items, title, total, initial=done, leave=False, mininterval=0.5, dynamic_ncols=True, disable=hidden)
