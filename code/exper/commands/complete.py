"""Print the words that fit at the cursor, for completion in exper/shell.bash and exper/shell.zsh."""

import contextlib
import glob
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator

from exper import commands
from exper.core import paths

_TAKE_A_VALUE = (
    *("-m", "--message", "--include", "-l", "--list", "--sort", "--group", "--format", "--metric", "-o", "--output"),
    *("--epoch", "--epochs", "--pictures", "-j", "--trials", "--seeds", "--sampler", "--pruner", "--storage"),
    *("--keep", "--example"),
)


def complete(arguments: list[str], project: paths.Project) -> int:
    """Print the words that fit, one a line; on any error, print nothing.

    Args:
        arguments: the line up to the cursor as the user typed it, with quotes: the name of the command, with or
            without `exper` before it, then its words; the last is to be completed.
        project: the project whose tags, runs, lists and settings are offered.
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
    command = commands.SHORT_NAMES.get(words[0], words[0])
    *given, current = words[1:]
    if given and given[-1] in _VALUES:
        return _VALUES[given[-1]](project, current)
    if current.startswith("-") or "--" in given or (given and given[-1] in _TAKE_A_VALUE):
        return []
    positional = _positional(given)
    if command in _KINDS and not (positional and command in _TAKE_ONE):
        return _KINDS[command](project, current)
    if command in ("run", "search", "submit"):
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
    return _without_trials(project.tag_names(), current)


def _without_trials(names: Iterable[str], current: str) -> Iterable[str]:
    """Return tags; until `+` is typed, the trials of a search, maybe thousands, are one word, `<search>+`."""
    if "+" in current:
        return names
    return {f"{search}+" if (search := paths.search_of(name)) else name for name in names}


def _searches(project: paths.Project, _current: str) -> Iterable[str]:
    return project.searches()


def _runs_and_searches(project: paths.Project, current: str) -> Iterable[str]:
    return [*_runs(project, current), *_searches(project, current)]


def _lists_and_runs(project: paths.Project, current: str) -> Iterable[str]:
    return _runs(project, current) if "/" in current else [*_lists(project, current), *_runs(project, current)]


def _runs_and_tags(project: paths.Project, current: str) -> Iterable[str]:
    if "/" in current:
        return _runs(project, current)
    return [*_runs(project, current), *_tags(project, current)]


def _runs_tags_and_configs(project: paths.Project, current: str) -> Iterable[str]:
    return [*_runs_and_tags(project, current), *glob.iglob(f"{glob.escape(current)}*.py")]


def _tags(project: paths.Project, current: str) -> Iterable[str]:
    from exper.repository.repository import Repository  # starts git, which not every command needs

    return _without_trials(Repository(project.root).tags(), current)


def _new_tags(project: paths.Project, _current: str) -> Iterable[str]:
    """Return the tags that `run` may take: not those of trials."""
    return (name for name in _tags(project, "") if not name.endswith("+"))


def _settings(project: paths.Project) -> Iterable[str]:
    from exper.config import config_file

    return config_file.flatten(config_file.read((project.code / "config.py").read_bytes(), "code/config.py"))


def _unquote(word: str) -> str:
    with contextlib.suppress(ValueError):
        parts = shlex.split(word)
        return parts[0] if len(parts) == 1 else word
    return word[1:] if word.startswith(("'", '"')) else word


def _is_control(character: str) -> bool:
    return ord(character) < 32 or ord(character) == 127


def _samplers(*_: object) -> Iterable[str]:
    from exper.search import strategies

    return strategies.SAMPLERS


def _pruners(*_: object) -> Iterable[str]:
    from exper.search import strategies

    return strategies.PRUNERS


def _examples(*_: object) -> Iterable[str]:
    from exper.housekeeping import project_template

    return project_template.EXAMPLES


def _checkpoints(*_: object) -> Iterable[str]:
    return ["best", "last", "best,last"]


_TAKE_ONE = (
    *("run", "search", "results", "continue", "rerun", "expels", "title", "table", "board", "evaluate"),
    *("submit", "cancel", "verify"),
)
_VALUES: dict[str, Callable[[paths.Project, str], Iterable[str]]] = {
    "-l": _lists,
    "--list": _lists,
    "--sampler": _samplers,
    "--pruner": _pruners,
    "--example": _examples,
    "--keep": _checkpoints,
}
_KINDS: dict[str, Callable[[paths.Project, str], Iterable[str]]] = {
    "run": _new_tags,
    "search": _searches,
    "results": _searches,
    "continue": _runs,
    "rerun": _runs_and_tags,
    "record": _runs,
    "title": _lists,
    "table": _lists,
    "expels": _runs_and_searches,
    "report": _lists_and_runs,
    "itb": _lists_and_runs,
    "send": _lists_and_runs,
    "plot": _lists_and_runs,
    "board": lambda *_: ["stop"],
    "evaluate": _runs,
    "verify": _runs,
    "diff": _runs_tags_and_configs,
    "rm": _runs_and_tags,
    "gc": _lists_and_runs,
    "submit": _runs_and_tags,
    "cancel": _runs,
}
