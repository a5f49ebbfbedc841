"""What a search compiles once for all of its trials: the sources that they have in common."""

import _imp
import warnings
from collections.abc import Iterable
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any

_MOST = 1 << 20  # bytes of source: half a second


class Compiled:
    """Sources, compiled; which of them a training imports, it says itself."""

    def __init__(self) -> None:
        self._codes: dict[bytes, CodeType] = {}

    def add(self, sources: Iterable[bytes]) -> None:
        """Compile sources, the first ones, but for those that are to fail or warn in training."""
        size = 0
        for source in sources:
            size += len(source)
            if size > _MOST:
                return
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    self._codes[source] = compile(source, "<compiled>", "exec", dont_inherit=True)
                except (SyntaxError, ValueError, Warning):
                    continue

    def install(self) -> None:
        """Have imports in this process take what is compiled already, under the name of the file that they read."""
        usual: Any = SourceFileLoader.source_to_code

        def source_to_code(loader: SourceFileLoader, data: Any, path: Any, **how: Any) -> CodeType:
            code = self._codes.pop(bytes(data), None) if isinstance(data, bytes) else None  # each names one file
            if code is None:
                return usual(loader, data, path, **how)  # type: ignore[no-any-return]
            _imp._fix_co_filename(code, str(path))  # type: ignore[attr-defined]  # as for a .pyc that was moved
            return code

        SourceFileLoader.source_to_code = source_to_code  # type: ignore[assignment, method-assign]
