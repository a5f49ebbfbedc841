"""The samplers and pruners of a search by name; Optuna takes a quarter of a second to import, so each imports it."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from exper.search.space import Choice, Space

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


def _grid(space: Space, seed: int, _number: int) -> "BaseSampler":
    from optuna.samplers import GridSampler

    from exper.search.suggestions import categories

    class Grid(GridSampler):
        def after_trial(self, *_: object) -> None:
            """Do not end `Study.optimize` after the last trial: nobody has called it."""

    grid = {name: categories(values) for name, values in space.items() if isinstance(values, Choice)}
    return Grid(grid, seed=seed % 2**32)  # the same for all trials: it shuffles the grid


def _random(_space: Space, seed: int, number: int) -> "BaseSampler":
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=_own_seed(seed, number))


def _tpe(_space: Space, seed: int, number: int) -> "BaseSampler":
    from optuna.samplers import TPESampler

    return TPESampler(seed=_own_seed(seed, number), constant_liar=True)


def _cmaes(_space: Space, seed: int, number: int) -> "BaseSampler":
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(seed=_own_seed(seed, number), warn_independent_sampling=False)


def _own_seed(seed: int, number: int) -> int:
    """Return a seed for trial `number`: with one trial at a time, a search can be repeated."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "little")


def _none(_epochs: int) -> "BasePruner":
    from optuna.pruners import NopPruner

    return NopPruner()


def _median(_epochs: int) -> "BasePruner":
    from optuna.pruners import MedianPruner

    return MedianPruner()


def _halving(_epochs: int) -> "BasePruner":
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner()


def _hyperband(epochs: int) -> "BasePruner":
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(max_resource=epochs)


SAMPLERS: dict[str, Callable[[Space, int, int], "BaseSampler"]] = {  # from the space, the seed, the trial's number
    "grid": _grid,
    "random": _random,
    "tpe": _tpe,
    "cmaes": _cmaes,
}
PRUNERS: dict[str, Callable[[int], "BasePruner"]] = {  # from the number of epochs
    "none": _none,
    "median": _median,
    "halving": _halving,
    "hyperband": _hyperband,
}
