"""Samplers and pruners by name, on real studies."""

import math
import warnings
from pathlib import Path

import pytest

from exper.core import paths
from exper.search import strategies
from exper.search import study as studies
from exper.search.space import Choice, Range, Space

SPACE: Space = {"lr": Range(1e-4, 1.0, None, log=True), "epochs": Range(2, 6, 2, log=False)}
GRID: Space = {"lr": Choice((0.1, 0.2, 0.3)), "sizes": Choice(([4], [4, 8]))}


def search(folder: Path, sampler: str, space: Space, trials: int) -> list[dict[str, object]]:
    """Search with one trial at a time; return the values of the trials."""
    study = studies.create(paths.Project(folder).tag("wide"), "0" * 40, "max", None)
    values: list[dict[str, object]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Optuna imports
        while trial := studies.ask(study, lambda number: strategies.SAMPLERS[sampler](space, 7, number), trials):
            taken = studies.take(trial, space, lambda number: strategies.SAMPLERS[sampler](space, 7, number))
            values.append(dict(taken))
            studies.tell(trial, -abs(math.log10(float(str(taken["lr"]))) + 2))
    return values


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes"])
def test_with_one_trial_at_a_time_a_search_can_be_repeated(tmp_path: Path, sampler: str) -> None:
    once, again = (search(tmp_path / folder, sampler, SPACE, 12) for folder in ("once", "again"))
    assert once == again
    assert len({str(values) for values in once}) > 6
    assert {values["epochs"] for values in once} <= {2, 4, 6}


def test_a_grid_has_every_combination_once_and_goes_on_at_its_end(tmp_path: Path) -> None:
    values = [str(values) for values in search(tmp_path, "grid", GRID, 6)]
    assert len(values) == len(set(values)) == 6
    assert "{'lr': 0.2, 'sizes': [4, 8]}" in values


@pytest.mark.parametrize("name", strategies.PRUNERS)
def test_every_pruner_but_none_ends_a_trial_that_is_far_behind(tmp_path: Path, name: str) -> None:
    study = studies.create(paths.Project(tmp_path).tag("wide"), "0" * 40, "max", None)
    study.pruner = strategies.PRUNERS[name](27)
    for number in range(12):
        trial = study.ask()
        for epoch in range(1, 28):
            value = 0.0 if number > 5 else 1.0 - number / 100
            if studies.is_hopeless(trial, epoch, value):
                studies.tell(trial)
                break
        else:
            studies.tell(trial, 1.0 - number / 100)
    assert ("PRUNED" in {trial.state.name for trial in study.get_trials()}) == (name != "none")
