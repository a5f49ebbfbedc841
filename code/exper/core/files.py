"""Files that survive a kill: replaced as a whole, or appended to by whole lines."""

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from exper.core.errors import Refused

_BLOCK = 65536
HALF_WRITTEN = re.compile(r"\.[0-9a-f]{12}")  # the ending of a file that is to replace another


def replace(path: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Replace the content of `path`; a reader, or a power cut, sees the old or the new content, never a mixture."""
    with replacing(path, mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o666, check: Callable[[], None] = lambda: None) -> Iterator[IO[bytes]]:
    """Yield a file that replaces `path`, complete and on the disk, when the block ends without an error.

    It keeps the mode of the old file; a new file has `mode`, less the umask. `check` is called at the last moment; if
    it raises an exception, `path` stays as it is.
    """
    beside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")  # as HALF_WRITTEN says
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with contextlib.suppress(OSError):  # a new file
            os.fchmod(handle, path.stat().st_mode & 0o777)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        check()
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    sync(path.parent)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder that replaces `path`, complete, when the block ends without an error."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f".{path.name}")
    shutil.rmtree(beside, ignore_errors=True)  # left by a kill
    beside.mkdir()
    try:
        yield beside
        if path.exists():
            shutil.rmtree(path)
        os.rename(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_all(handle: int, data: bytes) -> None:
    """Write all data to a descriptor: one call may write less, to a full disk or for a slow reader."""
    while data:
        data = data[os.write(handle, data) :]


def read_saved(path: Path) -> bytes:
    """Return the content of a file that people edit: an editor that saves in place empties it first."""
    content = path.read_bytes()
    if not content:
        time.sleep(0.02)
        content = path.read_bytes()
    return content


def umask() -> int:
    """Return the umask of this process."""
    mask = os.umask(0)  # there is no other way to ask
    os.umask(mask)
    return mask


def size(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder."""
    if path.is_symlink() or not path.is_dir():
        return _size(path)
    return sum(_size(Path(parent, name)) for parent, _, names in os.walk(path) for name in names)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # removed meanwhile
        return 0


def remove(path: Path) -> None:
    """Remove a file, or a folder with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace `path` by indented JSON; NaN and infinity are written as Python's json reads them."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    replace(path, text.encode(errors="backslashreplace"))  # for bytes that were not UTF-8; JSON reads them back


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in `path`.

    Raises:
        FileNotFoundError: there is no such file.
        Refused: it exists and can't be read; damaged is not absent.
    """
    try:
        content = json.loads(_read(path).decode())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Refused(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path} is damaged: {error}") from None
    if not isinstance(content, dict):
        raise Refused(f"{path} is damaged: it holds no JSON object")
    return content


def section(content: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an object within `content`, empty if that has none; a user's program may have written anything there."""
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _read(path: Path) -> bytes:
    """Return the content of a file, mostly by three system calls: a table reads thousands of files."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        blocks = [os.read(handle, _BLOCK)]
        while len(blocks[-1]) == _BLOCK:
            blocks.append(os.read(handle, _BLOCK))
    finally:
        os.close(handle)
    return b"".join(blocks)


def open_to_append(path: Path) -> IO[bytes]:
    """Open `path` for appending lines; an incomplete last line, left by a kill, is cut off first."""
    file = open(path, "ab+")
    size = file.seek(0, os.SEEK_END)
    whole = _end_of_last_line(file, size)
    if whole < size:
        file.truncate(whole)
    file.seek(0, os.SEEK_END)
    return file


def append(path: Path, text: str) -> None:
    """Append lines to a file that is never cut: an incomplete last line gets its newline first."""
    with open(path, "ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        is_torn = file.read() not in (b"", b"\n")
        file.write(b"\n" * is_torn + text.encode())


def _end_of_last_line(file: IO[bytes], size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file, without an incomplete last line.

    Raises:
        Refused: a complete line can't be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    lines.pop()
    objects = []
    for number, line in enumerate(lines, 1):
        try:
            objects.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise Refused(f"{path}, line {number} is damaged: {error}") from None
        if not isinstance(objects[-1], dict):
            raise Refused(f"{path}, line {number} is damaged: it holds no JSON object")
    return objects
