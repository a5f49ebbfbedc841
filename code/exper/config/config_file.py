"""config.py as data: parsed, never executed, and edited in place with its comments kept.

A setting is a module-level name bound to a literal or to arithmetic on literals. Settings flatten to dotted names
(`optimizer.lr`), which statistic.json, tables, searches and `name=value` share; a list is one value.
"""

import ast
import json
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

from exper.core.errors import Refused, did_you_mean

Value = Any
SEARCH_SETTINGS = ("search", "search_trials")  # read by `exper search` alone; a trial's config.py lacks them
_Number = int | float | complex

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}


def read(source: bytes, name: str = "code/config.py") -> dict[str, Value]:
    """Return the settings of a config.py without running it.

    Args:
        source: the file's bytes.
        name: the file's name in errors.

    Raises:
        Refused: a line binds something other than literals and arithmetic on literals.
    """
    try:
        return {setting: _setting(setting, node, name) for setting, node in _bindings(source, name).items()}
    except RecursionError:
        raise Refused(f"{name}: a value is nested too deep.") from None


def flatten(settings: dict[str, Value], prefix: str = "") -> dict[str, Value]:
    """Return `{"optimizer": {"lr": 0.1}}` as `{"optimizer.lr": 0.1}`; an empty dict is a value."""
    flat: dict[str, Value] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def parse_change(text: str) -> tuple[str, Value]:
    """Split `optimizer.lr=0.01` into a name and a value: a literal, or else a string.

    Raises:
        Refused: the text has no name or no `=`, or its value is a dict that can't be a setting.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise Refused(f"{text!r} is not a setting. Write name=value, such as optimizer.lr=0.01.")
    if text != text.encode(errors="replace").decode():
        raise Refused(f"{text!r} is not UTF-8, and config.py is.")
    return name.strip(), _literal(name.strip(), value)


def _literal(setting: str, text: str) -> Value:
    try:
        node = ast.parse(text.strip(), mode="eval").body
        return _setting(setting, node, f"the value of {setting}")
    except Refused:
        if any(isinstance(child, ast.Dict) for child in ast.walk(node)):
            raise  # as a string it would be refused for its type, which is not the mistake
        return text
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text


def fit(source: bytes, setting: str, value: Value, name: str = "code/config.py") -> Value:
    """Return `value` converted to the type that a dotted setting has in `source`.

    Raises:
        Refused: there is no such setting, or the types don't match.
    """
    return _fit(setting, _setting(setting, _find(source, setting, name), name), value)


def edit(source: bytes, changes: dict[str, Value], name: str = "code/config.py") -> bytes:
    """Return `source` with new values for the dotted settings in `changes`; all other bytes stay the same.

    Raises:
        Refused: there is no such setting, or a new value has another type than the old one.
    """
    read(source, name)  # refuses a mistake anywhere in the file
    for setting, value in changes.items():
        node = _find(source, setting, name)
        new = _fit(setting, _setting(setting, node, name), value)
        source = _splice(source, node, write(new))
        if repr(_setting(setting, _find(source, setting, name), name)) != repr(new):
            raise Refused(f"{name} can't be edited in place for {setting} (is it UTF-8?). Edit it by hand.")
    return source


def _bindings(source: bytes, name: str) -> dict[str, ast.expr]:
    """Return the value node of each setting."""
    try:
        module = ast.parse(source, filename=name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        place = f"{name}, line {line}" if line else name
        raise Refused(f"{place}: {getattr(error, 'msg', error)}.") from None
    nodes: dict[str, ast.expr] = {}
    for number, statement in enumerate(module.body):
        if number == 0 and isinstance(statement, ast.Expr) and _is_string(statement.value):
            continue
        target, node = _binding(statement, name)
        if target in nodes:
            raise Refused(f"{name}, line {statement.lineno}: {target} is set twice. Keep one.")
        nodes[target] = node
    return nodes


def _binding(statement: ast.stmt, name: str) -> tuple[str, ast.expr]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    else:
        raise _not_static(statement, name)
    if not isinstance(target, ast.Name) or statement.value is None:
        raise _not_static(statement, name)
    return target.id, statement.value


def _not_static(node: ast.AST, name: str) -> Refused:
    line = getattr(node, "lineno", 0)
    text = ast.unparse(node).splitlines()[0][:60]
    return Refused(
        f"{name}, line {line}: `{text}` is not static. A setting is a name bound to numbers, strings, True, False,"
        " None, lists, tuples, dicts, or arithmetic on numbers; compute values in main.py."
    )


def _is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _setting(setting: str, node: ast.expr, name: str) -> Value:
    """Return the value of a setting; only the keys of `search`, which name settings, may have a dot."""
    if setting == "search" and isinstance(node, ast.Dict):
        return _dict_value(node, name, forbidden="=")
    return _value(node, name)


def _value(node: ast.expr, name: str) -> Value:
    """Return the value of a literal, or of arithmetic on literals."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str, bool, type(None))):
        return node.value
    if isinstance(node, ast.List):
        return [_value(item, name) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item, name) for item in node.elts)
    if isinstance(node, ast.Dict):
        return _dict_value(node, name)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _compute(node, name, _UNARY[type(node.op)], node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _compute(node, name, _BINARY[type(node.op)], node.left, node.right)
    raise _not_static(node, name)


def _dict_value(node: ast.Dict, name: str, forbidden: str = ".=") -> dict[str, Value]:
    items: dict[str, Value] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None or not _is_string(key):
            raise _not_static(node, name)
        text = ast.literal_eval(key)
        if not text or any(character in text for character in forbidden) or text in items:
            signs = " or ".join(forbidden)
            raise Refused(
                f"{name}, line {key.lineno}: {text!r} can't be a key: it is empty, there twice, or has {signs}."
            )
        items[text] = _value(value, name)
    return items


def _compute(node: ast.expr, name: str, function: Callable[..., Any], *operands: ast.expr) -> _Number:
    numbers = [_value(operand, name) for operand in operands]
    if not all(isinstance(number, (int, float)) for number in numbers):
        raise _not_static(node, name)
    if function is operator.pow and (abs(numbers[0]) > 1e9 or abs(numbers[1]) > 64):
        raise Refused(f"{name}, line {node.lineno}: {ast.unparse(node)[:60]} is too large a power.")
    try:
        result = function(*numbers)
    except (ArithmeticError, ValueError) as error:
        raise Refused(f"{name}, line {node.lineno}: {ast.unparse(node)[:60]}: {error}.") from None
    if isinstance(result, complex):
        raise _not_static(node, name)
    return result  # type: ignore[no-any-return]


def _find(source: bytes, setting: str, name: str) -> ast.expr:
    """Return the value node of a dotted setting."""
    bindings = _bindings(source, name)
    first, *rest = setting.split(".")
    node = bindings.get(first)
    for key in rest:
        node = _items(node).get(key) if isinstance(node, ast.Dict) else None
    if node is None:
        settings = {key: _value(value, name) for key, value in bindings.items() if key != "search"}
        raise unknown_setting(setting, flatten(settings), name)
    return node


def _items(node: ast.Dict) -> dict[str, ast.expr]:
    return {ast.literal_eval(key): value for key, value in zip(node.keys, node.values, strict=True) if key is not None}


def unknown_setting(setting: str, settings: Iterable[str], name: str) -> Refused:
    """Return the error for a setting that config.py does not have; it offers the nearest and lists them all."""
    names = sorted(settings)
    return Refused(f"{name} has no setting {setting!r}.{did_you_mean(setting, names)}\nIt has: {', '.join(names)}.")


def _fit(setting: str, old: Value, new: Value) -> Value:
    """Return `new` converted to the type of `old`, if that keeps its meaning."""
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        try:
            return float(new)
        except OverflowError:
            raise Refused(f"{setting} is a number such as {old!r}; the given one is too large for it.") from None
    if isinstance(old, str) and not isinstance(new, (str, dict, type(None))):
        raise Refused(f"{setting} is the string {old!r}; write {setting}='\"{new}\"' if a string is meant.")
    if None in (old, new) or type(new) is type(old) or _is_part(new) or {type(old), type(new)} == {list, tuple}:
        return new
    raise Refused(
        f"{setting} is {_kind(old)} in config.py ({old!r}), not {_kind(new)} ({new!r})."
        " To change its type, edit config.py."
    )


def _is_part(value: Value) -> bool:
    return isinstance(value, dict) and "name" in value


def _kind(value: Value) -> str:
    kinds = {bool: "True or False", int: "a whole number", float: "a number", str: "a string", type(None): "None"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def write(value: Value) -> str:
    """Return `value` as config.py spells it, strings in double quotes if they are printable."""
    if isinstance(value, str):
        quoted = json.dumps(value, ensure_ascii=False)
        return quoted if value.isprintable() else repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{write(key)}: {write(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(write, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(write, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": "1e999", "-inf": "-1e999"}.get(str(value), "1e999 - 1e999")
    return repr(value)


def _splice(source: bytes, node: ast.expr, text: str) -> bytes:
    """Replace `node` by `text`; the tree counts columns in UTF-8 bytes, without a byte order mark."""
    mark = b"\xef\xbb\xbf" if source.startswith(b"\xef\xbb\xbf") else b""
    lines = source[len(mark) :].splitlines(keepends=True)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
    after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
    return mark + before + text.encode() + after
