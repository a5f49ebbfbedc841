"""File locks that the system releases when the last holder dies, and that can be probed without being taken.

Some network disks don't share locks between hosts. So `held`, which guards work that several hosts may start at once,
also makes a symbolic link: making an existing link fails on every host.

On Linux it is an open-file-description lock: it belongs to the open file, so a child that inherits the descriptor holds
it too, and probing never blocks a process that wants it. Elsewhere it is flock, where probing takes it for a moment.
Never unlock, close the descriptor: unlocking would release it for the other holders as well.
"""

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from exper.core.errors import Refused

_HAS_OFD = hasattr(fcntl, "F_OFD_SETLK")
_FLOCK = "hhqqi4x"  # short type, short whence, off_t start, off_t len, pid_t pid
_WHOLE_FILE = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def take(path: Path, wait_seconds: float = 0.0) -> int | None:
    """Lock the file `path`, created if missing; return the descriptor that holds the lock, None if it is held."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    deadline = time.monotonic() + wait_seconds
    try:
        while not _try(handle):
            if time.monotonic() >= deadline:
                os.close(handle)
                return None
            time.sleep(0.01)
    except OSError:
        os.close(handle)
        raise
    return handle


def _try(handle: int) -> bool:
    try:
        if _HAS_OFD:
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def is_held(path: Path) -> bool:
    """Tell whether any process holds the lock `path`."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        # Another user's run, or a read-only disk: probing needs only read access.
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:  # unknown, so take it for held
            return True
    try:
        if _HAS_OFD:
            answer = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _WHOLE_FILE)
            return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
        return not _try(handle)
    finally:
        os.close(handle)


def is_handed(handle: int, path: Path) -> bool:
    """Tell whether `handle` is an open descriptor of the file `path` and holds its lock."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path)) and _try(handle)
    except OSError:  # not open, or not for writing
        return False


@contextlib.contextmanager
def held(path: Path, wait_seconds: float = 60.0) -> Iterator[None]:
    """Hold the lock `path` for a short job, against all hosts that share its folder.

    Raises:
        Refused: another process held it for `wait_seconds`.
    """
    deadline = time.monotonic() + wait_seconds
    handle = take(path, wait_seconds)
    if handle is None:
        raise Refused(f"another process has held {path} for {wait_seconds:.0f} s. Try again.")
    everywhere = path.with_name(f"{path.name}.host")
    try:
        while not _make(everywhere):
            if time.monotonic() >= deadline:
                raise Refused(_who_holds(everywhere, wait_seconds))
            time.sleep(0.01)
        try:
            yield
        finally:
            everywhere.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _make(path: Path) -> bool:
    """Make a link that names this host; return False if it exists. A link of this host was left by a killed process."""
    from exper.core import host_info  # needs psutil, which the first command installs under a lock

    try:
        os.symlink(f"{host_info.boot_id()}@{host_info.host()}", path)
    except FileExistsError:
        if host_info.is_here(_holder(path)):
            path.unlink(missing_ok=True)
        return False
    return True


def _holder(path: Path) -> dict[str, object]:
    with contextlib.suppress(FileNotFoundError):
        boot_id, _, host = os.readlink(path).partition("@")
        return {"boot_id": boot_id, "host": host}
    return {}


def _who_holds(path: Path, seconds: float) -> str:
    host = _holder(path).get("host")
    return f"the host {host} has held {path} for {seconds:.0f} s. If it no longer works, remove that file."
