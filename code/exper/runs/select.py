"""From a word that a user types, or writes into a list, to the runs or the tag that it names."""

import contextlib
import fnmatch
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from exper.core import paths
from exper.core.errors import Refused, did_you_mean
from exper.core.messages import printable
from exper.repository.objects import TagObject
from exper.repository.repository import Repository
from exper.runs import lists, run_record, tags
from exper.runs.tags import Reference

_FILE_NAME_CHARACTERS = str.maketrans("/*?[]", "@~^{}")  # replacements that no tag can contain
_LONGEST_NAME_BYTES = 100
_RUN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+=-]{0,199})(?:/([0-9]{1,19}))?")  # no longer word names a run


class Selection(NamedTuple):
    """The runs that words or a list name, and what names none."""

    runs: list[paths.Run]
    unknown: list[str]


class Mention(NamedTuple):
    """An entry of one of the user's lists."""

    list_name: str
    entry: str


# -- a word of the command line ----------------------------------------------------------------------------------------


def runs(project: paths.Project, reference: Reference) -> list[paths.Run]:
    """Return the runs of a reference, at least one.

    Raises:
        Refused: there is none; the nearest name is offered.
    """
    tag = project.tag(reference.tag)
    of_tag = tag.runs()
    if not of_tag:
        raise Refused(f"no run has the tag {reference.tag!r}.{_hint(project, reference.tag, project.tag_names())}")
    if reference.number is None:
        return of_tag
    if tag.run(reference.number) not in of_tag:
        ids = ", ".join(str(run.id) for run in of_tag)
        raise Refused(f"there is no run {reference}. {reference.tag!r} has: {ids}.")
    return [tag.run(reference.number)]


def single_run(project: paths.Project, text: str) -> paths.Run:
    """Return the run that `tag/id` names, or the only run of a tag.

    Raises:
        Refused: there is none, there are several, or it is untagged.
    """
    reference = tags.parse_reference(text)
    tags.refuse_untagged(reference)
    candidates = runs(project, reference)
    if len(candidates) > 1:
        raise Refused(f"{text!r} has {len(candidates)} runs. Name one: {', '.join(map(str, candidates[:5]))}.")
    return candidates[0]


def resolve(project: paths.Project, words: list[str]) -> Selection:
    """Return the runs that words name, each once and in their order, and a line for each unknown run of a list.

    A word is a list (its name, or a path that ends in .txt), `tag/id`, a tag for all its runs, or a glob of these.

    Raises:
        Refused: a word names nothing, or both a list and a tag.
    """
    selected: dict[paths.Run, None] = {}
    unknown: list[str] = []
    for word in words:
        path = list_path(project, word)
        if path is None:
            selected |= dict.fromkeys(matching(project, word) or runs(project, tags.parse_reference(word)))
            continue
        listed = in_list(project, path)
        selected |= dict.fromkeys(listed.runs)
        unknown += lists.unknown_runs(path, listed.unknown)
    return Selection(list(selected), unknown)


def list_path(project: paths.Project, word: str) -> Path | None:
    """Return the file of the list that a word names; None if it names runs.

    Raises:
        Refused: it is a path without a file, or the name of both a list and a tag.
    """
    if word.endswith(".txt"):
        if not Path(word).is_file():
            raise Refused(f"there is no list {word}.")
        return Path(word)
    path = project.list_file(word)
    if "/" in word or not path.is_file():
        return None
    if project.tag(word).runs():
        raise Refused(f"{word!r} is a list and a tag. For the list type {path}; for the tag: '{word}/*'")
    return path


def is_glob(word: str) -> bool:
    """Tell whether a word is a pattern of names."""
    return any(character in word for character in "*?[")


def matching(project: paths.Project, entry: str) -> list[paths.Run]:
    """Return the runs that `tag`, `tag/id` or a glob of these names, possibly none; never one outside __result__."""
    exact = _RUN.fullmatch(entry)
    if exact is not None:
        name, number = exact.groups()
        if number is None:
            return project.tag(name).runs()
        run = paths.Run(project.result / f"{name}/{int(number)}")
        return [run] if os.path.isdir(run.folder) else []
    name, slash, number = entry.partition("/")
    matching_tags = fnmatch.filter(project.tag_names(), name)
    every = (run for tag in matching_tags for run in project.tag(tag).runs())
    return [run for run in every if not slash or fnmatch.fnmatchcase(run.folder.name, number)]


