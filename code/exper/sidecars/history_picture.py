"""history.png: the curves of a run, drawn while it trains.

A program of its own does it (`history_picture.py <run>`), of lowest priority: within training it would hold Python's
lock for longer than many steps take. It looks every few seconds, draws what is new in at most 2 % of the time, and a
last time when its standard input ends: then training is over, in whatever way.
"""

import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from exper.core import files, paths
from exper.sidecars import process

LEAST_SECONDS = 5.0  # from one look to the next
_SHARE = 0.02  # of the time may be spent on drawing


def main(folder: Path) -> None:
    """Draw until standard input has ended."""
    training = process.settle(19)
    from exper.views import plotting

    os.close(training)  # all of ours is loaded: the snapshot may go
    run = paths.Run(folder)
    is_over, pause, drawn = False, LEAST_SECONDS, None
    while not is_over:
        is_over = process.is_training_over(pause)
        began = time.monotonic()
        now = [_version(run.history), _version(run.statistic)]
        if now != drawn:
            drawn = now
            content = plotting.of_run(run)
            if content is not None:
                files.replace(run.picture, content)
        pause = max(LEAST_SECONDS, (time.monotonic() - began) / _SHARE)


def _version(path: Path) -> tuple[int, int]:
    try:
        about = path.stat()
    except FileNotFoundError:
        return 0, 0
    return about.st_mtime_ns, about.st_size


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Exception as error:
        process.note(Path(sys.argv[1]), f"no history.png from here on: {type(error).__name__}: {error}")
