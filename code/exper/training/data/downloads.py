"""Data sets that torchvision downloads on first use."""

import socket
from pathlib import Path
from typing import Any, NamedTuple

from exper.core import lock
from exper.core.errors import Refused


class Downloaded(NamedTuple):
    """Two data sets of torchvision, with the attributes `data` and `targets`."""

    train: Any
    test: Any


def train_and_test(kind: str, root: Path, by_hand: str) -> Downloaded:
    """Return torchvision.datasets.<kind>; download it if it is not there.

    Args:
        kind: the class, such as "MNIST".
        root: the folder that torchvision gets.
        by_hand: the files to put somewhere by hand, for a machine without network.

    Raises:
        Refused: the files are missing or damaged, and can't be downloaded.
    """
    from torchvision import datasets  # takes 1.5 s, which other data sets don't wait for

    def load(download: bool) -> Downloaded:
        dataset = getattr(datasets, kind)
        return Downloaded(*(dataset(root, train=is_train, download=download) for is_train in (True, False)))

    try:
        return load(download=False)  # complete: nothing is written, no lock needed
    except Exception:
        print(f"{kind} is not in {root} yet: downloads it, or waits for a run that does")
    timeout_seconds = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(30)  # some networks drop forbidden packets silently
        root.mkdir(parents=True, exist_ok=True)
        with lock.held(root / f".{kind}.lock", wait_seconds=3600):
            return load(download=True)
    except Exception as error:  # urllib, gzip, tarfile and torchvision raise many kinds; the message has its text
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise Refused(f"data: {kind} can't be downloaded or read ({reason}). Put {by_hand} by hand.") from error
    finally:
        socket.setdefaulttimeout(timeout_seconds)
