"""history.png: the curves of a run, drawn while it trains.

A sidecar of lowest priority draws it (`history_picture.py <run>`): within training it would hold Python's lock for
longer than many steps take. It looks for new lines every few seconds and spends at most 2 % of the time on drawing. It
draws for the last time when its standard input ends: training is then over, however it ended.
"""

import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from exper.core import files, paths
from exper.sidecars import process

MIN_PAUSE_SECONDS = 5.0
_SHARE = 0.02  # of the time may be spent on drawing


def main(folder: Path) -> None:
    """Draw until standard input has ended."""
    training = process.become_sidecar(19)
    from exper.views import plotting

    os.close(training)  # all modules are loaded: the working copy may go
    run = paths.Run(folder)
    is_over = False
    pause = MIN_PAUSE_SECONDS
    drawn: list[tuple[int, int]] = []
    while not is_over:
        is_over = process.is_training_over(pause)
        began = time.monotonic()
        versions = [_version(run.history), _version(run.statistic)]
        if versions != drawn:
            drawn = versions
            content = plotting.of_run(run)
            if content is not None:
                files.replace(run.picture, content)
        pause = max(MIN_PAUSE_SECONDS, (time.monotonic() - began) / _SHARE)


def _version(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Exception as error:
        process.append_to_log(Path(sys.argv[1]), f"no history.png from here on: {type(error).__name__}: {error}")
