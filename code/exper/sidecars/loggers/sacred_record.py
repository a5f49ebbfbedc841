"""What Sacred records of a run, in files as in MongoDB."""

from datetime import datetime, timezone
from typing import Any

from exper.sidecars.loggers.run_info import About, End

PAUSE = 10.0  # seconds, of Sacred's own heartbeat
_STATUS = {"finished": "COMPLETED", "interrupted": "INTERRUPTED", "pruned": "INTERRUPTED"}  # else FAILED


def entry(about: About, sources: list[Any]) -> dict[str, Any]:
    """Return the record of a run that begins, but for its times."""
    versions = dict(about.record.get("versions") or {})
    experiment = {
        "name": about.project,
        "base_dir": str(about.run.project.root),
        "mainfile": "code/main.py",
        "sources": sources,
        "dependencies": [f"{name}=={version}" for name, version in versions.items() if name != "python"],
        "repositories": [{"url": None, "commit": about.record.get("commit"), "dirty": False}],
    }
    ours = {"run": about.name, "key": about.key}
    return {
        "experiment": experiment,
        "format": "MongoObserver-0.7.0",
        "command": about.command,
        "host": about.host(),
        "meta": {"command": about.command, "options": {}, "comment": about.name, "exper": ours},
        "status": "RUNNING",
        "resources": [],
        "artifacts": [],
        "heartbeat": None,
        "result": None,
    }


def ending(about: About, end: End) -> dict[str, Any]:
    """Return what a run's record says of its end, but for the time."""
    status = _STATUS.get(end.status, "FAILED")
    trace = {"fail_trace": [f"{about.name} {end.status}: see its log\n"]} if status == "FAILED" else {}
    return {"status": status, "result": end.test or None, **trace}


def now() -> datetime:
    """Return the time in UTC as Sacred has it."""
    return utc(datetime.now(timezone.utc))


def utc(time: datetime) -> datetime:
    """Return a time in UTC that does not say so, as Sacred's do not."""
    return time.astimezone(timezone.utc).replace(tzinfo=None)


def stamp(time: datetime) -> str:
    """Return a time as Sacred's files have it."""
    return (utc(time) if time.tzinfo else time).isoformat()
