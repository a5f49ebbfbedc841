"""Check names and English where no linter has a rule:  python code/tests/support/style.py [file or folder …].

A docstring names what a function returns, an assignment binds one name, and a name says what its value is.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

CODE = Path(__file__).resolve().parents[2]
_VAGUE_DOCSTRING = re.compile(r"(Return|Tell|Yield) (what|how|where|whether what)\b")
_VAGUE_NAMES = {"one", "found", "known", "part"}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def problems(path: Path) -> Iterator[str]:
    """Yield each problem in a file as `path:line: text`."""
    is_test = any(folder in path.parts for folder in ("tests", "benchmarks"))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, _DOCUMENTED) and (match := _VAGUE_DOCSTRING.match(ast.get_docstring(node) or "")):
            line = getattr(node, "lineno", 1)
            yield f"{path}:{line}: a docstring begins {match[0]!r}: name the noun that is returned"
        if isinstance(node, ast.Assign) and _is_packed(node):
            yield f"{path}:{node.lineno}: several assignments in one line: write one a line"
        if not is_test and (name := _bound_name(node)) in _VAGUE_NAMES:
            yield f"{path}:{getattr(node, 'lineno', 1)}: {name!r} names a value: say what the value is"


def _is_packed(node: ast.Assign) -> bool:
    """Tell whether a statement is `a, b = x, y` and no swap."""
    target = node.targets[0]
    if not (isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)):
        return False
    return {ast.unparse(name) for name in target.elts} != {ast.unparse(value) for value in node.value.elts}


def _bound_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    if isinstance(node, ast.arg):
        return node.arg
    return node.name if isinstance(node, ast.ExceptHandler) else None


def main(words: list[str]) -> int:
    """Print the problems of the files; return 1 if there are any."""
    places = [Path(word) for word in words] or [CODE]
    files = [file for place in places for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    lines = [line for file in files for line in problems(file)]
    print("\n".join(lines) or "no problems")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
