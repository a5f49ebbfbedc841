"""Ask before something goes for good."""

import sys

from exper.core.errors import Refused


def to_remove(*, yes: bool) -> None:
    """Return if the user wants what has just been named to go.

    Raises:
        Refused: he does not, or nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused("nothing removed: nobody to ask. Add --yes.")
    if input("Remove? [y/N] ").strip().lower() not in ("y", "yes"):
        raise Refused("nothing removed.")
