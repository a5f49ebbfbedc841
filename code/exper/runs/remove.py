"""Runs and tags taken back: gone at once for a reader, by one rename."""

import contextlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from exper.core import lock, paths
from exper.repository.repository import Repository, TagObject, TagTaken
from exper.runs import ids, lists, snapshot, staging, status


def remove_run(project: paths.Project, run: paths.Run) -> None:
    """Remove a run of ours; its id is never given again."""
    _remove_runs(project, [run], lambda _: False)


def remove_runs(project: paths.Project, runs: Iterable[paths.Run]) -> list[str]:
    """Remove runs; their ids are never given again. Return a line for each that somebody has taken up meanwhile."""
    return [f"{run} stays: it is being worked on by now" for run in _remove_runs(project, runs, status.is_busy)]


def _remove_runs(
    project: paths.Project, runs: Iterable[paths.Run], stays: Callable[[paths.Run], bool]
) -> list[paths.Run]:
    gone: list[Path] = []
    of: dict[paths.Tag, None] = {}
    left = []
    try:
        for run in runs:
            tag = project.tag(run.tag)
            with lock.held(project.lock):  # under which runs are taken up
                if stays(run):
                    left.append(run)
                    continue
                ids.save_highest(tag)
                ids.record_removed(tag, run.id)
                gone.append(staging.move_away(tag, run.folder))
            of[tag] = None
    finally:
        complete_removal(project, of, gone)
    return left


def complete_removal(project: paths.Project, of: Iterable[paths.Tag], gone: Iterable[Path] = ()) -> None:
    """Do what follows the removal of runs of these tags, which a kill may have cut off."""
    lists.remove(project, lists.FINISHED, {str(run) for tag in of for run in removed_runs(tag)})
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    for tag in of:
        snapshot.release(project, tag)  # it may have been the last run that had not finished


def removed_runs(tag: paths.Tag) -> list[paths.Run]:
    """Return the runs of a tag that have been removed."""
    return [run for run in map(tag.run, ids.removed(tag)) if not run.folder.exists()]


def remove_tags(project: paths.Project, repository: Repository, tags: list[TagObject]) -> list[str]:
    """Delete git tags and what is remembered of them; return a line for each that stays, as a run of it has begun.

    Raises:
        TagTaken: one has been moved or deleted meanwhile; all stay.
    """
    project.result.mkdir(exist_ok=True)
    with lock.held(project.lock):  # under which runs are born
        free = [one for one in tags if not project.tag(one.name).runs()]
        if free:
            repository.delete_tags(*free)
    for one in free:
        remove_tag_folder(project, project.tag(one.name))
    return [f"the tag {one.name} stays: it has a run by now" for one in tags if one not in free]


def remove_tag_folder(project: paths.Project, tag: paths.Tag) -> None:
    """Remove the folder of a tag that has no runs, and with it the memory of its ids; a start is left alone.

    A search's journal and the line of its list that it has made go too.
    """
    if tag.folder.exists():
        with lock.held(project.lock):
            if not tag.runs():
                _remove_folder(tag)
    lists.remove_search(project, tag.name)


def undo_tag(project: paths.Project, repository: Repository, made: TagObject) -> None:
    """Delete a tag that was made for a run that has not come to be, and its folder, unless another run has."""
    tag = project.tag(made.name)
    with lock.held(project.lock):
        if not tag.runs():
            with contextlib.suppress(TagTaken):  # why it is taken back matters more
                repository.delete_tags(made)
            _remove_folder(tag)


def _remove_folder(tag: paths.Tag) -> None:
    staging.sweep(tag)
    shutil.rmtree(tag.snapshot, ignore_errors=True)
    of_search = tag.folder.glob("search.*")  # journal, Optuna's lock beside it, and jobs
    for path in (tag.last_id, tag.removed_ids, *of_search):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a start is under way in it, or it is not there
        tag.folder.rmdir()
