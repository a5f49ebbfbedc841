"""Data sets that torchvision downloads on first use."""

import socket
from pathlib import Path
from typing import Any

from exper.core import lock
from exper.core.errors import Refused


def train_and_test(kind: str, root: Path, by_hand: str) -> list[Any]:
    """Return both parts of torchvision.datasets.<kind>.

    Args:
        kind: the class, such as "MNIST".
        root: the folder that torchvision gets.
        by_hand: which files to put where, for a machine without network.

    Raises:
        Refused: the files are not there, or broken, and can't be downloaded.
    """
    from torchvision import datasets  # takes 1.5 s, which other data sets need not wait for

    def load(download: bool) -> list[Any]:
        return [getattr(datasets, kind)(root, train=is_train, download=download) for is_train in (True, False)]

    try:
        return load(download=False)  # all there: nothing is written, no lock needed
    except Exception:
        print(f"{kind} is not in {root} yet: downloads it, or waits for a run that does")
    seconds = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(30)  # some networks drop what they forbid, and nothing ever comes back
        root.mkdir(parents=True, exist_ok=True)
        with lock.held(root / f".{kind}.lock", wait_seconds=3600):
            return load(download=True)
    except Exception as error:  # whatever urllib, gzip, tarfile and torchvision raise; its text is in the line
        why = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise Refused(f"data: {kind} can't be downloaded or read ({why}). Put {by_hand} by hand.") from error
    finally:
        socket.setdefaulttimeout(seconds)
