"""Spare checkpoints: all but those to keep, those to continue from, and those that other runs started from."""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from exper.core import checkpoint_file, files, lock, paths, statistic_file
from exper.core.errors import Refused
from exper.core.messages import count
from exper.housekeeping.spare import Spare
from exper.runs import status, tags

_RUN = re.compile(r"([^/@]+/[0-9]+)(?:@.*)?")


class Keep(NamedTuple):
    """The checkpoints of a run to keep."""

    best: bool
    last: bool
    epochs: set[int]


def parse(text: str) -> Keep:
    """Read `best,last,10`.

    Raises:
        Refused: a word is none of these.
    """
    words = text.split(",")
    numbers = {word: tags.whole_number(word) for word in words if word not in ("best", "last")}
    wrong = [word for word, number in numbers.items() if number is None]
    if wrong:
        raise Refused(f"--keep {text!r}: {wrong[0]!r} is neither best, last nor the number of an epoch.")
    return Keep("best" in words, "last" in words, {number for number in numbers.values() if number is not None})


def started_from(runs: Iterable[paths.Run]) -> dict[str, set[str]]:
    """Return the files that the runs took their first weights from, by the run that has them."""
    needed: dict[str, set[str]] = {}
    for run in runs:
        about = statistic_file.read_if_readable(run).section("pretrained")
        match = _RUN.fullmatch(str(about.get("from")))
        if match:
            needed.setdefault(match[1], set()).add(str(about.get("file")))
    return needed


def of_run(project: paths.Project, run: paths.Run, keep: Keep, needed: set[str]) -> Spare | None:
    """Return the spare checkpoints of a run, if it has any.

    Raises:
        Refused: none would stay, one to keep is corrupt, or the run is damaged.
    """
    there = checkpoint_file.names(run.checkpoint)
    spare = _spare(run, keep, needed, there)
    if not spare:
        return None
    size = sum(map(files.size, spare))
    what = count(len([path for path in spare if not path.is_symlink()]), "checkpoint")
    return Spare(f"{run}: {what}", size, partial(_remove, project, run, spare, there))


def _spare(run: paths.Run, keep: Keep, needed: set[str], there: list[str]) -> list[Path]:
    """Return the paths to remove: links before the files that they lead to, so that a kill leaves no dangling link."""
    state = status.read(run)
    has_finished = state == "finished"
    best = _best(run, there)
    wanted = needed | {f"epoch_{epoch}.path" for epoch in keep.epochs}
    if keep.best or not has_finished:
        wanted |= best
    if keep.last or (keep.best and not best):
        wanted.update(there[:1])
    gone = {name for name in there if name not in wanted}
    if not gone:
        return []
    if state == "damaged":
        raise Refused(f"{run} is damaged, so all its checkpoints stay")
    if not has_finished:
        gone -= _newest_whole(run, there)
    kept = [name for name in there if name not in gone]
    broken = [name for name in kept if name in wanted and not checkpoint_file.is_whole(run.checkpoint / name)]
    if broken or not kept:
        why = f"{broken[0]} is corrupt" if broken else "none of those to be kept is there"
        raise Refused(f"{run}: {why}, so all its checkpoints stay")
    links = [path for path in run.checkpoint.glob("*") if path.is_symlink() and str(path.readlink()) in gone]
    return [*links, *(run.checkpoint / name for name in reversed(there) if name in gone)]


def _best(run: paths.Run, there: list[str]) -> set[str]:
    """Return the checkpoint of the best epoch; after a kill, statistic.json and the link may name different epochs."""
    best = statistic_file.read_if_readable(run).metrics("best").get("epoch")
    link = run.checkpoint / "epoch_best.path"
    names = {f"epoch_{best}.path", *([str(link.readlink())] if link.is_symlink() else [])}
    return names.intersection(there)


def _newest_whole(run: paths.Run, there: list[str]) -> set[str]:
    """Return the newest two checkpoints that verify, and any newer corrupt ones."""
    newest: set[str] = set()
    whole = 0
    for name in there:
        if whole == 2:
            break
        newest.add(name)
        whole += checkpoint_file.is_whole(run.checkpoint / name)
    return newest


def _remove(project: paths.Project, run: paths.Run, spare: list[Path], there: list[str]) -> str | None:
    with lock.held(project.lock):  # a run is continued under the same lock
        if not run.folder.exists():
            return None
        if status.is_busy(run) or checkpoint_file.names(run.checkpoint) != there:
            return f"{run} has gone on meanwhile, so its checkpoints stay"
        for path in spare:
            path.unlink(missing_ok=True)
    return None
