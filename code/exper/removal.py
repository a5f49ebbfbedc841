"""Runs and tags taken back: gone at once for a reader, by one rename."""

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from exper import beside, ids, lists, lock, paths, snapshot
from exper.repository import Repository, TagObject


def remove_run(project: paths.Project, run: paths.Run) -> None:
    """Remove a run; its id is never given again."""
    remove_runs(project, [run])


def remove_runs(project: paths.Project, runs: Iterable[paths.Run]) -> None:
    """Remove runs; their ids are never given again."""
    gone: list[Path] = []
    of: dict[paths.Tag, None] = {}
    try:
        for run in runs:
            tag = project.tag(run.tag)
            with lock.held(project.lock):
                ids.keep_last(tag)
                ids.note_removed(tag, run.id)
                gone.append(beside.take_away(tag, run.folder))
            of[tag] = None
    finally:
        finish(project, of, gone)


def finish(project: paths.Project, of: Iterable[paths.Tag], gone: Iterable[Path] = ()) -> None:
    """Do what follows the removal of runs of these tags, which a kill may have cut off."""
    lists.remove(project, lists.FINISHED, {str(run) for tag in of for run in removed(tag)})
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    for tag in of:
        snapshot.release(project, tag)  # it may have been the last run that had not finished


def removed(tag: paths.Tag) -> list[paths.Run]:
    """Return the runs of a tag that have been removed."""
    return [run for run in map(tag.run, ids.removed(tag)) if not run.folder.exists()]


def forget_tag(project: paths.Project, tag: paths.Tag) -> None:
    """Remove the folder of a tag that has no runs, and with it the memory of its ids; a start is left alone.

    A search's journal and the line of its list that it has made go too.
    """
    if tag.folder.exists():
        with lock.held(project.lock):
            if not tag.runs():
                _remove_folder(tag)
    lists.forget_search(project, tag.name)


def take_back_tag(project: paths.Project, repository: Repository, made: TagObject) -> None:
    """Delete a tag that was made for a run that has not come to be, and its folder, unless another run has."""
    tag = project.tag(made.name)
    with lock.held(project.lock):
        if not tag.runs():
            repository.delete_tags(made)
            _remove_folder(tag)


def _remove_folder(tag: paths.Tag) -> None:
    beside.sweep(tag)
    shutil.rmtree(tag.snapshot, ignore_errors=True)
    of_search = tag.folder.glob("search.*")  # journal, Optuna's lock beside it, and jobs
    for path in (tag.last_id, tag.removed_ids, *of_search):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a start is under way in it, or it is not there
        tag.folder.rmdir()
