"""The progress of a search on a terminal: a line for the search, and a line for each run that trains."""

import sys
from typing import TYPE_CHECKING

from optuna.study import Study
from tqdm import tqdm

from exper.core import paths
from exper.core.messages import printable
from exper.search import study as studies

if TYPE_CHECKING:
    from typing_extensions import Never

tqdm.monitor_interval = 0  # no thread that watches


class Progress:
    """Lines that are redrawn; nothing without a terminal."""

    def __init__(self, tag: str, trials: int, ended: int, epochs: int | None) -> None:
        """Begin with the number of trials that have ended already."""
        self._is_shown = sys.stderr.isatty()
        self._epochs = epochs
        self._search = self._line(f"search {tag}", total=trials, position=0, done=ended, unit="trial")
        self._runs: dict[int, tqdm[Never]] = {}  # by the slot of the run

    def _line(self, title: str, *, total: int | None, position: int, done: int, unit: str) -> "tqdm[Never]":
        return tqdm(
            desc=printable(title),
            total=total,
            position=position,
            initial=done,
            unit=unit,
            leave=position == 0,
            dynamic_ncols=True,
            disable=not self._is_shown,
        )

    def start(self, slot: int, run: paths.Run) -> None:
        """Add a line for a run."""
        self._runs[slot] = self._line(f"  {run}", total=self._epochs, position=slot + 1, done=0, unit="epoch")

    def show(self, slot: int, epoch: int, value: float) -> None:
        """Show the latest epoch of a run, with its value."""
        line = self._runs[slot]
        line.set_postfix_str(f"{value:.4g}", refresh=False)
        line.update(epoch - line.n)

    def end(self, slot: int) -> None:
        """Remove the line of a run."""
        self._runs.pop(slot).close()

    def count(self, study: Study) -> None:
        """Show the number of trials that have ended and the best of them, other searchers' included."""
        if not self._is_shown:
            return
        best = studies.best(study)
        if best is not None:
            self._search.set_postfix_str(f"best {best.value:.4g} {printable(best.tag)}", refresh=False)
        self._search.update(len(studies.ended(study)) - self._search.n)
        self._search.refresh()

    def close(self) -> None:
        """End all lines; the line of the search stays on the terminal."""
        for line in (*self._runs.values(), self._search):
            line.close()
