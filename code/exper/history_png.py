"""history.png: the curves of a run, drawn while it trains.

A program of its own does it (`history_png.py <run>`), of lowest priority: within training it would hold Python's lock
for longer than many steps take. It looks every few seconds, draws what is new in at most 2 % of the time, and a last
time when its standard input ends: then training is over, in whatever way.
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

_LEAST_SECONDS = 5.0  # from one look to the next
_SHARE = 0.02  # of the time may be spent on drawing
_STDIN = 0


class Drawing:
    """The program at work on a run; it holds neither the run's lock nor its terminal, and ends when training does."""

    def __init__(self, run: Path) -> None:
        """Start it; without it, training goes on."""
        self._process = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", __file__, str(run.absolute())],
                cwd="/",  # the snapshot may go before the last picture is drawn
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for training alone
            )
        except OSError as error:
            print(f"there will be no history.png: {error}")

    def close(self) -> None:
        """Let it draw a last time and end; nobody waits for that, but for its imports from the snapshot."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return
        self._process.stdin.close()
        with self._process.stdout as loaded:
            until_it_ends = select.poll()  # select takes no descriptor above 1023
            until_it_ends.register(loaded, select.POLLIN)
            until_it_ends.poll(1000 * _LEAST_SECONDS)
        threading.Thread(target=self._process.wait, name="history.png", daemon=True).start()


def main(folder: str) -> None:
    """Draw until standard input has ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):  # who sends them means training
        signal.signal(number, signal.SIG_IGN)
    sys.path.append(str(Path(__file__).parents[1]))
    from exper import files, paths, picture

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # all of ours is loaded: the snapshot may go
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    os.nice(19)
    with contextlib.suppress(OSError):  # Linux shares the CPU among sessions first
        Path("/proc/self/autogroup").write_text("19")

    run = paths.Run(Path(folder))
    is_over, pause, drawn = False, _LEAST_SECONDS, None
    while not is_over:
        is_over = bool(select.select([_STDIN], [], [], pause)[0])
        began = time.monotonic()
        now = [_version(run.history), _version(run.statistic)]
        if now != drawn:
            drawn = now
            content = picture.of_run(run)
            if content is not None:
                files.replace(run.picture, content)
        pause = max(_LEAST_SECONDS, (time.monotonic() - began) / _SHARE)


def _version(path: Path) -> tuple[int, int]:
    try:
        about = path.stat()
    except FileNotFoundError:
        return 0, 0
    return about.st_mtime_ns, about.st_size


def _excuse(folder: Path, error: Exception) -> None:
    """Say in the log why there are no more pictures, unless the run is gone as well."""
    with contextlib.suppress(OSError):
        handle = os.open(folder / "log", os.O_WRONLY | os.O_APPEND)
        os.write(handle, f"no history.png from here on: {type(error).__name__}: {error}\n".encode(errors="replace"))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:
        _excuse(Path(sys.argv[1]), error)
