"""What can go and nothing is lost: found first, then removed part by part, each at a moment when nobody uses it.

Every part is one of which a kill in the middle leaves what the next call finds again.
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
from exper.repository.objects import TagObject
from exper.repository.repository import Repository, TagTaken
from exper.runs import lists, run_record, select, staging, status
from exper.runs import remove as removal
from exper.runs.tags import UNTAGGED
from exper.verify import workspace

Tags = Mapping[str, TagObject]
_OLD_SECONDS = 60  # a younger file may be under way: history.png is drawn after the end of a run


class Spare(NamedTuple):
    """A part that can go: what it is, its bytes, and what removes it, or tells why it stays after all."""

    what: str
    size: int
    remove: Callable[[], str | None]


# -- of tags -----------------------------------------------------------------------------------------------------------


def of_tag(project: paths.Project, tag: paths.Tag, known: Tags) -> Iterator[Spare]:
    """Yield what killed commands have left in the folder of a tag, its snapshot, and the folder if the tag is gone."""
    left = staging.leftovers(tag)
    if left:
        sweep = partial(_sweep, project, tag)
        yield Spare(f"{tag.name}: what a killed command has left", sum(map(files.size, left)), sweep)
    if tag.snapshot.exists() and _is_unused(tag, known):
        remove = partial(_remove_snapshot, project, tag, known)
        yield Spare(f"{tag.name}: its snapshot", files.size(tag.snapshot), remove)
    if is_forgotten(project, tag, known):
        yield Spare(f"{tag.name}: its folder, as tag and runs are gone", 0, partial(_forget, project, tag))


def _sweep(project: paths.Project, tag: paths.Tag) -> None:
    with lock.held(project.lock):
        staging.sweep(tag)


def _is_unused(tag: paths.Tag, known: Tags) -> bool:
    """Tell whether nobody trains from the snapshot; of runs that can go on, git must hold the code."""
    return all(not status.is_busy(run) and _is_in_git(run, known.get(tag.name)) for run in tag.runs())


def _is_in_git(run: paths.Run, known: TagObject | None) -> bool:
    try:
        record = run_record.read(run)
    except Refused:
        return False
    return record["status"] == "finished" or (known is not None and known.commit == record.get("commit"))


def _remove_snapshot(project: paths.Project, tag: paths.Tag, known: Tags) -> str | None:
    with lock.held(project.lock):
        if not tag.snapshot.exists():
            return None
        if not _is_unused(tag, known):
            return f"{tag.name}: somebody uses its snapshot by now"
        folder = staging.move_away(tag, tag.snapshot)
    shutil.rmtree(folder, ignore_errors=True)
    return None


def is_forgotten(project: paths.Project, tag: paths.Tag, known: Tags) -> bool:
    """Tell whether a folder holds nothing but what is remembered of a tag that is gone."""
    if tag.name in known or tag.name == UNTAGGED:
        return False
    ours = {path.name for path in (tag.last_id, tag.removed_ids, tag.snapshot)}
    there = {path.name for path in tag.folder.glob("*")} - {path.name for path in staging.leftovers(tag)}
    if not all(name in ours or _of_search(name) for name in there):
        return False
    return not project.trials(tag.name) and tag.name not in map(paths.search_of, known)


def _forget(project: paths.Project, tag: paths.Tag) -> str | None:
    if not is_forgotten(project, tag, Repository(project.root).tags_of_commits()):
        return f"{tag.name}: somebody uses its folder by now"
    removal.remove_tag_folder(project, tag)
    return None


def _of_search(name: str) -> bool:
    return name.startswith("search.")


def trial_tags(project: paths.Project, repository: Repository, known: Tags, problems: list[str]) -> Iterator[Spare]:
    """Yield, for each search that was made here and is not under way, the git tags of its trials without runs.

    Where that can't be known they stay, and it is added to `problems`.
    """
    from exper.search import study  # with Optuna, which takes a moment

    for search in sorted({*map(paths.search_of, known)} - {""}):
        tag = project.tag(search)
        if not tag.journal.exists() or search not in known:  # made elsewhere, and only fetched
            continue
        try:
            if study.is_under_way(study.load(tag, known[search].commit, None)):
                continue
        except Refused as refusal:
            problems.append(f"{search}: {refusal} The git tags of its trials stay")
            continue
        of_search = [one for name, one in known.items() if paths.search_of(name) == search]
        unused = [one for one in of_search if not project.tag(one.name).runs()]
        if unused:
            what = f"{search}: {count(len(unused), 'git tag')} of trials without runs"
            yield Spare(what, 0, partial(_remove_tags, project, repository, unused))


def _remove_tags(project: paths.Project, repository: Repository, unused: list[TagObject]) -> str | None:
    try:
        return "\n".join(removal.remove_tags(project, repository, unused)) or None
    except TagTaken as error:
        return f"a tag has changed meanwhile, and so all of them stay: {error}"


def verifications(project: paths.Project) -> Iterator[Spare]:
    """Yield what verifications have left."""
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
    near = [path for one in replaced for path in run.folder.glob(f".{one.name}.*")]
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
    locked = project.locked_names()  # whose runs we can't see
    seen = [entry for entry in entries if not fnmatch.filter(locked, entry.partition("/")[0])]
    gone = {entry for entry in seen if not select.matching(project, entry)}
    if gone:
        remove = partial(lists.remove, project, lists.FINISHED, gone)
        yield Spare(f"{path.name}: {count(len(gone), 'line')} whose runs are gone", 0, remove)


def count(number: int, what: str) -> str:
    """Return `1 file`, `2,000 files`."""
    return f"{number:,} {what}{'s' * (number != 1)}"
