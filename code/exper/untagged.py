"""`python code/main.py`: a run of the working tree, without a tag, in `__result__/untagged/<id>/`.

The process is its own supervisor, so that debuggers and profilers work; only the copying of its output is left to a
process of its own, which outlives whatever happens to training.
"""

import contextlib
import os
import secrets
import subprocess
import sys

from exper import life, output, paths, process, run_json, tagged, tags
from exper.interrupt import Signals

_OUT, _ERR = 1, 2


class Untagged:
    """A run of this very process; `environment` is what a supervisor would have handed to it."""

    def __init__(self, project: paths.Project, command: list[str], threads: int | None) -> None:
        """Make the run, and send what is printed to its log as well.

        Args:
            project: where the run goes.
            command: the command line, as it is to be recorded.
            threads: the setting `threads`.
        """
        seed = secrets.randbits(32)
        record = run_json.new(tags.UNTAGGED, None, None, seed, tagged.threads({"threads": threads}))
        with Signals() as signals:
            self._live = life.begin(project, record, command, repository=None, signals=signals, least=0)
        self._heart = contextlib.ExitStack()
        self._heart.enter_context(process.heartbeat(self._live.run))
        life.mark_session(self._live.run, self._live.record)
        self._redirect()
        control, self._control = os.pipe()  # its other end stays open here: there is nobody to lose
        self.environment = process.environment(self._live.run, project.data, self._live.record)
        handed = {"EXPER_LOCK": self._live.lock, "EXPER_CONTROL": control, "EXPER_OUTPUT": self._master}
        self.environment |= {name: str(number) for name, number in handed.items()}

    def _redirect(self) -> None:
        sys.stdout.flush()
        self._before = os.dup(_OUT), os.dup(_ERR)
        self._master, slave = output.open_terminal()
        self._relay = subprocess.Popen(
            [sys.executable, "-I", output.__file__, str(self._live.run.log), str(self._master)],
            pass_fds=[self._master],
            start_new_session=True,  # Ctrl-C is for training alone
        )
        os.dup2(slave, _OUT)
        os.dup2(slave, _ERR)
        os.close(slave)

    def end(self, returncode: int) -> None:
        """Record the end; a negative return code is a signal's number."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for before, stream in zip(self._before, (_OUT, _ERR), strict=True):
            os.dup2(before, stream)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._relay.wait(timeout=2)
        self._heart.close()
        record = run_json.end(self._live.record, life.outcome(returncode), returncode)
        run_json.write(self._live.run, record)
