"""The curve of a metric, read while its run trains."""

import json
from collections.abc import Iterator

from exper import paths


class Curve:
    """The values of one metric in a run's history, each read once."""

    def __init__(self, run: paths.Run, metric: str) -> None:
        """Begin with the first epoch."""
        self._path, self._metric = run.history, metric
        self._read = 0  # bytes
        self._epoch = 0

    def more(self) -> Iterator[tuple[int, float]]:
        """Yield (epoch, value) of each epoch that has been completed since."""
        for line in self._lines():
            epoch, value = line.get("epoch"), line.get(self._metric)
            if isinstance(epoch, int) and isinstance(value, (int, float)) and epoch > self._epoch:
                self._epoch = epoch
                yield epoch, float(value)

    def _lines(self) -> Iterator[dict[str, object]]:
        try:
            with open(self._path, "rb") as file:
                if file.seek(0, 2) < self._read:  # a run that goes on has been cut back
                    self._read = 0
                file.seek(self._read)
                whole, newline, _ = file.read().rpartition(b"\n")
        except OSError:
            return
        self._read += len(whole) + len(newline)
        for text in whole.splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # not ours
                continue
            if isinstance(line, dict):
                yield line
