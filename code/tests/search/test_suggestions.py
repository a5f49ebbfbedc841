"""Values in the types of Optuna and back."""

import pytest
from optuna.trial import create_trial

from exper.search import suggestions
from exper.search.space import Choice, Range


@pytest.mark.parametrize("values", [(1, 1.0, True), ([4], [4, 8]), ({"name": "adam"}, None), ("a", None)])
def test_a_value_of_a_list_comes_back_as_config_py_has_it(values: tuple[object, ...]) -> None:
    choice = Choice(values)
    for value, category in zip(values, suggestions.categories(choice), strict=True):
        distributions = {"setting": suggestions.distribution(choice)}
        trial = create_trial(params={"setting": category}, distributions=distributions, value=0.0)
        suggested = suggestions.suggested(trial, {"setting": choice})["setting"]
        assert (type(suggested), suggested) == (type(value), value)


def test_steps_have_no_rounding_errors() -> None:
    steps = Range(0.1, 0.7, 0.1, log=False)
    distributions = {"lr": suggestions.distribution(steps)}
    trial = create_trial(params={"lr": 0.1 + 0.2}, distributions=distributions, value=0.0)
    assert suggestions.suggested(trial, {"lr": steps}) == {"lr": 0.3}


def test_a_setting_that_is_no_longer_searched_is_left_out() -> None:
    lr = Range(0.1, 0.7, None, log=False)
    trial = create_trial(params={"lr": 0.2}, distributions={"lr": suggestions.distribution(lr)}, value=0.0)
    assert suggestions.suggested(trial, {}) == {}
