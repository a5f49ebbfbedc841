"""Uncommitted changes: refused with a list, or let through to be saved with a tag, but for what git should not have."""

import fnmatch
import os

from exper.core.errors import Refused
from exper.core.messages import printable
from exper.core.paths import Project
from exper.repository.repository import Change

_SECRETS = (".env*", "*.pem", "*.key", "id_*")
_LARGE_BYTES = 10_000_000
_SHOWN = 20


def check_savable(project: Project, changes: list[Change], included: list[str]) -> None:
    """Refuse what should not be saved in git, unless it is `included`: secrets, large files, half a merge."""
    for change in changes:
        if change.kind == "unmerged":
            raise Refused(f"{change.path} is in the middle of a merge. Finish it first.")
        if change.kind == "untracked" and change.path not in included:
            _check_untracked(project, change.path)


def _check_untracked(project: Project, path: str) -> None:
    name, size = os.path.basename(path), os.lstat(project.root / path).st_size
    if path.endswith("/"):
        raise Refused(f"{path} is a git repository of its own; a tag would not hold its files. Move it out of code/.")
    if any(fnmatch.fnmatch(name, pattern) for pattern in _SECRETS):
        raise Refused(f"{path} looks like a secret. Add /{path} to .gitignore, or save it: --include {path}")
    if size > _LARGE_BYTES:
        raise Refused(f"{path} has {_size(size)}. Add /{path} to .gitignore, or save it: --include {path}")


def listing(project: Project, changes: list[Change]) -> str:
    """Return a line for each change, untracked files with their size."""
    lines = [f"  {change.kind:<9} {printable(change.path)}{_weight(project, change)}" for change in changes[:_SHOWN]]
    more = len(changes) - _SHOWN
    return "\n".join(lines + ([f"  … and {more} more"] if more > 0 else []))


def _weight(project: Project, change: Change) -> str:
    if change.kind != "untracked":
        return ""
    return f" ({_size(os.lstat(project.root / change.path).st_size)})"


def _size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} GB"
