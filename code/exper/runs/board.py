"""The project's one background TensorBoard: started by `run`, recognised by its lock, ended by `exper board stop`.

It is a process in a session of its own, `exper board serve`, that holds a lock while it lives and records its address.
Only the lock counts: a killed TensorBoard leaves its record behind.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from exper.config import logger_registry
from exper.core import files, host_info, lock, paths
from exper.core.errors import Refused

Record = dict[str, Any]
_EXPER = Path(__file__).parents[1]
_LOOK_SECONDS = 0.25
_STOP_SECONDS = 15.0


def read(project: paths.Project) -> Record | None:
    """Return the record of the running TensorBoard; {} if it has not written one yet, None if none runs."""
    if not lock.is_held(project.board.lock):
        return None
    with contextlib.suppress(FileNotFoundError, Refused):
        record = files.read_json(project.board.record)
        if not host_info.is_here(record) or host_info.is_alive(record.get("pid"), record.get("pid_started")):
            return record
    return {}


def is_wanted(project: paths.Project, config: dict[str, Any]) -> bool:
    """Tell whether `run` starts TensorBoard: on a terminal, if event files are written and no user has stopped it."""
    if not logger_registry.has(config.get("logger"), "tensorboard") or project.board.stopped.exists():
        return False
    is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return not is_ci and sys.stderr is not None and sys.stderr.isatty()


def start() -> "subprocess.Popen[bytes]":
    """Start a detached TensorBoard; of several that start at once, one gets the lock and the others exit with 0."""
    return subprocess.Popen(
        [sys.executable, "-I", str(_EXPER), "board", "serve"],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def start_error(project: paths.Project) -> str:
    """Return the reason why TensorBoard did not start."""
    if not os.access(project.board.folder if project.board.folder.exists() else project.result, os.W_OK):
        return f"{project.board.folder} can't be written"
    with contextlib.suppress(OSError):
        lines = project.board.log.read_text(errors="replace").strip().splitlines()
        if lines:
            return f"{lines[-1].removeprefix('board: ')} ({project.board.log})"
    return "its log is empty"


def stop(project: paths.Project) -> bool:
    """End TensorBoard, and keep `run` from starting another; return False if none ran.

    Raises:
        Refused: it runs on another host, or does not end.
    """
    project.board.folder.mkdir(parents=True, exist_ok=True)
    project.board.stopped.touch()
    deadline = time.monotonic() + _STOP_SECONDS
    asked = None
    while (record := read(project)) is not None:
        if record and not host_info.is_here(record):
            raise Refused(f"it runs on {record.get('host')}. Type there: exper board stop")
        if record and record["pid"] != asked:  # {}: it is just starting, or has just ended
            asked = record["pid"]
            _end(asked)
        if time.monotonic() > deadline:
            raise Refused(f"it does not end: {project.board.lock} is held by pid {asked or 'unknown'}.")
        time.sleep(0.05)
    return asked is not None


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise Refused(f"it runs as pid {pid}, which is not yours.") from None


class Announcement:
    """The one line that a command prints about TensorBoard: its address, once it answers, or why it did not start."""

    def __init__(self, project: paths.Project, config: dict[str, Any]) -> None:
        """Start TensorBoard if it is wanted and none runs."""
        self._project = project
        self._is_told = not is_wanted(project, config)
        self._looked = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._error = ""
        if not self._is_told and read(project) is None:
            try:
                self._process = start()
            except OSError as error:
                self._error = error.strerror or str(error)

    def line(self, *, is_last: bool = False) -> str:
        """Return the line to print now; most of the time it is empty."""
        if self._is_told or (time.monotonic() - self._looked < _LOOK_SECONDS and not is_last):
            return ""
        self._looked = time.monotonic()
        line = self._now(is_last=is_last)
        self._is_told = line != ""
        return line

    def _now(self, *, is_last: bool) -> str:
        record = read(self._project)
        if record and record.get("address"):
            return f"exper: TensorBoard is at {record['address']}"
        if self._error or (self._process is not None and self._process.poll()):
            return f"exper: TensorBoard did not start: {self._error or start_error(self._project)}"
        return "exper: TensorBoard is still starting. For its address type: exper board" if is_last else ""
