"""Parts by name: a dict of config.py becomes a call. What is wrong in it is found before anything is called."""

import inspect
import math
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from exper.core.errors import Refused
from exper.core.messages import did_you_mean

Function = Callable[..., Any]
Count = Annotated[int, "at least 1", 1, math.inf]
Positive = Annotated[float, "above 0", math.ulp(0), math.inf]
Share = Annotated[float, "from 0 to 1", 0, 1]


def build(setting: str, part: Any, choices: Mapping[str, Function], *ahead: Any) -> Any:
    """Call what `part`, such as {"name": "adam", "lr": 0.1}, names among `choices`, with `ahead` and its arguments."""
    function, arguments = check(setting, part, choices, len(ahead))
    return call(setting, arguments, function, *ahead)


def check(
    setting: str, part: Any, choices: Mapping[str, Function], ahead: int, beside: Iterable[str] = ()
) -> tuple[Function, dict[str, Any]]:
    """Return what `build` would call, and the arguments; config.py may also have the names `beside` there."""
    if not isinstance(part, dict) or not isinstance(part.get("name"), str):
        raise Refused(f'{setting} = {part!r}: write a part, such as {{"name": "{next(iter(choices))}"}}.')
    if part["name"] not in choices:
        raise unknown(f"{setting}.name", part["name"], choices)
    function, arguments = choices[part["name"]], {name: value for name, value in part.items() if name != "name"}
    check_arguments(setting, arguments, function, ahead, beside)
    return function, arguments


def call(setting: str, arguments: dict[str, Any], function: Function, *ahead: Any) -> Any:
    """Call `function` with `ahead` and `arguments`; refuse these, also where it raises ValueError."""
    check_arguments(setting, arguments, function, len(ahead))
    try:
        return function(*ahead, **arguments)
    except ValueError as error:
        raise Refused(f"{setting} = {arguments!r}: {error}") from error


def check_arguments(
    setting: str, arguments: dict[str, Any], function: Function, ahead: int, beside: Iterable[str] = ()
) -> None:
    """Refuse arguments after the first `ahead` that `function` does not take, or that are missing or of wrong type."""
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())[ahead:]
    known = {one.name: one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
    for name, value in arguments.items():
        if name in known and not fits(value, known[name].annotation):
            raise Refused(f"{setting}.{name} = {value!r}: must be {_text(known[name].annotation)}.".lstrip("."))
        if name not in known and not any(one.kind is one.VAR_KEYWORD for one in parameters):
            raise unknown(setting or "config.py", name, [*known, *beside])
    for name, one in known.items():
        if one.default is one.empty and name not in arguments:
            raise Refused(f"{setting or 'config.py'} lacks {name!r}. Add it.")


def unknown(setting: str, name: str, known: Iterable[str]) -> Refused:
    """Return the error for a name that is none of `known`: it offers the nearest and lists them all."""
    names = sorted(known)
    return Refused(f"{setting}: {name!r} is unknown.{did_you_mean(name, names)} Known: {', '.join(names) or 'none'}.")


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a parameter with the annotation `kind` takes `value`."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return fits(value, inner[0]) and bool(inner[2] <= value <= inner[3])
    if origin is Literal:
        return value in inner
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            return False
        inner = inner if origin is tuple and ... not in inner else inner[:1] * len(value)
        return len(value) == len(inner) and all(map(fits, value, inner))
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    kind = type(None) if kind is None else origin or kind
    return not isinstance(kind, type) or kind is inspect.Parameter.empty or isinstance(value, kind)


def _text(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_text, inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Annotated:
        return f"{_text(inner[0])} {inner[1]}"
    if origin in (list, tuple):
        return f"a list, each {_text(inner[0])}"
    names = {int: "a whole number", float: "a number", str: "a string", bool: "True or False", dict: "a dict"}
    return names.get(origin or kind) or ("None" if kind in (None, type(None)) else str(kind))
