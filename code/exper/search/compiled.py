"""What a search compiles once for all of its trials: main.py and all of the project that it imports."""

import _imp
import ast
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any


class Compiled:
    """Sources, compiled; which of them a training imports, it says itself."""

    def __init__(self) -> None:
        self._codes: dict[bytes, CodeType] = {}

    def add(self, program: str, source_of: Callable[[str], bytes | None]) -> None:
        """Compile a program and the modules beside it that it imports, but for those that are to fail or warn there.

        `source_of` returns a file's content, None where there is none, by its path from the program's folder.
        """
        waiting, seen = [program], {program}
        while waiting:
            path = waiting.pop()
            source = source_of(path)
            if source is None:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    tree = ast.parse(source)
                    self._codes[source] = compile(tree, "<compiled>", "exec", dont_inherit=True)
                except Exception:  # noqa: S112  # training will tell, or it can: a tree may not be as deep as a text
                    continue
            found = set(_imported(tree, path)) - seen
            seen |= found
            waiting += found

    def install(self) -> None:
        """Have loaders in this process take what is compiled already, under the name of the file that they read."""
        usual: Any = SourceFileLoader.source_to_code

        def source_to_code(loader: SourceFileLoader, data: Any, path: Any, **how: Any) -> CodeType:
            code = self._codes.pop(bytes(data), None) if isinstance(data, bytes) else None  # each names one file
            if code is None:
                return usual(loader, data, path, **how)  # type: ignore[no-any-return]
            _imp._fix_co_filename(code, str(path))  # type: ignore[attr-defined]  # as for a .pyc that was moved
            return code

        SourceFileLoader.source_to_code = source_to_code  # type: ignore[assignment, method-assign]


def _imported(tree: ast.AST, path: str) -> Iterator[str]:
    """Yield the paths of files that a module's import statements may mean."""
    package = path.removesuffix(".py").replace("/", ".").rpartition(".")[0]
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Import):
            modules = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            start = "." * statement.level + (statement.module or "")
            try:
                start = importlib.util.resolve_name(start, package)
            except ImportError:
                continue
            modules = [start, *(f"{start}.{alias.name}" for alias in statement.names)]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            for length in range(1, len(parts) + 1):
                yield "/".join(parts[:length]) + ".py"
                yield "/".join(parts[:length]) + "/__init__.py"
