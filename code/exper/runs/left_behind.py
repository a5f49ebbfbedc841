"""Folders that a command which was killed has left, told from those that one is at work in, also on another host.

A lock tells of processes of this host alone, for sure. So names hold a mark of the host, and what another host has made
is left behind once nothing has happened to it for an hour.
"""

import hashlib
import os
from pathlib import Path

from exper.core import host_info, lock
from exper.runs import status

_OLD_SECONDS = 3600.0


def new_name() -> str:
    """Return a name, or the end of one, that nobody else takes."""
    return f"{_mark()}{os.urandom(6).hex()}"


def is_left(folder: Path, held: Path) -> bool:
    """Tell whether nobody is at work in a folder whose name ends with a `new_name`; `held` is the lock in it."""
    if lock.is_held(held):
        return False
    return _mark() in folder.name or _is_old(folder)


def _mark() -> str:
    return hashlib.sha256(host_info.host().encode()).hexdigest()[:6]


def _is_old(folder: Path) -> bool:
    """Tell whether neither the folder nor the heartbeat in it has changed for long."""
    changed = 0.0
    for path in (folder, folder / "heartbeat"):
        try:
            changed = max(changed, path.stat().st_mtime)
        except OSError:
            continue
    return status.clock(folder.parent) - changed > _OLD_SECONDS
