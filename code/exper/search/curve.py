"""The curve of a metric, read while its run trains."""

from collections.abc import Iterator

from exper.core import paths
from exper.core.follower import Follower


class Curve:
    """The values of one metric in a run's history, each read once."""

    def __init__(self, run: paths.Run, metric: str) -> None:
        """Begin with the first epoch."""
        self._history, self._metric = Follower(run.history, 0), metric
        self._epoch = 0

    def more(self) -> Iterator[tuple[int, float]]:
        """Yield (epoch, value) of each epoch that has been completed since."""
        try:
            lines = self._history.lines()
        except OSError:
            return
        for _, line in lines:
            epoch, value = line.get("epoch"), line.get(self._metric)
            if isinstance(epoch, int) and isinstance(value, (int, float)) and epoch > self._epoch:
                self._epoch = epoch
                yield epoch, float(value)
