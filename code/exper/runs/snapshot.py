"""The snapshot of a tag: a read-only copy of its commit, byte for byte, that its runs train from."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from exper.core import files, lock, paths
from exper.core.errors import Refused
from exper.core.paths import Project
from exper.repository.objects import Entry
from exper.repository.repository import Repository
from exper.runs import staging, status

_EXECUTABLE_MODE = "100755"


def prepare(
    project: paths.Project,
    tag: paths.Tag,
    commit: str,
    repository: Repository,
    folder: Path,
    *,
    ours: paths.Run | None = None,
) -> None:
    """Make sure that the tag's snapshot holds exactly `commit`; a new one is written in `folder` and renamed.

    `ours` is a run of the caller's, which does not count as using the snapshot.

    Raises:
        Refused: it holds other files, and a live run uses it.
    """
    made = folder / "snapshot"
    while True:
        seen = _identity(tag.snapshot)
        if seen is not None and is_whole(tag.snapshot, repository, commit, project):
            shutil.rmtree(made, ignore_errors=True)
            return
        if not made.exists():
            write(made, repository, commit, project)
        live = _replace(project, tag, made, ours)
        if live is None:
            return
        # Another command may have put a snapshot there meanwhile, and it may be the right one: look again.
        if seen is not None and seen == _identity(tag.snapshot):
            raise Refused(f"{tag.snapshot} is not what {commit[:10]} holds, and {live} trains from it. Wait for it.")


def _identity(folder: Path) -> tuple[int, int, int] | None:
    """Return the identity of a folder, which a new folder of that name would not have."""
    try:
        stat_result = folder.stat()
    except FileNotFoundError:
        return None
    return stat_result.st_dev, stat_result.st_ino, stat_result.st_ctime_ns


def _replace(project: paths.Project, tag: paths.Tag, made: Path, ours: paths.Run | None) -> paths.Run | None:
    """Replace the snapshot by `made`, unless a run uses it; return that run, or None."""
    old = made.with_name("old-snapshot")
    with lock.held(project.lock):
        live = [run for run in tag.runs() if run != ours and status.is_live(run)]
        if live and tag.snapshot.exists():
            return live[0]
        if tag.snapshot.exists():
            os.rename(tag.snapshot, old)
        os.rename(made, tag.snapshot)
    shutil.rmtree(old, ignore_errors=True)
    return None


def release(project: paths.Project, tag: paths.Tag, *, ours: paths.Run | None = None) -> None:
    """Remove the tag's snapshot if all its runs are finished or pruned, and no lock but that of `ours` is held."""
    with lock.held(project.lock):
        staging.sweep(tag)
        is_unused = all(
            status.read(run) in status.FINAL and (run == ours or not lock.is_held(run.lock)) for run in tag.runs()
        )
        if not is_unused or not tag.snapshot.exists():
            return
        folder = staging.move_away(tag, tag.snapshot)
    shutil.rmtree(folder, ignore_errors=True)


def write(folder: Path, repository: Repository, commit: str, project: Project) -> None:
    """Write the project's files of `commit` into the new folder `folder`, read-only, with __data__ linked.

    Raises:
        Refused: the commit has a submodule, or an LFS object that is not here.
    """
    folder.mkdir()
    write_files(folder, repository, repository.files(commit), _mode)
    os.symlink(project.data.resolve(), folder / project.data.name)


def write_files(folder: Path, repository: Repository, entries: list[Entry], mode: Callable[[Entry], int]) -> None:
    """Write files of a commit into a folder, byte for byte, each with its `mode`.

    Raises:
        Refused: an LFS object is not here.
    """
    folders = {os.fspath(folder)}
    for entry, data in repository.contents(entries):  # paths as text: Path took a third of the time
        path = f"{folder}/{entry.path}"
        parent = os.path.dirname(path)
        if parent not in folders:
            os.makedirs(parent, exist_ok=True)
            folders.add(parent)
        if entry.is_link:
            os.symlink(data, os.fsencode(path))
            continue
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(handle, mode(entry))
            files.write_all(handle, data)
        finally:
            os.close(handle)


def is_whole(folder: Path, repository: Repository, commit: str, project: Project) -> bool:
    """Tell whether `folder` holds exactly the project's files of `commit`."""
    entries = repository.files(commit)
    expected = {entry.path for entry in entries} | {project.data.name}
    if _files(folder) != expected or not _links_to(folder / project.data.name, os.fsencode(project.data.resolve())):
        return False
    return all(_is_same(folder / entry.path, entry, data) for entry, data in repository.contents(entries))


def _files(folder: Path) -> set[str]:
    paths_below = set()
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        paths_below |= {os.path.relpath(os.path.join(parent, name), folder) for name in names + links}
    return paths_below


def _is_same(path: Path, entry: Entry, data: bytes) -> bool:
    if entry.is_link:
        return _links_to(path, data)
    try:
        is_file = stat.S_ISREG(os.lstat(path).st_mode)
        return is_file and stat.S_IMODE(os.lstat(path).st_mode) == _mode(entry) and path.read_bytes() == data
    except OSError:
        return False


def _links_to(path: Path, target: bytes) -> bool:
    try:
        return os.readlink(os.fsencode(path)) == target
    except OSError:
        return False


def _mode(entry: Entry) -> int:
    return 0o555 if is_executable(entry) else 0o444


def is_executable(entry: Entry) -> bool:
    return entry.mode == _EXECUTABLE_MODE
