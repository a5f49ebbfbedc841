"""The options of a search: earlier calls, the space and config.py complete them."""

import argparse
from typing import Any

import pytest

from exper.core.errors import Refused
from exper.search import options
from exper.search.options import Plan
from exper.search.space import Choice, Range, Space

GRID: Space = {"lr": Choice((0.1, 0.2, 0.3))}
RANGE: Space = {"lr": Range(0.1, 0.3, None, log=False)}


def plan(space: Space, stored: dict[str, Any], config: dict[str, Any] | None = None, **given: Any) -> Plan:
    """Return the plan for options of which only the given ones are typed."""
    nothing = {"sampler": None, "pruner": None, "trials": None, "seeds": None, "jobs": 1}
    return options.plan(space, config or {}, stored, argparse.Namespace(**(nothing | given)))


def test_lists_alone_make_a_grid_and_a_range_needs_tpe_and_a_number_of_trials() -> None:
    assert (plan(GRID, {}).sampler, plan(GRID, {}).trials) == ("grid", 3)
    assert (plan(RANGE, {}, trials=5).sampler, plan(RANGE, {}, trials=5).pruner) == ("tpe", "none")
    assert plan(RANGE, {}, {"search_trials": 7}).trials == 7
    with pytest.raises(Refused, match="say how many trials"):
        plan(RANGE, {})


def test_a_grid_never_has_more_trials_than_combinations() -> None:
    assert plan(GRID, {}, trials=50).trials == 3
    assert plan(GRID, {}, trials=2).trials == 2


def test_what_was_stored_holds_until_an_option_says_otherwise() -> None:
    stored = {"sampler": "random", "pruner": "median", "trials": 5, "seeds": 2}
    again = plan(RANGE, stored)
    assert (again.sampler, again.pruner, again.trials, again.seeds) == ("random", "median", 5, 2)
    assert plan(RANGE, stored, trials=9, sampler="cmaes").trials == 9
    with pytest.raises(Refused, match="2 seeds a trial, not 3"):
        plan(RANGE, stored, seeds=3)


@pytest.mark.parametrize("kind", ["sampler", "pruner"])
def test_a_stored_name_that_is_unknown_is_refused_but_can_be_replaced(kind: str) -> None:
    with pytest.raises(Refused, match=f"the {kind} of this search: 'tpee' is unknown.*--{kind}"):
        plan(RANGE, {kind: "tpee"}, trials=1)
    assert getattr(plan(RANGE, {kind: "tpee"}, trials=1, sampler="tpe", pruner="none"), kind) in ("tpe", "none")


@pytest.mark.parametrize("number", [0, -1, 2.5, "3", True])
def test_search_trials_must_be_a_whole_number_above_0(number: object) -> None:
    with pytest.raises(Refused, match="search_trials = "):
        plan(RANGE, {}, {"search_trials": number})


def test_jobs_take_turns_on_the_visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-7")
    assert plan(GRID, {}, jobs=3).gpus == ["4", "GPU-7", "4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert plan(GRID, {}, jobs=2).gpus == ["", ""]
