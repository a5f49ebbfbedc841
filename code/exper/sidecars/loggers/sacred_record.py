"""The record of a run in Sacred's form, in files as in MongoDB."""

import hashlib
from datetime import datetime, timezone
from typing import Any

from exper.sidecars.loggers.run_info import End, RunInfo

PAUSE = 10.0  # seconds, as of Sacred's own heartbeat
_STATUS = {"finished": "COMPLETED", "interrupted": "INTERRUPTED", "pruned": "INTERRUPTED"}  # else FAILED


def new(info: RunInfo, sources: list[Any]) -> dict[str, Any]:
    """Return the record of a run that begins, without its start time."""
    versions = dict(info.record.get("versions") or {})
    experiment = {
        "name": info.project,
        "base_dir": str(info.run.project.root),
        "mainfile": "code/main.py",
        "sources": sources,
        "dependencies": [f"{name}=={version}" for name, version in versions.items() if name != "python"],
        "repositories": [{"url": None, "commit": info.record.get("commit"), "dirty": False}],
    }
    ours = {"run": info.name, "key": info.key}
    return {
        "experiment": experiment,
        "format": "MongoObserver-0.7.0",
        "command": info.command,
        "host": info.host(),
        "meta": {"command": info.command, "options": {}, "comment": info.name, "exper": ours},
        "status": "RUNNING",
        "resources": [],
        "artifacts": [],
        "heartbeat": None,
        "result": None,
    }


def ending(info: RunInfo, end: End) -> dict[str, Any]:
    """Return the fields that change at the end of a run, without its stop time."""
    status = _STATUS.get(end.status, "FAILED")
    trace = {"fail_trace": [f"{info.name} {end.status}: see its log\n"]} if status == "FAILED" else {}
    return {"status": status, "result": end.test or None, **trace}


def md5(content: bytes) -> str:
    """Return the digest that identifies a source file."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def now() -> datetime:
    """Return the current time in UTC as Sacred stores it."""
    return utc(datetime.now(timezone.utc))


def utc(time: datetime) -> datetime:
    """Return a time in UTC without a time zone, as Sacred stores it."""
    return time.astimezone(timezone.utc).replace(tzinfo=None)


def stamp(time: datetime) -> str:
    """Return a time as Sacred's files have it."""
    return (utc(time) if time.tzinfo else time).isoformat()
