"""The first lines of a program that trains, before its slow imports. Imports no torch."""

import os

from exper.training import stopping


def listen(name: str) -> None:
    """Set what torch reads while it is imported; handle signals if `name`, a module's, is that of the program."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # else two runs on the same cores wait by spinning
    if name == "__main__":
        stopping.listen()
