"""The search space in config.py."""

import pytest

from exper.core.errors import Refused
from exper.search import space
from exper.search.space import Choice, Goal, Range

CONFIG = 'epochs = 3\noptimizer = {"name": "sgd", "lr": 0.1}\nthreads = None\n'


def read(text: str) -> space.Space:
    """Return the space that a config.py with these settings has."""
    return space.read(f"{CONFIG}search = {text}\n".encode())


def test_lists_and_ranges_keep_the_types_of_their_settings() -> None:
    searched = read('{"optimizer.lr": [1, 0.5], "epochs": {"low": 2, "high": 8}}')
    assert searched == {"optimizer.lr": Choice((1, 0.5)), "epochs": Range(2, 8, None, log=False)}
    assert not space.is_grid(searched)


def test_a_range_with_one_float_is_a_range_of_floats() -> None:
    values = read('{"optimizer.lr": {"low": 1, "high": 2.5}}')["optimizer.lr"]
    assert isinstance(values, Range)
    assert [type(end) for end in (values.low, values.high)] == [float, float]


def test_steps_end_at_the_last_value_they_reach_without_rounding_errors() -> None:
    values = read('{"optimizer.lr": {"low": 0.1, "high": 0.75, "step": 0.2}}')["optimizer.lr"]
    assert values == Range(0.1, 0.7, 0.2, log=False)


def test_a_grid_has_every_combination() -> None:
    searched = read('{"optimizer.lr": [0.1, 0.2, 0.3], "epochs": [1, 2]}')
    assert space.is_grid(searched)
    assert space.grid_size(searched) == 6


def test_names_are_short_where_they_stay_distinct() -> None:
    choice = Choice((1,))
    searched: space.Space = {"optimizer.lr": choice, "head.size": choice, "body.size": choice}
    assert space.short_names(searched) == {"optimizer.lr": "lr", "head.size": "head.size", "body.size": "body.size"}
    assert space.described(searched, {"optimizer.lr": 0.1, "head.size": "big"}) == "lr=0.1 head.size=big"


@pytest.mark.parametrize("monitor", [None, "val/acc", "best val/acc", "max", ""])
def test_without_a_direction_and_a_metric_there_is_no_goal(monitor: str | None) -> None:
    assert space.goal({"monitor": monitor}) is None
    assert space.goal({"monitor": "min val/loss"}) == Goal("min", "val/loss")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("None", "no search space"),
        ("{}", "no search space"),
        ("[0.1]", "no search space"),
        ('{"optimizer.lr": []}', "has no values"),
        ('{"optimiser.lr": [0.1]}', "Did you mean 'optimizer.lr'?"),
        ('{"optimizer.lr": [0.1, 0.1]}', "the value 0.1 twice"),
        ('{"epochs": [1, 1.5]}', "is a whole number"),
        ('{"optimizer.lr": 0.1}', "write a list of values"),
        ('{"optimizer.lr": {"low": 0.1}}', "write a list of values"),
        ('{"optimizer.lr": {"low": 0.1, "high": "1"}}', "not a number"),
        ('{"optimizer.lr": {"low": 1.0, "high": 0.1}}', "above high"),
        ('{"optimizer.lr": {"low": 0.0, "high": 0.1, "log": True}}', "low above 0"),
        ('{"epochs": {"low": 1, "high": 4, "step": 0.5}}', "step of 'epochs'"),
        ('{"optimizer": [{"name": "adam", "lr": 0.1}], "optimizer.lr": [0.1]}', "set twice"),
        ('{"optimizer.lr": [0.1], "optimizer.lr": [0.2]}', "twice"),
        ('{"threads": [1, 2]}', "a search sets it itself"),
        (f'{{"{"x" * 300}": [1]}}', "no setting"),
    ],
)
def test_a_space_that_makes_no_trials_is_refused(text: str, message: str) -> None:
    with pytest.raises(Refused) as refusal:
        read(text)
    assert message in str(refusal.value)
