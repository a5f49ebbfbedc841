"""Folders `.new-<random>/` beside the runs of a tag: a run is prepared in one, and moved into one to be removed.

A killed command leaves its folder. A lock tells for sure only about processes of this host. So names hold a mark of the
host, and a folder of another host counts as abandoned once nothing has changed in it for an hour.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from exper.core import files, host_info, lock, paths
from exper.core.errors import Refused
from exper.runs import status

_PREFIX = ".new-"
_LOCK = "lock"
_ABANDONED_SECONDS = 3600.0


class Staged(NamedTuple):
    """A folder that becomes a run, and the descriptor of the lock in it."""

    folder: Path
    lock: int


@contextlib.contextmanager
def new(project: paths.Project, tag: paths.Tag) -> Iterator[Staged]:
    """Yield a new folder; the folder is removed at the end, unless it has been renamed into a run.

    Raises:
        Refused: the disk is full, or can't be written.
    """
    try:
        with _created(project, tag) as staged:
            yield staged
    except OSError as error:
        raise Refused(f"no run can be put into {tag.folder}: {error.strerror or error}.") from None


@contextlib.contextmanager
def _created(project: paths.Project, tag: paths.Tag) -> Iterator[Staged]:
    project.result.mkdir(exist_ok=True)
    with lock.held(project.lock):
        tag.folder.mkdir(exist_ok=True)
        sweep(tag)
        folder = _make(tag)
        held = lock.take(folder / _LOCK)
        assert held is not None
    try:
        yield Staged(folder, held)
    finally:
        if folder.exists():  # it has not become a run
            os.close(held)
            shutil.rmtree(folder, ignore_errors=True)
            with lock.held(project.lock), contextlib.suppress(OSError):
                tag.folder.rmdir()


def sweep(tag: paths.Tag) -> None:
    """Remove the leftovers of killed commands; the caller holds the project's lock."""
    for path in leftovers(tag):
        files.remove(path)


def leftovers(tag: paths.Tag) -> list[Path]:
    """Return the leftovers of killed commands, and possibly a folder that a command is removing at this moment."""
    folders = [folder for folder in tag.folder.glob(f"{_PREFIX}*") if is_abandoned(folder, folder / _LOCK)]
    return [*folders, *tag.folder.glob(f".{tag.last_id.name}.*")]


def move_away(tag: paths.Tag, path: Path) -> Path:
    """Move a path of the tag into a folder that is to be removed, by one rename; return that folder."""
    folder = _make(tag)
    os.rename(path, folder / path.name)
    return folder


def unique_name() -> str:
    """Return a name, or the end of a name, that no other process takes; it marks this host."""
    return f"{_host_mark()}{os.urandom(6).hex()}"


def is_abandoned(folder: Path, lock_file: Path) -> bool:
    """Tell whether no process works in a folder whose name ends with a `unique_name` and which holds `lock_file`."""
    if lock.is_held(lock_file):
        return False
    return _host_mark() in folder.name or _is_old(folder)


def _make(tag: paths.Tag) -> Path:
    folder = tag.folder / f"{_PREFIX}{unique_name()}"
    folder.mkdir()
    return folder


def _host_mark() -> str:
    return hashlib.sha256(host_info.host().encode()).hexdigest()[:6]


def _is_old(folder: Path) -> bool:
    """Tell whether neither the folder nor the heartbeat in it has changed for an hour."""
    changed = 0.0
    for path in (folder, folder / "heartbeat"):
        try:
            changed = max(changed, path.stat().st_mtime)
        except OSError:
            continue
    return status.file_system_time(folder.parent) - changed > _ABANDONED_SECONDS
