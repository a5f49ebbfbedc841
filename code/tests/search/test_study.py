"""The study of a search, shared by searchers on machines without a common lock."""

from pathlib import Path

from optuna.samplers import BaseSampler

from exper.core import paths
from exper.search import strategies
from exper.search import study as studies
from exper.search.space import Choice, Space


def test_of_two_machines_that_ask_at_once_one_puts_its_trial_back_and_no_point_is_lost(tmp_path: Path) -> None:
    tag = paths.Project(tmp_path).tag("wide")
    space = Space({"lr": Choice((0.1, 0.2, 0.3))})
    storage = f"sqlite:///{tmp_path}/study.db"
    here, there = (studies.create(tag, "0" * 40, "max", storage) for _ in range(2))

    def sampler(number: int) -> BaseSampler:
        return strategies.SAMPLERS["grid"](space, 0, number)

    taken = []

    def slow(number: int) -> BaseSampler:
        taken.append(studies.ask(there, sampler, 1))  # behind our look at how many there are
        return sampler(number)

    assert studies.ask(here, slow, 1) is None
    assert [one.state.name for one in here.get_trials()] == ["RUNNING", "WAITING"]
    taken += [studies.ask(here, sampler, 3) for _ in range(3)]
    assert taken.pop() is None
    assert sorted(str(studies.take(one, space, sampler)["lr"]) for one in taken if one) == ["0.1", "0.2", "0.3"]
