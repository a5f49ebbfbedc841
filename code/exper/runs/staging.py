"""Folders `.new-<random>/` beside the runs of a tag, where things are made whole, or moved to be removed."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from exper.core import files, lock, paths
from exper.core.errors import Refused
from exper.runs import left_behind

_NEW = ".new-"
_LOCK = "lock"


@contextlib.contextmanager
def new(project: paths.Project, tag: paths.Tag) -> Iterator[tuple[Path, int]]:
    """Yield a locked folder and the lock; the folder is gone at the end, unless it has been renamed into a run.

    Raises:
        Refused: the disk is full, or may not be written.
    """
    try:
        with _made(project, tag) as made:
            yield made
    except OSError as error:
        raise Refused(f"no run can be put into {tag.folder}: {error.strerror or error}.") from None


@contextlib.contextmanager
def _made(project: paths.Project, tag: paths.Tag) -> Iterator[tuple[Path, int]]:
    project.result.mkdir(exist_ok=True)
    with lock.held(project.lock):
        tag.folder.mkdir(exist_ok=True)
        sweep(tag)
        folder = _make(tag)
        held = lock.take(folder / _LOCK)
        assert held is not None
    try:
        yield folder, held
    finally:
        if folder.exists():  # it has not become a run
            os.close(held)
            shutil.rmtree(folder, ignore_errors=True)
            with lock.held(project.lock), contextlib.suppress(OSError):
                tag.folder.rmdir()


def sweep(tag: paths.Tag) -> None:
    """Remove what commands that were killed have left; the project's lock is held."""
    for path in left(tag):
        files.remove(path)


def left(tag: paths.Tag) -> list[Path]:
    """Return what commands that were killed have left, and maybe what one is removing at this moment."""
    made = [folder for folder in tag.folder.glob(f"{_NEW}*") if left_behind.is_left(folder, folder / _LOCK)]
    return [*made, *tag.folder.glob(f".{tag.last_id.name}.*")]


def take_away(tag: paths.Tag, path: Path) -> Path:
    """Move a path of the tag out of sight by one rename; return the folder that is to be removed with it."""
    folder = _make(tag)
    os.rename(path, folder / path.name)
    return folder


def _make(tag: paths.Tag) -> Path:
    folder = tag.folder / f"{_NEW}{left_behind.new_name()}"
    folder.mkdir()
    return folder
