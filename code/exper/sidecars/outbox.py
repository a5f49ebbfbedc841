"""The outbox of a run: which records its loggers have sent and which still wait, in a small file each in `sent/`.

The run's files are the queue, and a line's number in its file identifies it. History that is cut back to a checkpoint
and trained again has the same lines; they are not sent twice.
"""

from pathlib import Path
from typing import Any

from exper.config import logger_registry
from exper.core import files, paths, statistic_file
from exper.core.components import Component
from exper.core.errors import Refused
from exper.runs import run_record, status

Memory = dict[str, Any]


def loggers(run: paths.Run) -> list[Component]:
    """Return the loggers that send this run, as its config.py names them."""
    return logger_registry.sending(statistic_file.read_or_empty(run).settings.get("logger"))


def memory(run: paths.Run, name: str) -> Memory:
    """Return a logger's memory of what it has sent.

    `lines`: for each file, how many lines have arrived. `tried`: up to which line more may have arrived, if a kill or a
    lost answer came in between. `shown`: the names of files in the run's `shown/`. `end`: the end that was reported.
    `there`: whatever the logger needs to find the run again at its destination.
    """
    empty: Memory = {"there": {}, "lines": {}, "tried": {}, "shown": [], "end": None}
    try:
        return empty | files.read_json(run.sent / f"{name}.json")
    except FileNotFoundError:
        return empty


def remember(run: paths.Run, name: str, content: Memory) -> None:
    """Replace a logger's memory."""
    files.write_json(run.sent / f"{name}.json", content)


def waiting(run: paths.Run, name: str, sources: tuple[str, ...] = ("history",)) -> int:
    """Return the number of records that wait for a logger: lines, pictures and texts, and the end of the run."""
    sent = memory(run, name)
    lines = sum(max(0, count(run, source) - int(sent["lines"].get(source, 0))) for source in sources)
    return lines + len(set(shown(run)) - set(sent["shown"])) + int(sent["end"] != end(run))


def count(run: paths.Run, source: str) -> int:
    """Return the number of whole lines in a file."""
    try:
        with open(file_of(run, source), "rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except FileNotFoundError:
        return 0


def file_of(run: paths.Run, source: str) -> Path:
    """Return the file whose lines are sent as "history" or "hardware"."""
    return {"history": run.history, "hardware": run.hardware}[source]


def shown(run: paths.Run) -> list[str]:
    """Return the names of the files that `state.show` has written, by step."""
    if not run.shown.is_dir():
        return []
    names = [path.name for path in run.shown.iterdir() if not path.name.startswith(".")]
    return sorted(names, key=lambda name: (int(name.partition("_")[0]), name))


def end(run: paths.Run) -> list[Any]:
    """Return the run's status and the number of its sessions: a run that is continued ends once more."""
    try:
        record = run_record.read(run)
    except Refused:
        return ["damaged", 0]
    return [status.derive(run, record), len(record["sessions"])]
