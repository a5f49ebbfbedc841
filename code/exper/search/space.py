"""The search space: the settings that `search` in config.py varies, and their values."""

import math
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from exper.config import config_file
from exper.config.config_file import Value
from exper.core.errors import Refused

_FIXED = (*config_file.SEARCH_SETTINGS, "threads")  # a search sets them itself
_KEYS = {"low", "high", "step", "log"}
_EXAMPLE = 'search = {"optimizer.lr": [0.1, 0.01]}'


class Goal(NamedTuple):
    """The metric that a search optimizes, and the direction: max or min."""

    direction: str
    metric: str


@dataclass(frozen=True)
class Choice:
    """The values in a list."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included: integers if both ends are. Steps from `low` reach `high`."""

    low: float
    high: float
    step: float | None
    log: bool


Space = dict[str, Choice | Range]  # by dotted name


def read(source: bytes) -> Space:
    """Return the space in a config.py.

    Raises:
        Refused: there is no space, or it does not fit the settings.
    """
    config = config_file.read(source)
    wanted = config.get("search")
    if not isinstance(wanted, dict) or not wanted:
        raise Refused(f"code/config.py has no search space. Write what to vary, such as {_EXAMPLE}, and commit it.")
    for name in wanted:
        _check_name(name, set(wanted))
    return {name: _values(source, name, values) for name, values in wanted.items()}


def goal(config: dict[str, Value]) -> Goal | None:
    """Return the goal that `monitor` names, such as ("max", "val/acc"), if it names one."""
    direction, _, metric = str(config.get("monitor")).partition(" ")
    return Goal(direction, metric) if direction in ("max", "min") and metric else None


def is_grid(space: Space) -> bool:
    """Tell whether every setting has a list of values."""
    return all(isinstance(values, Choice) for values in space.values())


def grid_size(space: Space) -> int:
    """Return the number of trials in a grid."""
    return math.prod(len(values.values) for values in space.values() if isinstance(values, Choice))


def _check_name(name: str, names: set[str]) -> None:
    if name in _FIXED:
        raise Refused(f"search: {name!r} can't be searched: a search sets it itself.")
    parts = name.split(".")
    parents = [".".join(parts[:length]) for length in range(1, len(parts))]
    twice = [parent for parent in parents if parent in names]
    if twice:
        raise Refused(f"search: {name!r} is a part of {twice[0]!r}, so it would be set twice. Keep one of them.")


def _values(source: bytes, name: str, values: Value) -> Choice | Range:
    if isinstance(values, dict) and {"low", "high"} <= set(values) <= _KEYS:
        return _range(source, name, values)
    if not isinstance(values, (list, tuple)):
        raise Refused(
            f'search: {name!r} is {values!r}; write a list of values, or {{"low": 1e-5, "high": 0.1, "log": True}},'
            ' or {"low": 2, "high": 8, "step": 2}.'
        )
    if not values:
        raise Refused(f"search: {name!r} has no values. Write at least one, or remove it.")
    fitted = tuple(config_file.fit(source, name, value) for value in values)
    twice = [value for value, count in Counter(map(repr, fitted)).items() if count > 1]
    if twice:
        raise Refused(f"search: {name!r} has the value {twice[0]} twice. Keep one.")
    return Choice(fitted)


def _range(source: bytes, name: str, given: dict[str, Any]) -> Range:
    log = given.get("log", False)
    numbers = {key: given[key] for key in ("low", "high", "step") if given.get(key) is not None}
    for key, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise Refused(f"search: {key} of {name!r} is {number!r}, not a number.")
    if len({"low", "high"} & set(numbers)) < 2 or not isinstance(log, bool):
        raise Refused(f"search: {name!r} needs numbers as low and high; log is True or False.")
    ends = [config_file.fit(source, name, numbers[key]) for key in ("low", "high")]
    low, high = ends if type(ends[0]) is type(ends[1]) else map(float, ends)
    step = numbers.get("step")
    _check_range(name, low, high, step, log=log)
    return Range(low, high if step is None else _last(low, high, step), step, log)


def _last(low: float, high: float, step: float) -> float:
    """Return the last value up to `high` that steps from `low` reach; in decimals, so that 0.1 + 0.2 is 0.3."""
    start, end, size = (Decimal(str(number)) for number in (low, high, step))
    return type(high)(start + (end - start) // size * size)


def _check_range(name: str, low: float, high: float, step: float | None, *, log: bool) -> None:
    if low > high:
        raise Refused(f"search: low of {name!r} is above high: {low} > {high}.")
    if log and (low <= 0 or step is not None):
        raise Refused(f"search: {name!r} with log needs a low above 0, and no step.")
    if step is not None and (step <= 0 or (isinstance(low, int) and not isinstance(step, int))):
        raise Refused(
            f"search: step of {name!r} is {step}. It must be above 0, and an integer where low and high are integers."
        )


# -- values as text ----------------------------------------------------------------------------------------------------


def short_names(space: Space) -> dict[str, str]:
    """Return the last part of each dotted name, or the whole name where two would be the same."""
    counts = Counter(name.rpartition(".")[2] for name in space)
    return {name: last if counts[last := name.rpartition(".")[2]] == 1 else name for name in space}


def text(value: Value) -> str:
    """Return a value as config.py has it, a string without quotes."""
    return value if isinstance(value, str) else config_file.write(value)


def described(space: Space, values: dict[str, Value]) -> str:
    """Return a trial's values as text, such as `lr=0.001 ps=0.5`."""
    short = short_names(space)
    return " ".join(f"{short[name]}={text(value)}" for name, value in values.items())
