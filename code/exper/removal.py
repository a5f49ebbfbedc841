"""Runs and tags taken back: gone at once for a reader, by one rename."""

import contextlib
import shutil

from exper import beside, ids, lists, lock, paths, snapshot
from exper.repository import Repository, TagObject


def remove_run(project: paths.Project, run: paths.Run) -> None:
    """Remove a run; its id is never given again."""
    tag = project.tag(run.tag)
    with lock.held(project.lock):
        ids.keep_last(tag)
        folder = beside.take_away(tag, run.folder)
    lists.remove(project, lists.FINISHED, {str(run)})
    shutil.rmtree(folder, ignore_errors=True)
    snapshot.release(project, tag)  # it may have been the last run that had not finished


def forget_tag(project: paths.Project, tag: paths.Tag) -> None:
    """Remove the folder of a tag that has no runs, and with it the memory of its ids; a start is left alone."""
    if tag.folder.exists():
        with lock.held(project.lock):
            if not tag.runs():
                _remove_folder(tag)


def take_back_tag(project: paths.Project, repository: Repository, made: TagObject) -> None:
    """Delete a tag that was made for a run that has not come to be, and its folder, unless another run has."""
    tag = project.tag(made.name)
    with lock.held(project.lock):
        if not tag.runs():
            repository.delete_tag(made)
            _remove_folder(tag)


def _remove_folder(tag: paths.Tag) -> None:
    beside.sweep(tag)
    shutil.rmtree(tag.snapshot, ignore_errors=True)
    tag.last_id.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a start is under way in it, or it is not there
        tag.folder.rmdir()
