"""Which of several processes that train together this one is. Imports no torch."""

import os


def number() -> int:
    """Return this process's number; 0: the first, or the only one."""
    return int(os.environ["RANK"]) if "EXPER_LAUNCHER" in os.environ else 0


def is_first() -> bool:
    """Tell whether this process is the one that writes."""
    return number() == 0


def say(text: str) -> None:
    """Print what all processes have to say, once."""
    if is_first():
        print(text)
