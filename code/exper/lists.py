"""Lists of experiments: one `<tag>/<id>` a line in `__statistic__/exper-list/<name>.txt`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from exper import files, lock, paths

FINISHED = "finished"


def append(project: paths.Project, name: str, run: str) -> None:
    """Add a run to a list, once; the user's own lines stay byte for byte."""
    with _locked(project, name) as (path, lines):
        if run.encode() not in map(bytes.strip, lines):
            text = b"".join(lines)
            newline = b"" if not text or text.endswith(b"\n") else b"\n"
            files.replace(path, text + newline + run.encode() + b"\n")


def remove(project: paths.Project, name: str, runs: set[str]) -> None:
    """Take runs off a list."""
    if not project.list_file(name).exists():
        return
    with _locked(project, name) as (path, lines):
        kept = [line for line in lines if line.strip().decode(errors="replace") not in runs]
        if kept != lines:
            files.replace(path, b"".join(kept))


def naming(project: paths.Project, runs: set[str]) -> list[str]:
    """Return the user's lists that name one of `runs`."""
    users = [path for path in sorted(project.lists.glob("*.txt")) if path.stem != FINISHED]
    return [path.stem for path in users if runs.intersection(entries(path))]


def entries(path: Path) -> list[str]:
    """Return what a list names, line by line; comments, blank lines and line ends of any kind are left out."""
    lines = path.read_bytes().decode("utf-8-sig", errors="replace").splitlines()
    return [entry for entry in (line.partition("#")[0].strip() for line in lines) if entry]


@contextlib.contextmanager
def _locked(project: paths.Project, name: str) -> Iterator[tuple[Path, list[bytes]]]:
    project.lists.mkdir(parents=True, exist_ok=True)
    path = project.list_file(name)
    with lock.held(project.lists / ".lock"):
        yield path, path.read_bytes().splitlines(keepends=True) if path.exists() else []
