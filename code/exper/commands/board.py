"""Start the project's background TensorBoard, or print its address; `exper board stop` ends it.

It shows all runs as tag/id, also those that start later, and keeps running when the shell is closed. On a terminal,
`run` starts it automatically, unless `logger` in config.py has no "tensorboard", the variable CI is set, or you have
stopped it. After a stop, type `exper board` to start it again. It also ends when the project's __result__ is removed.

Examples:
    exper board
    exper board stop
    exper board serve                  in the foreground, for a service manager
"""

import contextlib
import os
import time
from collections.abc import Iterator

from exper.core import files, host_info, lock, paths, signals
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import say
from exper.runs import board as background
from exper.runs import run_record
from exper.statistic import summary
from exper.views import tensorboard

_START_SECONDS = 60.0
_NICE = 10  # training comes first


def board(arguments: list[str], project: paths.Project) -> int:
    """Start, stop or serve TensorBoard."""
    parser = Parser("board", __doc__)
    parser.add_argument("what", nargs="?", choices=["start", "stop", "serve"], default="start", help="default: start")
    return {"start": _start, "stop": _stop, "serve": _serve}[parser.parse_args(arguments).what](project)


def _start(project: paths.Project) -> int:
    project.board.stopped.unlink(missing_ok=True)
    record = background.read(project)
    process = background.start() if record is None else None
    deadline = time.monotonic() + _START_SECONDS
    while not record or not record.get("address"):
        if record is None and (process is None or process.poll() is not None):
            say(f"board: TensorBoard did not start: {background.start_error(project)}")
            return 1
        if time.monotonic() > deadline:
            raise Refused(f"TensorBoard has not started for {_START_SECONDS:.0f} s. Look into {project.board.log}")
        time.sleep(0.05)
        record = background.read(project)
    age = summary.age(run_record.time(record["started"]))
    print(f"TensorBoard is at {record['address']} (pid {record['pid']} on {record['host']}, up for {age})")
    return 0


def _stop(project: paths.Project) -> int:
    print("TensorBoard has ended." if background.stop(project) else "No TensorBoard runs for this project.")
    return 0


def _serve(project: paths.Project) -> int:
    """Serve until a signal comes or the lock is removed; a second server ends at once."""
    project.board.folder.mkdir(parents=True, exist_ok=True)
    held = lock.take(project.board.lock)
    if held is None:
        say("board: it is running already. For its address, type: exper board")
        return 0
    os.dup2(os.open(project.board.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666), 2)
    os.nice(_NICE)
    record = {"address": None, "started": run_record.now()} | host_info.this_process()
    with (
        signals.raised(),
        _recorded(project, held, record),
        tensorboard.serving(project.runs, []) as (address, update),
    ):
        files.write_json(project.board.record, record | {"address": address})
        print(f"TensorBoard is at {address}", flush=True)
        tensorboard.keep(update, is_over=lambda: not _has_lock(project, held))
    return 0


@contextlib.contextmanager
def _recorded(project: paths.Project, held: int, record: background.Record) -> Iterator[None]:
    """Keep the record of this server while the block runs."""
    files.write_json(project.board.record, record)
    try:
        yield
    finally:
        if _has_lock(project, held):
            project.board.record.unlink(missing_ok=True)


def _has_lock(project: paths.Project, held: int) -> bool:
    """Tell whether the lock file is the one that we hold: its folder may have been removed or made again."""
    try:
        return os.path.samestat(os.stat(project.board.lock), os.fstat(held))
    except OSError:
        return False
