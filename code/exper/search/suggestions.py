"""Values in the types of Optuna, which has none for lists and dicts, and back to those of config.py."""

from decimal import Decimal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial

from exper.config import config_file
from exper.config.config_file import Value
from exper.search.space import Choice, Range, Space


def distribution(values: Choice | Range) -> BaseDistribution:
    """Return the distribution that Optuna samples from."""
    if isinstance(values, Choice):
        return CategoricalDistribution(categories(values))
    if isinstance(values.low, int):
        assert isinstance(values.high, int)
        return IntDistribution(values.low, values.high, log=values.log, step=int(values.step or 1))
    return FloatDistribution(values.low, values.high, log=values.log, step=values.step)


def categories(values: Choice) -> list[bool | int | float | str | None]:
    """Return the values of a list; values that Optuna has no type for become text, as config.py writes them."""
    is_plain = all(isinstance(value, (type(None), bool, int, float, str)) for value in values.values)
    return [value if is_plain else config_file.write(value) for value in values.values]


def suggest(trial: Trial, space: Space) -> dict[str, Value]:
    """Let Optuna suggest a value for each setting; a trial that has values keeps them."""
    return {name: _suggest(trial, name, values) for name, values in space.items()}


def suggested(trial: FrozenTrial, space: Space) -> dict[str, Value]:
    """Return the values that a trial has so far."""
    return {name: _to_config(space[name], value) for name, value in trial.params.items() if name in space}


def _suggest(trial: Trial, name: str, values: Choice | Range) -> Value:
    source = distribution(values)
    if isinstance(source, CategoricalDistribution):
        return _to_config(values, trial.suggest_categorical(name, source.choices))
    if isinstance(source, IntDistribution):
        return trial.suggest_int(name, source.low, source.high, step=source.step, log=source.log)
    assert isinstance(source, FloatDistribution)
    return _to_config(values, trial.suggest_float(name, source.low, source.high, step=source.step, log=source.log))


def _to_config(values: Choice | Range, value: Value) -> Value:
    """Return Optuna's value as config.py has it: the one in its list, and 0.3 for 0.30000000000000004."""
    if isinstance(values, Choice):
        return values.values[list(map(repr, categories(values))).index(repr(value))]
    if values.step is None or isinstance(value, int):
        return value
    steps = round((value - values.low) / values.step)
    return float(Decimal(str(values.low)) + steps * Decimal(str(values.step)))
