"""The words that fit at the cursor; what completion in exper/shell.bash and exper/shell.zsh asks."""

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator

from exper import commands, paths

_SHORT = {"con": "continue", "re": "rerun"}
_TAKE_A_VALUE = (
    *("-m", "--message", "--include", "-l", "--list", "--sort", "--group", "--format", "--metric", "-o", "--output"),
    *("--epoch", "--pictures"),
)


def complete(arguments: list[str], project: paths.Project) -> int:
    """Print the words that fit, one a line; nothing at all where something is wrong.

    Args:
        arguments: the line up to the cursor as the user typed it, quotes and all: the name of the command, with or
            without `exper` before it, then its words; the last one is to be completed.
        project: the project whose tags, runs, lists and settings are meant.
    """
    with contextlib.suppress(Exception):
        fitting = sorted(set(_fitting([_unquote(word) for word in arguments], project)))
        whole = [os.fsencode(word) + b"\n" for word in fitting if not any(map(_is_control, word))]
        sys.stdout.buffer.write(b"".join(whole))
        sys.stdout.buffer.flush()
    return 0


def _fitting(words: list[str], project: paths.Project) -> Iterator[str]:
    current = words[-1]
    if words[0] == "exper":
        words = words[1:]
    candidates = commands.names() if len(words) < 2 else _candidates(words, project)
    return (word for word in candidates if word.startswith(current))


def _candidates(words: list[str], project: paths.Project) -> Iterable[str]:
    command, given, current = _SHORT.get(words[0], words[0]), words[1:-1], words[-1]
    if given and given[-1] in ("-l", "--list"):
        return _lists(project, current)
    if current.startswith("-") or "--" in given or (given and given[-1] in _TAKE_A_VALUE):
        return []
    positional = _positional(given)
    if command in _KINDS and not (positional and command in _TAKE_ONE):
        return _KINDS[command](project, current)
    if command in ("run", "submit"):
        already = {word.partition("=")[0] for word in positional[1:]}
        return (f"{name}=" for name in _settings(project) if name not in already)
    return []


def _positional(given: list[str]) -> list[str]:
    before = ["", *given]
    return [
        word for previous, word in zip(before, given, strict=False)
        if not word.startswith("-") and previous not in _TAKE_A_VALUE
    ]  # fmt: skip


def _lists(project: paths.Project, _current: str) -> Iterable[str]:
    return (path.stem for path in project.lists.glob("*.txt"))


def _runs(project: paths.Project, current: str) -> Iterable[str]:
    """Return the tags that have runs; once a `/` is typed, the runs of that tag."""
    tag, slash, _ = current.partition("/")
    if slash:
        return map(str, project.tag(tag).runs())
    return (tag.name for tag in project.tags())


def _lists_and_runs(project: paths.Project, current: str) -> Iterable[str]:
    return _runs(project, current) if "/" in current else [*_lists(project, current), *_runs(project, current)]


def _runs_and_tags(project: paths.Project, current: str) -> Iterable[str]:
    if "/" in current:
        return _runs(project, current)
    return [*_runs(project, current), *_tags(project, current)]


def _tags(project: paths.Project, _current: str) -> Iterable[str]:
    from exper.repository import Repository  # starts git: not for every command

    return Repository(project.root).tags()


def _settings(project: paths.Project) -> Iterable[str]:
    from exper import settings

    return settings.flatten(settings.read((project.code / "config.py").read_bytes(), "code/config.py"))


def _unquote(word: str) -> str:
    with contextlib.suppress(ValueError):
        parts = shlex.split(word)
        return parts[0] if len(parts) == 1 else word
    return word[1:] if word.startswith(("'", '"')) else word


def _is_control(character: str) -> bool:
    return ord(character) < 32 or ord(character) == 127


_TAKE_ONE = ("run", "continue", "rerun", "expels", "title", "table", "board", "evaluate", "submit", "cancel")
_KINDS: dict[str, Callable[[paths.Project, str], Iterable[str]]] = {
    "run": _tags,
    "continue": _runs,
    "rerun": _runs_and_tags,
    "record": _runs,
    "title": _lists,
    "table": _lists,
    "expels": _runs,
    "report": _lists_and_runs,
    "itb": _lists_and_runs,
    "plot": _lists_and_runs,
    "board": lambda *_: ["stop"],
    "evaluate": _runs,
    "rm": _runs_and_tags,
    "submit": _runs_and_tags,
    "cancel": _runs,
}
