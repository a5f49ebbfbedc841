"""Parts by name: a dict of config.py becomes a call. Wrong names and arguments are found without calling anything."""

import difflib
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Union, get_args, get_origin

from exper.error import Refused

Choices = Mapping[str, Callable[..., Any]]


def check(
    setting: str, part: Any, choices: Choices, ahead: int = 0, beside: Iterable[str] = ()
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function that `part` names and its arguments.

    Args:
        setting: what the part is called in config.py.
        part: `{"name": …, argument: …}`.
        choices: the functions, or classes, by name.
        ahead: how many arguments the template itself gives first.
        beside: names that config.py may have there as well.

    Raises:
        Refused: not a part, an unknown name, or arguments that the function does not take.
    """
    if not isinstance(part, dict) or not isinstance(part.get("name"), str):
        raise Refused(f'{setting} = {part!r}: write a part, such as {{"name": "{next(iter(choices))}"}}.')
    if part["name"] not in choices:
        raise unknown(f"{setting}.name", part["name"], choices)
    arguments = {name: value for name, value in part.items() if name != "name"}
    function = choices[part["name"]]
    check_arguments(setting, arguments, function, ahead, beside)
    return function, arguments


def build(setting: str, part: Any, choices: Choices, *ahead: Any) -> Any:
    """Call the function that `part` names with `ahead` and the arguments of `part`; see `check`.

    Raises:
        Refused: also if the function raises ValueError, which says that an argument's value is wrong.
    """
    function, arguments = check(setting, part, choices, len(ahead))
    try:
        return function(*ahead, **arguments)
    except ValueError as error:
        raise Refused(f"{setting} = {part!r}: {error}") from error


def check_arguments(
    setting: str, arguments: dict[str, Any], function: Callable[..., Any], ahead: int = 0, beside: Iterable[str] = ()
) -> None:
    """Refuse `arguments` that `function` does not take, whose type is wrong, or that are missing."""
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())[ahead:]
    known = {one.name: one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters)
    for name, value in arguments.items():
        if name in known:
            check_type(f"{setting}.{name}".lstrip("."), value, known[name].annotation)
        elif not takes_any:
            raise unknown(setting or "config.py", name, [*known, *beside])
    for name, one in known.items():
        if one.default is one.empty and name not in arguments:
            raise Refused(f"{setting or 'config.py'} has no {name!r}, which it needs. Add it.")


def unknown(setting: str, name: str, known: Iterable[str]) -> Refused:
    """Return the error for a name that is none of `known`: it offers the nearest and lists them all."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return Refused(f"{setting}: {name!r} is unknown.{hint} Known: {', '.join(sorted(known)) or 'none'}.")


def check_type(setting: str, value: Any, annotation: Any) -> None:
    """Refuse a value that a parameter with this annotation does not take."""
    if not _fits(value, annotation):
        kind = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        raise Refused(f"{setting} = {value!r}: needs {kind.replace('typing.', '')}.")


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin in (list, tuple):
        each = inner if origin is tuple and Ellipsis not in inner else inner[:1] * len(value)
        fits = isinstance(value, (list, tuple)) and len(value) == len(each)
        return fits and all(map(_fits, value, each))
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is None:
        return value is None
    kind = origin or kind
    return not isinstance(kind, type) or kind is inspect.Parameter.empty or isinstance(value, kind)
