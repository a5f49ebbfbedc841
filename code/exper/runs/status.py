"""The one place that decides a run's status: derived, not believed."""

import contextlib
import os
import tempfile
import time
from pathlib import Path

from exper.core import host_info, lock, paths, slurm
from exper.core.errors import Refused
from exper.runs import run_record

UNFINISHED = ("failed", "interrupted", "died")
QUEUED = ("queued", "queued?")  # the second: SLURM can't be asked
ACTIVE = (*QUEUED, "running")
FINAL = ("finished", "pruned")
ACTIVE = (*QUEUED, "running")
ENDED = (*FINAL, *UNFINISHED)
ENDED = (*FINAL, *UNFINISHED)
HEARTBEAT_SECONDS = 15
_FRESH_SECONDS = 90


def derive(run: paths.Run, record: run_record.Record) -> str:
    """Return queued, running, finished, failed, interrupted, pruned or died.

    A stored `running` counts only while a process holds the run's lock or, on another host, the heartbeat is fresh.
    SLURM decides the status of a job: it may have requeued a run that was cut off, and a queued job may be gone. If
    SLURM can't be asked, a stored `queued` becomes `queued?`.
    """
    stored = str(record["status"])
    job = record.get("job")
    if stored not in ("queued", "running"):
        return stored
    if stored == "running" and _is_held(run, record):
        return "running"
    is_ours = slurm.is_ours(job)
    if stored == "queued" and (is_ours or (not job and _is_held(run, record))):  # without a job: just being submitted
        return "queued"
    return "died" if not job or is_ours else _status_of_job(run, record, job)


def _status_of_job(run: paths.Run, record: run_record.Record, job: slurm.Job) -> str:
    stored = str(record["status"])
    word = _word_on_job(run, job)
    if word is None:
        return "died" if stored == "running" else "queued?"
    if word == slurm.GONE:
        return _died_if_unchanged(run, record)
    return stored if word == slurm.RUNNING else "queued"


def read(run: paths.Run) -> str:
    """Return the run's status, or `damaged` if its record can't be read."""
    try:
        return derive(run, run_record.read(run))
    except Refused:
        return "damaged"


def is_live(run: paths.Run) -> bool:
    """Tell whether a process works on the run, whatever its record says."""
    try:
        record = run_record.read(run)
    except Refused:
        return lock.is_held(run.lock)
    return lock.is_held(run.lock) or derive(run, record) == "running"


def is_busy(run: paths.Run) -> bool:
    """Tell whether a process works on a run, or may start to at any moment."""
    return is_live(run) or read(run) in QUEUED


def mark_ending(run: paths.Run) -> None:
    """Note in the heartbeat file that a running run has been asked to end."""
    if not is_ending(run):
        with contextlib.suppress(OSError):
            run.heartbeat.write_text("ending\n")


def is_ending(run: paths.Run) -> bool:
    """Tell whether a run has been asked to end."""
    with contextlib.suppress(OSError):
        return run.heartbeat.stat().st_size > 0
    return False


def _is_held(run: paths.Run, record: run_record.Record) -> bool:
    if lock.is_held(run.lock):
        return True
    return not host_info.is_here(record) and _is_heartbeat_fresh(run)


def _word_on_job(run: paths.Run, job: slurm.Job) -> str | None:
    try:
        about = run.record.stat()
    except OSError:  # it has just been removed
        return slurm.GONE
    return slurm.state(job, about.st_uid, about.st_mtime)


def _died_if_unchanged(run: paths.Run, record: run_record.Record) -> str:
    """Return `died`, unless the run has a new session since `record` was read: then derive the status again."""
    try:
        now = run_record.read(run)
    except Refused:
        return "died"
    return "died" if now["sessions"] == record["sessions"] else derive(run, now)


def _is_heartbeat_fresh(run: paths.Run) -> bool:
    try:
        handle = os.open(run.heartbeat, os.O_RDONLY)  # an open makes NFS look at the server
    except OSError:
        return False
    try:
        return file_system_time(run.folder.parent) - os.fstat(handle).st_mtime < _FRESH_SECONDS
    finally:
        os.close(handle)


def file_system_time(folder: Path) -> float:
    """Return the time by the clock of the file system, which may differ from this host's."""
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime
    return time.time()
