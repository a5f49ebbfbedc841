"""The folder that a verification trains in: under its own lock, and no run for any other command."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from exper.core import files, lock, paths
from exper.core.errors import Refused
from exper.runs import staging


class Workspace(NamedTuple):
    """The folder of a repetition, and the descriptor of its lock."""

    run: paths.Verification
    lock: int


def new(project: paths.Project, run: paths.Run) -> Workspace:
    """Make a folder to repeat `run` in, and take its lock; remove the folders of ended verifications.

    Raises:
        Refused: the disk is full or read-only.
    """
    repetition = paths.Verification(project.verifications / f"{run.tag}-{run.id}-{staging.unique_name()}")
    try:
        with lock.held(project.lock):
            sweep(project)
            repetition.folder.mkdir(parents=True)
            held = lock.take(repetition.lock)
    except OSError as error:
        raise Refused(f"no run can be put into {project.verifications}: {error.strerror or error}.") from None
    assert held is not None
    return Workspace(repetition, held)


def remove(project: paths.Project, run: paths.Verification, held: int) -> None:
    """Remove a folder whose lock this process holds."""
    renamed = run.folder.with_name(f".{run.folder.name}")
    os.rename(run.folder, renamed)  # first: the program that draws its picture may still write there
    shutil.rmtree(renamed, ignore_errors=True)
    os.close(held)
    with lock.held(project.lock), contextlib.suppress(OSError):  # it is not empty
        project.verifications.rmdir()


def earlier(project: paths.Project, run: paths.Run) -> list[list[dict[str, Any]]]:
    """Return the histories of earlier verifications of a run, of those that differed or were killed."""
    histories = []
    for repetition in _all(project):
        with contextlib.suppress(Refused, OSError):
            record = files.read_json(repetition.record)
            if (record.get("tag"), record.get("id")) == (run.tag, run.id):
                histories.append(files.read_lines(repetition.history))
    return histories


def sweep(project: paths.Project) -> None:
    """Remove the folders of ended verifications; the caller holds the project's lock."""
    for folder in left(project):
        shutil.rmtree(folder, ignore_errors=True)


def left(project: paths.Project) -> list[Path]:
    """Return the folders of verifications that differed or were killed."""
    return [run.folder for run in _all(project) if staging.is_abandoned(run.folder, run.lock)]


def _all(project: paths.Project) -> list[paths.Verification]:
    try:
        names = os.listdir(project.verifications)
    except OSError:
        return []
    return [paths.Verification(project.verifications / name) for name in sorted(names)]
