"""`python code/main.py`: a run of the working tree, without a tag, in `__result__/untagged/<id>/`.

The process is its own supervisor, so that debuggers and profilers work. Only its output is copied by another process,
which survives whatever happens to training.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from exper.config import config_file
from exper.core import paths, terminal
from exper.core.errors import Refused
from exper.core.messages import say
from exper.core.signals import Signals
from exper.runs import board, lifecycle, remove, run_record, supervisor, tags

_OUT = 1
_ERR = 2


@contextlib.contextmanager
def untagged_run(project: paths.Project, command: list[str]) -> Iterator[dict[str, str]]:
    """Make this process an untagged run within the block; yield the environment that a supervisor would hand over.

    The end of the block decides the run's status, as it decides the exit code of a process: a return or SystemExit(0)
    finishes the run. `command` is the command line to record.
    """
    config = _read_config(project)
    live = _create(project, command, config)
    say(f"exper: {live.run} has no tag, so it can't be repeated; its files: {live.run.folder}/")
    announcement = board.Announcement(project, config)
    say(announcement.line())
    lifecycle.write_session_header(live.run, live.record)
    returncode = 0
    try:
        with supervisor.heartbeat(live.run), _output_copied(live.run) as master:
            control, _ours = os.pipe()  # our end stays open: there is no supervisor to lose
            descriptors = {"EXPER_LOCK": live.lock, "EXPER_CONTROL": control, "EXPER_OUTPUT": master}
            environment = supervisor.environment(live.run, project.data, live.record)
            yield environment | {name: str(number) for name, number in descriptors.items()}
    except BaseException as error:
        returncode = _exit_code(error)
        raise
    finally:
        say(announcement.line(is_last=True))
        _record_end(project, live, returncode)


def _read_config(project: paths.Project) -> dict[str, Any]:
    try:
        return config_file.read((project.code / "config.py").read_bytes())
    except (OSError, Refused):  # main.py reports the error
        return {}


def _create(project: paths.Project, command: list[str], config: dict[str, Any]) -> lifecycle.LiveRun:
    record = run_record.new(tags.UNTAGGED, None, run_record.fresh_seed(), run_record.thread_count(config))
    with Signals() as signals:
        return lifecycle.create(project, record, command, repository=None, signals=signals)


@contextlib.contextmanager
def _output_copied(run: paths.Run) -> Iterator[int]:
    """Send all output through a pseudo-terminal, also to the log; yield our side of it."""
    sys.stdout.flush()
    before = [os.dup(_OUT), os.dup(_ERR)]
    master, slave = terminal.open_terminal()
    relay = subprocess.Popen(
        [sys.executable, "-I", terminal.__file__, str(run.log), str(master)],
        pass_fds=[master],
        start_new_session=True,  # Ctrl-C is for training alone
    )
    os.dup2(slave, _OUT)
    os.dup2(slave, _ERR)
    os.close(slave)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        yield master
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for descriptor, number in zip(before, (_OUT, _ERR), strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        with contextlib.suppress(subprocess.TimeoutExpired):
            relay.wait(timeout=2)


def _record_end(project: paths.Project, live: lifecycle.LiveRun, returncode: int) -> None:
    if returncode == 2 and live.run.refused.exists():
        remove.remove_run(project, live.run)
    else:
        run_record.write(live.run, run_record.end(live.record, lifecycle.outcome(returncode), returncode))


def _exit_code(error: BaseException) -> int:
    """Return the exit code of a process that ends with `error`."""
    if not isinstance(error, SystemExit):
        return 1
    return error.code if isinstance(error.code, int) else int(error.code is not None)
