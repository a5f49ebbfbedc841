"""A trial: a commit on top of the search's commit with other settings, held by a tag; its runs are ordinary runs."""

import functools
import hashlib
import re
from dataclasses import dataclass

from exper.config import config_file
from exper.config.config_file import Value
from exper.core import paths
from exper.core.errors import Refused
from exper.repository.objects import TagObject
from exper.repository.repository import Repository, TagTaken
from exper.runs import commits, tags
from exper.search import space
from exper.search.space import Space

_LONGEST = 100  # bytes of a trial's tag, where that of the search leaves room
_HASH = 8  # hex digits


@dataclass(frozen=True)
class Base:
    """The values that all trials of a search share."""

    project: paths.Project
    repository: Repository
    tag: str
    commit: str
    source: bytes  # of config.py
    config: dict[str, Value]
    space: Space
    metric: str  # in `monitor`
    direction: str  # max, min
    seed: int  # of run 0; run 1 has the next number
    threads: int


def runs(project: paths.Project, tag: str) -> list[paths.Run]:
    """Return the runs of all trials of a search."""
    return [run for trial in project.trials(tag) for run in trial.runs()]


def check_tag(tag: str) -> None:
    """Refuse a tag of a search that is too long for the tags of its trials."""
    tags.check(f"{tag}+{'0' * _HASH}")


def name(tag: str, space_: Space, values: dict[str, Value]) -> str:
    """Return a trial's tag, `base+lr=0.001+ps=0.5`; a hash follows if that is too long or can't be a tag."""
    short = space.short_names(space_)
    settings = [f"{short[setting]}={space.text(value)}" for setting, value in values.items()]
    exact = "+".join([tag, *settings])
    clean = "+".join([tag, *(re.sub(r"[^A-Za-z0-9._=-]|\.(?=\.)", "_", setting) for setting in settings)])
    if clean == exact and len(exact) <= _LONGEST and not exact.endswith((".", ".lock")):
        return exact
    room = max(len(tag), _LONGEST - _HASH - 1)
    return f"{clean[:room]}+{hashlib.sha256(exact.encode()).hexdigest()[:_HASH]}"


def make(base: Base, values: dict[str, Value], seeds: int) -> TagObject:
    """Create the tag of a trial, or return the tag of an earlier call; the search keeps the ids below `seeds`.

    Raises:
        Refused: config.py does not accept the values, or the tag is of something else.
    """
    tag = name(base.tag, base.space, values)
    existing = base.repository.tag(tag)
    if existing is None:
        edit = functools.partial(config_file.edit, changes=_changes(base, values))
        title = f"{tag}: {space.described(base.space, values)}"
        commit = base.repository.child(base.commit, {commits.CONFIG: edit}, title)
        changes = [f"{setting}={space.text(value)}" for setting, value in values.items()]
        message = tags.message(
            tag, title, [*tags.run_trailers(base.seed, base.threads, changes), (tags.SEEDS_TRAILER, seeds)]
        )
        try:
            return base.repository.create_tag(tag, commit, message)
        except TagTaken:  # by another searcher, for the same values
            existing = base.repository.tag(tag)
    if existing is None or base.repository.parent(existing.commit) != base.commit:
        raise Refused(f"the tag {tag!r} is of another search or run. If it may go: exper rm {tag} --tag")
    return existing


def _changes(base: Base, values: dict[str, Value]) -> dict[str, Value]:
    """Return all changes to a trial's config.py: its values, its share of the cores, no search settings."""
    removed: dict[str, Value] = {setting: None for setting in config_file.SEARCH_SETTINGS if setting in base.config}
    threads = {"threads": base.threads} if "threads" in base.config else {}
    return values | threads | removed
