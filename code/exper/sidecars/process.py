"""A program that works beside training: it holds neither the run's lock nor its terminal, and ends when training does.

It is of low priority, has its orders from the run's files, and knows by the end of its standard input that training
is over, in whatever way. What it prints, training prints as it ends.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_STDIN, _STDOUT = 0, 1


class Aside:
    """The program at work on a run."""

    def __init__(self, program: str, run: Path, what: str) -> None:
        """Start it; without it, training goes on, and there is no `what`."""
        self._process, self._what = None, what
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", program, str(run.absolute())],
                cwd="/",  # the snapshot may go before it has ended
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for training alone
            )
        except OSError as error:
            print(f"there will be no {what}: {error}")

    def close(self, seconds: float) -> str:
        """Tell it that training is over; return what it prints until it lets training end, or the time is up."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return ""
        self._process.stdin.close()
        deadline, said = time.monotonic() + seconds, b""
        with self._process.stdout as stdout:
            ready = select.poll()  # select takes no descriptor above 1023
            ready.register(stdout, select.POLLIN)
            while ready.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
                block = os.read(stdout.fileno(), 4096)
                if not block:
                    break
                said += block
        threading.Thread(target=self._process.wait, name=self._what, daemon=True).start()
        return said.decode(errors="replace").strip()


def settle(niceness: int) -> int:
    """Be a program beside training: of low priority (19: the lowest), and deaf to the signals that mean training.

    Return the descriptor that training reads until it is closed, which no process that we start holds open.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    os.nice(niceness)
    with contextlib.suppress(OSError):  # Linux shares the CPU among sessions first
        Path("/proc/self/autogroup").write_text(str(niceness))
    training = os.dup(_STDOUT)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, _STDOUT)
    os.close(nothing)
    return training


def is_training_over(seconds: float) -> bool:
    """Wait for the end of training, for some time."""
    return bool(select.select([_STDIN], [], [], seconds)[0])


def note(run: Path, line: str) -> None:
    """Add a line to the run's log, unless the run is gone."""
    with contextlib.suppress(OSError):
        handle = os.open(run / "log", os.O_WRONLY | os.O_APPEND)
        os.write(handle, f"{line}\n".encode(errors="replace"))
        os.close(handle)
