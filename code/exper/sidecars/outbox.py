"""What loggers have sent of a run, and what waits: a small file for each, in the run's `sent/`.

The run's files are the queue. A line of history.jsonl is known by its number: history that is cut back to a checkpoint
and trained again has the same lines, and they are not sent again.
"""

from pathlib import Path
from typing import Any

from exper.config import logger_registry
from exper.config.logger_registry import Part
from exper.core import files, paths, statistic_file
from exper.core.errors import Refused
from exper.runs import run_record, status

Memory = dict[str, Any]


def parts(run: paths.Run) -> list[Part]:
    """Return the loggers that send this run, as its config.py had them."""
    return logger_registry.sending(statistic_file.read_or_empty(run).settings.get("logger"))


def memory(run: paths.Run, name: str) -> Memory:
    """Return what a logger has sent.

    `lines` of each file have arrived; so may have those up to `tried`, if a kill or a broken answer came between.
    `shown` are the names of files in the run's `shown/`, `end` is how the run ended, as it was told.
    """
    nothing: Memory = {"there": {}, "lines": {}, "tried": {}, "shown": [], "end": None}
    try:
        return nothing | files.read_json(run.sent / f"{name}.json")
    except FileNotFoundError:
        return nothing


def remember(run: paths.Run, name: str, content: Memory) -> None:
    """Replace what is remembered."""
    files.write_json(run.sent / f"{name}.json", content)


def waiting(run: paths.Run, name: str, sources: tuple[str, ...] = ("history",)) -> int:
    """Return how many records wait for a logger: lines, pictures and texts, and the end."""
    known = memory(run, name)
    lines = sum(max(0, count(run, source) - int(known["lines"].get(source, 0))) for source in sources)
    return lines + len(set(shown(run)) - set(known["shown"])) + int(known["end"] != end(run))


def count(run: paths.Run, source: str) -> int:
    """Return how many whole lines a file has."""
    try:
        with open(file_of(run, source), "rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except FileNotFoundError:
        return 0


def file_of(run: paths.Run, source: str) -> Path:
    """Return the file that lines are sent from."""
    return {"history": run.history, "hardware": run.hardware}[source]


def shown(run: paths.Run) -> list[str]:
    """Return the names of what `state.show` has written, by step."""
    if not run.shown.is_dir():
        return []
    names = [path.name for path in run.shown.iterdir() if not path.name.startswith(".")]
    return sorted(names, key=lambda name: (int(name.partition("_")[0]), name))


def end(run: paths.Run) -> list[Any]:
    """Return how the run ended, and in which session; of a run that is not over, what is stored."""
    try:
        record = run_record.read(run)
    except Refused:
        return ["damaged", 0]
    return [status.of(run, record), len(record["sessions"])]
