"""Where a verification trains: under its own lock, in a folder that no command takes for a run."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from exper.core import files, lock, paths
from exper.core.errors import Refused
from exper.runs import staging


def new(project: paths.Project, run: paths.Run) -> tuple[paths.Verification, int]:
    """Make a place to repeat `run` in, and hold its lock; what earlier verifications have left goes.

    Raises:
        Refused: the disk is full, or may not be written.
    """
    place = paths.Verification(project.verifications / f"{run.tag}-{run.id}-{staging.unique_name()}")
    try:
        with lock.held(project.lock):
            sweep(project)
            place.folder.mkdir(parents=True)
            held = lock.take(place.lock)
    except OSError as error:
        raise Refused(f"no run can be put into {project.verifications}: {error.strerror or error}.") from None
    assert held is not None
    return place, held


def remove(project: paths.Project, place: paths.Verification, held: int) -> None:
    """Remove a place, whose lock we hold; first it is renamed, as what draws its picture may be at work still."""
    gone = place.folder.with_name(f".{place.folder.name}")
    os.rename(place.folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
    os.close(held)
    with lock.held(project.lock), contextlib.suppress(OSError):  # there are others in it
        project.verifications.rmdir()


def earlier(project: paths.Project, run: paths.Run) -> list[list[dict[str, Any]]]:
    """Return the histories that earlier verifications of a run have left: those that differed, or were killed."""
    found = []
    for place in _all(project):
        with contextlib.suppress(Refused, OSError):
            record = files.read_json(place.record)
            if (record.get("tag"), record.get("id")) == (run.tag, run.id):
                found.append(files.read_lines(place.history))
    return found


def sweep(project: paths.Project) -> None:
    """Remove what verifications have left; the project's lock is held."""
    for folder in left(project):
        shutil.rmtree(folder, ignore_errors=True)


def left(project: paths.Project) -> list[Path]:
    """Return what verifications have left: those that differed, or were killed."""
    return [place.folder for place in _all(project) if staging.is_abandoned(place.folder, place.lock)]


def _all(project: paths.Project) -> list[paths.Verification]:
    try:
        names = os.listdir(project.verifications)
    except OSError:
        return []
    return [paths.Verification(project.verifications / name) for name in sorted(names)]
