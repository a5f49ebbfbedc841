"""From what a user types, or writes into a list, to the runs or the tag that are meant."""

import contextlib
import fnmatch
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from exper.core import paths
from exper.core.errors import Refused, did_you_mean
from exper.core.messages import printable
from exper.repository.repository import Repository, TagObject
from exper.runs import lists, run_record, tags
from exper.runs.tags import Reference

_NO_TAG_HAS = str.maketrans("/*?[]", "@~^{}")  # by the sign whose place it takes in the name of a file
_LONGEST_NAME = 100  # bytes


def runs(project: paths.Project, reference: Reference) -> list[paths.Run]:
    """Return the runs of a reference, at least one.

    Raises:
        Refused: there is none; the nearest name is offered.
    """
    tag = project.tag(reference.tag)
    found = tag.runs()
    if not found:
        raise Refused(f"no run has the tag {reference.tag!r}.{_hint(project, reference.tag, project.tag_names())}")
    if reference.number is None:
        return found
    if tag.run(reference.number) not in found:
        ids = ", ".join(str(run.id) for run in found)
        raise Refused(f"there is no run {reference}. {reference.tag!r} has: {ids}.")
    return [tag.run(reference.number)]


def single_run(project: paths.Project, text: str) -> paths.Run:
    """Return the run that `tag/id` means, or a tag alone that has one run; its code has been kept.

    Raises:
        Refused: there is none, or several.
    """
    reference = tags.parse_reference(text)
    tags.refuse_untagged(reference)
    found = runs(project, reference)
    if len(found) > 1:
        raise Refused(f"{text!r} has {len(found)} runs. Name one: {', '.join(map(str, found[:5]))}.")
    return found[0]


def _hint(project: paths.Project, tag: str, known: Iterable[str]) -> str:
    """Return what may be meant; among thousands of trials that is one of them only if it is written like one."""
    if tag in project.searches():
        return f" It is a search. For its trials type: expels {tag}"
    return did_you_mean(tag, [name for name in known if paths.search_of(tag) or not paths.search_of(name)])


def resolve(project: paths.Project, words: list[str]) -> tuple[list[paths.Run], list[str]]:
    """Return the runs that words mean, each once and in their order, and a line for what lists name and there is not.

    A word is a list (its name, or a path that ends in .txt), `tag/id`, a tag for all its runs, or a glob of these.

    Raises:
        Refused: a word means nothing, or a list and a tag.
    """
    found: dict[paths.Run, None] = {}
    unknown: list[str] = []
    for word in words:
        path = list_path(project, word)
        if path is None:
            found |= dict.fromkeys(matching(project, word) or runs(project, tags.parse_reference(word)))
            continue
        listed, more = in_list(project, path)
        found |= dict.fromkeys(listed)
        unknown += lists.unknown_runs(path, more)
    return list(found), unknown


def in_list(project: paths.Project, path: Path) -> tuple[list[paths.Run], list[str]]:
    """Return the runs that a list names, each once and in its order, and the entries that name none."""
    found: dict[paths.Run, None] = {}
    unknown = []
    for entry in lists.entries(path):
        try:
            named = matching(project, entry)
        except PermissionError:  # the folder is another user's
            named = []
        found.update(dict.fromkeys(named))
        unknown += [] if named else [entry]
    return list(found), unknown


def list_naming(project: paths.Project, runs: set[str]) -> tuple[str, str] | None:
    """Return the first of the user's lists that names one of `runs`, maybe by a glob, and its entry; None: no list."""
    for path in sorted(project.lists.glob("*.txt")):
        own = lists.search_entry(path.stem)  # a search's line on the list of its name, which nobody has chosen
        for entry in lists.entries(path) if path.stem != lists.FINISHED else ():
            if entry in runs or (is_glob(entry) and entry != own and fnmatch.filter(runs, entry)):
                return path.stem, entry
    return None


def list_entry(project: paths.Project, word: str) -> str:
    """Return what a list has to say to mean the runs that a word means; a tag or a glob stays one, for later runs.

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


def words_or_record(project: paths.Project, words: list[str]) -> list[str]:
    """Return words; without any, the name of the list `record`.

    Raises:
        Refused: there is none.
    """
    if not words:
        lists.find(project, lists.RECORD)
    return words or [lists.RECORD]


def display_names(words: list[str]) -> list[str]:
    """Return words as people are told of them: a list has its name, whatever folder it is in."""
    return [Path(word).stem if word.endswith(".txt") else word.rstrip("/") for word in words]


def file_name(project: paths.Project, words: list[str]) -> str:
    """Return what a file about the runs of words is called: signs that no tag can have stand for those of a glob.

    Raises:
        Refused: a list elsewhere has the name of the project's own.
    """
    for word in words:
        if word.endswith(".txt"):
            lists.check_not_shadowing(project, Path(word))
    name = printable(",".join(display_names(words)).translate(_NO_TAG_HAS))
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    start = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
    return f"{start}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def list_path(project: paths.Project, word: str) -> Path | None:
    """Return the file of the list that a word means; None if it means runs.

    Raises:
        Refused: it is a path without a file, or the name of a list and of a tag.
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


_RUN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+=-]{0,199})(?:/([0-9]{1,19}))?")  # what is longer can't be


def matching(project: paths.Project, entry: str) -> list[paths.Run]:
    """Return the runs that `tag`, `tag/id` or a glob of these names, maybe none; never one outside __result__."""
    exact = _RUN.fullmatch(entry)
    if exact is not None:
        name, number = exact.groups()
        if number is None:
            return project.tag(name).runs()
        run = paths.Run(project.result / f"{name}/{int(number)}")
        return [run] if os.path.isdir(run.folder) else []
    name, slash, number = entry.partition("/")
    tags_found = fnmatch.filter(project.tag_names(), name)
    every = (run for tag in tags_found for run in project.tag(tag).runs())
    return [run for run in every if not slash or fnmatch.fnmatchcase(run.folder.name, number)]


def commit_of(repository: Repository, run: paths.Run, record: run_record.Record) -> str:
    """Return the commit that a run was made from.

    Raises:
        Refused: it was made from no commit, or its tag is gone or now means another one.
    """
    if record.get("commit") is None:
        raise Refused(f"{run} has no tag: its code was not kept. Commit, and type: run <tag>")
    commit = str(record["commit"])
    known = repository.tag(run.tag)
    if known is None:
        raise _deleted(run.tag, commit)
    if known.commit != commit:
        raise Refused(
            f"the tag {run.tag!r} now points to {known.commit[:10]}, but {run} was made from {commit[:10]}."
            f" Put it back: git tag -f {run.tag} {commit}"
        )
    return commit


def _deleted(tag: str, commit: str) -> Refused:
    return Refused(f"git has no tag {tag!r} any more. Bring it back: git tag {tag} {commit}")


def git_tag(repository: Repository, project: paths.Project, name: str) -> TagObject:
    """Return the git tag `name`.

    Raises:
        Refused: there is none; the commit of its runs, or the nearest name, is offered.
    """
    known = repository.tag(name)
    if known is None:
        commit = _commit_of_runs(project.tag(name))
        if commit:
            raise _deleted(name, commit)
        names = {*project.tag_names(), *repository.tags()} - {name}
        raise Refused(f"there is no tag {name!r}.{_hint(project, name, names)}")
    return known


def _commit_of_runs(tag: paths.Tag) -> str:
    for run in tag.runs():
        with contextlib.suppress(Refused):  # it is damaged
            return str(run_record.read(run).get("commit") or "")
    return ""
