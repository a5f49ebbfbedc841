"""The samplers and pruners of a search, by name."""

import functools
import hashlib
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from exper.search.space import Choice, Space

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

_optuna = functools.partial(importlib.import_module, "optuna")  # late: it takes a quarter of a second


def _grid(space: Space, seed: int, _number: int) -> "BaseSampler":
    from optuna.samplers import GridSampler

    from exper.search.suggestions import categories

    class Grid(GridSampler):
        def after_trial(self, *_: object) -> None:
            """Do not end `Study.optimize` after the last trial: nobody has called it."""

    grid = {name: categories(values) for name, values in space.items() if isinstance(values, Choice)}
    return Grid(grid, seed=seed % 2**32)  # the same for all trials: it shuffles the grid


def _seed(seed: int, number: int) -> int:
    """Return a seed for trial `number`: with one trial at a time, a search can be repeated."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "little")


SAMPLERS: dict[str, Callable[[Space, int, int], "BaseSampler"]] = {  # from the space, the seed, the trial's number
    "grid": _grid,
    "random": lambda _, seed, number: _optuna().samplers.RandomSampler(seed=_seed(seed, number)),
    "tpe": lambda _, seed, number: _optuna().samplers.TPESampler(seed=_seed(seed, number), constant_liar=True),
    "cmaes": lambda _, seed, number: _optuna().samplers.CmaEsSampler(
        seed=_seed(seed, number), warn_independent_sampling=False
    ),
}
PRUNERS: dict[str, Callable[[int], "BasePruner"]] = {  # from the number of epochs
    "none": lambda _: _optuna().pruners.NopPruner(),
    "median": lambda _: _optuna().pruners.MedianPruner(),
    "halving": lambda _: _optuna().pruners.SuccessiveHalvingPruner(),
    "hyperband": lambda epochs: _optuna().pruners.HyperbandPruner(max_resource=epochs),
}
