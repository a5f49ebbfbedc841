"""A sidecar: a program that works beside training, without the run's lock and terminal, and ends when training does.

It has low priority and reads the run's files. The end of its standard input tells it that training is over, however it
ended. Training prints the sidecar's output as it ends.
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

_STDIN = 0
_STDOUT = 1


class Sidecar:
    """A sidecar at work on a run, seen from training."""

    def __init__(self, program: str, run: Path, product: str) -> None:
        """Start `program`; if that fails, training continues without its `product`."""
        self._product = product
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", program, str(run.absolute())],
                cwd="/",  # the working copy may be removed before the sidecar ends
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for training alone
            )
        except OSError as error:
            print(f"there will be no {product}: {error}")

    def close(self, seconds: float) -> str:
        """Tell the sidecar that training is over; return its output until it closes that, for `seconds` at most."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return ""
        self._process.stdin.close()
        deadline = time.monotonic() + seconds
        output = b""
        with self._process.stdout as stdout:
            ready = select.poll()  # select takes no descriptor above 1023
            ready.register(stdout, select.POLLIN)
            while ready.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
                block = os.read(stdout.fileno(), 4096)
                if not block:
                    break
                output += block
        threading.Thread(target=self._process.wait, name=self._product, daemon=True).start()
        return output.decode(errors="replace").strip()


def become_sidecar(niceness: int) -> int:
    """Give this process low priority (19 is the lowest), and ignore the signals that are meant for training.

    Return the descriptor that training reads until it is closed. Programs that this process starts don't inherit it.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    os.nice(niceness)
    with contextlib.suppress(OSError):  # Linux first shares the CPU among sessions
        Path("/proc/self/autogroup").write_text(str(niceness))
    training = os.dup(_STDOUT)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, _STDOUT)
    os.close(nothing)
    return training


def is_training_over(seconds: float) -> bool:
    """Tell whether training is over, or ends within `seconds`."""
    return bool(select.select([_STDIN], [], [], seconds)[0])


def append_to_log(run: Path, line: str) -> None:
    """Append a line to the run's log; do nothing if the run was removed."""
    with contextlib.suppress(OSError):
        handle = os.open(run / "log", os.O_WRONLY | os.O_APPEND)
        os.write(handle, f"{line}\n".encode(errors="replace"))
        os.close(handle)
