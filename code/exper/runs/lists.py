"""Lists of experiments: one `<tag>/<id>` a line in `__statistic__/exper-list/<name>.txt`.

They are the user's files, and an editor may save one at any moment. So lines are only ever appended, in one write:
to read a list and replace it would undo a save in between.
"""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from exper.core import files, lock, paths
from exper.core.errors import Refused, did_you_mean

RECORD = "record"  # the default list
FINISHED = "finished"
_TRIES = 100


def append(project: paths.Project, name: str, *added: str) -> list[str]:
    """Append the entries that a list lacks, and return them; the user's lines stay byte for byte.

    Raises:
        Refused: the file does not keep the lines that are written to it.
    """
    project.lists.mkdir(parents=True, exist_ok=True)
    path = project.list_file(name)
    with lock.held(project.lists / ".lock"):
        missing = new = _missing(path, added)
        for _ in range(_TRIES):
            if not missing:
                if new:
                    files.sync(path)
                    files.sync(path.parent)
                return new
            _write(path, missing)
            missing = _missing(path, added)  # an editor may have replaced the file meanwhile
    raise Refused(f"{path} does not keep the line {missing[0]!r}.")


def check_writable(project: paths.Project, name: str) -> None:
    """Refuse a list that can't be appended to."""
    path = project.list_file(name)
    try:
        append(project, name)
        if path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
    except OSError as error:
        raise Refused(f"nothing can be added to {path}: {error.strerror or error}. Make it writable.") from None


def _missing(path: Path, wanted: Iterable[str]) -> list[str]:
    present = {_entry(line) for line in _text(path.read_bytes()).splitlines()} if path.exists() else set()
    return [entry for entry in dict.fromkeys(wanted) if entry not in present]


def _write(path: Path, added: list[str]) -> None:
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        before = files.read_saved(path)
        newline = b"\r\n" if b"\r\n" in before else b"\n"
        start = newline if before and not before.endswith((b"\n", b"\r")) else b""
        text = start + b"".join(entry.encode() + newline for entry in added)
        if os.write(handle, text) < len(text):  # half a name may be another run's
            os.ftruncate(handle, len(before))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(handle)


def remove(project: paths.Project, name: str, runs: set[str]) -> None:
    """Remove runs from a list."""
    path = project.list_file(name)
    if not path.exists():
        return
    with lock.held(project.lists / ".lock"):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if _entry(_text(line)) not in runs]
        if kept != lines:
            files.replace(path, b"".join(kept))


def search_entry(search: str) -> str:
    """Return the entry for all trials of a search."""
    return f"{search}+*"


def remove_search(project: paths.Project, search: str) -> None:
    """Remove a search's own entry from the list of its name, and the list if it is empty then."""
    path = project.list_file(search)
    if path.exists():
        remove(project, search, {search_entry(search)})
        if not path.read_bytes():
            path.unlink()


def entries(path: Path) -> list[str]:
    """Return the entries of a list, without comments and blank lines; line ends can be of any kind.

    Raises:
        Refused: it is not UTF-8 text.
    """
    content = path.read_bytes()
    if b"\0" in content:
        raise Refused(f"{path} is no text in UTF-8. Save it as UTF-8 with your editor.")
    return [entry for entry in map(_entry, _text(content).splitlines()) if entry]


def _text(content: bytes) -> str:
    return content.decode("utf-8-sig", errors="replace")


def _entry(line: str) -> str:
    return line.partition("#")[0].strip().rstrip("/")  # as completion of paths leaves it


def find(project: paths.Project, word: str) -> Path:
    """Return the file of a list, given its name or a path that ends in .txt.

    Raises:
        Refused: there is no such list; the nearest name is offered.
    """
    path = Path(word) if word.endswith(".txt") else project.list_file(word)
    check_name(path.stem if word.endswith(".txt") else word)
    if not path.is_file():
        names = [file.stem for file in project.lists.glob("*.txt")]
        words = "record" if word == RECORD else f"record -l {word} <tag>"
        make = "" if word.endswith(".txt") else f" To make it, type: {words}"
        raise Refused(f"there is no list {word!r}.{did_you_mean(word, names)}{make}")
    check_not_shadowing(project, path)
    return path


def check_not_shadowing(project: paths.Project, path: Path) -> None:
    """Refuse a list elsewhere with the name of one of the project's lists: its files would overwrite theirs."""
    own = project.list_file(path.stem)
    if own.is_file() and path.is_file() and not own.samefile(path):
        raise Refused(
            f"{path} is not the project's list {path.stem!r}, and its files would overwrite those of that list."
            " Give it another name."
        )


def check_name(name: str) -> None:
    """Refuse a name that a list, and the files of its title and table, can't have."""
    if not name.isprintable() or name.strip() != name or name.startswith((".", "-")) or "/" in name or not name:
        raise Refused(f"{name!r} can't be the name of a list: it is empty, hidden, an option or a path.")
    if len(os.fsencode(name)) > 200:
        raise Refused(f"the name of a list has 200 bytes at most: {name[:40]}…")
    if name.endswith(".txt"):
        raise Refused(f"a list is named without its ending: {name.removesuffix('.txt')}")


def unknown_runs(path: Path, entries: Iterable[str]) -> list[str]:
    """Return a line for each entry of a list that names no run."""
    return [f"{path.name} names {entry!r}, and there is no such run; skipped" for entry in entries]
