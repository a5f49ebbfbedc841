"""A trial: a commit that only its tag holds, the search's own with other settings; its runs are ordinary ones."""

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
    """What all trials of a search share."""

    project: paths.Project
    repository: Repository
    tag: str
    commit: str
    source: bytes  # of config.py
    config: dict[str, Value]
    space: Space
    metric: str  # that `monitor` names
    direction: str  # max, min
    seed: int  # of run 0; run 1 has the next one
    threads: int


def runs(project: paths.Project, tag: str) -> list[paths.Run]:
    """Return the runs of all trials of a search."""
    return [run for one in project.trials(tag) for run in one.runs()]


def check_tag(tag: str) -> None:
    """Refuse a search's tag that leaves no room for those of its trials."""
    tags.check(f"{tag}+{'0' * _HASH}")


def name(tag: str, space_: Space, values: dict[str, Value]) -> str:
    """Return a trial's tag: `base+lr=0.001+ps=0.5`; a hash follows where that would be too long or not a tag."""
    short = space.short_names(space_)
    whole = [f"{short[setting]}={space.text(value)}" for setting, value in values.items()]
    clean = "+".join([tag, *(re.sub(r"[^A-Za-z0-9._=-]|\.(?=\.)", "_", one) for one in whole)])
    exact = "+".join([tag, *whole])
    if clean == exact and len(exact) <= _LONGEST and not exact.endswith((".", ".lock")):
        return exact
    room = max(len(tag), _LONGEST - _HASH - 1)
    return f"{clean[:room]}+{hashlib.sha256(exact.encode()).hexdigest()[:_HASH]}"


def make(base: Base, values: dict[str, Value], seeds: int) -> TagObject:
    """Tag the commit with these values, or return the tag that an earlier call has made; ids below `seeds` are ours.

    Raises:
        Refused: config.py does not take the values, or the tag holds something else.
    """
    tag = name(base.tag, base.space, values)
    known = base.repository.tag(tag)
    if known is None:
        edit = functools.partial(config_file.edit, changes=_changes(base, values))
        said = f"{tag}: {space.described(base.space, values)}"
        commit = base.repository.child(base.commit, {commits.CONFIG: edit}, said)
        changes = [f"{setting}={space.text(value)}" for setting, value in values.items()]
        message = tags.message(
            tag, said, [*tags.run_trailers(base.seed, base.threads, changes), (tags.SEEDS_TRAILER, seeds)]
        )
        try:
            return base.repository.create_tag(tag, commit, message)
        except TagTaken:  # by another searcher, for the same values
            known = base.repository.tag(tag)
    if known is None or base.repository.parent(known.commit) != base.commit:
        raise Refused(f"the tag {tag!r} is of another search or run. If it may go: exper rm {tag} --tag")
    return known


def _changes(base: Base, values: dict[str, Value]) -> dict[str, Value]:
    """Return all that a trial's config.py changes: its values, its share of the cores, and the space is gone."""
    gone: dict[str, Value] = {setting: None for setting in config_file.SEARCH_SETTINGS if setting in base.config}
    threads = {"threads": base.threads} if "threads" in base.config else {}
    return values | threads | gone
