"""`python code/main.py`: a run of the working tree, without a tag, in `__result__/untagged/<id>/`.

The process is its own supervisor, so that debuggers and profilers work. Only its output is copied by another process,
which survives whatever happens to training.
"""

import contextlib
import os
import subprocess
import sys
from types import TracebackType
from typing import Any

from exper.config import config_file
from exper.core import paths, terminal
from exper.core.errors import Refused
from exper.core.messages import say
from exper.core.signals import Signals
from exper.runs import board, lifecycle, remove, run_record, supervisor, tags

_OUT = 1
_ERR = 2


class Untagged:
    """A run of this process: `with Untagged(project, command) as environment:`.

    `environment` is that of training under a supervisor. The end of the block decides the run's status, as it decides
    the exit code of a process: a return or SystemExit(0) finishes the run.
    """

    def __init__(self, project: paths.Project, command: list[str]) -> None:
        """Keep the project, and the command line to record."""
        self._project = project
        self._command = command

    def __enter__(self) -> dict[str, str]:
        config = self._read_config()
        record = run_record.new(tags.UNTAGGED, None, run_record.fresh_seed(), run_record.thread_count(config))
        with Signals() as signals:
            live = lifecycle.create(self._project, record, self._command, repository=None, signals=signals, least=0)
        self._live = live
        say(f"exper: {live.run} has no tag, so it can't be repeated; its files: {live.run.folder}/")
        self._announcement = board.Announcement(self._project, config)
        say(self._announcement.line())
        lifecycle.write_session_header(live.run, live.record)
        self._heart = contextlib.ExitStack()
        self._heart.enter_context(supervisor.heartbeat(live.run))
        master = self._redirect()
        control, self._control = os.pipe()  # the other end stays open here: there is no supervisor to lose
        descriptors = {"EXPER_LOCK": live.lock, "EXPER_CONTROL": control, "EXPER_OUTPUT": master}
        environment = supervisor.environment(live.run, self._project.data, live.record)
        return environment | {name: str(number) for name, number in descriptors.items()}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for before, number in zip(self._before, (_OUT, _ERR), strict=True):
            os.dup2(before, number)
            os.close(before)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._relay.wait(timeout=2)
        self._heart.close()
        say(self._announcement.line(is_last=True))
        run = self._live.run
        returncode = _exit_code(error)
        if returncode == 2 and run.refused.exists():
            remove.remove_run(self._project, run)
            return
        run_record.write(run, run_record.end(self._live.record, lifecycle.outcome(returncode), returncode))

    def _read_config(self) -> dict[str, Any]:
        try:
            return config_file.read((self._project.code / "config.py").read_bytes())
        except (OSError, Refused):  # main.py reports the error
            return {}

    def _redirect(self) -> int:
        """Send all output through a pseudo-terminal, also to the log; return our side of it."""
        sys.stdout.flush()
        self._before = os.dup(_OUT), os.dup(_ERR)
        master, slave = terminal.open_terminal()
        self._relay = subprocess.Popen(
            [sys.executable, "-I", terminal.__file__, str(self._live.run.log), str(master)],
            pass_fds=[master],
            start_new_session=True,  # Ctrl-C is for training alone
        )
        os.dup2(slave, _OUT)
        os.dup2(slave, _ERR)
        os.close(slave)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        return master


def _exit_code(error: BaseException | None) -> int:
    """Return the exit code of a process that ends with `error`."""
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        return 1
    return error.code if isinstance(error.code, int) else int(error.code is not None)
