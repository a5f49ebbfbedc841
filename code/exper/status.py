"""The one place that decides a run's status: derived, not believed."""

import contextlib
import os
import tempfile
import time
from pathlib import Path

from exper import lock, machine, paths, run_json
from exper.error import Refused

UNFINISHED = ("failed", "interrupted", "died")
OVER = ("finished", "pruned")
HEARTBEAT_SECONDS = 15
_FRESH_SECONDS = 90


def of(run: paths.Run, record: run_json.Record) -> str:
    """Return queued, running, finished, failed, interrupted, pruned or died.

    A stored `running` counts only while somebody holds the run's lock or, on another host, its heart beats.
    """
    stored = str(record["status"])
    if stored == "running" and not _is_held(run, record):
        return "died"
    return stored


def read(run: paths.Run) -> str:
    """Return the run's status, or `damaged` if its record can't be read."""
    try:
        return of(run, run_json.read(run))
    except Refused:
        return "damaged"


def is_live(run: paths.Run) -> bool:
    """Tell whether a process works on the run, whatever is recorded."""
    try:
        record = run_json.read(run)
    except Refused:
        return lock.is_held(run.lock)
    return lock.is_held(run.lock) or of(run, record) == "running"


def mark_ending(run: paths.Run) -> None:
    """Note that a run which still runs has been asked to end; its heartbeat says so."""
    if not is_ending(run):
        with contextlib.suppress(OSError):
            run.heartbeat.write_text("ending\n")


def is_ending(run: paths.Run) -> bool:
    """Tell whether a run has been asked to end."""
    with contextlib.suppress(OSError):
        return run.heartbeat.stat().st_size > 0
    return False


def _is_held(run: paths.Run, record: run_json.Record) -> bool:
    if lock.is_held(run.lock):
        return True
    return not machine.is_here(record) and _heart_beats(run)


def _heart_beats(run: paths.Run) -> bool:
    try:
        handle = os.open(run.heartbeat, os.O_RDONLY)  # an open makes NFS look at the server
    except OSError:
        return False
    try:
        return _clock(run.folder.parent) - os.fstat(handle).st_mtime < _FRESH_SECONDS
    finally:
        os.close(handle)


def _clock(folder: Path) -> float:
    """Return the time by the clock of the file system, which need not be this host's."""
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime
    return time.time()
