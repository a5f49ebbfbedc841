"""The commit of a tag: made from HEAD and the uncommitted changes, checked before it is tagged, and its settings."""

import argparse
import fnmatch
import functools
import os

from exper.config import config_file, logger_registry
from exper.core import packages
from exper.core.errors import Refused
from exper.core.messages import printable, say
from exper.core.paths import Project
from exper.repository.objects import Change, link_refused
from exper.repository.repository import Repository
from exper.runs import run_record, tags

MAIN = "code/main.py"
CONFIG = "code/config.py"
_SEED = "code/seed"
_FORMAT = "code/exper/FORMAT"
_REQUIREMENTS = "code/requirements.txt"
_SECRETS = (".env*", "*.pem", "*.key", "id_*")
_LARGE_BYTES = 10_000_000
_SHOWN = 20


def read_config(repository: Repository, commit: str) -> dict[str, config_file.Value]:
    """Return the settings of a commit.

    Raises:
        Refused: the commit can't be copied, parsed or trained.
    """
    files = repository.files(commit)
    repository.check_lfs(files)
    if MAIN not in {file.path for file in files}:
        raise Refused(f"{MAIN} is not committed, so there is nothing to train.")
    for file in files:
        if file.is_link and file.path in (CONFIG, _SEED, _FORMAT, _REQUIREMENTS):
            raise link_refused(file.path)
    written = _text(repository, commit, _FORMAT)
    if written.isdigit() and int(written) > run_record.FORMAT:
        raise Refused(f"the tagged code is of a newer Exper (format {written}). Update this project.")
    source = repository.file(commit, CONFIG)
    config = config_file.read(source) if source is not None else {}
    logger_registry.check(config.get("logger"))
    return config


def fixed_seed(repository: Repository, commit: str) -> int:
    """Return the seed that `-f` uses: the number in code/seed."""
    text = _text(repository, commit, _SEED)
    seed = tags.whole_number(text)
    if seed is None:
        raise Refused(f"{_SEED} must be committed and hold one whole number from 0 to 2^63 - 1, not {text[:40]!r}.")
    return seed


def requirements(repository: Repository, commit: str) -> set[str]:
    """Return the packages that requirements.txt names, spelled as in `packages.installed`."""
    lines = [line.partition("#")[0].strip() for line in _text(repository, commit, _REQUIREMENTS).splitlines()]
    return {packages.name_of(line) for line in lines if line and not line.startswith("-")}


def _text(repository: Repository, commit: str, path: str) -> str:
    return (repository.file(commit, path) or b"").decode(errors="replace").strip()


# -- a new commit ------------------------------------------------------------------------------------------------------


def uncommitted_changes(project: Project, repository: Repository, options: argparse.Namespace) -> list[Change]:
    """Return the uncommitted changes, after listing them for the user; without -m, refuse them."""
    changes = repository.changes()
    if not changes:
        return []
    repository.head()  # before the first commit, -m is of no use either
    if options.message is None:
        raise Refused(
            f"there are uncommitted changes:\n{_listing(project, changes)}\n"
            f'Commit them, or save them with the tag alone: {options.command} {options.tag} -m "why"'
        )
    _check_savable(project, changes, options.include)
    name = options.command.rpartition(" ")[2]
    say(f"{name}: the tag alone will hold these changes:\n{_listing(project, changes)}")
    return changes


def create(
    repository: Repository,
    uncommitted: list[Change],
    settings: dict[str, config_file.Value],
    options: argparse.Namespace,
) -> str:
    """Return HEAD, or a new commit on top of it with the uncommitted changes and the changed settings."""
    if not uncommitted and not settings:
        return repository.head()
    edits = {CONFIG: functools.partial(config_file.edit, changes=settings)} if settings else {}
    return repository.commit(uncommitted, edits, options.message or f"{options.tag}: {' '.join(options.settings)}")


def _check_savable(project: Project, changes: list[Change], included: list[str]) -> None:
    """Refuse changes that do not belong in git (secrets, large files), unless `included`, and an unfinished merge."""
    for change in changes:
        if change.kind == "unmerged":
            raise Refused(f"{change.path} is in the middle of a merge. Finish it first.")
        if change.kind == "untracked" and change.path not in included:
            _check_untracked(project, change.path)


def _check_untracked(project: Project, path: str) -> None:
    name = os.path.basename(path)
    size_bytes = os.lstat(project.root / path).st_size
    if path.endswith("/"):
        raise Refused(f"{path} is a git repository of its own; a tag would not hold its files. Move it out of code/.")
    if any(fnmatch.fnmatch(name, pattern) for pattern in _SECRETS):
        raise Refused(f"{path} looks like a secret. Add /{path} to .gitignore, or save it: --include {path}")
    if size_bytes > _LARGE_BYTES:
        raise Refused(f"{path} has {_size(size_bytes)}. Add /{path} to .gitignore, or save it: --include {path}")


def _listing(project: Project, changes: list[Change]) -> str:
    """Return a line for each change; untracked files with their size."""
    lines = [f"  {change.kind:<9} {printable(change.path)}{_size_of(project, change)}" for change in changes[:_SHOWN]]
    more = len(changes) - _SHOWN
    return "\n".join(lines + ([f"  … and {more} more"] if more > 0 else []))


def _size_of(project: Project, change: Change) -> str:
    if change.kind != "untracked":
        return ""
    return f" ({_size(os.lstat(project.root / change.path).st_size)})"


def _size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} GB"
