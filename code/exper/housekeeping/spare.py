"""Spare files and tags: find them first, then remove them one by one, each while nothing uses it.

A kill during a removal leaves files that the next call finds again.
"""

import fnmatch
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from exper.core import files, lock, paths
from exper.core.errors import Refused
from exper.core.messages import count
from exper.repository.objects import TagObject
from exper.repository.repository import Repository, TagTaken
from exper.runs import lists, run_record, select, staging, status
from exper.runs import remove as removal
from exper.runs.tags import UNTAGGED
from exper.verify import workspace

Tags = Mapping[str, TagObject]
_OLD_SECONDS = 60  # a younger file may be being written: history.png is drawn after the end of a run


class Spare(NamedTuple):
    """Something to remove: its description, its bytes, and its removal, which returns why it failed, if it did."""

    what: str
    size: int
    remove: Callable[[], str | None]


# -- of tags -----------------------------------------------------------------------------------------------------------


def of_tag(project: paths.Project, tag: paths.Tag, git_tags: Tags) -> Iterator[Spare]:
    """Yield the leftovers of killed commands in a tag's folder, its snapshot, and the folder if the tag is gone."""
    left = staging.leftovers(tag)
    if left:
        sweep = partial(_sweep, project, tag)
        yield Spare(f"{tag.name}: what a killed command has left", sum(map(files.size, left)), sweep)
    if tag.snapshot.exists() and _is_unused(tag, git_tags):
        remove = partial(_remove_snapshot, project, tag, git_tags)
        yield Spare(f"{tag.name}: its snapshot", files.size(tag.snapshot), remove)
    if is_forgotten(project, tag, git_tags):
        yield Spare(f"{tag.name}: its folder, as tag and runs are gone", 0, partial(_forget, project, tag))


def _sweep(project: paths.Project, tag: paths.Tag) -> None:
    with lock.held(project.lock):
        staging.sweep(tag)


def _is_unused(tag: paths.Tag, git_tags: Tags) -> bool:
    """Tell whether no process uses the snapshot, and git holds the code of every run that can continue."""
    return all(not status.is_busy(run) and _is_in_git(run, git_tags.get(tag.name)) for run in tag.runs())


def _is_in_git(run: paths.Run, git_tag: TagObject | None) -> bool:
    try:
        record = run_record.read(run)
    except Refused:
        return False
    return record["status"] == "finished" or (git_tag is not None and git_tag.commit == record.get("commit"))


def _remove_snapshot(project: paths.Project, tag: paths.Tag, git_tags: Tags) -> str | None:
    with lock.held(project.lock):
        if not tag.snapshot.exists():
            return None
        if not _is_unused(tag, git_tags):
            return f"{tag.name}: its snapshot is in use again, so it stays"
        folder = staging.move_away(tag, tag.snapshot)
    shutil.rmtree(folder, ignore_errors=True)
    return None


def is_forgotten(project: paths.Project, tag: paths.Tag, git_tags: Tags) -> bool:
    """Tell whether a tag is gone and its folder holds no runs, only the notes about their ids."""
    if tag.name in git_tags or tag.name == UNTAGGED:
        return False
    ours = {path.name for path in (tag.last_id, tag.removed_ids, tag.snapshot)}
    there = {path.name for path in tag.folder.glob("*")} - {path.name for path in staging.leftovers(tag)}
    if not all(name in ours or _of_search(name) for name in there):
        return False
    return not project.trials(tag.name) and tag.name not in map(paths.search_of, git_tags)


def _forget(project: paths.Project, tag: paths.Tag) -> str | None:
    if not is_forgotten(project, tag, Repository(project.root).tags_of_commits()):
        return f"{tag.name}: its folder is in use again, so it stays"
    removal.remove_tag_folder(project, tag)
    return None


def _of_search(name: str) -> bool:
    return name.startswith("search.")


def trial_tags(project: paths.Project, repository: Repository, git_tags: Tags, problems: list[str]) -> Iterator[Spare]:
    """Yield the git tags of trials without runs, for each search that was begun here and is not running.

    The tags of a search that can't be read stay, with an error in `problems`.
    """
    from exper.search import study  # imports Optuna, which is slow

    for search in sorted({*map(paths.search_of, git_tags)} - {""}):
        tag = project.tag(search)
        if not tag.journal.exists() or search not in git_tags:  # begun elsewhere, and fetched
            continue
        try:
            if study.is_under_way(study.load(tag, git_tags[search].commit, None)):
                continue
        except Refused as refusal:
            problems.append(f"{search}: {refusal} The git tags of its trials stay")
            continue
        trials = [tag for name, tag in git_tags.items() if paths.search_of(name) == search]
        unused = [tag for tag in trials if not project.tag(tag.name).runs()]
        if unused:
            what = f"{search}: {count(len(unused), 'git tag')} of trials without runs"
            yield Spare(what, 0, partial(_remove_tags, project, repository, unused))


def _remove_tags(project: paths.Project, repository: Repository, unused: list[TagObject]) -> str | None:
    try:
        return "\n".join(removal.remove_tags(project, repository, unused)) or None
    except TagTaken as error:
        return f"a tag has changed meanwhile, so all of them stay: {error}"


def verifications(project: paths.Project) -> Iterator[Spare]:
    """Yield the folders that verifications have left."""
    left = workspace.left(project)
    if left:
        what = f"{paths.from_here(project.verifications)}: what {count(len(left), 'verification')} left"
        yield Spare(what, sum(map(files.size, left)), partial(_sweep_verifications, project))


def _sweep_verifications(project: paths.Project) -> None:
    with lock.held(project.lock):
        workspace.sweep(project)


# -- of runs -----------------------------------------------------------------------------------------------------------


def half_written(run: paths.Run) -> Iterator[Spare]:
    """Yield the files and folders that were being written when a run, or an evaluation of it, was killed."""
    left = _half_written(run)
    if left:
        what = f"{run}: {count(len(left), 'file')} that a kill has left half written"
        yield Spare(what, sum(map(files.size, left)), partial(_remove_half_written, run))


def _half_written(run: paths.Run) -> list[Path]:
    if status.is_busy(run):
        return []
    replaced = (run.record, run.statistic, run.picture, run.prune, run.job_script, run.seed)
    near = [path for target in replaced for path in run.folder.glob(f".{target.name}.*")]
    left = [path for path in near if files.HALF_WRITTEN.fullmatch(path.suffix)]
    left += [*run.checkpoint.glob(".*"), *run.evaluated(0).parent.glob(".epoch_*")]
    return [path for path in left if _is_old(path)]


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > _OLD_SECONDS
    except FileNotFoundError:
        return False


def _remove_half_written(run: paths.Run) -> None:
    for path in _half_written(run):
        files.remove(path)


def lines(project: paths.Project) -> Iterator[Spare]:
    """Yield the lines of finished.txt whose runs are gone."""
    path = project.list_file(lists.FINISHED)
    entries = lists.entries(path) if path.exists() else []
    locked = project.locked_names()  # folders of another user: their runs can't be seen
    seen = [entry for entry in entries if not fnmatch.filter(locked, entry.partition("/")[0])]
    gone = {entry for entry in seen if not select.matching(project, entry)}
    if gone:
        remove = partial(lists.remove, project, lists.FINISHED, gone)
        yield Spare(f"{path.name}: {count(len(gone), 'line')} whose runs are gone", 0, remove)
