"""`python code/main.py`: a run of the working tree, without a tag, in `__result__/untagged/<id>/`.

The process is its own supervisor, so that debuggers and profilers work; only the copying of its output is left to a
process of its own, which outlives whatever happens to training.
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

_OUT, _ERR = 1, 2


class Untagged:
    """A run of this very process: `with Untagged(project, command) as environment:`.

    `environment` is what a supervisor hands to training. What ends the block decides the run's status, as it decides
    the exit code of a process: nothing or SystemExit(0) finishes it.
    """

    def __init__(self, project: paths.Project, command: list[str]) -> None:
        """Keep where the run goes, and the command line as it is to be recorded."""
        self._project, self._command = project, command

    def __enter__(self) -> dict[str, str]:
        config = self._config()
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
        control, self._control = os.pipe()  # its other end stays open here: there is no supervisor to lose
        handed = {"EXPER_LOCK": live.lock, "EXPER_CONTROL": control, "EXPER_OUTPUT": master}
        ours = supervisor.environment(live.run, self._project.data, live.record)
        return ours | {name: str(number) for name, number in handed.items()}

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
        run, returncode = self._live.run, exit_code(error)
        if returncode == 2 and run.refused.exists():
            remove.remove_run(self._project, run)
            return
        run_record.write(run, run_record.end(self._live.record, lifecycle.outcome(returncode), returncode))

    def _config(self) -> dict[str, Any]:
        try:
            return config_file.read((self._project.code / "config.py").read_bytes())
        except (OSError, Refused):  # main.py says what is wrong with it
            return {}

    def _redirect(self) -> int:
        """Send what is printed through a pseudo-terminal to the log as well; return our side of it."""
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


def exit_code(error: BaseException | None) -> int:
    """Return the exit code of a process that `error` ends."""
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        return 1
    return error.code if isinstance(error.code, int) else int(error.code is not None)
