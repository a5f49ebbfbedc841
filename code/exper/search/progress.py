"""How a search goes, on a terminal: a line for the whole, and one for each run that trains."""

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
        """Begin with the trials that have ended already."""
        self._is_shown = sys.stderr.isatty()
        self._epochs = epochs
        self._whole = self._line(f"search {tag}", trials, 0, ended, "trial")
        self._runs: dict[int, tqdm[Never]] = {}

    def _line(self, title: str, total: int | None, position: int, done: int, unit: str) -> "tqdm[Never]":
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
        """Show a run in a place of its own."""
        self._runs[slot] = self._line(f"  {run}", self._epochs, slot + 1, 0, "epoch")

    def show(self, slot: int, epoch: int, value: float) -> None:
        """Show what a run has reached."""
        line = self._runs[slot]
        line.set_postfix_str(f"{value:.4g}", refresh=False)
        line.update(epoch - line.n)

    def end(self, slot: int) -> None:
        """Take a run's line away."""
        self._runs.pop(slot).close()

    def count(self, study: Study) -> None:
        """Show how many trials have ended and which is the best, those of other searchers included."""
        if not self._is_shown:
            return
        best = studies.best(study)
        if best is not None:
            self._whole.set_postfix_str(f"best {best[1]:.4g} {printable(best[0])}", refresh=False)
        self._whole.update(len(studies.ended(study)) - self._whole.n)
        self._whole.refresh()

    def close(self) -> None:
        """Leave the line of the whole as it is."""
        for line in (*self._runs.values(), self._whole):
            line.close()
