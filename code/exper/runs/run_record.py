"""run.json, the manager's record of a run: its code, its sessions (host, times, exit code), and its status.

Versions are compared here, where they are recorded; device and data by training, which records those.
"""

import json
import os
import signal
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from exper.core import files, host_info, paths, statistic_file
from exper.core.errors import Refused

FORMAT = int((Path(__file__).parents[1] / "FORMAT").read_text())
COMPARED = ("device", "data", "pretrained", "outside_code")  # sections of statistic.json that numbers depend on
Record = dict[str, Any]


def now() -> str:
    """Return the time in UTC, to the millisecond, as it is recorded."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def time(text: object) -> datetime | None:
    """Parse a recorded time, in UTC; return None if it is none."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(timezone.utc)
    except (ValueError, OverflowError):  # the second: in UTC it would be before the year 1, or after 9999
        return None


# -- a new run ---------------------------------------------------------------------------------------------------------


def fresh_seed() -> int:
    """Draw the seed of a run; the module `secrets` would load OpenSSL for it, 8 ms."""
    return int.from_bytes(os.urandom(4), "little")


def thread_count(config: Mapping[str, Any], default: int | None = None) -> int:
    """Return the threads of a new run: the setting, else `default`, else the default of this host."""
    threads = config.get("threads")
    return threads if type(threads) is int else default or host_info.default_threads()


def new(tag: str, commit: str | None, seed: int, threads: int) -> Record:
    """Return the record of a run to be created; its id, its tree and its first session come later."""
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


# -- sessions; the record repeats the keys of the last ----------------------------------------------------------------


def begin(record: Record, command: list[str], status: str = "running") -> Record:
    """Return the record with a new session, here and now.

    A queued session becomes the one that runs, and keeps its command and its job.
    """
    before = record["sessions"]
    job = None
    if record.get("status") == "queued":
        command = record["command"]
        before = before[:-1]
        job = record["job"]
    host = {"environment": host_info.environment(), "versions": host_info.versions()}
    return _with(record | host, before, _session(command, status, job))


def give_job(record: Record, job: Record) -> Record:
    """Return the record of a queued run with the job that will train it."""
    *before, last = record["sessions"]
    return _with(record, before, last | {"job": job})


def queue_again(record: Record) -> Record:
    """Return the record of a run that was just interrupted and whose job will continue it later."""
    return _with(record, record["sessions"], _session(record["command"], "queued", record["job"]))


def unqueue(record: Record) -> Record:
    """Return the record as it was before `queue_again`."""
    *before, last, _ = record["sessions"]
    return _with(record, before, last)


def end(record: Record, status: str, returncode: int, pruned: Record | None = None) -> Record:
    """Return the record with its last session ended; a negative return code is a signal's number.

    `pruned` holds the epoch after which a trial was pruned, and the reason.
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
    """Return the record of a run whose last session died, so that this stays recorded while the lock is held."""
    *before, last = record["sessions"]
    return record | {"status": "died", "sessions": [*before, last | {"status": "died"}]}


def ending(record: Record) -> str:
    """Return the status, of a failed run with its exit code or signal: `failed (killed by SIGKILL)`."""
    if record["status"] != "failed":
        return str(record["status"])
    cause = f"killed by {record['signal']}" if record["signal"] else f"exit code {record['exit_code']}"
    return f"failed ({cause})"


def _session(command: list[str], status: str, job: Record | None) -> Record:
    ended = dict.fromkeys(("ended", "exit_code", "signal", "pruned"))
    return {"command": command, "status": status, "job": job, **host_info.this_process(), "started": now(), **ended}


def _with(record: Record, before: list[Record], session: Record) -> Record:
    sessions = [*before, session]
    return record | session | {"started": sessions[0]["started"], "sessions": sessions}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


# -- the file ----------------------------------------------------------------------------------------------------------

_NONE = type(None)
_Kinds = dict[str, tuple[type, ...]]
_FIRST: _Kinds = {"format": (int,)}
_KINDS: _Kinds = {"status": (str,), "seed": (int,), "started": (str,), "sessions": (list,)}
_OPTIONAL: _Kinds = {  # absent from early records of format 1, or null in some runs
    "commit": (str, _NONE),
    "threads": (int, _NONE),
    "job": (dict, _NONE),
    "command": (list,),
    "recorded": (dict, _NONE),
    "different": (list,),
    "environment": (dict,),
    "versions": (dict,),
}


def write(run: paths.Run, record: Record) -> None:
    """Replace the run's run.json."""
    files.write_json(run.record, record)


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
    _check(run, record, {key: kinds for key, kinds in _OPTIONAL.items() if key in record})
    if not record["sessions"] or not all(map(_is_session, record["sessions"])):
        raise Refused(f"{run.record} is damaged: 'sessions' tells of none")
    return record


def _is_session(session: object) -> bool:
    return isinstance(session, dict) and isinstance(session.get("started"), str)


def _check(run: paths.Run, record: Record, kinds: _Kinds) -> None:
    for key, kind in kinds.items():
        if not isinstance(record.get(key), kind):
            raise Refused(f"{run.record} is damaged: {key!r} is missing or no {kind[0].__name__}")


# -- comparing with a recorded run -------------------------------------------------------------------------------------


def expected(original: paths.Run, different: list[str], *, exact: bool) -> Record:
    """Return the part of a new record that training compares itself with: sections of `original`'s statistic.json.

    `different` are the versions that differ already.
    """
    statistic = statistic_file.read_if_readable(original).content
    recorded = {key: statistic[key] for key in COMPARED if key in statistic}
    return {"recorded": recorded or None, "exact": exact, "different": different}


def different_versions(recorded: dict[str, str], required: set[str], *, exact: bool) -> list[str]:
    """Return a line for Python and each required package whose version differs from the recorded one.

    Raises:
        Refused: a version differs, and `exact` is set.
    """
    installed = host_info.versions()
    compared = {"python", *(required or recorded)} & set(recorded)
    different = [
        f"{name} {recorded[name]} -> {installed.get(name, 'missing')}"
        for name in sorted(compared)
        if recorded[name] != installed.get(name)
    ]
    if different and exact:
        raise Refused(f"versions differ from the recorded run: {', '.join(different)}. Install those, or omit --exact.")
    return different


def is_equal(a: object, b: object) -> bool:
    """Tell whether two recorded values are equal to the last digit; NaN equals NaN."""
    return json.dumps(a, sort_keys=True, default=repr) == json.dumps(b, sort_keys=True, default=repr)
