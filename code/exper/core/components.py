"""Components by name: a dict of config.py becomes a call, once its name and arguments are checked."""

import inspect
import math
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from exper.core.errors import Refused, unknown_name

Function = Callable[..., Any]
Component = dict[str, Any]  # {"name": ..., argument: ...}, as config.py writes it
Count = Annotated[int, "at least 1", 1, math.inf]
Positive = Annotated[float, "above 0", math.ulp(0), math.inf]
Share = Annotated[float, "from 0 to 1", 0, 1]
Decay = Annotated[float, "at least 0 and below 1", 0, math.nextafter(1, 0)]

_TYPE_NAMES = {int: "a whole number", float: "a number", str: "a string", bool: "True or False", dict: "a dict"}


def build(setting: str, component: Any, choices: Mapping[str, Function], *leading: Any) -> Any:
    """Call the function named by a component such as {"name": "adam", "lr": 0.1}, with `leading` and its arguments."""
    function, arguments = check(setting, component, choices, len(leading))
    return call(setting, arguments, function, *leading)


def check(
    setting: str, component: Any, choices: Mapping[str, Function], leading: int, also: Iterable[str] = ()
) -> tuple[Function, dict[str, Any]]:
    """Return the function and the arguments that `build` would use; `also` are names that config.py may add to them."""
    if not isinstance(component, dict) or not isinstance(component.get("name"), str):
        raise Refused(f'{setting} = {component!r}: write a component, such as {{"name": "{next(iter(choices))}"}}.')
    name = component["name"]
    if name not in choices:
        raise unknown_name(f"{setting}.name", name, choices)
    arguments = {key: value for key, value in component.items() if key != "name"}
    check_arguments(setting, arguments, choices[name], leading, also)
    return choices[name], arguments


def call(setting: str, arguments: dict[str, Any], function: Function, *leading: Any) -> Any:
    """Call `function` with `leading` and `arguments`; refuse wrong arguments, also where it raises ValueError."""
    check_arguments(setting, arguments, function, len(leading))
    try:
        return function(*leading, **arguments)
    except ValueError as error:
        raise Refused(f"{setting} = {arguments!r}: {error}") from error


def check_arguments(
    setting: str, arguments: dict[str, Any], function: Function, leading: int, also: Iterable[str] = ()
) -> None:
    """Refuse arguments that `function` does not take after its first `leading` ones, that lack or have a wrong type."""
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())[leading:]
    named = {each.name: each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    for name, value in arguments.items():
        if name in named and not fits(value, named[name].annotation):
            raise Refused(f"{setting}.{name} = {value!r}: must be {_describe(named[name].annotation)}.".lstrip("."))
        if name not in named and not takes_any:
            raise unknown_name(setting or "config.py", name, [*named, *also])
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise Refused(f"{setting or 'config.py'} lacks {name!r}. Add it.")


def fits(value: Any, annotation: Any) -> bool:
    """Tell whether a parameter with this annotation takes `value`."""
    origin = get_origin(annotation)
    inner = get_args(annotation)
    if origin is Annotated:
        return fits(value, inner[0]) and bool(inner[2] <= value <= inner[3])
    if origin is Literal:
        return value in inner
    if origin in (Union, types.UnionType):
        return any(fits(value, choice) for choice in inner)
    if origin in (list, tuple):
        return isinstance(value, (list, tuple)) and _items_fit(value, origin, inner)
    if annotation in (int, float):
        return isinstance(value, (int, annotation)) and not isinstance(value, bool)
    kind = type(None) if annotation is None else origin or annotation
    return not isinstance(kind, type) or kind is inspect.Parameter.empty or isinstance(value, kind)


def _items_fit(items: list[Any] | tuple[Any, ...], origin: type, inner: tuple[Any, ...]) -> bool:
    """Tell whether the items fit `list[int]`, `tuple[int, ...]` or `tuple[int, str]`."""
    if origin is list or ... in inner:
        return all(fits(item, inner[0]) for item in items)
    return len(items) == len(inner) and all(map(fits, items, inner))


def _describe(annotation: Any) -> str:
    origin = get_origin(annotation)
    inner = get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_describe, inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Annotated:
        return f"{_describe(inner[0])} {inner[1]}"
    if origin in (list, tuple):
        return f"a list, each {_describe(inner[0])}"
    if annotation in (None, type(None)):
        return "None"
    return _TYPE_NAMES.get(origin or annotation) or str(annotation)
