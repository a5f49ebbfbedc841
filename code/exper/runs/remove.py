"""Remove runs and tags. For a reader a run is gone at once, by one rename."""

import contextlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from exper.core import lock, paths
from exper.repository.objects import TagObject
from exper.repository.repository import Repository, TagTaken
from exper.runs import ids, lists, snapshot, staging, status


def remove_run(project: paths.Project, run: paths.Run) -> None:
    """Remove a run whose lock the caller holds; its id is never given again."""
    _remove_runs(project, [run], is_kept=lambda _: False)


def remove_runs(project: paths.Project, runs: Iterable[paths.Run]) -> list[str]:
    """Remove runs; their ids are never given again. Return a line for each that has become busy and is kept."""
    return [f"{run} stays: it is being worked on by now" for run in _remove_runs(project, runs, status.is_busy)]


def _remove_runs(
    project: paths.Project, runs: Iterable[paths.Run], is_kept: Callable[[paths.Run], bool]
) -> list[paths.Run]:
    moved: list[Path] = []
    tags: dict[paths.Tag, None] = {}
    kept = []
    try:
        for run in runs:
            tag = project.tag(run.tag)
            with lock.held(project.lock):  # a run is resumed under this lock
                if is_kept(run):
                    kept.append(run)
                    continue
                ids.save_highest(tag)
                ids.record_removed(tag, run.id)
                moved.append(staging.move_away(tag, run.folder))
            tags[tag] = None
    finally:
        complete_removal(project, tags, moved)
    return kept


def complete_removal(project: paths.Project, tags: Iterable[paths.Tag], moved: Iterable[Path] = ()) -> None:
    """Finish the removal of runs of these tags, which a kill may have interrupted; `moved` are their folders."""
    lists.remove(project, lists.FINISHED, {str(run) for tag in tags for run in removed_runs(tag)})
    for folder in moved:
        shutil.rmtree(folder, ignore_errors=True)
    for tag in tags:
        snapshot.release(project, tag)  # it may have been the last run that had not finished


def removed_runs(tag: paths.Tag) -> list[paths.Run]:
    """Return the runs of a tag that have been removed."""
    return [run for run in map(tag.run, ids.removed(tag)) if not run.folder.exists()]


def remove_tags(project: paths.Project, repository: Repository, tags: list[TagObject]) -> list[str]:
    """Delete git tags and their folders; return a line for each tag that is kept because it has a new run.

    Raises:
        TagTaken: a tag has been moved or deleted meanwhile; all are kept.
    """
    project.result.mkdir(exist_ok=True)
    with lock.held(project.lock):  # a run is created under this lock
        free = [tag for tag in tags if not project.tag(tag.name).runs()]
        if free:
            repository.delete_tags(*free)
    for tag in free:
        remove_tag_folder(project, project.tag(tag.name))
    return [f"the tag {tag.name} stays: it has a run by now" for tag in tags if tag not in free]


def remove_tag_folder(project: paths.Project, tag: paths.Tag) -> None:
    """Remove the folder of a tag without runs, unless a run is being created in it: its ids are given anew.

    The journal of a search and its line in the list of its name are removed too.
    """
    if tag.folder.exists():
        with lock.held(project.lock):
            if not tag.runs():
                _remove_files(tag)
    lists.remove_search(project, tag.name)


def undo_tag(project: paths.Project, repository: Repository, tag: TagObject) -> None:
    """Delete a tag that was made for a run which was not created, and its folder, unless it has another run."""
    folder = project.tag(tag.name)
    with lock.held(project.lock):
        if not folder.runs():
            with contextlib.suppress(TagTaken):  # the error for which it is undone matters more
                repository.delete_tags(tag)
            _remove_files(folder)


def _remove_files(tag: paths.Tag) -> None:
    staging.sweep(tag)
    shutil.rmtree(tag.snapshot, ignore_errors=True)
    search_files = tag.folder.glob("search.*")  # the journal, Optuna's lock beside it, and the jobs
    for path in (tag.last_id, tag.removed_ids, *search_files):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a run is being created in it, or it is not there
        tag.folder.rmdir()
