"""run.json, what the manager records of a run: who, where, when, from what, and how it ended."""

import os
import signal
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from exper.core import files, host_info, paths
from exper.core.errors import Refused

FORMAT = int((Path(__file__).parents[1] / "FORMAT").read_text())
Record = dict[str, Any]


def now() -> str:
    """Return the time in UTC, to the millisecond, as it is recorded."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def time(text: object) -> datetime | None:
    """Return a recorded time, in UTC; None if it is none."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(timezone.utc)
    except (ValueError, OverflowError):  # the second: in UTC it would be before the year 1, or after 9999
        return None


def fresh_seed() -> int:
    """Draw the seed of a run; the module `secrets` would load OpenSSL for it, 8 ms."""
    return int.from_bytes(os.urandom(4), "little")


def new(tag: str, commit: str | None, seed: int, threads: int) -> Record:
    """Return the record of a run that is about to be born; its id, its tree and its first session come later."""
    return {
        "format": FORMAT,
        "tag": tag,
        "id": None,
        "commit": commit,
        "tree": None,
        "reproducible": commit is not None,
        "seed": seed,
        "threads": threads,
        "recorded": None,
        "exact": False,
        "different": [],
        "job": None,
        "sessions": [],
    }


def begin(record: Record, command: list[str], status: str = "running") -> Record:
    """Return the record with a new session here and now; what the last session has stands on top as well.

    A session that was queued becomes the one that runs, and keeps its command and its job.
    """
    before, job = record["sessions"], None
    if record.get("status") == "queued":
        command, before, job = record["command"], before[:-1], record["job"]
    about = {"environment": host_info.environment(), "versions": host_info.versions()}
    return _with(record | about, before, _session(command, status, job))


def _session(command: list[str], status: str, job: Record | None) -> Record:
    ended = dict.fromkeys(("ended", "exit_code", "signal", "pruned"))
    return {"command": command, "status": status, "job": job, **host_info.this_process(), "started": now(), **ended}


def _with(record: Record, before: list[Record], session: Record) -> Record:
    sessions = [*before, session]
    return record | session | {"started": sessions[0]["started"], "sessions": sessions}


def give_job(record: Record, job: Record) -> Record:
    """Return the record of a queued run with the job that will train it."""
    *before, last = record["sessions"]
    return _with(record, before, last | {"job": job})


def queue_again(record: Record) -> Record:
    """Return the record of a run that has just been interrupted, and whose job has another go at it later."""
    return _with(record, record["sessions"], _session(record["command"], "queued", record["job"]))


def unqueue(record: Record) -> Record:
    """Return the record as it was before `queue_again`."""
    *before, last, _ = record["sessions"]
    return _with(record, before, last)


def end(record: Record, status: str, returncode: int, pruned: Record | None = None) -> Record:
    """Return the record with its last session ended; a negative return code is a signal's number.

    A pruned one has in `pruned` after which epoch it was, and why.
    """
    ended = {
        "status": status,
        "ended": now(),
        "exit_code": returncode if returncode >= 0 else None,
        "signal": _signal_name(-returncode) if returncode < 0 else None,
        "pruned": pruned,
    }
    *before, last = record["sessions"]
    return record | ended | {"sessions": [*before, last | ended]}


def mark_died(record: Record) -> Record:
    """Return the record of a run that ended without a word, so that this stays known while somebody holds its lock."""
    *before, last = record["sessions"]
    return record | {"status": "died", "sessions": [*before, last | {"status": "died"}]}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def write(run: paths.Run, record: Record) -> None:
    """Replace the run's run.json."""
    files.write_json(run.record, record)


_NONE = type(None)
_Kinds = dict[str, tuple[type, ...]]
_FIRST: _Kinds = {"format": (int,)}
_KINDS: _Kinds = {"status": (str,), "seed": (int,), "started": (str,), "sessions": (list,)}
_LATER: _Kinds = {  # what format 1 has not always had, or what is null in some runs
    "commit": (str, _NONE),
    "threads": (int, _NONE),
    "job": (dict, _NONE),
    "command": (list,),
    "recorded": (dict, _NONE),
    "different": (list,),
    "environment": (dict,),
    "versions": (dict,),
}


def read(run: paths.Run) -> Record:
    """Return the run's record.

    Raises:
        Refused: there is none, it is damaged, or a newer Exper wrote it.
    """
    try:
        record = files.read_json(run.record)
    except FileNotFoundError:
        raise Refused(f"{run} has no run.json, so nothing is known of it.") from None
    _check(run, record, _FIRST)
    if record["format"] > FORMAT:
        raise Refused(
            f"{run} was made by a newer Exper (format {record['format']}, not {FORMAT}). Update this project."
        )
    _check(run, record, _KINDS)
    _check(run, record, {key: kinds for key, kinds in _LATER.items() if key in record})
    if not record["sessions"] or not all(map(_is_session, record["sessions"])):
        raise Refused(f"{run.record} is damaged: 'sessions' tells of none")
    return record


def _is_session(session: object) -> bool:
    return isinstance(session, dict) and isinstance(session.get("started"), str)


def _check(run: paths.Run, record: Record, kinds: _Kinds) -> None:
    for key, kind in kinds.items():
        if not isinstance(record.get(key), kind):
            raise Refused(f"{run.record} is damaged: {key!r} is missing or no {kind[0].__name__}")


def ending(record: Record) -> str:
    """Return how the run ended in a few words, such as `failed (killed by SIGKILL)`."""
    if record["status"] != "failed":
        return str(record["status"])
    how = f"killed by {record['signal']}" if record["signal"] else f"exit code {record['exit_code']}"
    return f"failed ({how})"