def words_or_record(project: paths.Project, words: list[str]) -> list[str]:
    """Return words or, if there are none, the name of the list `record`.

    Raises:
        Refused: there is no such list.
    """
    if not words:
        lists.find(project, lists.RECORD)
    return words or [lists.RECORD]


def display_names(words: list[str]) -> list[str]:
    """Return words as users see them: a list by its name, whatever folder it is in."""
    return [Path(word).stem if word.endswith(".txt") else word.rstrip("/") for word in words]


def file_name(project: paths.Project, words: list[str]) -> str:
    """Return the name of a file about the runs that words name, with other characters for those of a glob.

    Raises:
        Refused: a list elsewhere has the name of one of the project's lists.
    """
    for word in words:
        if word.endswith(".txt"):
            lists.check_not_shadowing(project, Path(word))
    name = printable(",".join(display_names(words)).translate(_FILE_NAME_CHARACTERS))
    if len(name.encode()) <= _LONGEST_NAME_BYTES:
        return name
    start = name.encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore")
    return f"{start}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


# -- lists -------------------------------------------------------------------------------------------------------------


def in_list(project: paths.Project, path: Path) -> Selection:
    """Return the runs that a list names, each once and in its order, and the entries that name none."""
    selected: dict[paths.Run, None] = {}
    unknown = []
    for entry in lists.entries(path):
        try:
            named = matching(project, entry)
        except PermissionError:  # the folder is another user's
            named = []
        selected.update(dict.fromkeys(named))
        unknown += [] if named else [entry]
    return Selection(list(selected), unknown)


def list_entry(project: paths.Project, word: str) -> str:
    """Return the entry for the runs that a word names; a tag or a glob stays one, so that it covers later runs.

    Raises:
        Refused: the word names no run.
    """
    if is_glob(word):
        if not word.isprintable() or "#" in word or not matching(project, word):
            raise Refused(f"no run fits {word!r}. Type: expls")
        return word
    reference = tags.parse_reference(word)
    runs(project, reference)
    return str(reference)


def list_naming(project: paths.Project, names: set[str]) -> Mention | None:
    """Return the first entry in the user's lists that names one of `names`, also by a glob; None if there is none."""
    for path in sorted(project.lists.glob("*.txt")):
        own = lists.search_entry(path.stem)  # a search's line in the list of its name, which no user has written
        for entry in lists.entries(path) if path.stem != lists.FINISHED else ():
            if entry in names or (is_glob(entry) and entry != own and fnmatch.filter(names, entry)):
                return Mention(path.stem, entry)
    return None


# -- git tags ----------------------------------------------------------------------------------------------------------


def git_tag(repository: Repository, project: paths.Project, name: str) -> TagObject:
    """Return the git tag `name`.

    Raises:
        Refused: there is none; the commit of its runs, or the nearest name, is offered.
    """
    tag = repository.tag(name)
    if tag is not None:
        return tag
    commit = _commit_of_runs(project.tag(name))
    if commit:
        raise _deleted(name, commit)
    names = {*project.tag_names(), *repository.tags()} - {name}
    raise Refused(f"there is no tag {name!r}.{_hint(project, name, names)}")


def commit_of(repository: Repository, run: paths.Run, record: run_record.Record) -> str:
    """Return the commit that a run was made from.

    Raises:
        Refused: it was made from no commit, or its tag is gone or now points to another.
    """
    if record.get("commit") is None:
        raise Refused(f"{run} has no tag: its code was not kept. Commit, and type: run <tag>")
    commit = str(record["commit"])
    tag = repository.tag(run.tag)
    if tag is None:
        raise _deleted(run.tag, commit)
    if tag.commit != commit:
        raise Refused(
            f"the tag {run.tag!r} now points to {tag.commit[:10]}, but {run} was made from {commit[:10]}."
            f" Put it back: git tag -f {run.tag} {commit}"
        )
    return commit


def _commit_of_runs(tag: paths.Tag) -> str:
    for run in tag.runs():
        with contextlib.suppress(Refused):  # it is damaged
            return str(run_record.read(run).get("commit") or "")
    return ""


def _deleted(tag: str, commit: str) -> Refused:
    return Refused(f"git has no tag {tag!r} any more. Bring it back: git tag {tag} {commit}")


def _hint(project: paths.Project, tag: str, names: Iterable[str]) -> str:
    """Return the hint to the name that may be meant; a trial, of thousands, only for a tag that looks like one."""
    if tag in project.searches():
        return f" It is a search. For its trials type: expels {tag}"
    return did_you_mean(tag, [name for name in names if paths.search_of(tag) or not paths.search_of(name)])
